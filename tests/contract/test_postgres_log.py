"""What the contract of the event log cannot ask of every adapter: the log in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared.clock import Clock, wall_clock
from shared.db.connect import Pool, open_pool
from shared.db.wakeups import Wakeups
from shared.errors import Unavailable
from shared.event import Event, partition_of
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader
from tests.conftest import PARTITIONS

AT = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)


def event(ident: str, customer: str = "u1") -> Event:
    return Event(id=ident, kind="track", name="Added", timestamp=AT, user_id=customer)


@pytest.fixture
async def wakeups(dsn: str) -> AsyncIterator[Wakeups]:
    wakeups = Wakeups(dsn, [CHANNEL])
    stopping = asyncio.Event()
    task = asyncio.create_task(wakeups.run(stopping))
    yield wakeups
    stopping.set()
    await task


@pytest.fixture
def log(pool: Pool) -> PostgresLog:
    return PostgresLog(pool, PARTITIONS)


@pytest.fixture
def reader(pool: Pool, wakeups: Wakeups) -> PostgresLogReader:
    return PostgresLogReader(pool, wakeups, PARTITIONS, "reader")


async def test_log_time_waits_for_an_append_in_flight(
    dsn: str, log: PostgresLog, reader: PostgresLogReader
) -> None:
    """An append that has its stamp but is not yet committed must not be overtaken."""
    partition = partition_of("u1", PARTITIONS)
    other = await asyncpg.connect(dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute(
        "UPDATE log_heads SET next_offset = 2, last_at = clock_timestamp() WHERE partition = $1",
        partition,
    )
    asked = asyncio.create_task(reader.log_time(partition, 0))
    done, _waiting = await asyncio.wait([asked], timeout=0.3)
    assert not done, "log time cannot be known while an append is in flight"
    await transaction.commit()
    assert await asked is None
    await other.close()


async def test_a_sped_up_clock_stamps_its_own_time(pool: Pool, wakeups: Wakeups) -> None:
    start = wall_clock()
    clock = Clock(real_start=start, virtual_start=AT, speed=3600)
    log = PostgresLog(pool, PARTITIONS, clock)
    reader = PostgresLogReader(pool, wakeups, PARTITIONS, "fast", clock)
    before = clock.now()
    await log.append([event("a")])
    after = clock.now()
    [record] = (await reader.read(partition_of("u1", PARTITIONS), 0, 10)).records
    slack = timedelta(days=1)  # 24 real seconds: the two clocks are read apart
    assert before - slack <= record.received_at <= after + slack


async def test_a_log_that_is_away_says_unavailable(dsn: str) -> None:
    pool = await open_pool(dsn, size=1, name="gone")
    log = PostgresLog(pool, PARTITIONS)
    await log.append([event("a")])
    await pool.execute("ALTER TABLE log RENAME TO log_moved")
    with pytest.raises(asyncpg.UndefinedTableError):
        await log.append([event("b")])  # a defect is not taken for an outage
    await pool.execute("ALTER TABLE log_moved RENAME TO log")
    pool.terminate()
    with pytest.raises(Unavailable):
        await log.append([event("c")])


@pytest.mark.parametrize("count", [7, 1000], ids=["few", "many"])
async def test_the_heads_agree_with_what_was_appended(
    pool: Pool, log: PostgresLog, reader: PostgresLogReader, count: int
) -> None:
    """Few and many events are written by different statements."""
    await log.append([event(f"m{n}", f"customer {n % 5} 단골") for n in range(count)])
    for partition in range(PARTITIONS):
        records = (await reader.read(partition, 0, count)).records
        if records:
            row = await pool.fetchrow(
                "SELECT next_offset, last_at FROM log_heads WHERE partition = $1", partition
            )
            assert row is not None
            assert tuple(row) == (len(records) + 1, records[-1].received_at)


async def test_who_leaves_hands_over_at_once(pool: Pool, dsn: str) -> None:
    wakeups = Wakeups(dsn, [CHANNEL])
    first = PostgresLogReader(pool, wakeups, PARTITIONS, "a")
    second = PostgresLogReader(pool, wakeups, PARTITIONS, "b")
    await first.assignment()
    assert len(await second.assignment()) == PARTITIONS // 2
    await first.close()
    assert await second.assignment() == frozenset(range(PARTITIONS))
