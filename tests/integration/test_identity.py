"""Two ids of one customer, on a real log and database: partitions, workers and a relay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.journey import moving
from services.journey.core.state import State, unpack
from shared.clock import wall_clock
from shared.event import Event, outcome_event, partition_of
from shared.log.outbox import Relay
from tests.conftest import PARTITIONS
from tests.integration.test_journey_worker import House, house, track

__all__ = ["house"]

CART = """
journey: cart
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
goal: {event: Bought, where: event.cart == trigger.cart, within: 3d, value: event.total}
steps:
  - {send: email, template: hello, id: nudge}
  - wait: 1h
  - {send: email, template: hello, id: again}
"""
SLOW = """
journey: slow
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought}]
steps:
  - wait: 1h
  - {send: email, template: hello, id: later}
"""
ANON, USER = "anon-1", "user-1"


def elsewhere(of: str) -> str:
    """A customer id in another partition."""
    place = partition_of(of, PARTITIONS)
    return next(
        name
        for name in (f"anon-{number}" for number in range(100))
        if partition_of(name, PARTITIONS) != place
    )


def guest(name: str, anonymous_id: str, **properties: Any) -> Event:
    event = track(name, **properties)
    return msgspec.structs.replace(event, user_id=None, anonymous_id=anonymous_id)


def identify(user: str, anonymous_id: str | None, **traits: Any) -> Event:
    event = track("", user)
    return msgspec.structs.replace(event, kind="identify", anonymous_id=anonymous_id, traits=traits)


@asynccontextmanager
async def relaying(house: House) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    relay = Relay(house.pool, house.log, asyncio.Event())

    async def run() -> None:
        while not stopping.is_set():
            if not await relay.step():
                await asyncio.sleep(0.01)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        stopping.set()
        await task


async def settled(house: House) -> None:
    await house.until(
        "SELECT NOT EXISTS (SELECT FROM log_outbox)"
        " AND (SELECT bool_and(p.log_offset = h.next_offset - 1)"
        "      FROM partitions p JOIN log_heads h ON h.partition = p.id)"
    )


async def state_of(house: House, customer: str) -> State:
    raw = await house.pool.fetchval("SELECT state FROM customers WHERE id = $1", customer)
    return unpack(raw)


async def test_a_guest_who_logs_in_takes_everything_along(house: House) -> None:
    await house.publish(cart=CART, slow=SLOW)
    anon, pool = elsewhere(USER), house.pool
    async with relaying(house), house.running(house.worker("w1"), house.worker("w2")):
        await house.log.append([guest("Added", anon, cart="c1"), guest("Viewed", anon)])
        anonymous = identify(USER, None, email="a@shop.example", consent={"email": True})
        await house.log.append(
            [msgspec.structs.replace(anonymous, user_id=None, anonymous_id=anon)]
        )
        await settled(house)
        before = await pool.fetchrow("SELECT id, run_id, created_at FROM messages")
        await house.log.append([identify(USER, anon, tier="gold")])
        await settled(house)
        assert await pool.fetchval("SELECT forwarded_to FROM customers WHERE id = $1", anon) == USER
        traits = await pool.fetchval("SELECT traits FROM customers WHERE id = $1", USER)
        assert traits == {"email": "a@shop.example", "tier": "gold", "consent": {"email": True}}
        moved = await state_of(house, USER)
        assert [run.journey for run in moved.runs] == ["cart", "slow"]
        assert (await state_of(house, anon)).runs == ()
        row = await pool.fetchrow("SELECT * FROM messages")
        assert before is not None
        assert row is not None
        assert (row["id"], row["run_id"], row["created_at"]) == tuple(before)
        assert (row["customer"], row["partition"]) == (USER, partition_of(USER, PARTITIONS))
        names = await pool.fetch("SELECT name FROM history WHERE customer = $1", USER)
        happened = ["", "", "Added", "Consent Changed", "Viewed"]
        assert sorted(row["name"] for row in names) == happened
        assert not await pool.fetchval("SELECT count(*) FROM history WHERE customer = $1", anon)
        consents = await pool.fetch("SELECT customer, channel, granted FROM consents")
        assert [tuple(row) for row in consents] == [(USER, "email", True)]
        assert await pool.fetchval("SELECT customer FROM consent_ledger") == USER
        # What still comes for the anonymous id is the user's: it ends the run and its message.
        await house.log.append([guest("Bought", anon, cart="c1", total=5)])
        await settled(house)
        assert (await state_of(house, USER)).runs == ()
        assert await house.messages() == [("nudge", "decided", "run_ended")]
        assert await pool.fetchval("SELECT value FROM conversions") == 5


async def test_a_message_with_an_attempt_stays_and_its_outcome_reaches_the_run(
    house: House,
) -> None:
    await house.publish(cart=CART)
    anon, pool = elsewhere(USER), house.pool
    async with relaying(house), house.running():
        said = identify(USER, None, email="a@shop.example", consent={"email": True})
        said = msgspec.structs.replace(said, user_id=None, anonymous_id=anon)
        await house.log.append([said, guest("Added", anon, cart="c1")])
        await settled(house)
        message = await pool.fetchrow("SELECT id, run_id FROM messages")
        await pool.execute(
            "UPDATE messages SET status = 'attempting', attempts = 1, claimed_by = 'd',"
            " claim_until = now() + interval '1 minute'"
        )
        await pool.execute(
            "INSERT INTO cap_places SELECT partition, customer, id, now(), category, 'email'"
            " FROM messages"
        )
        await house.log.append([identify(USER, anon)])
        await settled(house)
        assert await pool.fetchval("SELECT customer FROM messages") == anon
        kept = "SELECT traits ->> 'email' FROM customers WHERE id = $1"
        assert await pool.fetchval(kept, anon) == "a@shop.example"  # a retry still needs it
        places = await pool.fetch("SELECT customer FROM cap_places ORDER BY customer")
        assert [row["customer"] for row in places] == sorted([anon, USER])
        await pool.execute(
            "UPDATE messages SET status = 'decided', decision = 'failed', decided_at = now(),"
            " claimed_by = NULL, claim_until = NULL"
        )
        assert message is not None
        told = outcome_event(
            message_id=message["id"], customer=anon, at=wall_clock(), step="nudge",
            run_id=message["run_id"], decision="failed", reason="rejected", channel="email",
        )  # fmt: skip
        await house.log.append([told, told])
        await settled(house)
        (run,) = (await state_of(house, USER)).runs
        assert run.steps["nudge"].outcome == "failed"
        assert await pool.fetchval(kept, anon) is None
        assert not await pool.fetchval("SELECT count(*) FROM consents WHERE customer = $1", anon)
        assert not await pool.fetchval("SELECT count(*) FROM cap_places")


async def test_a_long_history_is_carried_in_parts(house: House) -> None:
    await house.publish(cart=CART)
    anon, pool, n = elsewhere(USER), house.pool, moving.CARRIED_EVENTS * 2 + 7
    async with relaying(house), house.running():
        for first in range(0, n, 250):
            some = [
                guest("Viewed", anon, n=k, text="x" * 900)
                for k in range(first, min(n, first + 250))
            ]
            await house.log.append(some)
        await house.log.append([identify(USER, anon)])
        await settled(house)
        assert (
            await pool.fetchval("SELECT count(*) FROM history WHERE customer = $1", USER) == n + 1
        )
        assert not await pool.fetchval("SELECT count(*) FROM history WHERE customer = $1", anon)
        longest = await pool.fetchval("SELECT max(length(payload)) FROM log")
        assert longest < 300_000
