"""What a run has left of its log: the records with their stamps, and what was stored when."""

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from shared.clock import EPOCH
from shared.db.connect import Pool
from shared.log.kafka_settings import KafkaSettings
from shared.log.port import Record

# Each batch that was stored, as the fence saw it: the trigger of this run alone.
WATCH = """
CREATE TABLE chaos_batches (
  place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, partition int NOT NULL,
  epoch bigint NOT NULL, log_offset bigint NOT NULL, log_time timestamptz NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION chaos_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos_batches (partition, epoch, log_offset, log_time)
  VALUES (NEW.id, NEW.epoch, NEW.log_offset, NEW.log_time);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos_batch AFTER UPDATE OF log_offset, log_time ON partitions
  FOR EACH ROW EXECUTE FUNCTION chaos_batch();
"""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that was stored."""

    epoch: int
    offset: int
    log_time: datetime
    at: datetime


class Stock(msgspec.Struct, frozen=True, array_like=True):
    """A record as Kafka has it, kept in a file when the brokers go."""

    partition: int
    offset: int
    millis: int
    payload: bytes


async def keep_kafka(settings: KafkaSettings, partitions: int, file: Path) -> None:
    """Write the whole topic down."""
    tps = [TopicPartition(settings.topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        **settings.client(), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    encoder = msgspec.msgpack.Encoder()
    try:
        consumer.assign(tps)
        left = {tp for tp, end in (await consumer.end_offsets(tps)).items() if end > 0}
        ends = await consumer.end_offsets(tps)
        with file.open("wb") as out:
            while left:
                for tp, records in (await consumer.getmany(*left, timeout_ms=1000)).items():
                    for r in records:
                        stock = Stock(tp.partition, r.offset + 1, r.timestamp, r.value)
                        raw = encoder.encode(stock)
                        out.write(len(raw).to_bytes(4, "big") + raw)
                    if await consumer.position(tp) >= ends[tp]:
                        left.discard(tp)
    finally:
        await consumer.stop()


def kept_kafka(file: Path) -> dict[int, list[Stock]]:
    decoder = msgspec.msgpack.Decoder(Stock)
    found: dict[int, list[Stock]] = {}
    raw, place = file.read_bytes(), 0
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4], "big")
        stock = decoder.decode(raw[place + 4 : place + 4 + size])
        found.setdefault(stock.partition, []).append(stock)
        place += 4 + size
    return found


async def batches(pool: Pool) -> dict[int, list[Stored]]:
    """Partition → what was stored, in order."""
    found: dict[int, list[Stored]] = {}
    rows = await pool.fetch(
        "SELECT partition, epoch, log_offset, log_time, at FROM chaos_batches ORDER BY place"
    )
    for row in rows:
        stored = Stored(row["epoch"], row["log_offset"], row["log_time"], row["at"])
        found.setdefault(row["partition"], []).append(stored)
    return found


async def from_postgres(pool: Pool, partition: int) -> AsyncIterator[Record]:
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        async for row in connection.cursor(
            "SELECT log_offset, received_at, payload FROM log WHERE partition = $1"
            " ORDER BY log_offset",
            partition,
            prefetch=2000,
        ):
            yield Record(partition, row["log_offset"], row["received_at"], row["payload"])


async def set_aside(pool: Pool) -> Counter[bytes]:
    """Payload → how often the engine has set aside a record of the log with it."""
    rows = await pool.fetch("SELECT payload FROM set_aside WHERE source = 'log'")
    return Counter(row["payload"] for row in rows)


def decided(records: Iterable[Record], aside: Counter[bytes]) -> Iterator[Record]:
    """Without those that were set aside; what was replayed is another record, behind them."""
    left = Counter(aside)
    for record in records:
        if left[record.payload] > 0:
            left[record.payload] -= 1
        else:
            yield record


async def told_receipts(pool: Pool, partition: int) -> Mapping[str, datetime]:
    """Event id → its receipt, of what is in the history as the partition's log had it first."""
    rows = await pool.fetch(
        "SELECT id, received_at FROM history WHERE partition = $1 AND NOT event ? 'passed'",
        partition,
    )
    return {row["id"]: row["received_at"] for row in rows}


def stamped(
    stocks: Iterable[Stock], stored: list[Stored], receipts: Mapping[str, datetime]
) -> list[Record]:
    """Kafka's records with the stamps that their reader gave them.

    A reader never goes back behind the log time that was stored, nor behind what it has told; so
    its stamps follow from the brokers' and from the batches. One case does not: a log time told
    for a batch that could then not be stored. What the history knows of it is put in.
    """
    ends = [batch.offset for batch in stored]
    floor, records = EPOCH, []
    for stock in stocks:
        place = bisect_left(ends, stock.offset)
        before = stored[place - 1].log_time + _INSTANT if place else EPOCH
        stamp = datetime.fromtimestamp(stock.millis / 1000, UTC)
        floor = max(stamp, floor, before)
        if floor > stamp or receipts:
            known = receipts.get(_id_of(stock.payload))
            if known is not None and known >= floor:
                floor = known
        records.append(Record(stock.partition, stock.offset, floor, stock.payload))
    return records


class _Id(msgspec.Struct):
    id: str
    received_at: datetime | None = None


_ids = msgspec.json.Decoder(_Id)


def _id_of(payload: bytes) -> str:
    found = _ids.decode(payload)
    return "" if found.received_at is not None else found.id
