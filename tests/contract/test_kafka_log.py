"""What the contract of the event log cannot ask of every adapter: Apache Kafka, a real broker."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.cli.event_log import bind, open_log
from services.cli.log_checkup import check_log
from shared.clock import REAL
from shared.db.connect import Pool
from shared.errors import ConfigurationError, LogUnreachable, Unavailable
from shared.event import Event, partition_of
from shared.log import kafka, kafka_topic
from shared.log.kafka import KafkaLog
from shared.log.kafka_reader import SESSION, KafkaLogReader
from shared.log.kafka_settings import KafkaSettings, read_url
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS
from tests.kafka.broker import PASSWORD, USER, Broker
from tests.patience import SOON
from tests.processes import free_port

AT = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)
U1 = partition_of("u1", PARTITIONS)


def event(ident: str, customer: str = "u1", size: int = 0) -> Event:
    return Event(
        id=ident, kind="track", name="Added", timestamp=AT, user_id=customer,
        properties={"text": "x" * size} if size else {},
    )  # fmt: skip


@pytest.fixture
async def settings(kafka_url: str) -> KafkaSettings:
    settings = read_url(kafka_url)
    await kafka_topic.prepare(settings, PARTITIONS)
    return settings


@pytest.fixture
async def log(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(settings, PARTITIONS)
    yield log
    await log.close()


@pytest.fixture
async def reader(settings: KafkaSettings, pool: Pool) -> AsyncIterator[KafkaLogReader]:
    reader = KafkaLogReader(settings, pool)
    yield reader
    await reader.close()


async def make_topic(settings: KafkaSettings, partitions: int, **configs: str) -> None:
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    named = {name.replace("_", "."): value for name, value in configs.items()}
    await admin.create_topics([NewTopic(settings.topic, partitions, 1, topic_configs=named)])
    while await kafka_topic.look(settings) is None:
        await asyncio.sleep(0.05)
    await admin.close()


async def test_the_topic_is_made_as_the_log_needs_it(kafka_url: str) -> None:
    settings = read_url(kafka_url)
    assert await kafka_topic.look(settings) is None
    made = await kafka_topic.prepare(settings, PARTITIONS)
    assert made.partitions == PARTITIONS
    assert made.configs["message.timestamp.type"] == "LogAppendTime"
    assert made.configs["retention.ms"] == "-1"
    assert await kafka_topic.prepare(settings, PARTITIONS) == made, "the second start finds it"


async def test_several_processes_may_start_at_once(kafka_url: str) -> None:
    settings = read_url(kafka_url)
    made = await asyncio.gather(*(kafka_topic.prepare(settings, PARTITIONS) for _ in range(4)))
    assert {topic.partitions for topic in made} == {PARTITIONS}


@pytest.mark.parametrize(
    ("partitions", "configs", "said"),
    [
        (PARTITIONS + 1, {"message_timestamp_type": "LogAppendTime"}, "5 partitions, the data"),
        (PARTITIONS, {}, "clocks of those who send"),
        (
            PARTITIONS,
            {"message_timestamp_type": "LogAppendTime", "cleanup_policy": "compact"},
            "is compacted",
        ),
        (
            PARTITIONS,
            {"message_timestamp_type": "LogAppendTime", "max_message_bytes": "1000"},
            "refuses batches",
        ),
    ],
)
async def test_a_topic_that_cannot_be_the_log_is_refused(
    kafka_url: str, partitions: int, configs: dict[str, str], said: str
) -> None:
    settings = read_url(kafka_url)
    await make_topic(settings, partitions, **configs)
    with pytest.raises(ConfigurationError, match=said) as refused:
        await kafka_topic.prepare(settings, PARTITIONS)
    assert refused.value.hint


async def test_sasl_over_tls_lets_in_who_has_the_password(broker: Broker, kafka_url: str) -> None:
    topic = read_url(kafka_url).topic
    url = (
        f"kafka://{broker.secure_address}?topic={topic}&security=sasl_tls&mechanism=PLAIN"
        f"&ca={broker.ca}"
    )
    settings = read_url(url, user=USER, password=PASSWORD)
    await kafka_topic.prepare(settings, PARTITIONS)
    log = KafkaLog(settings, PARTITIONS)
    await log.append([event("a")])
    assert (await log.ends())[U1] == 1
    await log.close()

    stranger = read_url(url, user=USER, password="a guess that is wrong")
    with pytest.raises(LogUnreachable) as refused:
        await kafka_topic.look(stranger)
    assert "guess" not in str(refused.value) + refused.value.hint
    untrusted = read_url(url.partition("&ca=")[0], user=USER, password=PASSWORD)
    with pytest.raises(LogUnreachable):
        await kafka_topic.look(untrusted)


async def test_nobody_there_is_told_with_the_address(pool: Pool) -> None:
    settings = read_url(f"kafka://127.0.0.1:{free_port()}")
    with pytest.raises(LogUnreachable, match=r"127\.0\.0\.1"):
        await kafka_topic.prepare(settings, PARTITIONS)
    log = KafkaLog(settings, PARTITIONS)
    with pytest.raises(Unavailable):
        await log.append([event("a")])
    with pytest.raises(Unavailable):
        await log.ends()
    await log.close()
    reader = KafkaLogReader(settings, pool)
    with pytest.raises(Unavailable):
        await reader.assignment()
    with pytest.raises(Unavailable):
        await reader.read(0, 0, 10)
    await reader.close()


async def test_big_events_are_split_into_batches_and_keep_their_order(
    log: KafkaLog, reader: KafkaLogReader
) -> None:
    sizes = [10, 60_000, 300_000, 900_000, 10, *[60_000] * 20]
    await log.append([event(f"m{n}", size=size) for n, size in enumerate(sizes)])
    lengths: list[int] = []
    while len(lengths) < len(sizes):
        fetch = await reader.read(U1, len(lengths), 7)
        lengths += [len(record.payload) for record in fetch.records]
    overhead = lengths[0] - 10
    assert [length - overhead for length in lengths[:5]] == sizes[:5]


async def test_a_new_owner_stamps_after_the_log_time_that_the_last_one_stored(
    pool: Pool, log: KafkaLog, reader: KafkaLogReader
) -> None:
    """A broker's clock went back, or another broker leads: time does not."""
    await log.append([event("a")])
    ahead = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251
    await pool.execute("UPDATE partitions SET log_time = $1", ahead)
    fetch = await reader.read(U1, 0, 10)
    assert [r.received_at for r in fetch.records] == [ahead + timedelta(microseconds=1)]
    reached = await reader.log_time(U1, 1)
    assert reached is not None
    assert reached > ahead
    await log.append([event("b")])
    [later] = (await reader.read(U1, 1, 10)).records
    assert later.received_at > reached


async def test_reading_again_from_an_earlier_offset_gives_the_same_stamps(
    log: KafkaLog, reader: KafkaLogReader
) -> None:
    await log.append([event("a"), event("b")])
    first = await reader.read(U1, 0, 10)
    await reader.log_time(U1, 2)
    again = await reader.read(U1, 0, 10)
    assert again.records == first.records, "a batch that could not be stored is decided again"


async def test_who_was_asleep_waits_for_what_the_group_says(
    settings: KafkaSettings, pool: Pool
) -> None:
    slept = [0.0]
    reader = KafkaLogReader(settings, pool, monotonic=lambda: time.monotonic() + slept[0])

    async def proposed() -> frozenset[int]:
        async with asyncio.timeout(SOON):
            while True:
                with contextlib.suppress(Unavailable):
                    return await reader.assignment()

    everything = frozenset(range(PARTITIONS))
    assert await proposed() == everything
    slept[0] = 2 * SESSION
    with pytest.raises(Unavailable):
        await reader.assignment()
    assert await proposed() == everything, "nobody missed it: the old proposal stands"
    await reader.close()


async def test_only_what_every_owner_has_passed_is_let_go(
    log: KafkaLog, reader: KafkaLogReader
) -> None:
    await log.append([event(str(n)) for n in range(10)])
    now = datetime.now(UTC)  # noqa: TID251
    await log.trim({U1: 6}, now - timedelta(hours=1))
    assert (await reader.read(U1, 0, 1)).records, "they are not old enough"
    await log.trim({U1: 6}, now + timedelta(minutes=1))
    assert [r.offset for r in (await reader.read(U1, 6, 10)).records] == [7, 8, 9, 10]
    with pytest.raises(Unavailable, match="has deleted records"):
        await reader.read(U1, 3, 10)


async def test_an_offset_behind_the_log_s_end_is_told(
    log: KafkaLog, reader: KafkaLogReader
) -> None:
    await log.append([event("a")])
    with pytest.raises(Unavailable, match="another topic, or has lost records"):
        await reader.read(U1, 5, 10)
    assert [r.offset for r in (await reader.read(U1, 0, 10)).records] == [1]


async def test_records_that_are_no_events_come_as_they_are(
    settings: KafkaSettings, log: KafkaLog, reader: KafkaLogReader
) -> None:
    """A stranger's records, tombstones and transactions too: the engine puts them aside."""
    stranger = AIOKafkaProducer(**settings.client(), transactional_id="stranger")
    await stranger.start()
    async with stranger.transaction():
        await stranger.send_and_wait(settings.topic, b"\xff", partition=U1)
        await stranger.send_and_wait(settings.topic, None, key=b"k", partition=U1)
    await stranger.stop()
    fetch = await reader.read(U1, 0, 10)
    assert [r.payload for r in fetch.records] == [b"\xff", b""]
    at_end = await reader.read(U1, fetch.end, 10)
    assert (at_end.records, at_end.end, at_end.at_end) == ((), fetch.end, True)
    assert await reader.log_time(U1, fetch.end) is not None, "the mark is no record"
    await log.append([event("a")])
    assert len((await reader.read(U1, fetch.end, 10)).records) == 1


async def test_a_database_keeps_the_log_that_it_began_with(
    pool: Pool, settings: KafkaSettings
) -> None:
    async with open_log(settings, pool, REAL, PARTITIONS):
        pass
    async with open_log(settings, pool, REAL, PARTITIONS):
        pass
    with pytest.raises(ConfigurationError, match="events are in topic"):
        async with open_log(None, pool, REAL, PARTITIONS):
            pass
    with pytest.raises(ConfigurationError, match="names topic other"):
        await bind(pool, "topic other of the Kafka cluster x")


async def test_a_database_with_its_own_log_does_not_go_over_to_kafka(
    pool: Pool, settings: KafkaSettings
) -> None:
    await PostgresLog(pool, PARTITIONS).append([event("a")])
    with pytest.raises(ConfigurationError, match="in its own log"):
        async with open_log(settings, pool, REAL, PARTITIONS):
            pass


async def test_the_doctor_tells_how_the_log_is(
    pool: Pool, settings: KafkaSettings, log: KafkaLog, kafka_url: str
) -> None:
    async def said() -> list[tuple[str, str]]:
        return [(f.verdict, f.message) async for f in check_log(pool, settings)]

    await log.append([event("a"), event("b")])
    [weak, fine] = await said()
    assert weak[0] == "warn"
    assert "kept on 1 broker" in weak[1]
    assert fine == ("ok", f"in Kafka, {settings.where}, 4 partitions, 2 events not yet taken in")
    await pool.execute("UPDATE partitions SET log_offset = 7 WHERE id = $1", U1)
    told = [message for verdict, message in await said() if verdict == "fail"]
    assert f"partition {U1} ends at 2, and was read up to 7" in told[0]
    await pool.execute("UPDATE partitions SET log_offset = 0")
    missing = read_url(f"{kafka_url}-missing")
    [finding] = [f async for f in check_log(pool, missing)]
    assert (finding.verdict, finding.hint) == ("warn", "a start makes it")
    away = read_url(f"kafka://127.0.0.1:{free_port()}")
    [finding] = [f async for f in check_log(pool, away)]
    assert finding.verdict == "fail"


@pytest.mark.slow
async def test_a_broker_that_is_killed_and_comes_back(
    broker: Broker,
    log: KafkaLog,
    reader: KafkaLogReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was answered is there, what was not is told, and work goes on by itself."""
    monkeypatch.setattr(kafka, "_APPEND_WITHIN", 2.0)
    await log.append([event("a")])
    assert len((await reader.read(U1, 0, 10)).records) == 1
    broker.kill()
    try:
        with pytest.raises(Unavailable):
            await log.append([event("b")])
        with pytest.raises(Unavailable):
            await reader.log_time(U1, 1)
    finally:
        await asyncio.to_thread(broker.start)
    payloads: list[bytes] = []
    async with asyncio.timeout(SOON):
        await until_taken(log, event("c"))
        while not payloads or b'"c"' not in payloads[-1]:
            with contextlib.suppress(Unavailable):
                fetch = await reader.read(U1, 1 + len(payloads), 10)
                payloads += [record.payload for record in fetch.records]
    between = payloads[:-1]
    assert all(b'"b"' in payload or b'"c"' in payload for payload in between)


async def until_taken(log: KafkaLog, given: Event) -> None:
    while True:
        with contextlib.suppress(Unavailable):
            await log.append([given])
            return
