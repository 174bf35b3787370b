"""The event log's contract, held by both adapters on real servers: PostgreSQL and Apache Kafka.

What only one of them can be asked stands in `test_postgres_log.py` and `test_kafka_log.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.errors import Unavailable
from shared.event import Event, decode, partition_of
from shared.log import kafka_topic
from shared.log.kafka import KafkaLog
from shared.log.kafka_reader import KafkaLogReader
from shared.log.kafka_settings import read_url
from shared.log.port import EventLog, LogEnds, LogReader, Record
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader
from tests.conftest import PARTITIONS
from tests.patience import SOON

AT = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)


def event(ident: str, customer: str = "u1") -> Event:
    return Event(id=ident, kind="track", name="Added", timestamp=AT, user_id=customer)


@dataclass(frozen=True)
class House:
    log: PostgresLog | KafkaLog
    new_reader: Callable[[str], LogReader]


@pytest.fixture(params=["postgres", "kafka"])
async def house(request: pytest.FixtureRequest, pool: Pool, dsn: str) -> AsyncIterator[House]:
    if request.param == "postgres":
        wakeups, stopping = Wakeups(dsn, [CHANNEL]), asyncio.Event()
        task = asyncio.create_task(wakeups.run(stopping))
        yield House(
            PostgresLog(pool, PARTITIONS),
            lambda name: PostgresLogReader(pool, wakeups, PARTITIONS, name),
        )
        stopping.set()
        await task
        return
    settings = read_url(cast(str, request.getfixturevalue("kafka_url")))
    await kafka_topic.prepare(settings, PARTITIONS)
    async with AsyncExitStack() as stack:
        log = KafkaLog(settings, PARTITIONS)
        stack.push_async_callback(log.close)

        def new_reader(_name: str) -> LogReader:
            reader = KafkaLogReader(settings, pool)
            stack.push_async_callback(reader.close)
            return reader

        yield House(log, new_reader)


@pytest.fixture
def log(house: House) -> EventLog:
    return house.log


@pytest.fixture
def reader(house: House) -> LogReader:
    return house.new_reader("reader")


async def everything(reader: LogReader, partition: int, after: int = 0) -> list[Record]:
    found: list[Record] = []
    while True:
        fetch = await reader.read(partition, found[-1].offset if found else after, 7)
        found.extend(fetch.records)
        if fetch.at_end:
            return found


async def test_records_come_back_as_they_were_appended(log: EventLog, reader: LogReader) -> None:
    await log.append([event("a"), event("b")])
    records = await everything(reader, partition_of("u1", PARTITIONS))
    events = [decode(record.payload, record.received_at) for record in records]
    assert [e.id for e in events] == ["a", "b"]
    assert all(e.received_at == r.received_at for e, r in zip(events, records, strict=True))


async def test_concurrent_appenders_leave_no_gap_and_stamps_never_decrease(
    log: EventLog, reader: LogReader
) -> None:
    async def appender(name: str) -> None:
        for number in range(20):
            await log.append([event(f"{name}-{number}-{i}", f"u{i}") for i in range(10)])

    reading = asyncio.create_task(_follow(reader, PARTITIONS, 8 * 20 * 10))
    await asyncio.gather(*(appender(str(n)) for n in range(8)))
    followed = await asyncio.wait_for(reading, SOON)
    for partition in range(PARTITIONS):
        records = await everything(reader, partition)
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        stamps = [record.received_at for record in records]
        assert stamps == sorted(stamps)
        assert [r.offset for r in followed[partition]] == [r.offset for r in records], (
            "a reader that follows while others append sees every record, in order"
        )


async def _follow(reader: LogReader, partitions: int, expected: int) -> dict[int, list[Record]]:
    seen: dict[int, list[Record]] = {p: [] for p in range(partitions)}
    while sum(map(len, seen.values())) < expected:
        for partition, records in seen.items():
            end = records[-1].offset if records else 0
            records.extend((await reader.read(partition, end, 50)).records)
    return seen


async def test_log_time_lies_before_everything_appended_later(
    log: EventLog, reader: LogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await log.append([event("a")])
    [first] = await everything(reader, partition)
    for number in range(1, 20):
        reached = await reader.log_time(partition, number)
        assert reached is not None
        await log.append([event(f"b{number}")])
        [later] = await everything(reader, partition, number)
        assert first.received_at <= reached < later.received_at
        first = later


async def test_log_time_goes_on_while_nothing_comes(log: EventLog, reader: LogReader) -> None:
    partition = partition_of("u1", PARTITIONS)
    await log.append([event("a")])
    await everything(reader, partition)
    first = await reader.log_time(partition, 1)
    await asyncio.sleep(0.05)
    second = await reader.log_time(partition, 1)
    assert first is not None
    assert second is not None
    assert second - first >= timedelta(milliseconds=40)


async def test_there_is_no_log_time_behind_an_end_that_has_moved(
    log: EventLog, reader: LogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await log.append([event("a"), event("b")])
    assert await reader.log_time(partition, 1) is None


async def test_a_reader_is_woken_by_an_append_to_its_partition(
    log: EventLog, reader: LogReader
) -> None:
    partition = partition_of("u1", PARTITIONS)
    await reader.wait(partition, 0.2)
    waiting = asyncio.create_task(reader.wait(partition, 10 * SOON))
    await log.append([event("a")])
    await asyncio.wait_for(waiting, SOON)


async def test_workers_share_the_partitions(house: House) -> None:
    """And share them anew when one more comes: each is proposed to one of them, in the end."""
    readers = [house.new_reader(name) for name in ("a", "b", "c")]

    async def shares() -> list[frozenset[int]]:
        return [await settled_assignment(reader) for reader in readers]

    async with asyncio.timeout(SOON):
        while True:
            found = await shares()
            if sorted(p for share in found for p in share) == list(range(PARTITIONS)):
                break
            await asyncio.sleep(0.05)
    assert all(found), "nobody is left without"


async def settled_assignment(reader: LogReader) -> frozenset[int]:
    while True:
        try:
            return await reader.assignment()
        except Unavailable:
            await asyncio.sleep(0.05)


async def test_ends_are_the_offsets_of_the_newest_records(house: House) -> None:
    ends: LogEnds = house.log
    assert set((await ends.ends()).values()) == {0}
    await house.log.append([event("a"), event("b")])
    expected = dict.fromkeys(range(PARTITIONS), 0) | {partition_of("u1", PARTITIONS): 2}
    assert dict(await ends.ends()) == expected


async def test_a_wait_that_is_given_up_loses_nothing(log: EventLog, reader: LogReader) -> None:
    partition = partition_of("u1", PARTITIONS)
    assert (await reader.read(partition, 0, 10)).at_end
    for number in range(30):
        waiting = asyncio.create_task(reader.wait(partition, 10))
        appending = asyncio.create_task(log.append([event(f"a{number}")]))
        await asyncio.sleep(0.001 * (number % 7))
        waiting.cancel()
        await appending
        records = await everything(reader, partition, number)
        assert [record.offset for record in records] == [number + 1]


@pytest.mark.parametrize("count", [7, 1000], ids=["few", "many"])
async def test_an_append_of_any_size_keeps_order_offsets_and_payloads(
    log: EventLog, reader: LogReader, count: int
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
