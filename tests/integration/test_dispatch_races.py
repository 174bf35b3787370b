"""Several dispatchers, withdrawals, kills, a lost database: once, in order, or unknown."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.dispatch import store, worker
from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.turns import Turn
from services.dispatch.worker import Dispatcher
from shared.db.connect import LOST
from shared.errors import Unavailable
from tests.integration.dispatching import NOON, House, until
from tests.patience import SOON

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


class Gate:
    """A provider's answer that waits to be let through."""

    def __init__(self, outcome: Outcome = Outcome.ACCEPTED) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._outcome = outcome

    async def __call__(self, message: Outgoing) -> Result:
        self.reached.set()
        await self.open.wait()
        return Result(self._outcome)


async def test_two_dispatchers_and_one_place_make_one_message(house: House) -> None:
    await house.publish(policies={"frequency_caps": [{"limit": 1, "per": "24h"}]})
    people = [f"c{number}" for number in range(25)]
    for person in people:
        await house.customer(person)
        for number in range(3):
            await house.message(f"{person}-{number}", customer=person, priority=number)
    names = [f"{person}-{number}" for person in people for number in range(3)]
    async with house.dispatching(*(house.dispatcher(concurrency=6) for _ in range(3))):
        await house.decided(*names)
    assert sorted(house.provider.ids) == [f"{person}-2" for person in sorted(people)]
    reasons = await house.pool.fetch("SELECT reason, count(*) AS n FROM messages GROUP BY 1")
    assert {row["reason"]: row["n"] for row in reasons} == {None: 25, "frequency_cap": 50}
    assert len(await house.places()) == 25


async def test_many_dispatchers_send_each_message_once_and_in_order(house: House) -> None:
    names = []
    for person in ("ann", "bob", "eve"):
        await house.customer(person)
        for number in range(20):
            names.append(f"{person}-{number:02}")
            await house.message(names[-1], customer=person, at=NOON + number * MINUTE)
    house.clock.move(timedelta(days=1))
    house.provider.answers["ann-03"] = [Outcome.REJECTED_MESSAGE]
    async with house.dispatching(*(house.dispatcher(concurrency=4) for _ in range(4))):
        await house.decided(*names)
    assert sorted(house.provider.ids) == names
    for person in ("ann", "bob", "eve"):
        own = [name for name in house.provider.ids if name.startswith(person)]
        assert own == sorted(own)
    assert await house.pool.fetchval("SELECT max(number) FROM attempts") == 1


async def test_a_place_that_another_is_just_taking_is_waited_for(house: House) -> None:
    """A message that came in behind his claim stands before his in the order: only the customer's
    lock keeps the two decisions apart."""
    await house.publish(policies={"frequency_caps": [{"limit": 1, "per": "24h"}]})
    await house.message("m1")
    async with house.pool.acquire() as another:
        deciding = another.transaction()
        await deciding.start()
        await another.execute("SELECT pg_advisory_xact_lock(hashtextextended('ann', 0))")
        async with house.dispatching():
            await until(house.somebody_waits)
            await another.execute(
                "INSERT INTO cap_places VALUES (0, 'ann', 'm0', $1, 'marketing', 'sms')", NOON
            )
            await deciding.commit()
            assert await house.decided() == [("dropped", "frequency_cap", "email")]


async def test_calls_under_way_are_never_more_than_the_concurrency(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    names = [f"m{number}" for number in range(20)]
    for name in names:
        await house.customer(name)
        await house.message(name, customer=name)
    attempting = "SELECT count(*) FROM messages WHERE status = 'attempting'"
    async with house.dispatching(concurrency=5):

        async def full() -> bool:
            return len(house.provider.sent) == 5

        await until(full)
        for _ in range(20):
            assert await house.pool.fetchval(attempting) == 5
        gate.open.set()
        await house.decided(*names)


async def test_a_message_waits_for_an_earlier_one_in_other_hands(house: House) -> None:
    await house.message("first")
    await house.message("second", at=NOON + timedelta(seconds=1))
    await house.message("other", customer="bob", at=NOON + timedelta(seconds=2))
    await house.customer("bob")
    house.clock.move(MINUTE)
    async with house.pool.acquire() as another, another.transaction():
        await another.execute("SELECT FROM messages WHERE id = 'first' FOR UPDATE")
        async with house.dispatching():
            await house.decided("other")
            assert (await house.row("second"))["status"] == "queued"
    async with house.dispatching():
        await house.decided("first", "second")
    assert house.provider.ids == ["other", "first", "second"]


WITHDRAW = """
UPDATE messages SET status = 'decided', decision = 'dropped', reason = 'run_ended',
  decided_at = $1, claimed_by = NULL, claim_until = NULL
WHERE id = 'm1' AND status IN ('staged', 'queued') RETURNING id
"""


async def test_an_exit_that_is_being_stored_is_not_waited_for_and_wins(house: House) -> None:
    """The engine's batch holds the row; the later message of the customer waits its turn."""
    await house.publish(policies={"frequency_caps": [{"limit": 1, "per": "24h"}]})
    await house.message("m1")
    await house.message("m2", at=NOON + timedelta(seconds=1))
    house.clock.move(MINUTE)
    turns = house.dispatcher()._turns
    async with house.pool.acquire() as engine, engine.transaction():
        await engine.execute(WITHDRAW, NOON)
        turn = Turn([], 5)
        async with asyncio.timeout(SOON):
            await turns.carry_out(turn)
        assert (turn.attempts, turn.changes, turn.more) == ([], [], False)
    assert (await house.decision("m1"))[:2] == ("dropped", "run_ended")
    await turns.carry_out(turn)
    (attempt,) = turn.attempts
    assert attempt.outgoing.message_id == "m2", "the withdrawn one has taken no place"


async def test_an_exit_waits_for_an_attempt_that_is_being_stored_and_is_too_late(
    house: House,
) -> None:
    await house.message("m1")
    async with house.pool.acquire() as ours:
        transaction = ours.transaction()
        await transaction.start()
        await store.claim(ours, NOON, 1)
        withdrawing = asyncio.create_task(house.pool.fetchval(WITHDRAW, NOON))
        await until(house.somebody_waits)
        await ours.execute(
            "UPDATE messages SET status = 'attempting', claimed_by = 'me' WHERE id = 'm1'"
        )
        await transaction.commit()
    assert await withdrawing is None


async def test_an_exit_is_too_late_once_the_attempt_is_recorded(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    await house.message()
    async with house.dispatching():
        await gate.reached.wait()
        assert await house.pool.fetchval(WITHDRAW, NOON) is None
        gate.open.set()
        assert await house.decided() == [("sent", None, "email")]


async def test_a_lost_dispatchers_call_is_unknown_and_never_made_again(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    await house.message("m1", channels=("email", "sms"))
    running = asyncio.create_task(house.dispatcher(lease=1.0).run(asyncio.Event()))
    await gate.reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await house.row())["status"] == "attempting"
    house.provider.otherwise = Outcome.ACCEPTED
    async with house.dispatching(lease=1.0):
        assert await house.decided() == [("unknown", None, "email")]
        await house.message("m2")
        house.ring()
        await house.decided("m2")
    assert house.provider.ids == ["m1", "m2"]
    (attempt,) = await house.attempts()
    assert (attempt["outcome"], attempt["finished_at"]) == ("unknown", NOON)
    (event,) = [e for e in await house.events() if e.properties["message_id"] == "m1"]
    assert event.properties["decision"] == "unknown"
    assert [place[0] for place in await house.places()] == ["m1", "m2"], "it may have been sent"


async def test_where_the_provider_deduplicates_an_unknown_is_sent_again(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    house.provider.deduplicates = True
    await house.message()
    running = asyncio.create_task(house.dispatcher(lease=1.0).run(asyncio.Event()))
    await gate.reached.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    house.provider.otherwise = Outcome.ACCEPTED
    async with house.dispatching(lease=1.0):
        house.move_to((await house.held())["not_before"])
        assert await house.decided() == [("sent", None, "email")]
    assert [a["outcome"] for a in await house.attempts()] == ["unknown", "accepted"]


async def test_the_only_process_settles_all_at_its_start(house: House) -> None:
    await house.message("m1")
    await house.message("m2", customer="bob")
    await house.pool.execute(
        "UPDATE messages SET status = 'attempting', attempts = 1, channel = 'email',"
        " claimed_by = 'before', claim_until = clock_timestamp() + interval '1 hour'"
        " WHERE id = 'm1'"
    )
    await house.dispatcher().settle_all()
    assert await house.decision("m1") == ("unknown", None, "email")
    assert (await house.row("m2"))["status"] == "queued"
    assert len(await house.events()) == 1


async def test_a_long_call_keeps_its_lease(house: House) -> None:
    async def slow(message: Outgoing) -> Result:
        await asyncio.sleep(2)
        return Result(Outcome.ACCEPTED)

    house.provider.otherwise = slow
    await house.message()
    dispatchers = [house.dispatcher(lease=0.9) for _ in range(2)]
    async with house.dispatching(*dispatchers):
        assert await house.decided() == [("sent", None, "email")]
    assert len(house.provider.sent) == 1


async def test_an_adapter_that_never_answers_is_given_up(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    await house.message()
    async with house.dispatching(lease=0.5):
        assert await house.decided() == [("unknown", None, "email")]


async def test_stopping_finishes_the_calls_under_way(house: House) -> None:
    gate = Gate()
    house.provider.otherwise = gate
    await house.message("m1")
    async with house.dispatching():
        await gate.reached.wait()
        await house.message("m2", customer="bob")
        await house.customer("bob")
        asyncio.get_running_loop().call_later(0.3, gate.open.set)
    assert await house.decision("m1") == ("sent", None, "email")
    assert house.provider.closed == 1
    left = await house.pool.fetch("SELECT id FROM messages WHERE status = 'attempting'")
    assert left == []


async def test_an_outcome_survives_a_database_that_goes_away(house: House) -> None:
    async def cut(message: Outgoing) -> Result:
        connection = await house.pool.acquire()
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await house.pool.release(connection)
        return Result(Outcome.ACCEPTED)

    house.provider.answers["m1"] = [cut]
    await house.message()
    async with house.dispatching():

        async def decided() -> bool:
            try:
                return (await house.decision())[0] == "sent"
            except LOST:
                return False

        await until(decided)
    assert len(house.provider.sent) == 1


async def test_nobody_is_called_after_a_commit_whose_answer_was_lost(house: House) -> None:
    """The attempt may stand in the database; it is taken back, and then made."""
    await house.message()
    turn = Turn([], 5)
    await house.dispatcher(dispatcher_id="mine")._turns.carry_out(turn)  # the answer is lost
    await store.release(house.pool, "mine", turn.attempts)
    row = await house.row()
    assert (row["status"], row["attempts"]) == ("queued", 1)
    async with house.dispatching():
        assert await house.decided() == [("sent", None, "email")]
    assert [a["outcome"] for a in await house.attempts()] == ["broken_connection", "accepted"]


async def test_a_turn_that_was_not_stored_takes_back_no_attempt_of_the_other_lane(
    house: House,
) -> None:
    """The database dies before a commit; when it is back the dispatcher's other lane is the first
    to attempt the message, and its provider is being called as the first lane lets go."""
    await house.message()
    turns = house.dispatcher(dispatcher_id="mine")._turns
    lost, made = Turn([], 1), Turn([], 1)
    await turns.carry_out(lost)
    await house.pool.execute("DELETE FROM attempts")  # as the server has it behind a rollback
    await house.pool.execute(
        "UPDATE messages SET status = 'queued', attempts = 0, claimed_by = NULL, claim_until = NULL"
    )
    house.clock.move(timedelta(seconds=1))
    await turns.carry_out(made)
    assert [a.number for a in (*lost.attempts, *made.attempts)] == [1, 1]
    await store.release(house.pool, "mine", lost.attempts)
    assert (await house.row())["status"] == "attempting"
    await turns.carry_out(Turn([(made.attempts[0], Result(Outcome.ACCEPTED))], 0))
    assert await house.decision() == ("sent", None, "email")
    assert [a["outcome"] for a in await house.attempts()] == ["accepted"]


async def test_a_late_answer_is_not_taken_for_a_later_attempts(house: House) -> None:
    await house.message()
    turns = house.dispatcher(dispatcher_id="mine")._turns
    first, second = Turn([], 1), Turn([], 1)
    await turns.carry_out(first)
    await store.release(house.pool, "mine", first.attempts)
    await turns.carry_out(second)
    late = Turn([(first.attempts[0], Result(Outcome.REJECTED_MESSAGE))], 0)
    await turns.carry_out(late)
    assert late.changes == []
    assert (await house.row())["status"] == "attempting"
    await turns.carry_out(Turn([(second.attempts[0], Result(Outcome.ACCEPTED))], 0))
    assert await house.decision() == ("sent", None, "email")


def losing_answers(dispatcher: Dispatcher, *turns: int) -> None:
    """The commits of these turns (counted from 1) succeed, and their answers are lost."""
    carry_out, count = dispatcher._turns.carry_out, itertools.count(1)

    async def carry_out_and_lose(turn: Turn) -> None:
        await carry_out(turn)
        if next(count) in turns:
            raise Unavailable("the connection was lost")

    dispatcher._turns.carry_out = carry_out_and_lose  # type: ignore[method-assign]


@pytest.mark.parametrize("withdrawn", [True, False])
async def test_a_consent_that_cannot_be_read_is_read_again(house: House, withdrawn: bool) -> None:
    """Neither sent without it nor dropped for the lack of it."""
    await house.publish(policies={"consent": "required"})
    await house.customer(consents={"email": True})
    await house.message()
    async with house.pool.acquire() as other:
        closed = other.transaction()
        await closed.start()
        await other.execute("LOCK TABLE consents IN ACCESS EXCLUSIVE MODE")
        async with house.dispatching():
            await until(house.somebody_waits)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if withdrawn:
                await other.execute("UPDATE consents SET granted = false")
            assert (await house.row())["status"] == "queued"
            assert house.provider.ids == []
            await closed.commit()
            decided = ("dropped", "unsubscribed", "email") if withdrawn else ("sent", None, "email")
            assert await house.decided() == [decided]
    assert house.provider.ids == ([] if withdrawn else ["m1"])


async def test_attempts_in_doubt_are_taken_back_and_their_places_too(house: House) -> None:
    await house.message("m1")
    await house.message("m2", at=NOON + MINUTE)
    house.clock.move(MINUTE)
    dispatcher = house.dispatcher(concurrency=1)
    losing_answers(dispatcher, 1)
    async with house.dispatching(dispatcher):
        await house.decided("m1", "m2")
    assert house.provider.ids == ["m1", "m2"], "each was called once, and in order"
    assert [a["outcome"] for a in await house.attempts()] == ["broken_connection", "accepted"]
    assert (dispatcher._free, dispatcher._held) == (1, set())


async def test_an_outcome_in_doubt_is_stored_again_and_told_once(house: House) -> None:
    await house.message("m1")
    dispatcher = house.dispatcher(concurrency=1)
    losing_answers(dispatcher, 2)
    async with house.dispatching(dispatcher):
        await house.decided("m1")
        await house.message("m2")
        house.ring()
        await house.decided("m2")
    assert house.provider.ids == ["m1", "m2"]
    assert len(await house.events()) == 2
    assert (dispatcher._free, dispatcher._held) == (1, set())


async def test_a_call_that_outlasts_the_stop_is_unknown(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_STOP_LIMIT", 0.3)
    gate = Gate()
    house.provider.otherwise = gate
    await house.message()
    async with house.dispatching():
        await gate.reached.wait()
    assert await house.decision() == ("unknown", None, "email")
    assert [a["detail"] for a in await house.attempts()] == ["stopped meanwhile"]


SCRIPT = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from services.dispatch.channels.port import Result, Outcome
from services.dispatch.worker import WAKEUPS, Dispatcher
from shared.db.connect import open_pool
from shared.db.wakeups import Wakeups
from shared.clock import REAL

class Slow:
    name, deduplicates = "slow", False
    async def send(self, message):
        with Path(sys.argv[2]).open("a") as file:
            file.write(message.message_id + "\\n")
        await asyncio.sleep(60)
        return Result(Outcome.ACCEPTED)
    async def close(self):
        pass

async def main():
    pool = await open_pool(sys.argv[1], size=4, name="killed")
    wakeups = Wakeups(sys.argv[1], WAKEUPS)
    dispatcher = Dispatcher(pool, REAL, wakeups, partitions=4, environment={}, lease=3.0,
                            concurrency=4, create=lambda setup: Slow())
    await dispatcher.run(asyncio.Event())

asyncio.run(main())
"""


async def test_a_process_killed_in_the_middle_leaves_unknowns_within_its_bound(
    house: House, tmp_path: Path
) -> None:
    names = [f"m{number}" for number in range(12)]
    for name in names:
        await house.customer(name)
        await house.message(name, customer=name)
    called = tmp_path / "called"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, house.dsn, str(called)), env=os.environ
    )

    async def all_called() -> bool:
        return called.exists() and len(called.read_text().split()) >= 4

    try:
        await until(all_called)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with house.dispatching(lease=1.0):
        decided = dict(zip(names, await house.decided(*names), strict=True))
    unknown = {name for name, decision in decided.items() if decision[0] == "unknown"}
    assert unknown == set(called.read_text().split())
    assert sorted(house.provider.ids) == sorted(set(names) - unknown)
