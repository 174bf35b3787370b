"""What whoever asked for a message by the API is told: each status once, signed, tried again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.cli.receipts_checkup import receipts_lost
from services.dispatch.calls.answers import RECEIPT_LADDER
from services.dispatch.calls.caller import Caller
from services.dispatch.channels.port import Outcome
from services.dispatch.receipts.report import Report
from services.dispatch.receipts.store import Receipts
from services.dispatch.worker import WAKEUPS
from shared import call
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import partition_of
from shared.standard_webhooks import read_secrets
from tests.conftest import PARTITIONS
from tests.integration.dispatching import House, until
from tests.receiving import SECRET, Receiver, answer, receiver

ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        house.wakeups = Wakeups(dsn, [*WAKEUPS, call.CHANNEL])
        await house.customer(ANN)
        yield house


@pytest.fixture
async def at() -> AsyncIterator[Receiver]:
    async with receiver() as at:
        yield at


async def asked_for(house: House, at: Receiver, name: str = "m1", **fields: Any) -> None:
    await house.message(
        name, customer=ANN, run_id=f"api:{name}", journey="$api", step="hello", version=0,
        category="transactional", receipts_to=at.url(), **fields,
    )  # fmt: skip


@asynccontextmanager
async def calling(house: House, at: Receiver) -> AsyncIterator[None]:
    caller = Caller(
        house.pool,
        house.clock,
        house.wakeups,
        partitions=PARTITIONS,
        secrets=read_secrets(SECRET, "X"),
        private_hosts=[at.host],
    )
    stopping = asyncio.Event()
    task = asyncio.create_task(caller.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def over(pool: Pool, count: int = 1) -> list[tuple[str, str | None]]:
    async def decided() -> bool:
        return bool(
            await pool.fetchval("SELECT count(*) >= $1 FROM calls WHERE status = 'decided'", count)
        )

    await until(decided)
    rows = await pool.fetch("SELECT outcome, reason FROM calls ORDER BY created_at")
    return [(row["outcome"], row["reason"]) for row in rows]


def told(at: Receiver) -> list[tuple[str, str | None, str | None]]:
    found = [json.loads(request.body) for request in at.requests]
    return [(b["type"], b["data"]["channel"], b["data"]["reason"]) for b in found]


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Outcome.ACCEPTED, "sent", None),
        (Outcome.REJECTED_MESSAGE, "failed", "rejected"),
        (Outcome.UNDELIVERABLE_ADDRESS, "failed", "undeliverable"),
        (Outcome.UNKNOWN, "unknown", None),
    ],
)
async def test_the_caller_is_told_what_became_of_the_message(
    house: House, at: Receiver, outcome: Outcome, status: str, reason: str | None
) -> None:
    house.provider.otherwise = outcome
    await asked_for(house, at)
    async with calling(house, at), house.dispatching():
        assert await over(house.pool) == [("sent", None)]
    (request,) = at.requests
    assert request.is_signed()
    assert json.loads(request.body) == {
        "type": f"message.{status}",
        "timestamp": "2026-04-06T12:00:00Z",
        "data": {"id": "m1", "status": status, "reason": reason, "customer": ANN,
                 "template": "hello", "channel": "email"},
    }  # fmt: skip
    assert not any(event.kind == "outcome" and "call_id" in event.properties
                   for event in await house.events()), "no run waits for it"  # fmt: skip


async def test_a_dropped_message_is_told_with_its_reason(house: House, at: Receiver) -> None:
    await house.customer(ANN, traits={})
    await asked_for(house, at)
    async with calling(house, at), house.dispatching():
        await over(house.pool)
    assert told(at) == [("message.dropped", "email", "no_address")]


async def test_nobody_is_told_who_has_not_asked(house: House, at: Receiver) -> None:
    await asked_for(house, at, "m1")
    await house.message("m2", customer=ANN)
    await house.pool.execute("UPDATE messages SET receipts_to = NULL WHERE id = 'm1'")
    async with house.dispatching():
        await house.decided("m1", "m2")
    assert await house.pool.fetchval("SELECT count(*) FROM calls") == 0


async def test_delivered_bounced_and_complained_are_told_once_each_however_often_reported(
    house: House, at: Receiver
) -> None:
    await asked_for(house, at)
    receipts = Receipts(house.pool, PARTITIONS)
    async with calling(house, at), house.dispatching():
        await house.decided()
        for outcome in ("delivered", "bounced", "bounced", "complained", "opened"):
            report = Report("m1", outcome, detail="5.1.1")
            await receipts.keep([report], house.clock.now())
        await over(house.pool, 4)
    types = [kind for kind, _, _ in told(at)]
    assert sorted(types) == [
        *("message.bounced", "message.complained", "message.delivered", "message.sent")
    ]
    assert len({request.headers["webhook-id"] for request in at.requests}) == 4


async def test_a_receiver_that_is_away_is_tried_again_with_growing_pauses_and_at_last_given_up(
    house: House, at: Receiver
) -> None:
    at.otherwise = answer("404 Not Found")
    await asked_for(house, at)
    async with calling(house, at), house.dispatching():
        await house.decided()
        for tries, pause in enumerate(RECEIPT_LADDER, 1):

            async def waits(tries: int = tries) -> bool:
                row = await house.pool.fetchrow("SELECT * FROM calls")
                return bool(row and row["status"] == "queued" and row["attempts"] == tries)

            await until(waits)
            if tries == 3:
                (finding,) = await receipts_lost(house.pool)
                assert (finding.verdict, at.host in finding.message) == ("warn", True)
                assert "HTTP 404" in finding.message
            due = await house.pool.fetchval("SELECT not_before FROM calls")
            assert pause <= due - house.clock.now() <= pause * 1.25
            house.clock.move(pause * 1.25)
            house.wakeups.ring(call.CHANNEL)
        assert await over(house.pool) == [("failed", "retries_exhausted")]
        (finding,) = await receipts_lost(house.pool)
        assert (finding.verdict, at.host in finding.message) == ("fail", True)
    assert len(at.requests) == len(RECEIPT_LADDER) + 1
    assert len({request.headers["webhook-id"] for request in at.requests}) == 1
    assert timedelta(days=3) < sum(RECEIPT_LADDER, timedelta()) < timedelta(days=4)


async def test_410_disables_what_waits_for_that_receiver(house: House, at: Receiver) -> None:
    at.script = [answer("503 Service Unavailable"), answer("410 Gone")]
    await asked_for(house, at, "m1")
    async with calling(house, at), house.dispatching():
        await house.decided()

        async def waits() -> bool:
            found = "SELECT status = 'queued' AND attempts = 1 FROM calls"
            return bool(await house.pool.fetchval(found))

        await until(waits)
        await asked_for(house, at, "m2")
        house.ring()
        ended = await over(house.pool, 2)
        assert sorted(ended) == [("dropped", "rejected"), ("failed", "rejected")]
    assert len(at.requests) == 2


async def test_a_private_address_is_not_called(house: House, at: Receiver) -> None:
    await asked_for(house, at)
    await house.pool.execute("UPDATE messages SET receipts_to = 'https://169.254.169.254/latest'")
    async with calling(house, at), house.dispatching():
        assert await over(house.pool) == [("failed", "undeliverable")]
    assert not at.requests


async def test_an_erased_customer_s_receipts_are_not_sent(house: House, at: Receiver) -> None:
    await asked_for(house, at)
    await house.pool.execute("UPDATE messages SET erased = true, status = 'attempting',"
                             " claimed_by = 'd', attempts = 1")  # fmt: skip
    await Receipts(house.pool, PARTITIONS).keep([Report("m1", "delivered")], house.clock.now())
    assert await house.pool.fetchval("SELECT count(*) FROM calls") == 0
