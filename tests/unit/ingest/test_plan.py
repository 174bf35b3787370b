"""Events held to the tracking plan: counted where they break it, set aside where it is enforced."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.ingest.again import Circumstances, read_again
from services.ingest.app import IngestContext, create_app
from services.ingest.live import judge_of
from services.ingest.normalise import Scene
from services.ingest.violations import MOST_OF_A_SOURCE, Key, Violations, folded
from shared.errors import Unavailable
from shared.tracking import Judge, Violation
from tests.unit.ingest.conftest import NOW, STOPPED
from tests.unit.ingest.doubles import RecordingAside, RecordingLog

EVENTS: dict[str, Any] = {
    "Bought": {
        "properties": {
            "total": {"type": "number", "required": True},
            "count": "integer",
            "at": "time",
            "gift": "boolean",
            "items": "list",
            "shop": {"type": "text", "values": ["a", "b"]},
            "to": "object",
        }
    },
    "Opened": None,
}
GOOD = {"total": 1.5, "count": 2.0, "at": "2026-03-02T12:00:00Z", "gift": True, "items": [1],
        "shop": "a", "to": {"x": 1}}  # fmt: skip


def judge(mode: str = "enforce") -> Judge:
    found = judge_of({"mode": mode, "events": EVENTS})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "properties", "violations"),
    [
        ("Bought", GOOD, []),
        ("Bought", {"total": 1}, []),
        ("Opened", {}, []),
        ("Opened", {"x": None}, [("unlisted_property", "x")]),
        ("Boght", GOOD, [("unknown_event", "")]),
        ("Bought", {}, [("missing_property", "total")]),
        ("Bought", {"total": None, "count": None}, [("missing_property", "total")]),
        ("Bought", {"total": "1"}, [("wrong_type", "total")]),
        ("Bought", {"total": True}, [("wrong_type", "total")]),
        ("Bought", {"total": 1, "count": 1.5}, [("wrong_type", "count")]),
        ("Bought", {"total": 1, "at": "yesterday"}, [("wrong_type", "at")]),
        ("Bought", {"total": 1, "at": "20th"}, [("wrong_type", "at")]),
        ("Bought", {"total": 1, "at": 1772452800}, [("wrong_type", "at")]),
        ("Bought", {"total": 1, "items": {}}, [("wrong_type", "items")]),
        ("Bought", {"total": 1, "to": []}, [("wrong_type", "to")]),
        ("Bought", {"total": 1, "shop": "c"}, [("unlisted_value", "shop")]),
        ("Bought", {"total": 1, "sum": 1}, [("unlisted_property", "sum")]),
        ("Bought", {"total": "1", "sum": 1},
         [("wrong_type", "total"), ("unlisted_property", "sum")]),
    ],
)  # fmt: skip
def test_what_an_event_breaks(
    name: str, properties: dict[str, Any], violations: list[tuple[str, str]]
) -> None:
    assert judge().violations(name, properties) == violations


def test_huge_numbers_are_judged_too() -> None:
    assert judge().violations("Bought", {"total": 1e308, "count": 1e308}) == []


# At the edge ---------------------------------------------------------------------------------


class Told:
    """A store that may fail."""

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.failing = False

    async def add(self, counts: dict[Key, int], at: datetime) -> None:
        if self.failing:
            raise Unavailable
        assert at == NOW
        for key, n in counts.items():
            self.counts[key] = self.counts.get(key, 0) + n


def track(event: str, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, "userId": "u1", "properties": properties}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watched(context: IngestContext, told: Told) -> IngestContext:
    return replace(context, violations=Violations(told, STOPPED))  # type: ignore[arg-type]


async def post(context: IngestContext, path: str, body: object) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
        return await client.post(path, json=body, headers={"X-Write-Key": "wk"})


BATCH = {
    "batch": [
        track("Bought", total=1),
        track("Bought"),
        track("Bot", total=1),
        track("Opened", x=1),
        {"type": "page", "name": "Anything", "userId": "u1"},
        {"type": "identify", "userId": "u1", "traits": {"any": 1}},
    ]
}
COUNTED = {
    Key("shop", "Bought", "total", "missing_property"): 1,
    Key("shop", "Bot", "", "unknown_event"): 1,
    Key("shop", "Opened", "x", "unlisted_property"): 1,
}


async def test_a_warning_lets_them_pass_and_counts(
    watched: IngestContext, told: Told, log: RecordingLog, aside: RecordingAside,
    registry: CollectorRegistry,
) -> None:  # fmt: skip
    watched.live.judge = judge("warn")
    assert (await post(watched, "/v1/batch", BATCH)).status_code == 200
    await watched.violations.settle()
    assert len(log.events) == 6
    assert aside.items == []
    assert told.counts == COUNTED
    metric = 'dangol_ingest_plan_violations_total{source="shop",violation="unknown_event"} 1.0'
    assert metric in generate_latest(registry).decode()


async def test_an_enforced_plan_sets_them_aside_as_they_came(
    watched: IngestContext, told: Told, log: RecordingLog, aside: RecordingAside
) -> None:
    watched.live.judge = judge("enforce")
    assert (await post(watched, "/v1/batch", BATCH)).status_code == 200
    await watched.violations.settle()
    names = [event.name for event in log.events if event.kind == "track"]
    assert names == ["Bought", "Opened"]  # what is not listed is counted, and harms nobody
    assert [(str(item.reason), json.loads(item.raw)) for item in aside.items] == [
        ("plan_missing_property", BATCH["batch"][1]),
        ("plan_unknown_event", BATCH["batch"][2]),
    ]
    assert told.counts == COUNTED


async def test_posthogs_events_are_held_to_it_as_well(
    watched: IngestContext, log: RecordingLog, aside: RecordingAside
) -> None:
    watched.live.judge = judge("enforce")
    events = [
        {"event": name, "distinct_id": "u1", "properties": {"total": 1}}
        for name in ("Bought", "Bot")
    ]
    assert (await post(watched, "/batch/", {"api_key": "wk", "batch": events})).status_code == 200
    assert [event.name for event in log.events] == ["Bought"]
    assert [str(item.reason) for item in aside.items] == ["plan_unknown_event"]


async def test_a_catalogue_event_that_breaks_it_is_refused(
    watched: IngestContext, log: RecordingLog
) -> None:
    body = {"event": "Bought", "properties": {}}
    watched.live.judge = judge("enforce")
    answer = await post(watched, "/v1/catalog", body)
    assert answer.status_code == 400
    assert "`total` breaks the tracking plan: missing_property" in answer.json()["message"]
    assert log.events == []
    watched.live.judge = judge("warn")
    assert (await post(watched, "/v1/catalog", body)).status_code == 200
    assert len(log.events) == 1


def test_what_was_set_aside_is_read_again_by_the_plan_of_now() -> None:
    around = Circumstances(Scene(NOW, "shop"))
    payload = msgspec.json.encode(track("Bot", total=1))
    assert [str(r.reason) for r in read_again(payload, around, 1, judge()).refused] == [
        "plan_unknown_event"
    ]
    assert [e.name for e in read_again(payload, around, 1, judge("warn")).events] == ["Bot"]
    assert [e.name for e in read_again(payload, around, 1).events] == ["Bot"]


# Counts --------------------------------------------------------------------------------------


async def test_counts_are_kept_while_nobody_can_be_told(told: Told) -> None:
    violations = Violations(told, STOPPED)  # type: ignore[arg-type]
    told.failing = True
    violations.count("web", [("A", Violation("unknown_event"))])
    with pytest.raises(Unavailable):
        await violations.settle()
    violations.count("web", [("A", Violation("unknown_event"))])
    told.failing = False
    await violations.settle()
    await violations.settle()
    assert told.counts == {Key("web", "A", "", "unknown_event"): 2}


def test_a_source_that_makes_up_names_fills_no_table() -> None:
    def key(number: int, source: str = "web") -> Key:
        return Key(source, f"made up {number}", "", "unknown_event")

    known = {key(n) for n in range(MOST_OF_A_SOURCE - 1)}
    counts = {key(n): 2 for n in range(MOST_OF_A_SOURCE - 2, MOST_OF_A_SOURCE + 10)}
    kept = folded({**counts, key(0, "other"): 1}, known)
    assert kept == {
        key(MOST_OF_A_SOURCE - 2): 2,
        key(MOST_OF_A_SOURCE - 1): 2,
        Key("web", "", "", "unknown_event"): 20,
        key(0, "other"): 1,
    }
