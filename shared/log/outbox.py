"""The log's outbox: what a service appends is first a row in the transaction that decided it.

The relay moves rows to the log at least once: it appends, then deletes. A kill in between appends
again with the same deterministic id, and consumers take an id in once.

Any number of relays may run, one of them moves rows at a time: what one partition's owner puts for
another's arrives in its order, so that what is forwarded comes behind the merge it belongs to.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog

from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.wakeups import ring_or_timeout
from shared.errors import Unavailable
from shared.event import Event, decode_unstamped, encode, partition_of
from shared.ids import derived_id
from shared.lifecycle import pause, unless_stopping
from shared.log.port import EventLog

logger = structlog.get_logger()

_LONGEST_WAIT = 2.0
"""Real seconds after which the relay looks for itself, should a wake-up have been lost."""

_LOCK = 0x44414E4F
CHANNEL = "dangol_outbox"
"""The wake-up (`shared/db/wakeups.py`) that tells relays of new rows."""

# A relay that hangs leaves the way to others; longer than the log may take to append.
_TRY_LOCK = """
SELECT pg_try_advisory_xact_lock($1)
FROM (SELECT set_config('idle_in_transaction_session_timeout', '15s', true)) s
"""
_PUT = """
WITH put AS (
  INSERT INTO log_outbox (partition, id, payload)
  SELECT * FROM unnest($1::int[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING
)
SELECT pg_notify($4, '')
"""
_TAKE = """
DELETE FROM log_outbox WHERE ctid IN
  (SELECT ctid FROM log_outbox ORDER BY place LIMIT $1 FOR UPDATE)
RETURNING place, payload
"""


async def put(connection: Connection, events: Sequence[Event], partitions: int) -> None:
    """Call inside the deciding transaction."""
    if not events:
        return
    await connection.execute(
        _PUT,
        [partition_of(e.customer, partitions) for e in events],
        [_row_id(e) for e in events],
        [encode(e) for e in events],
        CHANNEL,
    )


def _row_id(event: Event) -> str:
    """A forwarded event keeps the id that somebody's SDK gave it, which others may have as well."""
    if not event.passed:
        return event.id
    return derived_id("forward", event.customer, *event.passed, event.kind, event.id)


class Relay:
    """Runs in every process that owns a part of the outbox's writers; one is enough."""

    def __init__(self, pool: Pool, log: EventLog, news: asyncio.Event, *, limit: int = 500) -> None:
        self._pool = pool
        self._log = log
        self._news = news
        self._limit = limit

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                moved = await self.step()
            except Unavailable as error:
                logger.warning(
                    "the outbox could not be relayed; trying again",
                    action="outbox_unavailable",
                    error=str(error),
                )
                await pause(stopping, 0.5)
                continue
            if moved < self._limit:
                await unless_stopping(stopping, ring_or_timeout(self._news, _LONGEST_WAIT))

    async def step(self) -> int:
        """Move up to `limit` rows; returns how many. Raises Unavailable, having lost nothing.

        Does nothing while another relay is at it: that one goes on until nothing is left.
        """
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            if not await connection.fetchval(_TRY_LOCK, _LOCK):
                return 0
            rows = await connection.fetch(_TAKE, self._limit)
            if rows:
                await self._log.append(
                    [decode_unstamped(row["payload"]) for row in sorted(rows, key=_place)]
                )
        return len(rows)


def _place(row: asyncpg.Record) -> int:
    place: int = row["place"]
    return place
