"""The engine's Postgres: load what a batch needs, store what it decided, all in one transaction.

The first statement of every commit is the fence. It moves the partition's offset only for the
epoch that this worker holds and only while the workspace is still the one it decided by; no row
updated means that nothing of the batch is stored.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import msgspec

from services.journey import erasing, moving, queues, rows, settling
from services.journey.batch import Batch, Settled, TimerRow
from services.journey.core.history import Needs, Row
from services.journey.core.state import Customer, pack, unpack
from services.journey.firings import rows as firings
from shared.clock import EPOCH
from shared.db.connect import UNLESS_HUNG, Connection, Pool, unavailable_when_lost
from shared.db.copying import copy_in
from shared.errors import DangolError, PartitionLost
from shared.event import Event
from shared.log import outbox


class Unstorable(DangolError):
    """Something in the batch can never be stored: find the record, and set it aside."""


_NEVER = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    UnicodeEncodeError,
    OverflowError,
    TypeError,
    struct.error,
)
"""What a commit raises for values that no second try will store."""


class WorkspaceChanged(DangolError):
    """An apply, a pause or the like came in between: load it and decide the batch again."""


@dataclass(frozen=True, slots=True)
class Taken:
    epoch: int
    offset: int
    log_time: datetime
    """How far in log time the partition has been decided."""
    settled: Settled


_FENCE = """
UPDATE partitions SET log_offset = $3, log_time = $4
WHERE id = $1 AND epoch = $2
  AND (SELECT coalesce(max(revision), 0) FROM workspaces)
    + (SELECT coalesce(max(place), 0) FROM journey_changes) = $5
RETURNING UNLESS_HUNG
""".replace("UNLESS_HUNG", UNLESS_HUNG)
_PAST = """
SELECT customer, name, happened_at, event->'properties' AS properties, event->'context' AS context
FROM history WHERE partition = $1 AND customer = ANY($2::text[]) AND kind IN ('track', 'receipt')
  AND name = ANY($3::text[]) AND received_at > $4
ORDER BY customer, happened_at, received_at
"""
_RESCORE = """
UPDATE customers c SET rfm = n.rfm FROM unnest($2::text[], $3::jsonb[]) AS n(id, rfm)
WHERE c.partition = $1 AND c.id = n.id
"""
_UPSERT = """
INSERT INTO customers (partition, id, traits, state, members)
SELECT $1, * FROM unnest($2::text[], $3::jsonb[], $4::bytea[], $5::jsonb[])
ON CONFLICT (partition, id) DO UPDATE
  SET traits = excluded.traits, state = excluded.state, members = excluded.members
"""
_UPDATE = """
UPDATE customers c SET state = n.state FROM unnest($2::text[], $3::bytea[]) AS n(id, state)
WHERE c.partition = $1 AND c.id = n.id
"""
_UPDATE_MEMBERS = """
UPDATE customers c SET state = n.state, members = n.members
FROM unnest($2::text[], $3::bytea[], $4::jsonb[]) AS n(id, state, members)
WHERE c.partition = $1 AND c.id = n.id
"""
_COUNT = """
INSERT INTO counts AS c (partition, journey, version, step, what, n)
SELECT $1, * FROM unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::bigint[])
ON CONFLICT (partition, journey, version, step, what) DO UPDATE SET n = c.n + excluded.n
"""
_CONSENT = """
INSERT INTO consents AS c (partition, customer, channel, granted, stated_at)
SELECT DISTINCT ON (customer, channel) $1, customer, channel, granted, stated_at
FROM unnest($2::text[], $3::text[], $4::bool[], $5::timestamptz[]) WITH ORDINALITY
  AS s(customer, channel, granted, stated_at, place)
ORDER BY customer, channel, stated_at DESC, place DESC
ON CONFLICT (partition, customer, channel) DO UPDATE
  SET granted = excluded.granted, stated_at = excluded.stated_at
  WHERE excluded.stated_at >= c.stated_at
"""
_LEDGER = """
INSERT INTO consent_ledger
  (partition, customer, channel, granted, stated_at, source, event_id, imported, recorded_at)
SELECT $1, *, $9::timestamptz FROM unnest(
  $2::text[], $3::text[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[], $8::bool[])
ON CONFLICT DO NOTHING
"""
_CONVERT = """
INSERT INTO conversions (partition, run_id, customer, journey, version, held_out, variants,
  entered_at, at, value, held_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""
_SPILL = """
INSERT INTO spilled_ids SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (partition, customer, digest) DO UPDATE SET second = excluded.second
"""


class Store:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, partition: int, worker: str) -> Taken:
        """Become the owner: whoever held the partition can store nothing from now on."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            row = await connection.fetchrow(
                "UPDATE partitions SET owner = $2, epoch = epoch + 1 WHERE id = $1"
                " RETURNING epoch, log_offset, log_time, settled_revision, settling_revision,"
                " settling_after",
                partition,
                worker,
            )
        assert row is not None, "partitions are seeded by the migration"
        settled = (row["settled_revision"], row["settling_revision"], row["settling_after"])
        return Taken(row["epoch"], row["log_offset"], row["log_time"], Settled(*settled))

    async def let_go(self, partition: int, epoch: int) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(
                "UPDATE partitions SET owner = NULL WHERE id = $1 AND epoch = $2", partition, epoch
            )

    async def load(
        self, partition: int, ids: Sequence[str]
    ) -> tuple[dict[str, Customer], list[str]]:
        """Those of them that there are; and the ids of those whose state cannot be read."""
        if not ids:
            return {}, []
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT id, traits, state FROM customers WHERE partition = $1 AND id = ANY($2)",
                partition,
                ids,
            )
        found: dict[str, Customer] = {}
        unreadable: list[str] = []
        for row in rows:
            try:
                found[row["id"]] = Customer(row["id"], row["traits"], unpack(row["state"]))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                unreadable.append(row["id"])
        return found, unreadable

    async def history(
        self, partition: int, ids: Sequence[str], needs: Needs, now: datetime
    ) -> dict[str, list[Row]]:
        """What the table has of these customers for these needs, oldest first."""
        windows = [need.window for need in needs.values()]
        widest = None if None in windows else max(w for w in windows if w is not None)
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(
                _PAST, partition, ids, list(needs), EPOCH if widest is None else now - widest
            )
        found: dict[str, list[Row]] = {}
        for row in rows:
            past = (row["name"], row["happened_at"], row["properties"] or {}, row["context"] or {})
            found.setdefault(row["customer"], []).append(past)
        return found

    async def witnessed(
        self, partition: int, asked: Sequence[tuple[int, str, datetime]]
    ) -> dict[int, list[Event]]:
        """Place → the newest events that the customer has received since, up to a bound."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            return await moving.witnessed(connection, partition, asked)

    async def spilled(
        self, partition: int, wanted: Sequence[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        """Which of the (customer, digest) pairs stand in the table of spilled ids."""
        if not wanted:
            return set()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT s.customer, s.digest FROM spilled_ids s"
                " JOIN unnest($2::text[], $3::bigint[]) AS w(customer, digest)"
                " USING (customer, digest) WHERE s.partition = $1",
                partition,
                [customer for customer, _ in wanted],
                [digest for _, digest in wanted],
            )
        return {(row["customer"], row["digest"]) for row in rows}

    async def due(
        self, partition: int, until: datetime, watermark: datetime, limit: int
    ) -> list[TimerRow]:
        """Due timers, earliest first, from the watermark on: dead rows are not walked again."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT ctid AS row, due_at, customer FROM timers WHERE partition = $1"
                " AND due_at >= $3 AND due_at <= $2 ORDER BY due_at LIMIT $4",
                partition,
                until,
                watermark,
                limit,
            )
        return [TimerRow(r["row"], r["due_at"], r["customer"]) for r in rows]

    async def with_runs(
        self, partition: int, after: str, limit: int
    ) -> tuple[list[str], str | None]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            return await settling.with_runs(connection, partition, after, limit)

    async def first_due(self, partition: int, watermark: datetime) -> datetime | None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            due: datetime | None = await connection.fetchval(
                "SELECT due_at FROM timers WHERE partition = $1 AND due_at >= $2"
                " ORDER BY due_at LIMIT 1",
                partition,
                watermark,
            )
        return due

    async def commit(self, batch: Batch) -> None:
        """Raises PartitionLost, WorkspaceChanged, Unstorable or Unavailable; then nothing has been
        stored.

        (After Unavailable the commit may have happened: the owner takes the partition again and
        starts from the offset that it finds.)
        """
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await _fence(connection, batch)
            try:
                await erasing.erase(connection, batch)
                await erasing.keep_unsent(connection, batch)
                await _store_customers(connection, batch)
                await moving.take_in(connection, batch)
                await queues.store_messages(connection, batch)
                await queues.store_calls(connection, batch)
                await _store_rest(connection, batch)
                await moving.send_out(connection, batch)
                if batch.firings:
                    await firings.insert(connection, batch.firings)
                await outbox.put(connection, batch.emitted, batch.partitions)
                await erasing.rename_conversions(connection, batch)
            except _NEVER as error:
                raise Unstorable(f"{type(error).__name__}: {error}") from error


async def _fence(connection: Connection, batch: Batch) -> None:
    done = await connection.execute(
        _FENCE, batch.partition, batch.epoch, batch.offset, batch.log_time, batch.stamp
    )
    if done != "UPDATE 1":
        epoch = await connection.fetchval(
            "SELECT epoch FROM partitions WHERE id = $1", batch.partition
        )
        raise PartitionLost() if epoch != batch.epoch else WorkspaceChanged()
    await settling.store(connection, batch)


async def _store_customers(connection: Connection, batch: Batch) -> None:
    if batch.new:
        new = [c for c in batch.changed.values() if c.id in batch.new]
        await copy_in(connection, "customers", rows.CUSTOMERS, rows.customers(batch.partition, new))
    known = [c for c in batch.changed.values() if c.id not in batch.new]
    whole = [c for c in known if c.id in batch.new_traits]
    if whole:
        await connection.execute(
            _UPSERT,
            batch.partition,
            [c.id for c in whole],
            [c.traits for c in whole],
            [pack(c.state) for c in whole],
            [rows.members(c) for c in whole],
        )
    partly = [c for c in known if c.id not in batch.new_traits]
    moved = [c for c in partly if c.id in batch.new_members]
    still = [c for c in partly if c.id not in batch.new_members] if moved else partly
    if still:
        await connection.execute(
            _UPDATE, batch.partition, [c.id for c in still], [pack(c.state) for c in still]
        )
    if moved:
        await connection.execute(
            _UPDATE_MEMBERS,
            batch.partition,
            [c.id for c in moved],
            [pack(c.state) for c in moved],
            [rows.members(c) for c in moved],
        )
    if batch.rescored:
        scores = {name: batch.changed[name].state.rfm for name in batch.rescored}
        await connection.execute(
            _RESCORE,
            batch.partition,
            list(scores),
            [None if score is None else score.bands for score in scores.values()],
        )
    if batch.history:
        await copy_in(connection, "history", rows.HISTORY, rows.history(batch.history))
    if batch.fired:
        await connection.execute(
            "DELETE FROM timers WHERE ctid = ANY($1::tid[])", [t.row for t in batch.fired]
        )
    if batch.timers:
        due = rows.timers(batch.partition, batch.timers)
        await copy_in(connection, "timers", rows.TIMERS, due)


async def _store_rest(connection: Connection, batch: Batch) -> None:
    if batch.counts:
        keys = sorted(batch.counts)  # in one order, though only the owner writes them
        columns = [list(column) for column in zip(*keys, strict=True)]
        await connection.execute(
            _COUNT, batch.partition, *columns, [batch.counts[key] for key in keys]
        )
    if batch.consents:
        told = [
            (c, s.channel, s.granted, s.at, s.source, s.event_id, s.imported)
            for c, s in batch.consents
        ]
        columns = [list(column) for column in zip(*told, strict=True)]
        counting = [row[:4] for row, (_, s) in zip(told, batch.consents, strict=True) if s.counts]
        if counting:
            counted = [list(column) for column in zip(*counting, strict=True)]
            await connection.execute(_CONSENT, batch.partition, *counted)
        await connection.execute(_LEDGER, batch.partition, *columns, batch.recorded_at)
    if batch.conversions:
        await connection.executemany(
            _CONVERT,
            [
                (batch.partition, c.run_id, customer, c.journey, c.version, c.held_out,
                 c.variants, c.entered_at, c.at, c.value, c.held_by or None)
                for customer, c in batch.conversions
            ],
        )  # fmt: skip
    if batch.spilled:
        columns = [list(column) for column in zip(*batch.spilled, strict=True)]
        await connection.execute(_SPILL, batch.partition, *columns)
    if batch.set_aside:
        await connection.executemany(
            "INSERT INTO set_aside (at, source, reason, payload) VALUES ($1, 'log', $2, $3)",
            [(batch.recorded_at, reason, payload) for reason, payload in batch.set_aside],
        )
