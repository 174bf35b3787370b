"""The event log in Apache Kafka: one topic, whose partitions are the database's.

An append makes one batch for each partition that it touches and waits for all of them: a future a
batch rather than an event costs a fifth. The producer is idempotent and waits for all replicas in
sync, so that within one connection's life nothing is written twice and nothing out of order;
whatever it cannot get over, another producer takes its place.

Which partition a customer has is our own affair (`partition_of`), as the database is split by it:
records carry no key, and Kafka's partitioner is not asked. Kafka counts from 0, the port from 1:
the port's offset of a record is Kafka's plus one, and its `after` is the next one in Kafka.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from shared.errors import LogUnreachable, Unavailable
from shared.event import Encoded, Event, encoded
from shared.log import kafka_topic
from shared.log.kafka_settings import KafkaSettings

logger = structlog.get_logger()

_APPEND_WITHIN = 10.0
"""Real seconds that an append may take; ingest is less patient of its own accord."""
_REQUEST = 5_000
_BATCH = 256 * 1024
"""Bytes after which another batch is begun."""


@asynccontextmanager
async def unavailable_when_away(what: str) -> AsyncIterator[None]:
    """What Kafka's client raises, mapped to our own error."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise Unavailable(f"Kafka does not {what}: {said}") from error


async def started(client: Any) -> Any:
    """A client of aiokafka's, started; one that cannot be is stopped, as it holds sockets."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


class KafkaLog:
    """Implements `Log`. Connects when it is first needed; close it."""

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self.partitions = partitions
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._asking: AIOKafkaConsumer | None = None
        self._connecting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._tps = [TopicPartition(settings.topic, p) for p in range(partitions)]

    async def append(self, events: Sequence[Event]) -> None:
        await self.append_encoded([encoded(event, self.partitions) for event in events])

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        if not records:
            return
        payloads: defaultdict[int, list[bytes]] = defaultdict(list)
        for record in records:
            payloads[record.partition].append(record.payload)
        async with unavailable_when_away("take events"), asyncio.timeout(_APPEND_WITHIN):
            producer = await self._connected()
            tasks = [self._send(producer, place, rows) for place, rows in payloads.items()]
            try:
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for error in results:
                    if error is not None:
                        raise error
            except KafkaError:
                self._replace(producer)
                raise

    async def _send(self, producer: AIOKafkaProducer, place: int, rows: list[bytes]) -> None:
        """In order: the producer keeps one batch of a partition under way."""
        sent = [
            await producer.send_batch(batch, self._settings.topic, partition=place)
            for batch in _batches(producer, rows)
        ]
        results = await asyncio.gather(*sent, return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._settings.client(),
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=_BATCH,
                    max_request_size=2 * kafka_topic.MAX_BATCH,
                    request_timeout_ms=_REQUEST,
                )
                self._producer = await started(producer)
            return self._producer

    def _replace(self, producer: AIOKafkaProducer) -> None:
        """Its numbering may have a hole that the brokers would refuse for ever."""
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_stop(producer), name="kafka-producer-leaves")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def ends(self) -> Mapping[int, int]:
        async with unavailable_when_away("tell its ends"):
            asking = await self._asker()
            ends = await asking.end_offsets(self._tps)
        return {tp.partition: end for tp, end in ends.items()}

    async def starts(self) -> Mapping[int, int]:
        """Partition → the offset before its oldest record. Raises Unavailable."""
        async with unavailable_when_away("tell its beginnings"):
            asking = await self._asker()
            starts = await asking.beginning_offsets(self._tps)
        return {tp.partition: start for tp, start in starts.items()}

    async def trim(self, passed: Mapping[int, int], before: datetime) -> None:
        async with unavailable_when_away("tell its ages"):
            asking = await self._asker()
            at = int(before.timestamp() * 1000)
            young = await asking.offsets_for_times(dict.fromkeys(self._tps, at))
            starts = await asking.beginning_offsets(self._tps)
        until: dict[int, int] = {}
        for tp in self._tps:
            first = young.get(tp)
            reached = passed.get(tp.partition, 0)
            reached = reached if first is None else min(reached, first.offset)
            if reached > starts[tp]:
                until[tp.partition] = reached
        if until:
            try:
                await kafka_topic.trim(self._settings, until)
            except LogUnreachable as error:
                raise Unavailable(str(error)) from error

    async def _asker(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._asking is None:
                asking = AIOKafkaConsumer(
                    **self._settings.client(), enable_auto_commit=False, request_timeout_ms=_REQUEST
                )
                self._asking = await started(asking)
            return self._asking

    async def close(self) -> None:
        """What is under way has a moment to end."""
        if self._producer is not None:
            self._replace(self._producer)
        if self._asking is not None:
            await self._asking.stop()
            self._asking = None
        if self._leaving:
            await asyncio.wait(self._leaving)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stopping flushes, for as long as there is no broker: it is given a moment."""
    try:
        async with asyncio.timeout(3):
            await producer.stop()
    except TimeoutError:
        logger.warning("events that nobody waits for were dropped", action="kafka_not_flushed")
        with suppress(Exception):
            await producer.client.close()
    except Exception as error:  # noqa: BLE001 - it is gone in any case
        logger.info("a producer did not stop cleanly", action="kafka_stop", error=repr(error))


def _batches(producer: AIOKafkaProducer, rows: Sequence[bytes]) -> Iterator[Any]:
    batch = producer.create_batch()
    for row in rows:
        if batch.append(key=None, value=row, timestamp=None) is None:
            batch.close()
            yield batch
            batch = producer.create_batch()
            batch.append(key=None, value=row, timestamp=None)
    batch.close()
    yield batch
