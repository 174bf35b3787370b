"""The engine on real logs and a database: batches, fence, timers, catching up.

What the log has a part in is held on both logs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.console import publish
from services.console.publish import apply, set_status
from services.journey import partition
from services.journey.batch import Batch
from services.journey.core import spans
from services.journey.core.spans import RESUME_SPREAD
from services.journey.core.state import unpack
from services.journey.library import Library
from services.journey.partition import Engine
from services.journey.store import Store, _fence
from services.journey.worker import Worker
from shared import workspace_store
from shared.clock import REAL, wall_clock
from shared.db.connect import LOST, Pool
from shared.db.wakeups import Wakeups
from shared.event import Event, outcome_event, partition_of
from shared.log import kafka_topic
from shared.log.kafka import KafkaLog
from shared.log.kafka_reader import KafkaLogReader
from shared.log.kafka_settings import KafkaSettings, read_url
from shared.log.outbox import Relay
from shared.log.port import LogReader
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader
from tests.conftest import PARTITIONS
from tests.patience import SOON, in_time, stretched

SETTINGS = """
timezone: UTC
policies: {consent: assumed}
channels:
  email: {adapter: log}
"""
REMINDER = """
journey: reminder
trigger: {event: Added}
entry: {key: event.cart, when_active: restart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
steps:
  - wait: 1s
  - {send: email, template: hello, id: nudge}
  - wait: 1h
  - {send: email, template: hello, id: again}
"""
TEMPLATE = "---\nsubject: Hello\n---\n<p>Hello</p>\n"


def workspace(**journeys: str) -> Mapping[str, bytes]:
    files = {
        "dangol.yaml": SETTINGS,
        "templates/hello/email.liquid": TEMPLATE,
        **{f"journeys/{name}.yaml": text for name, text in journeys.items()},
    }
    return {name: text.encode() for name, text in files.items()}


_numbers = iter(range(1_000_000))

on_both_logs = pytest.mark.parametrize("house", ["postgres", "kafka"], indirect=True)


def track(name: str, customer: str = "u1", **properties: Any) -> Event:
    return Event(
        id=f"m{next(_numbers)}",
        kind="track",
        name=name,
        timestamp=wall_clock(),
        user_id=customer,
        properties=properties,
    )


class House:
    """The parts around a worker, and what a test wants to know."""

    def __init__(self, pool: Pool, wakeups: Wakeups, kafka: KafkaSettings | None = None) -> None:
        self.pool = pool
        self.wakeups = wakeups
        self.kafka = kafka
        self.log: PostgresLog | KafkaLog = (
            PostgresLog(pool, PARTITIONS) if kafka is None else KafkaLog(kafka, PARTITIONS)
        )
        self.readers: list[KafkaLogReader] = []

    async def publish(self, **journeys: str) -> None:
        await apply(self.pool, workspace(**journeys), "test", REAL)

    def worker(self, name: str = "w1", *, batch: int = 500, cache: int = 1000) -> Worker:
        store, library = Store(self.pool), Library(self.pool)
        engine = Engine(name, self.reader(name), store, library, REAL, PARTITIONS, batch, cache)
        return Worker(engine, self.wakeups.listen(workspace_store.CHANNEL))

    def reader(self, name: str) -> LogReader:
        if self.kafka is None:
            return PostgresLogReader(self.pool, self.wakeups, PARTITIONS, name)
        reader = KafkaLogReader(self.kafka, self.pool)
        self.readers.append(reader)
        return reader

    async def close(self) -> None:
        for reader in self.readers:
            await reader.close()
        if isinstance(self.log, KafkaLog):
            await self.log.close()

    @asynccontextmanager
    async def running(self, *workers: Worker) -> AsyncIterator[asyncio.Event]:
        stopping = asyncio.Event()
        tasks = [
            asyncio.create_task(worker.run(stopping)) for worker in workers or (self.worker(),)
        ]
        try:
            yield stopping
        finally:
            stopping.set()
            await asyncio.gather(*tasks)
            for reader in self.readers:
                await reader.close()  # as when a process ends

    async def caught_up(self) -> None:
        ends = await self.log.ends()
        await self.until(
            "SELECT bool_and(log_offset >= ($1::bigint[])[id + 1]) FROM partitions",
            [ends[partition] for partition in range(PARTITIONS)],
        )

    async def until(self, query: str, *arguments: Any) -> None:
        """Poll until the query's value is true."""
        async with asyncio.timeout(SOON):
            while not await self.pool.fetchval(query, *arguments):
                await asyncio.sleep(0.02)

    async def messages(self) -> list[tuple[str, str, str | None]]:
        rows = await self.pool.fetch(
            "SELECT step, status, reason FROM messages ORDER BY created_at"
        )
        return [(row["step"], row["status"], row["reason"]) for row in rows]

    async def counted(self, what: str) -> int:
        n: int = await self.pool.fetchval(
            "SELECT coalesce(sum(n), 0)::int FROM counts WHERE what = $1", what
        )
        return n


@pytest.fixture
async def house(request: pytest.FixtureRequest, pool: Pool, dsn: str) -> AsyncIterator[House]:
    """On the log in Postgres, unless a test asks for Kafka's as well."""
    kafka = None
    if getattr(request, "param", "postgres") == "kafka":
        kafka = read_url(request.getfixturevalue("kafka_url"))
        await kafka_topic.prepare(kafka, PARTITIONS)
    wakeups = Wakeups(dsn, [CHANNEL, workspace_store.CHANNEL])
    stopping = asyncio.Event()
    listening = asyncio.create_task(wakeups.run(stopping))
    house = House(pool, wakeups, kafka)
    yield house
    await house.close()
    stopping.set()
    await listening


@on_both_logs
async def test_a_timer_fires_in_time_and_its_message_is_offered(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.until("SELECT count(*) = 1 FROM messages WHERE status = 'queued'")
        row = await house.pool.fetchrow("SELECT created_at FROM messages")
        received = await house.pool.fetchval("SELECT max(received_at) FROM history")
        assert row is not None
        assert row["created_at"] == received + timedelta(seconds=1), "the due time, not the wake-up"


@on_both_logs
async def test_an_outcome_lets_the_run_go_on_and_arms_the_next_wait(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.until("SELECT count(*) = 1 FROM messages")
        row = await house.pool.fetchrow("SELECT id, run_id FROM messages")
        assert row is not None
        sent_at = wall_clock()
        told = outcome_event(
            message_id=row["id"], customer="u1", at=sent_at, step="nudge", run_id=row["run_id"],
            decision="sent", reason=None, channel="email",
        )  # fmt: skip
        await house.log.append([told, told])
        await house.until(
            "SELECT count(*) = 1 FROM timers WHERE due_at = $1", sent_at + timedelta(hours=1)
        )


async def test_an_exit_withdraws_the_message_that_waits(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.until("SELECT count(*) = 1 FROM messages")
        await house.log.append([track("Bought", cart="a")])
        await house.until("SELECT bool_and(decision = 'dropped') FROM messages")
    assert await house.messages() == [("nudge", "decided", "run_ended")]


async def test_an_exit_leaves_a_message_alone_whose_attempt_is_recorded(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.until("SELECT count(*) = 1 FROM messages")
        await house.pool.execute(
            "UPDATE messages SET status = 'attempting', claimed_by = 'd', claim_until = now()"
        )
        await house.log.append([track("Bought", cart="a")])
        await house.caught_up()
        assert await house.counted("ended:exit") == 1
    assert await house.messages() == [("nudge", "attempting", None)]


@on_both_logs
async def test_a_purchase_that_waits_in_the_log_prevents_its_reminder(house: House) -> None:
    """After an outage the timer has been due for long; the purchase behind it comes first."""
    pause = ceil(stretched(1))  # not over before the outage begins
    await house.publish(reminder=REMINDER.replace("wait: 1s", f"wait: {pause}s"))
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.caught_up()
    await house.log.append([track("Bought", cart="a")])
    await asyncio.sleep(pause + 0.1)  # the outage itself: the due time must pass
    async with house.running():
        await house.caught_up()
    assert await house.messages() == []
    assert await house.counted("ended:exit") == 1


@on_both_logs
async def test_a_backlog_offers_nothing_before_its_end_is_reached(house: House) -> None:
    """The reminder fell due before the purchase was received, and both wait in the log."""
    await house.publish(reminder=REMINDER)
    await house.log.append([track("Added", cart="a")])
    await asyncio.sleep(1.1)
    await house.log.append([track("Viewed", n=n) for n in range(20)])
    await house.log.append([track("Bought", cart="a")])
    await house.pool.execute(
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'offered while behind'; END $$"
    )
    await house.pool.execute(
        "CREATE TRIGGER forbid BEFORE INSERT OR UPDATE ON messages FOR EACH ROW"
        " WHEN (NEW.status = 'queued') EXECUTE FUNCTION forbid()"
    )
    async with house.running(house.worker(batch=3)):
        await house.caught_up()
    assert await house.messages() == [("nudge", "decided", "run_ended")]


@on_both_logs
async def test_what_is_staged_is_offered_at_the_end(house: House) -> None:
    await house.publish(reminder=REMINDER)
    await house.log.append([track("Added", cart="a")])
    await asyncio.sleep(1.1)
    await house.log.append([track("Viewed", n=n) for n in range(20)])
    async with house.running(house.worker(batch=3)):
        await house.until("SELECT count(*) = 1 FROM messages WHERE status = 'queued'")


@on_both_logs
async def test_a_worker_that_lost_its_partition_stores_nothing(house: House) -> None:
    await house.publish(reminder=REMINDER)
    partition = partition_of("u1", PARTITIONS)
    first = house.worker()
    async with house.running(first):
        await house.log.append([track("Added", cart="a")])
        await house.caught_up()
        taken = await Store(house.pool).take(partition, "another")
        await house.log.append([track("Bought", cart="a")])
        # It notices at its next commit, lets go, and takes the partition anew by its assignment.
        await house.caught_up()
        epoch = await house.pool.fetchval("SELECT epoch FROM partitions WHERE id = $1", partition)
        assert epoch > taken.epoch
    assert await house.counted("ended:exit") == 1
    assert await house.counted("entered") == 1


@on_both_logs
async def test_log_time_goes_on_from_where_the_last_owner_was(house: House) -> None:
    """A new owner with nothing to do stores a batch, too; Kafka's stamps begin at what it says."""
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.until("SELECT count(*) = 1 FROM messages WHERE status = 'queued'")
    query = "SELECT id, log_time FROM partitions WHERE log_offset > 0"
    (before,) = await house.pool.fetch(query)
    async with house.running():
        await house.until("SELECT bool_and(owner IS NOT NULL) FROM partitions")
    (after,) = await house.pool.fetch(query)
    assert after["log_time"] >= before["log_time"]


async def test_an_owner_that_hangs_in_its_commit_does_not_keep_its_partition(pool: Pool) -> None:
    """Its transaction holds the partition's row, and nobody is told that it hangs."""
    store, now = Store(pool), wall_clock()
    taken = await store.take(0, "hangs")
    batch = Batch(0, PARTITIONS, taken.epoch, 0, 7, now, now, offered=True)
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")
        await _fence(connection, batch)
        began = time.monotonic()
        assert (await store.take(0, "another")).offset == 0
        assert in_time(time.monotonic() - began, 9)
        with pytest.raises(LOST):  # when it wakes
            await connection.execute("COMMIT")


@on_both_logs
async def test_two_workers_decide_every_event_once(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running(house.worker("a"), house.worker("b")):
        await house.until("SELECT count(DISTINCT owner) = 2 FROM partitions")
        for start in range(0, 400, 20):
            await house.log.append(
                [track("Added", f"u{n}", cart=n) for n in range(start, start + 20)]
            )
        await house.caught_up()
        assert await house.pool.fetchval("SELECT count(DISTINCT owner) FROM partitions") == 2
    assert await house.counted("entered") == 400
    assert await house.pool.fetchval("SELECT count(*) FROM history") == 400


async def test_a_small_cache_changes_nothing(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running(house.worker(batch=7, cache=2)):
        for _ in range(5):
            await house.log.append([track("Added", f"u{n}", cart="a") for n in range(30)])
        await house.caught_up()
    assert await house.counted("entered") == 30
    assert await house.counted("ended:restart") == 120


async def test_a_new_revision_is_used_from_its_moment_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_AHEAD", timedelta(seconds=stretched(1)))
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Started")])
        await house.caught_up()
        other = REMINDER.replace("event: Added", "event: Started")
        await house.publish(reminder=other)
        await house.log.append([track("Started")])  # before it is in force
        await house.until("SELECT max(active_from) < clock_timestamp() FROM workspaces")
        await house.log.append([track("Started", cart="late")])
        await house.caught_up()
    assert await house.counted("entered") == 1
    version = await house.pool.fetchval("SELECT version FROM counts WHERE what = 'entered'")
    assert version == 2


async def test_rubbish_in_the_log_is_set_aside_and_stops_nothing(house: House) -> None:
    await house.publish(reminder=REMINDER)
    partition = partition_of("u1", PARTITIONS)
    await house.log.append([track("Viewed")])
    await house.pool.execute(
        "INSERT INTO log SELECT partition, 2, received_at, '\\xff00' FROM log WHERE partition = $1",
        partition,
    )
    await house.pool.execute("UPDATE log_heads SET next_offset = 3 WHERE partition = $1", partition)
    await house.log.append([track("Added", cart="a")])
    async with house.running():
        await house.caught_up()
    assert await house.counted("entered") == 1
    reason = await house.pool.fetchval("SELECT reason FROM set_aside")
    assert reason.startswith("not an event")


@pytest.mark.parametrize("house", ["kafka"], indirect=True)
async def test_rubbish_in_kafka_is_set_aside_and_stops_nothing(house: House) -> None:
    assert house.kafka is not None
    partition = partition_of("u1", PARTITIONS)
    await house.log.append([track("Added", cart="a")])
    stranger = AIOKafkaProducer(**house.kafka.client())
    await stranger.start()
    await stranger.send_and_wait(house.kafka.topic, b"\xff\x00", partition=partition)
    await stranger.send_and_wait(house.kafka.topic, None, key=b"gone", partition=partition)
    await stranger.stop()
    await house.log.append([track("Added", cart="b")])
    async with house.running():
        await house.caught_up()
    found = await house.pool.fetch("SELECT source, payload FROM set_aside ORDER BY id")
    assert [tuple(row) for row in found] == [("log", b"\xff\x00"), ("log", b"")]
    assert await house.pool.fetchval("SELECT count(*) FROM history") == 2


async def test_a_record_that_can_never_be_stored_is_set_aside_and_stops_nothing(
    house: House,
) -> None:
    await house.publish(reminder=REMINDER)
    await house.log.append(
        [track("Added", cart=n) for n in range(3)]
        + [track("Added", cart=3, number=2**70)]  # ingest would make it a float
        + [track("Added", cart=n) for n in range(4, 7)]
    )
    async with house.running():
        await house.caught_up()
        await house.log.append([track("Added", "u2", cart="z")])
        await house.caught_up()
    assert await house.counted("entered") == 7
    rows = await house.pool.fetch("SELECT reason, payload FROM set_aside")
    assert [row["reason"] for row in rows] == ["what it leads to can never be stored"]
    assert b"1180591620717411303424" in rows[0]["payload"]


async def test_ids_that_left_the_row_are_still_known(house: House) -> None:
    await house.publish(reminder=REMINDER)
    events = [track("Viewed", n=n) for n in range(1500)]
    async with house.running():
        await house.log.append(events)
        await house.caught_up()
        assert await house.pool.fetchval("SELECT count(*) FROM spilled_ids") > 0
        await house.log.append(events)
        await house.caught_up()
    assert await house.pool.fetchval("SELECT count(*) FROM history") == 1500


async def test_consent_arrives_as_a_trait_and_the_newest_statement_wins(house: House) -> None:
    await house.publish(reminder=REMINDER)
    now = wall_clock()

    def states(ident: str, age: timedelta, **consent: bool) -> Event:
        return Event(
            id=ident, kind="identify", timestamp=now - age, user_id="u1",
            traits={"consent": consent},
        )  # fmt: skip

    async with house.running():
        await house.log.append([states("1", timedelta(0), email=False, sms=True)])
        await house.log.append([states("2", timedelta(hours=1), email=True, push=True)])
        await house.caught_up()
    rows = await house.pool.fetch("SELECT channel, granted FROM consents ORDER BY channel")
    assert [tuple(row) for row in rows] == [("email", False), ("push", True), ("sms", True)]
    assert await house.pool.fetchval("SELECT count(*) FROM consent_ledger") == 4
    traits = await house.pool.fetchval("SELECT traits FROM customers")
    assert traits == {"consent": {"email": False, "sms": True, "push": True}}


NOTICE = """
journey: notice
category: transactional
trigger: {event: Consent Changed}
entry: {key: event.channel}
steps:
  - {send: email, template: hello, id: told}
"""


@on_both_logs
async def test_a_changed_consent_starts_the_journey_that_tells_of_it(house: House) -> None:
    await house.publish(notice=NOTICE)
    now = wall_clock()

    def states(ident: str, later: int, **consent: bool) -> Event:
        return Event(
            id=ident, kind="identify", timestamp=now + timedelta(seconds=later), user_id="u1",
            traits={"consent": consent},
        )  # fmt: skip

    async with house.running():
        await house.log.append([states("1", 0, email=True, sms=False)] * 2)
        await house.log.append([states("2", 1, email=True)])
        await house.caught_up()
        assert await Relay(house.pool, house.log, asyncio.Event()).step() == 2
        await house.caught_up()
    assert await house.counted("entered") == 2
    names = await house.pool.fetch("SELECT DISTINCT name FROM history WHERE name <> ''")
    assert [row["name"] for row in names] == ["Consent Changed"]


REGULAR = """
journey: regular
trigger: {event: Added}
entry: {where: 'count("Bought", within="30d") >= 2'}
steps: [{send: email, template: hello, id: hi}]
"""


async def test_a_new_version_finds_the_history_from_before_it(house: House) -> None:
    await house.publish(reminder=REMINDER)
    async with house.running():
        await house.log.append([track("Bought", n=n) for n in range(2)])
        await house.log.append([track("Bought", "u2", n=1)])
        await house.caught_up()
        await house.publish(regular=REGULAR)
        await house.until("SELECT max(active_from) < clock_timestamp() FROM workspaces")
        await house.log.append([track("Added"), track("Added", "u2")])
        await house.caught_up()
    rows = await house.pool.fetch("SELECT customer FROM messages")
    assert [row["customer"] for row in rows] == ["u1"]


async def test_history_that_left_the_row_is_read_from_the_table(house: House) -> None:
    asking = REGULAR.replace(">= 2", "== 1502")
    await house.publish(regular=asking)
    async with house.running():
        await house.log.append([track("Bought", n=n) for n in range(1500)])
        await house.caught_up()
    async with house.running(house.worker("later", cache=0)):
        await house.log.append([track("Bought", n=n) for n in range(2)])
        await house.caught_up()
        await house.log.append([track("Added")])
        await house.caught_up()
    assert await house.counted("entered") == 1


async def test_a_paused_journey_is_not_looked_at_over_and_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "RESUME_SPREAD", timedelta(0))
    await house.publish(reminder=REMINDER.replace("wait: 1s", "wait: 2s"))
    async with house.running():
        await house.log.append([track("Added", cart="a")])
        await house.caught_up()
    await set_status(house.pool, "reminder", "paused")
    await house.until("SELECT min(due_at) < clock_timestamp() FROM timers")
    async with house.running():
        await house.until("SELECT min(due_at) > clock_timestamp() FROM timers")
        assert await house.messages() == []
    await set_status(house.pool, "reminder", "active")
    await house.pool.execute("UPDATE timers SET due_at = clock_timestamp()")  # instead of a minute
    async with house.running():
        await house.until("SELECT count(*) = 1 FROM messages WHERE status = 'queued'")


# Versions, pauses and archivings -----------------------------------------------------------------

LONG = """
journey: long
trigger: {event: Added}
entry: {key: event.cart}
steps:
  - {wait: 1d, id: rest}
  - {send: email, template: hello, id: one}
"""
ASKING = LONG.replace("wait: 1d, id: rest", "send: email, template: hello, id: ask")


async def in_flight(house: House) -> dict[str, int]:
    """Customer → the version of her run."""
    rows = await house.pool.fetch("SELECT id, state FROM customers")
    return {row["id"]: run.version for row in rows for run in unpack(row["state"]).runs}


async def republish(house: House, rule: str, **journeys: str) -> None:
    await apply(house.pool, workspace(**journeys), "test", REAL, in_flight=rule)


async def settled(house: House) -> None:
    await house.until(
        "SELECT bool_and(settled_revision = (SELECT max(revision) FROM workspaces)) FROM partitions"
    )


async def test_a_migration_meets_everybody_soon_whom_nobody_touches(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.journey.partition._SETTLING", 2)
    await house.publish(long=LONG)
    async with house.running():
        await house.log.append([track("Added", f"u{n}") for n in range(12)])
        await house.log.append([track("Seen", f"v{n}") for n in range(5)])
        await house.caught_up()
        await republish(house, "migrate", long=LONG + "  - wait: 1h\n")
        await settled(house)
    assert set((await in_flight(house)).values()) == {2}
    assert await house.counted("migrated") == 12


async def test_an_ending_withdraws_what_is_queued_and_goes_on_after_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.journey.partition._SETTLING", 1)
    await house.publish(long=ASKING)
    async with house.running():
        await house.log.append([track("Added", f"u{n}") for n in range(6)])
        await house.until("SELECT count(*) = 6 FROM messages WHERE status = 'queued'")
    await republish(house, "end", long=LONG)
    async with house.running():
        await house.until("SELECT sum(n) >= 1 FROM counts WHERE what = 'ended:superseded'")
    async with house.running(house.worker("later", cache=0)):
        await settled(house)
    assert await in_flight(house) == {}
    assert await house.counted("ended:superseded") == 6
    assert set(await house.messages()) == {("ask", "decided", "run_ended")}


async def test_an_ending_leaves_alone_what_was_attempted(house: House) -> None:
    await house.publish(long=ASKING)
    async with house.running():
        await house.log.append([track("Added")])
        await house.until("SELECT count(*) = 1 FROM messages")
        await house.pool.execute(
            "UPDATE messages SET status = 'attempting', claimed_by = 'd', attempts = 1"
        )
        await republish(house, "end", long=LONG)
        await settled(house)
    assert await house.messages() == [("ask", "attempting", None)]
    assert await in_flight(house) == {}


async def test_an_event_meets_the_status_that_held_when_it_was_received(house: House) -> None:
    """Archived or paused behind its receipt, the journey is entered, however late it is read."""
    await house.publish(long=LONG, short=LONG.replace("long", "short"))
    await house.log.append([track("Added", "early")])
    await set_status(house.pool, "long", "archived")
    await set_status(house.pool, "short", "paused")
    await house.until("SELECT max(at) < clock_timestamp() FROM journey_changes")
    await house.log.append([track("Added", "late")])
    async with house.running():
        await house.caught_up()
    rows = await house.pool.fetch("SELECT journey, what, n FROM counts WHERE step = ''")
    assert {tuple(row) for row in rows} == {
        ("long", "entered", 1),
        ("short", "entered", 1),
        ("short", "refused:paused", 1),
    }


async def test_a_journey_whose_file_goes_is_entered_until_then(house: House) -> None:
    await house.publish(long=LONG, short=LONG.replace("long", "short"))
    await house.log.append([track("Added")])
    await republish(house, "pin", short=LONG.replace("long", "short"))
    async with house.running():
        await house.caught_up()
    assert await house.counted("entered") == 2


async def test_a_resume_makes_what_it_finds_decidable_anew_each_customer_at_her_own_moment(
    house: House,
) -> None:
    await house.publish(long=ASKING)
    async with house.running():
        await house.log.append([track("Added", f"u{n}") for n in range(20)])
        await house.until("SELECT count(*) = 20 FROM messages WHERE status = 'queued'")
    await house.pool.execute(
        "UPDATE messages SET decidable_at = decidable_at - interval '3 days' WHERE customer <> 'u1'"
    )
    await house.pool.execute(
        "UPDATE messages SET not_before = not_before + interval '1 day' WHERE customer = 'u1'"
    )
    await set_status(house.pool, "long", "paused")
    before = wall_clock()
    await set_status(house.pool, "long", "active")
    rows = await house.pool.fetch("SELECT * FROM messages WHERE customer <> 'u1'")
    moments = {row["decidable_at"] for row in rows}
    assert len(moments) == 19
    assert before < min(moments)
    assert max(moments) < wall_clock() + RESUME_SPREAD + timedelta(seconds=2)
    assert {(row["not_before"] == row["decidable_at"], row["held_reason"]) for row in rows} == {
        (True, "paused")
    }
    untouched = await house.pool.fetchrow("SELECT * FROM messages WHERE customer = 'u1'")
    assert untouched is not None
    assert untouched["held_reason"] is None, "it waits for the morning as it did"


async def test_who_has_waited_often_waits_shortly_again_once_something_is_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict a day must not add up to seconds of waiting."""
    await house.publish(reminder=REMINDER)
    waited: list[float] = []

    async def wait(_stopping: asyncio.Event, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(partition, "pause", wait)
    await house.pool.execute(
        "CREATE SEQUENCE conflicts; CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF nextval('conflicts') % 3 <> 0 THEN"
        " RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER conflict BEFORE INSERT ON history FOR EACH STATEMENT"
        " EXECUTE FUNCTION conflict()"
    )
    async with house.running():
        for number in range(3):
            await house.log.append([track("Viewed", n=number)])
            await house.caught_up()
    assert waited == [0.1, 0.2] * 3
