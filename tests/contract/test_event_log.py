"""The event log's contract, held by every adapter (today: Postgres)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared.clock import Clock, wall_clock
from shared.db.connect import Pool, open_pool
from shared.db.wakeups import Wakeups
from shared.errors import Unavailable
from shared.event import Event, decode, partition_of
from shared.log.port import Record
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


async def everything(reader: PostgresLogReader, partition: int) -> list[Record]:
    found: list[Record] = []
    while True:
        fetch = await reader.read(partition, found[-1].offset if found else 0, 7)
        found.extend(fetch.records)
        if fetch.at_end:
            return found


async def test_records_come_back_as_they_were_appended(
    log: PostgresLog, reader: PostgresLogReader
) -> None:
    await log.append([event("a"), event("b")])
    records = await everything(reader, partition_of("u1", PARTITIONS))
    events = [decode(record.payload, record.received_at) for record in records]
    assert [e.id for e in events] == ["a", "b"]
    assert all(e.received_at == r.received_at for e, r in zip(events, records, strict=True))


async def test_concurrent_appenders_leave_no_gap_and_stamps_never_decrease(
    log: PostgresLog, reader: PostgresLogReader
) -> None:
    async def appender(name: str) -> None:
        for number in range(20):
            await log.append([event(f"{name}-{number}-{i}", f"u{i}") for i in range(10)])

    reading = asyncio.create_task(_follow(reader, PARTITIONS, 8 * 20 * 10))
    await asyncio.gather(*(appender(str(n)) for n in range(8)))
    followed = await asyncio.wait_for(reading, 20)
    for partition in range(PARTITIONS):
        records = await everything(reader, partition)
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        stamps = [record.received_at for record in records]
        assert stamps == sorted(stamps)
        assert [r.offset for r in followed[partition]] == [r.offset for r in records], (
            "a reader that follows while others append sees every record, in order"
        )


async def _follow(
    reader: PostgresLogReader, partitions: int, expected: int
) -> dict[int, list[Record]]:
    seen: dict[int, list[Record]] = {p: [] for p in range(partitions)}
    while sum(map(len, seen.values())) < expected:
        for partition, records in seen.items():
            end = records[-1].offset if records else 0
            records.extend((await reader.read(partition, end, 50)).records)
    return seen


async def test_log_time_lies_before_everything_appended_later(
    log: PostgresLog, reader: PostgresLogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await log.append([event("a")])
    reached = await reader.log_time(partition, 1)
    assert reached is not None
    await log.append([event("b")])
    records = await everything(reader, partition)
    assert records[0].received_at <= reached < records[1].received_at


async def test_there_is_no_log_time_behind_an_end_that_has_moved(
    log: PostgresLog, reader: PostgresLogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await log.append([event("a"), event("b")])
    assert await reader.log_time(partition, 1) is None


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
    [record] = await everything(reader, partition_of("u1", PARTITIONS))
    slack = timedelta(hours=1)  # a real second: the two clocks are read apart
    assert before - slack <= record.received_at <= after + slack


async def test_a_reader_is_woken_by_an_append_to_its_partition(
    log: PostgresLog, reader: PostgresLogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await reader.wait(partition, 0.2)
    waiting = asyncio.create_task(reader.wait(partition, 30))
    await log.append([event("a")])
    await asyncio.wait_for(waiting, 10)


async def test_workers_share_the_partitions(pool: Pool, wakeups: Wakeups) -> None:
    readers = [PostgresLogReader(pool, wakeups, PARTITIONS, name) for name in ("a", "b", "c")]
    for reader in readers:
        await reader.assignment()
    shares = [await reader.assignment() for reader in readers]
    assert sorted(p for share in shares for p in share) == list(range(PARTITIONS))


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
async def test_an_append_of_any_size_keeps_order_offsets_and_payloads(
    log: PostgresLog, reader: PostgresLogReader, count: int
) -> None:
    """Few and many events are written by different statements."""
    sent = [event(f"m{n}", f"customer {n % 5} 단골") for n in range(count)]
    await log.append(sent[: count // 2])
    await log.append(sent[count // 2 :])
    for partition in range(PARTITIONS):
        records = await everything(reader, partition)
        assert [r.offset for r in records] == list(range(1, len(records) + 1))
        assert [r.received_at for r in records] == sorted(r.received_at for r in records)
        events = [decode(record.payload, record.received_at) for record in records]
        wanted = [e.id for e in sent if partition_of(e.customer, PARTITIONS) == partition]
        assert [e.id for e in events] == wanted
        if records:
            head, last = await log._pool.fetchrow(  # type: ignore[misc]
                "SELECT next_offset, last_at FROM log_heads WHERE partition = $1", partition
            )
            assert (head, last) == (len(records) + 1, records[-1].received_at)
