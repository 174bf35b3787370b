"""The event log in Postgres, for one machine: an ordered, gap-free table per partition.

An append locks the heads of the partitions it touches, in order; so appends to one partition take
turns, their commits come in offset order, and no reader ever sees a gap. The stamp is read while
the lock is held and exceeds the last one, so it decides between "before" and "after" a log time.

`log_time` raises the head's stamp while nothing lies behind the reader's end: whatever is appended
later waits for that row lock and is stamped after it. It runs only when a timer is due or a
partition has just caught up, and need not be durable: after a crash the clock has gone on.

Workers share the partitions by their rank among the workers seen lately; the epoch in
`partitions` decides, this table only proposes.
"""

import contextlib
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from shared.clock import REAL, Clock
from shared.db.connect import UNLESS_HUNG, Connection, Pool, unavailable_when_lost
from shared.db.copying import EPOCH_2000, copy_in
from shared.db.wakeups import Wakeups, ring_or_timeout
from shared.errors import Unavailable
from shared.event import Encoded, Event, encoded
from shared.log.port import Fetch, Record

CHANNEL = "dangol_log"

# Dangol's time as the database's clock tells it; see shared/clock.py.
_NOW = "($v::timestamptz + (clock_timestamp() - $r::timestamptz) * $s::float8)"


def _sql(text: str, first: int) -> str:
    """Number the three clock parameters from `first`."""
    now = _NOW
    for place, name in enumerate(("$v", "$r", "$s")):
        now = now.replace(name + "::", f"${first + place}::")
    return text.replace("NOW", now)


_HEADS = """
WITH heads AS MATERIALIZED (
  SELECT partition, next_offset, greatest(last_at + interval '1 microsecond', NOW) AS at
  FROM log_heads WHERE partition = ANY($1::int[]) ORDER BY partition FOR UPDATE
), moved AS (
  UPDATE log_heads h SET last_at = s.at, next_offset = s.next_offset + c.n
  FROM heads s JOIN unnest($1::int[], $2::int[]) AS c(p, n) ON c.p = s.partition
  WHERE h.partition = s.partition
)"""

_APPEND = _sql(
    _HEADS  # noqa: S608 - our own texts
    + """, written AS (
  INSERT INTO log (partition, log_offset, received_at, payload)
  SELECT i.p, s.next_offset + i.nth, s.at, i.payload
  FROM unnest($3::int[], $4::int[], $5::bytea[]) AS i(p, nth, payload)
  JOIN heads s ON s.partition = i.p
)
SELECT pg_notify('dangol_log', array_to_string($1::int[], ','))
""",
    6,
)
"""All in one round trip: best for few events."""

_RESERVE = _sql(
    _HEADS
    + """
SELECT partition, next_offset, (extract(epoch FROM at) * 1000000)::bigint AS micros,
  pg_notify('dangol_log', array_to_string($1::int[], ',')), UNLESS_HUNG
FROM heads
""".replace("UNLESS_HUNG", UNLESS_HUNG),
    3,
)
"""The places of an append whose rows are then copied in, in the same transaction."""

_COPY_FROM = 300
"""Events from which COPY is cheaper (measured: half of PostgreSQL's time an event at 800), though
it takes three round trips more."""

_COLUMNS = ("partition", "log_offset", "received_at", "payload")
_row = struct.Struct(">hiiiqiqi").pack

_READ = """
SELECT log_offset, received_at, payload FROM log
WHERE partition = $1 AND log_offset > $2 ORDER BY log_offset LIMIT $3
"""

_PASSED = """
DELETE FROM log WHERE ctid IN (
  SELECT ctid FROM log WHERE partition = $1 AND log_offset <= $2 AND received_at < $3 LIMIT $4)
"""
_CHUNK = 20_000

_LOG_TIME = _sql(
    """
UPDATE log_heads SET last_at = greatest(last_at, NOW)
WHERE partition = $1 AND next_offset = $2 + 1 RETURNING last_at
""",
    3,
)

_LIGHTLY = f"SELECT set_config('synchronous_commit', 'off', true), {UNLESS_HUNG}"

_SEEN = """
INSERT INTO workers (id, role, seen_at) VALUES ($1, 'journey', clock_timestamp())
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
"""
_PEERS = """
SELECT id FROM workers
WHERE role = 'journey' AND seen_at > clock_timestamp() - $1 * interval '1 second' ORDER BY id
"""

HEARTBEAT_LIMIT = 5.0
"""Real seconds of silence after which a worker's partitions go to the others."""


class PostgresLog:
    """Implements `Log`."""

    def __init__(self, pool: Pool, partitions: int, clock: Clock = REAL) -> None:
        self._pool = pool
        self._clock = (clock.virtual_start, clock.real_start, clock.speed)
        self.partitions = partitions

    async def append(self, events: Sequence[Event]) -> None:
        await self.append_encoded([encoded(event, self.partitions) for event in events])

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        if not records:
            return
        payloads: defaultdict[int, list[bytes]] = defaultdict(list)
        for record in records:
            payloads[record.partition].append(record.payload)
        copy = len(records) >= _COPY_FROM
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await (self._copy if copy else self._insert)(connection, payloads)

    async def _insert(self, connection: Connection, payloads: Mapping[int, list[bytes]]) -> None:
        await connection.fetchrow(
            _APPEND,
            list(payloads),
            [len(rows) for rows in payloads.values()],
            [place for place, rows in payloads.items() for _ in rows],
            [nth for rows in payloads.values() for nth in range(len(rows))],
            [row for rows in payloads.values() for row in rows],
            *self._clock,
        )

    async def _copy(self, connection: Connection, payloads: Mapping[int, list[bytes]]) -> None:
        counts = [len(rows) for rows in payloads.values()]
        async with connection.transaction():
            heads = await connection.fetch(_RESERVE, list(payloads), counts, *self._clock)
            await copy_in(connection, "log", _COLUMNS, _copied(heads, payloads))

    async def ends(self) -> Mapping[int, int]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT partition, next_offset - 1 AS last FROM log_heads"
            )
        return {row["partition"]: row["last"] for row in rows}

    async def trim(self, passed: Mapping[int, int], before: datetime) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            for partition, offset in passed.items():
                done = ""
                while done != "DELETE 0":
                    done = await connection.execute(_PASSED, partition, offset, before, _CHUNK)


def _copied(heads: Sequence[asyncpg.Record], payloads: Mapping[int, list[bytes]]) -> list[bytes]:
    """The rows for COPY: heads and payloads in turn."""
    parts: list[bytes] = []
    for head in heads:
        place, offset = head["partition"], head["next_offset"]
        at = head["micros"] - EPOCH_2000
        for payload in payloads[place]:
            parts.append(_row(4, 4, place, 8, offset, 8, at, len(payload)))
            parts.append(payload)
            offset += 1
    return parts


class PostgresLogReader:
    """Implements `LogReader` for one worker."""

    def __init__(
        self, pool: Pool, wakeups: Wakeups, partitions: int, worker: str, clock: Clock = REAL
    ) -> None:
        self._pool = pool
        self._clock = (clock.virtual_start, clock.real_start, clock.speed)
        self._news = {p: wakeups.listen(CHANNEL, str(p)) for p in range(partitions)}
        self._partitions = partitions
        self._worker = worker

    async def assignment(self) -> frozenset[int]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(_SEEN, self._worker)
            peers = [row["id"] for row in await connection.fetch(_PEERS, HEARTBEAT_LIMIT)]
        place = peers.index(self._worker)
        return frozenset(p for p in range(self._partitions) if p % len(peers) == place)

    async def read(self, partition: int, after: int, limit: int) -> Fetch:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(_READ, partition, after, limit)
        records = [
            Record(partition, row["log_offset"], row["received_at"], row["payload"]) for row in rows
        ]
        end = records[-1].offset if records else after
        return Fetch(records, end, at_end=len(records) < limit)

    async def log_time(self, partition: int, end: int) -> datetime | None:
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(_LIGHTLY)
            at: datetime | None = await connection.fetchval(_LOG_TIME, partition, end, *self._clock)
        return at

    async def wait(self, partition: int, timeout: float) -> None:
        await ring_or_timeout(self._news[partition], timeout)

    async def close(self) -> None:
        """Others take over at once; who does not come to this is missed after the limit. Call when
        every owner has ended."""
        with contextlib.suppress(Unavailable):
            async with unavailable_when_lost(), self._pool.acquire() as connection:
                await connection.execute("DELETE FROM workers WHERE id = $1", self._worker)
