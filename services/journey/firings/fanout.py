"""Streams a firing to those it may mean: chunk by chunk, partition by partition.

A chunk's `enter` events go into the log's outbox in the transaction that moves the partition's
cursor, so that a kill leaves neither a gap nor a double. The next chunk of a partition waits until
its log has nearly been read: whatever else arrives is never more than about `IN_FLIGHT` records
behind. Firings under way take turns, oldest first, in each partition.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from services.journey import metrics
from services.journey.core.firing import ON_DATE, event_for
from services.journey.core.flow import Flow
from services.journey.firings import rows
from services.journey.firings.candidates import Statement, statement
from services.journey.firings.rows import Open
from services.journey.library import Library
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.log import outbox
from shared.log.port import LogEnds

logger = structlog.get_logger()

IN_FLIGHT = 100
"""Records of a partition that may be under way (in the outbox, or in its log and unread) when the
next chunk is put. It is less than one batch: an event beside a fan-out waits for about one more."""
CHUNK = 100
"""Customers of one chunk."""
SCANNED = 5_000
"""Customers looked at for one chunk, so that no statement runs for long, however few are meant."""
_AT_ONCE = 100
"""Firings under way that are looked at."""
_WITHDRAWN = "withdrawn"
"""The journey is published no more."""
_REST = 0.01
"""Real seconds between two looks while every partition has enough under way."""

_CURSORS = "SELECT partition, firing FROM firing_cursors WHERE firing = ANY($1::text[]) AND done"
_READ = "SELECT id, log_offset FROM partitions"
_WAITING = "SELECT partition, count(*) AS n FROM log_outbox GROUP BY partition"
_CURSOR = """
INSERT INTO firing_cursors AS c (partition, firing) VALUES ($1, $2)
ON CONFLICT (partition, firing) DO UPDATE SET put = c.put RETURNING after, done
"""
_UNTIL = """
SELECT id FROM customers WHERE partition = $1 AND id > $2 ORDER BY id OFFSET $3 LIMIT 1
"""
_LAST = "SELECT max(id) FROM customers WHERE partition = $1 AND id > $2"
_MOVE = """
UPDATE firing_cursors SET after = $3, put = put + $4, done = $5
WHERE partition = $1 AND firing = $2
"""
_FORGET = """
DELETE FROM firings WHERE id = $1
  AND NOT EXISTS (SELECT FROM firing_cursors WHERE firing = $1 AND put > 0)
"""
_DONE = """
UPDATE firings SET done_at = $2, skipped = $3 WHERE id = $1 AND done_at IS NULL
"""


@dataclass(slots=True)
class _Stream:
    """A firing under way, with what asks for its customers."""

    found: Open
    statement: Statement
    left: set[int] = field(default_factory=set)
    """Partitions that it has not come to the end of."""


class Fanout:
    EVERY = 0.5
    """Real seconds between two turns while nothing is under way."""

    def __init__(self, pool: Pool, library: Library, log: LogEnds, clock: Clock, partitions: int):
        self._pool = pool
        self._library = library
        self._log = log
        self._clock = clock
        self._partitions = partitions
        self._streams: dict[str, _Stream] = {}

    async def turn(self) -> None:
        """Put chunks until no firing is under way. Raises Unavailable, having lost nothing."""
        while True:
            streams = await self._under_way()
            if not streams:
                return
            if not await self._round(streams):
                await asyncio.sleep(_REST)

    async def _under_way(self) -> list[_Stream]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            found = await rows.open_firings(connection, _AT_ONCE)
            done = await connection.fetch(_CURSORS, [each.id for each in found])
        finished: dict[str, set[int]] = {}
        for row in done:
            finished.setdefault(row["firing"], set()).add(row["partition"])
        metrics.FIRINGS_OPEN.set(len(found))
        if any(each.id not in self._streams for each in found):
            await self._library.refresh()  # the workspace that it comes from may be new here
        streams: dict[str, _Stream] = {}
        for each in found:
            key = each.firing.journey, each.firing.version
            if key in self._library.current.book.unreadable:
                continue  # it goes on once it can be read
            flow = self._flow(each)
            if flow is None:
                await self._finish(each, _WITHDRAWN)
                continue
            stream = self._streams.get(each.id)
            if stream is None:
                segments = self._library.current.book.segments
                stream = _Stream(each, statement(each, flow, segments))
            stream.left = set(range(self._partitions)) - finished.get(each.id, set())
            if stream.left:
                streams[each.id] = stream
            else:
                await self._finish(each, None)
        self._streams = streams
        return list(streams.values())

    def _flow(self, found: Open) -> Flow | None:
        """None if the journey is published no more."""
        firing = found.firing
        return self._library.current.book.fired(firing.journey, firing.version, self._clock.now())

    async def _finish(self, found: Open, skipped: str | None) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(_DONE, found.id, self._clock.now(), skipped)
            if found.firing.trigger.name == ON_DATE:  # most days and stretches mean nobody
                await connection.execute(_FORGET, found.id)
        say = logger.debug if found.firing.trigger.name == ON_DATE else logger.info
        say(
            "a firing has come to everybody" if skipped is None else "a firing was withdrawn",
            action="firing_done",
            journey=found.firing.journey,
            label=found.firing.label,
        )

    async def _round(self, streams: Sequence[_Stream]) -> bool:
        """One chunk in each partition that has room; False if none had."""
        room = await self._room()
        turns = [
            (partition, next(s for s in streams if partition in s.left))
            for partition in range(self._partitions)
            if room[partition] and any(partition in s.left for s in streams)
        ]
        for partition, stream in turns:
            await self._chunk(partition, stream)
        return bool(turns)

    async def _room(self) -> Mapping[int, bool]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            read = {row["id"]: row["log_offset"] for row in await connection.fetch(_READ)}
            waiting = {row["partition"]: row["n"] for row in await connection.fetch(_WAITING)}
        ends = await self._log.ends()
        return {
            partition: ends.get(partition, 0) - offset + waiting.get(partition, 0) < IN_FLIGHT
            for partition, offset in read.items()
        }

    async def _chunk(self, partition: int, stream: _Stream) -> None:
        found = stream.found
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            # The insert or update locks the cursor, should another leader be at it.
            cursor = await connection.fetchrow(_CURSOR, partition, found.id)
            assert cursor is not None
            if cursor["done"]:
                stream.left.discard(partition)
                return
            ids, after, done = await self._next(connection, partition, stream, cursor["after"])
            events = [event_for(found.firing, customer) for customer in ids]
            await outbox.put(connection, events, self._partitions)
            # At the end nothing is left of whose turn it was.
            place = "" if done else after
            await connection.execute(_MOVE, partition, found.id, place, len(ids), done)
        if done:
            stream.left.discard(partition)
        metrics.FANNED_OUT.labels(found.firing.journey).inc(len(ids))

    async def _next(
        self, connection: Connection, partition: int, stream: _Stream, after: str
    ) -> tuple[list[str], str, bool]:
        """The customers of the next chunk, the last one looked at, and whether that is the end."""
        until = await connection.fetchval(_UNTIL, partition, after, SCANNED - 1)
        at_end = until is None
        if at_end:
            until = await connection.fetchval(_LAST, partition, after)
            if until is None:
                return [], after, True
        places = stream.statement.parameters(
            partition=partition, after=after, until=until, most=CHUNK
        )
        ids = [row["id"] for row in await connection.fetch(stream.statement.text, *places)]
        if len(ids) == CHUNK:
            return ids, ids[-1], False
        return ids, until, at_end
