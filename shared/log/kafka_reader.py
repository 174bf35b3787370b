"""One worker's view of the log in Kafka.

**Assignment.** A member of a consumer group that never reads and never commits: the group only
proposes who owns what. A worker that ends leaves the group; one that is killed is missed after
`SESSION`. While the group rebalances, and while Kafka is away, the last proposal stands; two owners
of one partition are told apart by the epoch in Postgres, never by Kafka.

**Reading.** A consumer for each partition that is owned, placed by the offset that Postgres holds,
so that handing one over does not disturb the others.

**Stamps.** The brokers stamp (`LogAppendTime`), in milliseconds and each by its own clock, which
can go back when another broker leads. A reader's stamp is therefore the broker's, or, if that is
not after what the reader has told before, just after it. Where a reader begins, it takes up the log
time that the partition's owner has stored.

**Log time.** Kafka tells nobody what its clock says. What a reader can know is this: it reads the
time, by the database's clock, which all workers share, and *then* asks the partition's leader for
its end. A producer is answered only when its record is before that end, so if the end is where
the reader is, everything that was answered before the time read has been returned. Appends in
flight are not before the end yet, though the leader may have stamped them: they get a stamp after
the log time told, which is still one between their sending and their answer. No waiting, no
marker records, no trust in equal clocks. What it rests on: that the broker asked is the leader.
One that was cut off and does not know yet that it was replaced answers with its own end, for as
long as it takes to find out (`broker.session.timeout.ms`, 9 s).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, TopicPartition

from shared.clock import EPOCH
from shared.db.connect import Pool, unavailable_when_lost
from shared.errors import Unavailable
from shared.log.kafka import started, unavailable_when_away
from shared.log.kafka_settings import KafkaSettings
from shared.log.port import Fetch, Record

logger = structlog.get_logger()

SESSION = 6.0
"""Real seconds of silence after which a worker's partitions go to the others: the least that
brokers allow (`group.min.session.timeout.ms`)."""
_HEARTBEAT = 0.75
"""Seconds between two looks whether the group proposes anew, which are part of a hand-over."""
_NEVER = 2**31 - 1
_REQUEST = 5_000
_ANNOUNCED_WITHIN = 5.0
"""Real seconds within which records come that the leader says it has."""
_JOINED_WITHIN = 0.5
_INSTANT = timedelta(microseconds=1)


class KafkaLogReader:
    """Implements `LogReader` for one worker; close it, or it is missed only after `SESSION`."""

    def __init__(
        self,
        settings: KafkaSettings,
        pool: Pool,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._monotonic = monotonic
        self._member: AIOKafkaConsumer | None = None
        self._proposal = _Proposal()
        self._partitions: dict[int, _Partition] = {}
        self._ends = _Ends(settings)
        self._asked = monotonic()
        self._doubted_until = 0.0

    async def assignment(self) -> frozenset[int]:
        if self._member is None:
            await self._join()
        self._doubt()
        try:
            async with asyncio.timeout(_JOINED_WITHIN):
                await self._proposal.made.wait()
        except TimeoutError as error:
            raise Unavailable("The consumer group has not taken this worker in yet.") from error
        mine = self._proposal.partitions
        for number in self._partitions.keys() - mine:
            await self._partitions[number].rest()
        return mine

    def _doubt(self) -> None:
        """Who was not at work for longer than a session was missed, and others have taken over.

        The group tells so with the next heartbeat, and proposes anew. Until then the old proposal
        would only take partitions from who has them now. If nothing comes, we were not missed.
        """
        now = self._monotonic()
        if now - self._asked > SESSION and self._proposal.made.is_set():
            self._doubted_until = now + SESSION
            self._proposal.made.clear()
        if self._doubted_until and now > self._doubted_until:
            self._doubted_until = 0.0
            self._proposal.made.set()
        self._asked = now

    async def _join(self) -> None:
        member = AIOKafkaConsumer(
            **self._settings.client(),
            group_id=self._settings.group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=int(SESSION * 1000),
            heartbeat_interval_ms=int(_HEARTBEAT * 1000),
            max_poll_interval_ms=_NEVER,  # it never polls
            rebalance_timeout_ms=int(SESSION * 1000),
            metadata_max_age_ms=60_000,
        )
        self._asked, self._doubted_until = self._monotonic(), 0.0
        self._proposal.member = member
        member.subscribe([self._settings.topic], listener=self._proposal)
        async with unavailable_when_away("take this worker into its group"):
            try:
                await asyncio.wait_for(member.start(), 10)
            except BaseException:
                await member.stop()
                raise
        self._member = member

    async def read(self, partition: int, after: int, limit: int) -> Fetch:
        return await self._partition(partition).read(after, limit)

    async def log_time(self, partition: int, end: int) -> datetime | None:
        return await self._partition(partition).log_time(end)

    async def wait(self, partition: int, timeout: float) -> None:
        await self._partition(partition).wait(timeout)

    def _partition(self, number: int) -> "_Partition":
        found = self._partitions.get(number)
        if found is None:
            found = self._partitions[number] = _Partition(
                self._settings, self._pool, self._ends, number
            )
        return found

    async def close(self) -> None:
        """Leaves the group, so that others take over at once. Call when every owner has ended."""
        if self._member is not None:
            await self._member.stop()
            self._member = None
        for partition in self._partitions.values():
            await partition.close()
        await self._ends.close()


class _Proposal(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """What the group proposes. A revocation changes nothing before the next assignment is known."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self.partitions: frozenset[int] = frozenset()
        self.member: AIOKafkaConsumer | None = None

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        pass

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        if self.member is not None:
            self.member.pause(*assigned)  # it is here to be counted, not to read
        self.partitions = frozenset(tp.partition for tp in assigned)
        self.made.set()
        logger.info(
            "the consumer group proposes partitions",
            action="kafka_assigned",
            partitions=sorted(self.partitions),
        )


class _Ends:
    """Asks leaders for their ends on connections of its own.

    A broker answers one connection's requests in turn, and a fetch waits for records: behind it,
    the question would wait as well.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting = asyncio.Lock()

    async def of(self, tp: TopicPartition) -> int:
        """The port's offset of the last record that all replicas in sync have."""
        async with self._connecting:
            if self._consumer is None:
                self._consumer = await started(
                    AIOKafkaConsumer(
                        **self._settings.client(),
                        enable_auto_commit=False,
                        request_timeout_ms=_REQUEST,
                    )
                )
        ends = await self._consumer.end_offsets([tp])
        return int(ends[tp])

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()


class _Partition:
    """Reads one partition. `_next` is the Kafka offset of the next record to return."""

    def __init__(self, settings: KafkaSettings, pool: Pool, ends: _Ends, number: int) -> None:
        self._settings = settings
        self._pool = pool
        self._ends = ends
        self._number = number
        self._tp = TopicPartition(settings.topic, number)
        self._consumer: AIOKafkaConsumer | None = None
        self._next: int | None = None
        self._fetched: deque[ConsumerRecord] = deque()
        """What `wait` has met; it lies from `_next` on."""
        self._gap: int | None = None
        """The offset behind a hole that has been looked into twice."""
        self._void = (-1, -1)
        """Offsets between which no records are, but marks of a stranger's transactions."""
        self._told = EPOCH
        """The last stamp or log time told."""
        self._floor = EPOCH
        """The earliest stamp that the next record may have."""
        self._busy = asyncio.Lock()
        """A `wait` that was cancelled may still be ending while the next `read` begins."""

    async def read(self, after: int, limit: int) -> Fetch:
        async with self._busy, self._guarded("give records"):
            if self._next != after:
                await self._place(after)
            fetched = await self._take(limit)
            if not fetched:
                behind = await self._end() - after
                if behind < 0:
                    raise Unavailable(self._beyond(after, after + behind))
                if behind == 0:
                    return Fetch((), after, at_end=True)
                fetched = await self._announced(limit)
                if not fetched:
                    return Fetch((), after, at_end=True)
            records = [self._record(each) for each in fetched]
            self._next = end = records[-1].offset
            at_end = len(records) < limit and not self._fetched and await self._end() == end
            return Fetch(records, end, at_end=at_end)

    async def log_time(self, end: int) -> datetime | None:
        async with self._busy, self._guarded("tell its end"):
            if self._next != end:
                await self._place(end)
            async with unavailable_when_lost(), self._pool.acquire() as connection:
                now: datetime = await connection.fetchval("SELECT clock_timestamp()")
            if self._fetched or await self._end() != end:
                return None
            # To the millisecond, as brokers stamp: what comes later has another one.
            reached = now.replace(microsecond=now.microsecond // 1000 * 1000) - _INSTANT
            self._told = max(self._told, reached)
            self._floor = self._told + _INSTANT
            return self._told

    async def wait(self, timeout: float) -> None:
        async with self._busy:
            if self._fetched:
                return
            try:
                if self._next is None:
                    await self._place(await self._end())
                self._fetched.extend(await self._poll(1, timeout))
            except (KafkaError, OSError, Unavailable):
                await asyncio.sleep(min(timeout, 0.5))  # the next read tells of it

    async def rest(self) -> None:
        """Somebody else's by now: fetch no more. A read that comes all the same begins anew."""
        if self._busy.locked():
            return  # its owner is still at it; another look follows
        await self.close()

    async def close(self) -> None:
        consumer, self._consumer, self._next = self._consumer, None, None
        self._fetched.clear()
        if consumer is not None:
            await consumer.stop()

    def _record(self, record: ConsumerRecord) -> Record:
        stamp = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        self._told = self._floor = max(stamp, self._floor)
        return Record(self._number, record.offset + 1, self._told, record.value or b"")

    async def _place(self, after: int) -> None:
        """Begin behind the port's offset `after`, with the log time that its owner has stored."""
        self._fetched.clear()
        self._next = None
        consumer = await self._open()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            stored: datetime = await connection.fetchval(
                "SELECT log_time FROM partitions WHERE id = $1", self._number
            )
        self._told, self._floor = stored, stored + _INSTANT
        consumer.seek(self._tp, after)
        self._next = after

    async def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._settings.client(),
                enable_auto_commit=False,
                auto_offset_reset="none",
                request_timeout_ms=_REQUEST,
                metadata_max_age_ms=60_000,
            )
            await started(consumer)
            consumer.assign([self._tp])
            consumer.seek(self._tp, self._next or 0)  # at once, so that it looks for no offset
            self._consumer = consumer
        return self._consumer

    async def _take(self, limit: int, timeout: float = 0.0) -> list[ConsumerRecord]:
        """Up to `limit` records that have been fetched; waits only when there are none."""
        if len(self._fetched) < limit:
            self._fetched.extend(
                await self._poll(limit - len(self._fetched), 0.0 if self._fetched else timeout)
            )
        return [self._fetched.popleft() for _ in range(min(limit, len(self._fetched)))]

    async def _poll(self, limit: int, timeout: float) -> list[ConsumerRecord]:
        consumer, expected = await self._open(), self._expected()
        by_partition = await consumer.getmany(
            self._tp, timeout_ms=int(timeout * 1000), max_records=limit
        )
        found: list[ConsumerRecord] = by_partition.get(self._tp, [])
        if found and found[0].offset != expected and found[0].offset != self._gap:
            # A cancelled wait may have taken records along: ask again before a hole is believed.
            self._gap = found[0].offset
            consumer.seek(self._tp, expected)
            return []
        return found

    def _expected(self) -> int:
        if self._fetched:
            return int(self._fetched[-1].offset) + 1
        assert self._next is not None, "it was placed before"
        return self._next

    async def _announced(self, limit: int) -> list[ConsumerRecord]:
        """The records that the leader says it has; none if they are only marks of transactions."""
        until = time.monotonic() + _ANNOUNCED_WITHIN
        while (left := until - time.monotonic()) > 0:
            if fetched := await self._take(limit, min(left, 0.2)):
                return fetched
            position = int(await (await self._open()).position(self._tp))
            if position > self._expected() and position == await self._ends.of(self._tp):
                self._void = (self._expected(), position)
                return []
        raise Unavailable(f"Kafka does not give the records behind {self._next}.")

    async def _end(self) -> int:
        """The port's offset of the last record, if we are there; else that of Kafka's end."""
        end = await self._ends.of(self._tp)
        return self._void[0] if self._void == (self._next, end) else end

    @asynccontextmanager
    async def _guarded(self, what: str) -> AsyncIterator[None]:
        async with unavailable_when_away(what):
            try:
                yield
            except OffsetOutOfRangeError as error:
                after, self._next = self._next or 0, None
                end = await self._end()
                if end < after:
                    raise Unavailable(self._beyond(after, end)) from error
                raise Unavailable(
                    f"Kafka has deleted records of partition {self._number} behind {after} that"
                    " were not read yet (`dangol restored --accept-loss` goes on)."
                ) from error

    def _beyond(self, after: int, end: int) -> str:
        return (
            f"Partition {self._number} of {self._settings.where} ends at {end}, but the database"
            f" has read it up to {after}: it is another topic, or has lost records"
            " (`dangol restored --accept-loss` goes on)."
        )
