"""Segment's own Python SDK, unmodified, posts over HTTP to a real server with a real log."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import segment.analytics.request
import uvicorn
from prometheus_client import CollectorRegistry
from segment.analytics.client import Client

from services.ingest.app import IngestContext, create_app
from services.ingest.batcher import BatchingLog
from services.ingest.live import Live
from services.ingest.metrics import IngestMetrics
from services.ingest.quota import Quotas
from services.ingest.stored import StoredAside
from shared.clock import REAL
from shared.db.connect import Pool
from shared.errors import Unavailable
from shared.event import Encoded, Event, decode, encoded
from shared.keys import KeyRing
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS
from tests.patience import SOON

KEY = "wk_test_123"


class FailingLog:
    """The real log, that fails as often as it is told to."""

    def __init__(self, inner: PostgresLog) -> None:
        self._inner = inner
        self.partitions = inner.partitions
        self.answers_lost = 0
        """Appends that succeed and whose success nobody hears of."""
        self.refusals = 0

    async def append(self, events: Sequence[Event]) -> None:
        await self.append_encoded([encoded(event, self.partitions) for event in events])

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        if self.answers_lost:
            self.answers_lost -= 1
            await self._inner.append_encoded(records)
            raise Unavailable
        if self.refusals:
            self.refusals -= 1
            raise Unavailable
        await self._inner.append_encoded(records)


@dataclass
class Ingest:
    """The service as a client and an operator see it."""

    url: str
    log: FailingLog
    pool: Pool

    async def appended(self) -> list[Event]:
        rows = await self.pool.fetch(
            "SELECT payload, received_at FROM log ORDER BY partition, log_offset"
        )
        return [decode(row["payload"], row["received_at"]) for row in rows]

    async def by_id(self) -> dict[str, Event]:
        """Each event once, as a reader takes repetitions in."""
        return {event.id: event for event in reversed(await self.appended())}


@pytest.fixture
async def ingest(pool: Pool) -> AsyncIterator[Ingest]:
    log = FailingLog(PostgresLog(pool, PARTITIONS))
    metrics = IngestMetrics(CollectorRegistry())
    batching = BatchingLog(log, metrics)
    keys = KeyRing(pool, write_keys=[KEY])
    app = create_app(
        IngestContext(
            batching, keys, StoredAside(pool, REAL), REAL, metrics, Quotas(None, REAL), Live()
        )
    )
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
    yield Ingest(f"http://127.0.0.1:{sock.getsockname()[1]}", log, pool)
    server.should_exit = True
    await serving
    await batching.stop()


@contextlib.contextmanager
def sdk(ingest: Ingest, *, gzip: bool, failures: list[object]) -> Iterator[Client]:
    client = Client(
        KEY,
        host=ingest.url,
        gzip=gzip,
        upload_interval=0.05,
        on_error=lambda error, _: failures.append(error),
    )
    try:
        yield client
    finally:
        segment.analytics.request._session.close()


async def finish(client: Client) -> None:
    """Send all that is queued, from a thread: the server runs in this one."""
    await asyncio.wait_for(asyncio.to_thread(client.shutdown), timeout=SOON)


HAPPENED = datetime(2026, 3, 2, 12, 0, 0, 199000, tzinfo=UTC)


def call_everything(client: Client) -> dict[str, dict[str, Any]]:
    """One call of each kind; the fields that each must arrive with, by message id."""
    common = {"timestamp": HAPPENED, "anonymous_id": "anon-1"}
    client.identify("user-1", {"plan": "pro", "가입": "예"}, message_id="identify", **common)
    client.track(
        "user-1", "Product Added", {"price": 12.5}, {"locale": "ko-KR"}, message_id="track",
        **common,
    )  # fmt: skip
    client.page("user-1", "Docs", "Home", {"path": "/"}, message_id="page", **common)
    client.screen("user-1", "App", "Start", {}, message_id="screen", **common)
    client.group("user-1", "group-1", {"size": 3}, message_id="group", **common)
    client.alias("anon-1", "user-1", message_id="alias", timestamp=HAPPENED)
    client.track(7, "Odd", message_id="odd", timestamp=HAPPENED, properties={
        "nan": math.nan, "inf": math.inf, "big": 2**70, "half": "\ud83d", "nul": "a\0b",
    })  # fmt: skip
    person = {"user_id": "user-1", "anonymous_id": "anon-1"}
    return {
        "identify": {**person, "kind": "identify", "traits": {"plan": "pro", "가입": "예"}},
        "track": {
            **person, "kind": "track", "name": "Product Added", "properties": {"price": 12.5}
        },
        "page": {
            **person, "kind": "page", "name": "Home",
            "properties": {"path": "/", "category": "Docs"},
        },
        "screen": {
            **person, "kind": "screen", "name": "Start", "properties": {"category": "App"}
        },
        "group": {**person, "kind": "group", "group_id": "group-1", "traits": {"size": 3}},
        "alias": {
            "kind": "alias", "user_id": "user-1", "anonymous_id": None, "previous_id": "anon-1"
        },
        "odd": {
            "kind": "track", "user_id": "7",
            "properties": {
                "nan": None, "inf": None, "big": float(2**70), "half": "\ufffd", "nul": "ab"
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize("gzip", [False, True])
async def test_each_kind_of_event_arrives_once_with_what_it_says(
    ingest: Ingest, gzip: bool
) -> None:
    failures: list[object] = []
    with sdk(ingest, gzip=gzip, failures=failures) as client:
        expected = call_everything(client)
        await finish(client)
    assert failures == []
    appended = await ingest.appended()
    assert sorted(event.id for event in appended) == sorted(expected)
    for event in appended:
        assert {name: getattr(event, name) for name in expected[event.id]} == expected[event.id]
        assert event.timestamp == event.original_timestamp == HAPPENED
        assert event.context["library"]["name"] == "analytics-python"
        assert event.source == "environment"
        assert event.sent_at is not None
        assert event.received_at is not None
        assert abs(event.received_at - event.sent_at) < timedelta(minutes=1)


@pytest.mark.parametrize("gzip", [False, True])
async def test_while_the_log_is_away_the_sdk_waits_and_nothing_is_lost(
    ingest: Ingest, gzip: bool
) -> None:
    ingest.log.answers_lost = 1
    ingest.log.refusals = 2
    failures: list[object] = []
    with sdk(ingest, gzip=gzip, failures=failures) as client:
        for number in range(250):
            client.track(f"user-{number % 7}", "Added", {"n": number}, message_id=f"m{number}")
        await finish(client)
    assert failures == []
    assert ingest.log.refusals == 0
    assert len(await ingest.appended()) > 250  # the answer that was lost made the SDK repeat
    events = await ingest.by_id()
    assert {ident: event.properties["n"] for ident, event in events.items()} == {
        f"m{number}": number for number in range(250)
    }


async def test_a_bad_event_is_set_aside_with_its_reason_and_its_batch_goes_on(
    ingest: Ingest,
) -> None:
    failures: list[object] = []
    with sdk(ingest, gzip=False, failures=failures) as client:
        client.track("u" * 300, "Added", message_id="bad")
        client.track("user-1", "Added", message_id="good")
        await finish(client)
    assert failures == []
    assert [event.id for event in await ingest.appended()] == ["good"]
    rows = await ingest.pool.fetch("SELECT reason, source, payload FROM set_aside")
    assert [(row["reason"], row["source"]) for row in rows] == [("id_too_long", "environment")]
    assert b'"messageId": "bad"' in rows[0]["payload"]


async def test_an_unknown_key_is_told_at_once_and_not_tried_again(ingest: Ingest) -> None:
    failures: list[object] = []
    client = Client("nobody", host=ingest.url, on_error=lambda error, _: failures.append(error))
    client.track("user-1", "Added")
    await finish(client)
    (failure,) = failures
    assert isinstance(failure, segment.analytics.request.APIError)
    assert (failure.status, failure.code) == (401, "unauthorized")
    segment.analytics.request._session.close()


async def test_a_refusal_is_heard_by_a_client_that_is_still_sending(ingest: Ingest) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 50_000

    async with httpx.AsyncClient(base_url=ingest.url, timeout=SOON) as http:
        response = await http.post("/v1/batch", content=body(), headers={"X-Write-Key": "nobody"})
        assert response.status_code == 401
        again = await http.post("/v1/batch", content=body(), headers={"X-Write-Key": KEY})
        assert again.status_code == 400
