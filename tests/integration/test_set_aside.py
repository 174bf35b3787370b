"""What could not be used is kept with its reason, and is replayed once it can be, once."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from services.ingest.again import Circumstances
from services.ingest.normalise import Scene
from services.ingest.refused import Reason, Refused
from services.ingest.stored import StoredAside
from services.journey import maintenance
from shared.clock import EPOCH, Clock, wall_clock
from shared.db.connect import Pool
from shared.event import Event, decode_unstamped, encode
from shared.keys import Role
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS
from tests.integration.consoling import client

RECEIVED = datetime(2026, 3, 2, 12, tzinfo=UTC)
STOPPED = Clock(EPOCH, RECEIVED, speed=0.0)
BAD = {"event": "Added", "messageId": "m1", "timestamp": "2026-03-01T00:00:00Z"}
GOOD = {**BAD, "userId": "u1", "type": "track"}


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        yield api


async def put(pool: Pool, document: object = BAD, around: Circumstances | None = None) -> int:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    scene = Scene(RECEIVED, "web", "track")
    item = Refused(raw, Reason.NO_IDENTITY, "web")
    await StoredAside(pool, STOPPED).put([item], around or Circumstances(scene))
    number: int = await pool.fetchval("SELECT max(id) FROM set_aside")
    return number


async def put_of_log(pool: Pool, payload: bytes) -> int:
    number: int = await pool.fetchval(
        "INSERT INTO set_aside (at, source, reason, payload) VALUES ($1, 'log', 'not decided', $2)"
        " RETURNING id",
        RECEIVED,
        payload,
    )
    return number


async def replayed(pool: Pool) -> list[Event]:
    rows = await pool.fetch("SELECT payload FROM log_outbox ORDER BY place")
    return [decode_unstamped(row["payload"]) for row in rows]


async def test_they_are_counted_and_listed_without_what_is_in_them(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    numbers = [await put(pool) for _ in range(3)]
    other = await put_of_log(pool, b"{}")
    counts = (await api.get("/api/set-aside/counts")).json()
    assert [(c["source"], c["reason"], c["waiting"]) for c in counts] == [
        ("web", "no_identity", 3),
        ("log", "not decided", 1),
    ]
    listed = (await api.get("/api/set-aside")).json()
    assert [row["id"] for row in listed] == [other, *reversed(numbers)]
    assert "payload" not in listed[0]
    query: dict[str, str | int] = {
        "source": "web",
        "reason": "no_identity",
        "limit": 2,
        "before": numbers[2],
    }
    page = (await api.get("/api/set-aside", params=query)).json()
    assert [row["id"] for row in page] == [numbers[1], numbers[0]]


async def test_only_operators_see_the_content_and_replay(dsn: str, pool: Pool) -> None:
    number = await put(pool)

    async def statuses(role: Role) -> list[int]:
        async with client(dsn, pool) as admin:
            made = (await admin.post("/api/keys", json={"name": "x", "role": role})).json()
        async with client(dsn, pool, made["key"]) as api:
            return [
                (await api.get("/api/set-aside")).status_code,
                (await api.get(f"/api/set-aside/{number}")).status_code,
                (await api.post("/api/set-aside/replay")).status_code,
                (await api.post(f"/api/set-aside/{number}/replay")).status_code,
            ]

    assert await statuses("viewer") == [200, 403, 403, 403]
    assert await statuses("marketer") == [200, 403, 403, 403]
    assert await statuses("operator") == [200, 200, 200, 422]


async def test_a_mended_payload_is_replayed_with_its_id_and_time(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    number = await put(pool)
    content = (await api.get(f"/api/set-aside/{number}")).json()
    assert json.loads(content["payload"]) == BAD
    refused = await api.post(f"/api/set-aside/{number}/replay")
    assert (refused.status_code, refused.json()["code"]) == (422, "still_unusable")
    assert "no_identity" in refused.json()["message"]
    for _ in range(2):
        done = await api.post(f"/api/set-aside/{number}/replay", json={"payload": GOOD})
        assert done.status_code == 200, done.text
        assert done.json() == {"id": number, "events": ["m1"]}
    (event,) = await replayed(pool)
    assert (event.id, event.user_id, event.source, event.name) == ("m1", "u1", "web", "Added")
    assert event.timestamp == datetime(2026, 3, 1, tzinfo=UTC)
    assert (await api.get("/api/set-aside")).json() == []
    (row,) = (await api.get("/api/set-aside?replayed=true")).json()
    assert row["replayed_by"] == "environment"


async def test_what_can_be_read_now_is_replayed_once_and_the_rest_stays(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    """As after an upgrade that understands more."""
    bad, good = await put(pool), await put(pool, {"event": "Added", "userId": "u2"})
    answer = (await api.post("/api/set-aside/replay?source=web")).json()
    assert [row["id"] for row in answer["replayed"]] == [good]
    assert [row["id"] for row in answer["left"]] == [bad]
    again = (await api.post(f"/api/set-aside/{good}/replay")).json()
    assert again == {"id": good, "events": []}
    (event,) = await replayed(pool)
    assert event.id == f"set-aside:{good}:0", "without an id of its own it counts once all the same"
    assert event.kind == "track", "the path that it came by says what it is"


async def test_what_the_batch_said_of_all_its_events_is_not_lost(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    scene = Scene(RECEIVED, "web", None, RECEIVED, {"locale": "ko"}, {"All": True})
    number = await put(pool, GOOD, Circumstances(scene, historical=True))
    assert (await api.post(f"/api/set-aside/{number}/replay")).status_code == 200
    (event,) = await replayed(pool)
    assert event.context == {"locale": "ko"}
    assert event.extra == {"integrations": {"All": True}}
    assert event.historical


async def test_what_posthog_s_sdks_sent_is_read_as_theirs(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    document = {"event": "Added", "distinct_id": "u1", "uuid": "p1", "properties": {"a": 1}}
    around = Circumstances(Scene(RECEIVED, "web"), posthog=True)
    number = await put(pool, document, around)
    assert (await api.post(f"/api/set-aside/{number}/replay")).status_code == 200
    (event,) = await replayed(pool)
    assert (event.id, event.name, event.properties) == ("p1", "Added", {"a": 1})


async def test_a_record_that_the_engine_set_aside_goes_back_as_it_was(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    event = Event(
        id="e1", kind="track", name="Added", timestamp=RECEIVED, user_id="u1", source="web"
    )
    number = await put_of_log(pool, encode(event))
    assert (await api.post(f"/api/set-aside/{number}/replay")).status_code == 200
    assert await replayed(pool) == [event]


@pytest.mark.parametrize(
    "payload", [b"rubbish", b"[]", b"{}", b"\xff\xfe", encode(Event("x", "track", RECEIVED))]
)
async def test_rubbish_in_the_log_stays_where_it_is(
    api: httpx.AsyncClient, pool: Pool, payload: bytes
) -> None:
    number = await put_of_log(pool, payload)
    answer = await api.post(f"/api/set-aside/{number}/replay")
    assert (answer.status_code, answer.json()["code"]) == (422, "still_unusable")
    assert (await api.get(f"/api/set-aside/{number}")).status_code == 200
    assert await replayed(pool) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"payload": {**GOOD, "properties": {"x": "y" * 70_000}}}, 400),
        ({"payload": [1]}, 422),
        ({"something": 1}, 422),
    ],
)
async def test_a_payload_that_does_not_fit_is_refused(
    api: httpx.AsyncClient, pool: Pool, body: dict[str, Any], status: int
) -> None:
    number = await put(pool)
    assert (await api.post(f"/api/set-aside/{number}/replay", json=body)).status_code == status
    assert (await api.post("/api/set-aside/999999/replay")).status_code == 404


def test_what_is_stored_of_a_request_can_be_read_by_later_releases() -> None:
    stored = b'{"scene":{"received":"2026-03-02T12:00:00Z","source":"web"},"later":1}'
    assert msgspec.json.decode(stored, type=Circumstances).scene.source == "web"


async def test_the_newest_are_kept_however_much_is_put_aside(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "SET_ASIDE_MOST", 3)
    numbers = [await put_of_log(pool, b"\xff") for _ in range(5)]
    at = await pool.fetchval("SELECT max(at) FROM set_aside")
    clock = Clock(real_start=EPOCH, virtual_start=EPOCH + (at - wall_clock()))
    await maintenance.Maintenance(pool, clock, PostgresLog(pool, PARTITIONS)).once()
    kept = await pool.fetch("SELECT id FROM set_aside ORDER BY id")
    assert [row["id"] for row in kept] == numbers[-3:]
