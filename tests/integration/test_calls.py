"""Calls over real connections, from a row in the database to the outcome in the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.dispatch.calls.caller import Caller
from services.dispatch.database import open_dispatch_pool
from services.dispatch.policy.retry import LADDER
from shared import call
from shared.clock import wall_clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import Event, answer_event, decode_unstamped
from shared.standard_webhooks import read_secrets
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, HandClock
from tests.integration.test_identity import USER, elsewhere, guest, identify, relaying, settled
from tests.integration.test_journey_worker import House as EngineHouse
from tests.integration.test_journey_worker import house as engine
from tests.integration.test_journey_worker import track
from tests.patience import SOON, stretched
from tests.receiving import (
    SECRET,
    Act,
    Receiver,
    answer,
    drip,
    flood,
    hang,
    hang_up,
    receiver,
)

__all__ = ["engine"]
AGAIN = LADDER[0] * 2


@dataclass
class House:
    pool: Pool
    dsn: str
    clock: HandClock = field(default_factory=HandClock)
    wakeups: Wakeups = field(init=False)

    def __post_init__(self) -> None:
        self.wakeups = Wakeups(self.dsn, [call.CHANNEL])

    def move(self, by: timedelta) -> None:
        """The callers cannot know that a clock was moved by hand."""
        self.clock.move(by)
        self.wakeups.ring(call.CHANNEL)

    async def call(self, url: str, name: str = "c1", **fields: Any) -> None:
        row = {
            "partition": 0, "id": name, "customer": "ann", "run_id": f"run of {name}",
            "journey": "welcome", "version": 1, "step": "ask", "url": url,
            "host": call.host_of(url), "body": json.dumps({"for": name}).encode(),
            "timeout": timedelta(seconds=10), "created_at": NOON, "not_before": NOON,
            "status": "queued", **fields,
        }  # fmt: skip
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.pool.execute(
            f"INSERT INTO calls ({', '.join(row)}) VALUES ({marks})", *row.values()
        )

    def caller(self, at: Receiver, **options: Any) -> Caller:
        return Caller(
            self.pool,
            self.clock,
            self.wakeups,
            **{
                "partitions": PARTITIONS,
                "secrets": read_secrets(SECRET, "X"),
                "private_hosts": [at.host],
                "concurrency": 8,
                **options,
            },
        )

    @asynccontextmanager
    async def calling(self, caller: Caller) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        task = asyncio.create_task(caller.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await task

    async def until(self, condition: str, *arguments: Any) -> None:
        async with asyncio.timeout(SOON):
            while not await self.pool.fetchval(f"SELECT {condition}", *arguments):
                await asyncio.sleep(0.01)

    async def decided(self, name: str = "c1") -> dict[str, Any]:
        await self.until("status = 'decided' FROM calls WHERE id = $1", name)
        row = await self.pool.fetchrow("SELECT * FROM calls WHERE id = $1", name)
        assert row is not None
        return dict(row)

    async def queued_again(self, attempts: int = 1) -> timedelta:
        """When it is tried again, from now."""
        await self.until("status = 'queued' AND attempts = $1 FROM calls", attempts)
        at = await self.pool.fetchval("SELECT not_before FROM calls")
        wait: timedelta = at - self.clock.now()
        return wait

    async def told(self) -> list[Event]:
        rows = await self.pool.fetch("SELECT payload FROM log_outbox ORDER BY place")
        return [decode_unstamped(row["payload"]) for row in rows]


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    pool = await open_dispatch_pool(dsn, size=10)
    yield House(pool, dsn)
    await pool.close()


async def test_a_call_is_signed_and_its_answer_told(house: House) -> None:
    async with receiver() as at:
        at.otherwise = answer(body=b'{"code": "SUMMER"}')
        await house.call(at.url("/stock?a=1"))
        async with house.calling(house.caller(at)):
            row = await house.decided()
    (request,) = at.requests
    assert request.is_signed()
    assert request.headers["webhook-id"] == "c1"
    assert request.path == "/stock?a=1"
    assert json.loads(request.body) == {"for": "c1"}
    assert (row["outcome"], row["reason"], row["attempts"]) == ("sent", None, 1)
    assert row["body"] == b"", "what was given along is not kept longer than it is needed"
    (event,) = await house.told()
    assert (event.id, event.kind, event.customer) == ("c1:answered", "outcome", "ann")
    assert event.properties == {
        "call_id": "c1", "run_id": "run of c1", "step": "ask", "outcome": "sent",
        "reason": None, "response": {"code": "SUMMER"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (answer("404 Not Found"), "rejected"),
        (answer("302 Found", location="http://169.254.169.254/latest/meta-data"), "rejected"),
        (answer(body=b'{"half": '), "bad_answer"),
        (flood, "bad_answer"),
        (answer(body=b'"' + b"a" * 16_384 + b'"'), "bad_answer"),
    ],
)
async def test_what_trying_again_would_not_mend_fails_at_once(
    house: House, act: Act, reason: str
) -> None:
    async with receiver() as at:
        at.otherwise = act
        await house.call(at.url())
        async with house.calling(house.caller(at)):
            row = await house.decided()
    assert (row["outcome"], row["reason"], row["attempts"]) == ("failed", reason, 1)
    assert len(at.requests) == 1
    (event,) = await house.told()
    assert (event.properties["outcome"], event.properties["response"]) == ("failed", None)


@pytest.mark.parametrize(
    "act", [answer("500 Oh No"), answer("429 Slow Down"), hang, drip, hang_up, b"\0garbage\r\n\r\n"]
)
async def test_what_may_mend_itself_is_tried_again_under_the_same_id(
    house: House, act: Act
) -> None:
    silent = act in (hang, drip)
    async with receiver() as at:
        at.script = [act]
        await house.call(at.url(), timeout=timedelta(seconds=stretched(0.5) if silent else SOON))
        async with house.calling(house.caller(at)):
            assert LADDER[0] <= await house.queued_again() <= LADDER[0] * 1.25
            assert await house.told() == []
            house.move(AGAIN)
            row = await house.decided()
    assert (row["outcome"], row["attempts"]) == ("sent", 2)
    first, second = at.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "c1"
    assert first.body == second.body
    assert second.is_signed()
    assert len(await house.told()) == 1


async def test_a_receiver_that_asks_for_patience_gets_it(house: House) -> None:
    async with receiver() as at:
        at.script = [answer("503 Busy", retry_after="600")]
        await house.call(at.url())
        async with house.calling(house.caller(at)):
            assert await house.queued_again() == timedelta(seconds=600)


async def test_after_the_last_try_the_call_has_failed(house: House) -> None:
    async with receiver() as at:
        at.otherwise = answer("500 Oh No")
        await house.call(at.url())
        async with house.calling(house.caller(at)):
            for attempts in range(1, len(LADDER) + 1):
                house.move(await house.queued_again(attempts))
            row = await house.decided()
    assert (row["outcome"], row["reason"]) == ("failed", "retries_exhausted")
    assert row["attempts"] == len(at.requests) == len(LADDER) + 1
    assert row["detail"] == "HTTP 500"


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "https://localhost:{port}/"])
async def test_a_private_address_is_refused_unless_the_operator_has_named_it(
    house: House, url: str
) -> None:
    async with receiver() as at:
        await house.call(url.format(port=at.port))
        async with house.calling(house.caller(at, private_hosts=())):
            row = await house.decided()
        assert at.requests == []
    assert (row["outcome"], row["reason"]) == ("failed", "undeliverable")


async def test_a_receiver_that_hangs_leaves_room_for_the_others(house: House) -> None:
    async with receiver() as slow, receiver() as quick:
        slow.otherwise = hang
        for number in range(20):
            await house.call(slow.url(), f"s{number}")
        await house.call(quick.url(), "q", not_before=NOON + timedelta(microseconds=1))
        house.move(timedelta(seconds=1))
        caller = house.caller(slow, private_hosts=[slow.host, quick.host], lease=1.0)
        async with house.calling(caller):
            assert (await house.decided("q"))["outcome"] == "sent"
            assert len(slow.requests) <= 2  # a quarter of the eight places


async def test_calls_wait_without_a_secret_and_for_a_paused_journey(house: House) -> None:
    async with receiver() as at:
        await house.call(at.url())
        with capture_logs() as said:
            async with house.calling(house.caller(at, secrets=())), asyncio.timeout(SOON):
                while not said:
                    await asyncio.sleep(0.01)
        assert said[0]["action"] == "calls_unsigned"
        assert at.requests == []
        await house.pool.execute("INSERT INTO journeys VALUES ('welcome', 'paused')")
        async with house.calling(house.caller(at)):
            await house.call(at.url(), "other", journey="open")
            await house.decided("other")
            assert [request.headers["webhook-id"] for request in at.requests] == ["other"]
            await house.pool.execute("UPDATE journeys SET status = 'active'")
            house.wakeups.ring(call.CHANNEL)
            await house.decided()


async def test_what_a_lost_caller_had_in_its_hands_is_made_again(house: House) -> None:
    async with receiver() as at:
        gone: dict[str, Any] = {"status": "attempting", "claimed_by": "gone", "attempts": 1}
        await house.call(at.url(), **gone, claim_until=NOON - timedelta(days=9999))
        await house.call(at.url(), "c2", **gone, claim_until=NOON + timedelta(days=9999))
        async with house.calling(house.caller(at)):
            await house.until("status = 'queued' FROM calls WHERE id = 'c1'")
            house.move(AGAIN)
            assert (await house.decided("c1"))["attempts"] == 2
        assert [request.headers["webhook-id"] for request in at.requests] == ["c1"]
        await house.caller(at).settle_all()
        assert await house.pool.fetchval("SELECT status FROM calls WHERE id = 'c2'") == "queued"


async def test_the_last_try_of_a_lost_caller_ends_the_call(house: House) -> None:
    await house.call(
        "https://shop.example/", status="attempting", claimed_by="gone",
        attempts=len(LADDER) + 1, claim_until=NOON - timedelta(days=9999),
    )  # fmt: skip
    async with receiver() as at:
        await house.caller(at).settle_all()
    assert (await house.decided())["reason"] == "retries_exhausted"
    assert len(await house.told()) == 1


async def test_two_callers_never_make_one_try_twice(house: House) -> None:
    async with receiver() as at:
        for number in range(40):
            await house.call(at.url(), f"c{number}")
        async with house.calling(house.caller(at)), house.calling(house.caller(at)):
            await house.until("count(*) = 40 FROM calls WHERE status = 'decided'")
    assert sorted(r.headers["webhook-id"] for r in at.requests) == sorted(
        f"c{number}" for number in range(40)
    )
    assert len(await house.told()) == 40


async def test_a_call_that_has_been_withdrawn_meanwhile_tells_nothing(house: House) -> None:
    """The exit's transaction won while nobody had the call; a late store changes nothing."""
    async with receiver() as at:

        async def withdraw(writer: asyncio.StreamWriter) -> None:
            await house.pool.execute(
                "UPDATE calls SET status = 'decided', outcome = 'dropped', reason = 'run_ended',"
                " decided_at = $1, claimed_by = NULL", NOON,
            )  # fmt: skip
            writer.write(answer())

        at.otherwise = withdraw
        await house.call(at.url())
        async with house.calling(house.caller(at)):
            row = await house.decided()
    assert (row["outcome"], row["reason"]) == ("dropped", "run_ended")
    assert await house.told() == []


# From a journey to its row ----------------------------------------------------------------------

ASKING = """
journey: asking
trigger: {event: Added}
exit: [{event: Bought}]
steps:
  - {call: "https://shop.example:8443/stock", id: ask, timeout: 3s, with: {cart: trigger.cart}}
  - {send: email, template: hello, id: nudge}
"""


async def test_a_step_makes_a_row_an_exit_withdraws_it_and_an_answer_moves_the_run(
    engine: EngineHouse,
) -> None:
    await engine.publish(asking=ASKING)
    async with engine.running():
        await engine.log.append([track("Added", "ann", cart="c1"), track("Added", "bob")])
        await engine.until("SELECT count(*) = 2 FROM calls WHERE status = 'queued'")
        row = await engine.pool.fetchrow("SELECT * FROM calls WHERE customer = 'ann'")
        assert row is not None
        assert (row["url"], row["host"]) == ("https://shop.example:8443/stock", "shop.example:8443")
        assert (row["timeout"], row["attempts"]) == (timedelta(seconds=3), 0)
        data = json.loads(row["body"])["data"]
        assert data == {
            "customer": "ann", "journey": "asking", "step": "ask", "run": row["run_id"],
            "with": {"cart": "c1"},
        }  # fmt: skip
        await engine.log.append([track("Bought", "bob")])
        await engine.until(
            "SELECT outcome = 'dropped' AND reason = 'run_ended' AND body = ''"
            " FROM calls WHERE customer = 'bob'"
        )
        told = answer_event(
            call_id=row["id"], customer="ann", at=wall_clock(), step="ask", run_id=row["run_id"],
            outcome="sent", reason=None, response={"left": 3},
        )  # fmt: skip
        await engine.log.append([told, told])
        await engine.until("SELECT count(*) = 1 FROM messages WHERE customer = 'ann'")


@pytest.mark.parametrize("tried", [False, True])
async def test_a_call_goes_along_with_its_customer_or_its_answer_does(
    engine: EngineHouse, tried: bool
) -> None:
    await engine.publish(asking=ASKING)
    anon, pool = elsewhere(USER), engine.pool
    async with relaying(engine), engine.running():
        await engine.log.append([guest("Added", anon, cart="c1")])
        await engine.until("SELECT count(*) = 1 FROM calls")
        if tried:
            await pool.execute(
                "UPDATE calls SET status = 'attempting', claimed_by = 'c', attempts = 1,"
                " claim_until = now()"
            )
        await engine.log.append([identify(USER, anon)])
        await settled(engine)
        row = await pool.fetchrow("SELECT id, customer, run_id, body FROM calls")
        assert row is not None
        assert row["customer"] == (anon if tried else USER)
        assert b"c1" in row["body"]
        told = answer_event(
            call_id=row["id"], customer=row["customer"], at=wall_clock(), step="ask",
            run_id=row["run_id"], outcome="sent", reason=None, response=None,
        )  # fmt: skip
        await engine.log.append([told])
        await engine.until("SELECT count(*) = 1 FROM messages WHERE customer = $1", USER)


async def test_a_moved_call_that_no_run_waits_for_is_withdrawn(engine: EngineHouse) -> None:
    await engine.publish(asking=ASKING)
    anon = elsewhere(USER)
    async with relaying(engine), engine.running():
        await engine.log.append([guest("Added", anon), track("Added", USER)])
        await engine.until("SELECT count(*) = 2 FROM calls")
        await engine.log.append([identify(USER, anon)])
        await settled(engine)
        rows = await engine.pool.fetch("SELECT outcome FROM calls WHERE customer = $1", USER)
        assert sorted(row["outcome"] or "" for row in rows) == ["", "dropped"]


async def test_while_the_log_is_behind_a_call_is_not_offered(engine: EngineHouse) -> None:
    """The exit that waits in the log prevents it."""
    await engine.publish(asking=ASKING)
    events = [track("Added"), *(track("Viewed") for _ in range(5)), track("Bought")]
    await engine.log.append(events)
    seen: set[str] = set()
    async with engine.running(engine.worker(batch=1)):
        async with asyncio.timeout(SOON):
            while "decided" not in seen:
                seen |= {r["status"] for r in await engine.pool.fetch("SELECT status FROM calls")}
    assert "queued" not in seen
    assert await engine.pool.fetchval("SELECT attempts FROM calls") == 0
