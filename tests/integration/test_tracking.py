"""The tracking plan from its publication to what breaks it, and drafted from the history."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.console.infer import draft, seen_events
from services.ingest.again import Circumstances
from services.ingest.live import Live
from services.ingest.normalise import Scene
from services.ingest.refused import Reason, Refused
from services.ingest.stored import StoredAside
from services.ingest.violations import Key, StoredViolations
from services.journey.language.problems import Problem
from services.journey.language.tracking import read_tracking
from shared.clock import REAL
from shared.db.connect import Pool
from shared.tracking import Judge
from tests.integration.consoling import NOON, client, workspace, zipped

PLAN = b"mode: enforce\nevents:\n  Signed Up:\n    properties:\n      plan: text\n"


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        yield api


async def publish(api: httpx.AsyncClient, plan: bytes | None = PLAN) -> None:
    files = workspace("welcome") | ({} if plan is None else {"events.yaml": plan})
    done = await api.put("/api/workspace", content=zipped(files))
    assert done.status_code == 200, done.text


async def test_the_edge_obeys_the_published_plan(api: httpx.AsyncClient, pool: Pool) -> None:
    live = Live()

    async def judge() -> Judge | None:
        await live.refresh(pool)
        return live.judge

    await publish(api, None)
    assert await judge() is None
    assert (await api.get("/api/tracking")).json() == {"mode": None, "events": 0, "violations": []}
    await publish(api)
    enforced = await judge()
    assert enforced is not None
    assert enforced.enforces
    assert enforced.violations("Signed Out", {}) == [("unknown_event", "")]
    found = (await api.get("/api/tracking")).json()
    assert (found["mode"], found["events"]) == ("enforce", 1)
    await publish(api, None)
    assert await judge() is None


async def test_a_journey_that_breaks_an_enforced_plan_is_not_published(
    api: httpx.AsyncClient,
) -> None:
    files = workspace("welcome") | {"events.yaml": b"mode: enforce\nevents:\n  Sign Up:\n"}
    refused = await api.put("/api/workspace", content=zipped(files))
    assert refused.status_code == 422
    (problem,) = refused.json()["problems"]
    assert (problem["file"], problem["code"]) == ("journeys/welcome.yaml", "unknown_event")
    assert problem["hint"] == "did you mean `Sign Up`?"


async def test_what_breaks_it_is_listed_by_source(api: httpx.AsyncClient, pool: Pool) -> None:
    store, late = StoredViolations(pool), NOON + timedelta(hours=1)
    of_web = Key("web", "Bought", "total", "wrong_type")
    await store.add({of_web: 2, Key("app", "Bot", "", "unknown_event"): 1}, NOON)
    await store.add({of_web: 3}, late)
    rows = (await api.get("/api/tracking")).json()["violations"]
    assert rows[0] == {
        "source": "web",
        "event": "Bought",
        "property": "total",
        "violation": "wrong_type",
        "count": 5,
        "first_at": "2026-03-02T12:00:00Z",
        "last_at": "2026-03-02T13:00:00Z",
    }
    assert [row["source"] for row in rows] == ["web", "app"]
    of_app = (await api.get("/api/tracking", params={"source": "app"})).json()["violations"]
    assert [row["event"] for row in of_app] == ["Bot"]
    await store.add({of_web: 1}, late + timedelta(days=31))
    rows = (await api.get("/api/tracking")).json()["violations"]
    assert [row["source"] for row in rows] == ["web"]


async def test_what_was_set_aside_passes_once_the_plan_lists_it(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api)
    sent = {"type": "track", "event": "Bought", "userId": "u1", "messageId": "m1"}
    item = Refused(json.dumps(sent).encode(), Reason.PLAN_UNKNOWN_EVENT, "web")
    await StoredAside(pool, REAL).put([item], Circumstances(Scene(NOON, "web")))
    (row,) = (await api.get("/api/set-aside")).json()
    path = f"/api/set-aside/{row['id']}/replay"
    refused = await api.post(path)
    assert refused.status_code == 422
    assert "plan_unknown_event" in refused.json()["message"]
    await publish(api, PLAN + b"  Bought:\n")
    assert (await api.post(path)).json()["events"] == ["m1"]


# Drafting ------------------------------------------------------------------------------------

HISTORY: list[tuple[str, dict[str, Any]]] = [
    ("Bought", {"total": 1, "note": "x", "at": "2026-03-02", "sku": "A", "items": [1], "on": True}),
    ("Bought", {"total": 2.5, "note": None, "at": "2026-03-02T12:00Z", "sku": 7, "count": 3}),
    ("Bought", {"total": 3, "at": "2026-03-02T12:00:00.5+09:00", "sku": "B", "to": {"a": 1}}),
    ("장바구니: 담기", {"상품명": "사과", "a: b": 1, "yes": "x"}),
    ("Left", {}),
]
DRAFT = """\
mode: warn
events:
  Bought:  # 3 events
    properties:
      at: {type: time, required: true}
      sku: {type: text, required: true}  # text 67%, integer 33%
      total: {type: number, required: true}
      count: integer  # in 33%
      items: list  # in 33%
      note: text  # in 33%
      "on": boolean  # in 33%
      to: object  # in 33%
  Left: {}  # 1 event
  "장바구니: 담기":  # 1 event
    properties:
      "a: b": {type: integer, required: true}
      "yes": {type: text, required: true}
      상품명: {type: text, required: true}
"""


async def test_a_plan_is_drafted_from_what_came(pool: Pool) -> None:
    now = datetime(2026, 3, 3, tzinfo=UTC)
    rows = [*HISTORY, ("Long Ago", {})]
    for number, (name, properties) in enumerate(rows):
        at = now - timedelta(days=40 if name == "Long Ago" else 1)
        await pool.execute(
            "INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at,"
            " event) VALUES (0, 'u1', $1, $2, 'track', $3, $1, $4)",
            *(at, str(number), name, {"properties": properties} if properties else {}),
        )
    async with pool.acquire() as connection:
        seen = await seen_events(connection, now - timedelta(days=30))
    text = draft(seen, "30d")
    assert text.partition("aside.\n")[2] == DRAFT
    problems: list[Problem] = []
    plan = read_tracking({"events.yaml": text.encode()}, problems)
    assert problems == []
    assert plan is not None
    broken = [v for name, held in HISTORY for v in Judge(plan).violations(name, held)]
    assert broken == [("wrong_type", "sku")]  # what the comment tells of
