"""The log's outbox: what a service appends is first a row in the transaction that decided it.

The relay moves rows to the log at least once: it appends, then deletes. A kill in between appends
again with the same deterministic id, and consumers take an id in once. Any number of relays may
run; SKIP LOCKED keeps them off each other's rows.
"""

from collections.abc import Sequence

import msgspec

from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.event import Event, encode, partition_of
from shared.log.port import EventLog

CHANNEL = "dangol_outbox"
"""The wake-up (`shared/db/wakeups.py`) that tells relays of new rows."""

_PUT = """
INSERT INTO log_outbox (partition, id, payload)
SELECT * FROM unnest($1::int[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING
"""
_TAKE = """
DELETE FROM log_outbox WHERE ctid IN
  (SELECT ctid FROM log_outbox ORDER BY partition, id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING payload
"""


async def put(connection: Connection, events: Sequence[Event], partitions: int) -> None:
    """Call inside the deciding transaction."""
    if not events:
        return
    await connection.execute(
        _PUT,
        [partition_of(e.customer, partitions) for e in events],
        [e.id for e in events],
        [encode(e) for e in events],
    )
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)


class Relay:
    def __init__(self, pool: Pool, log: EventLog, *, limit: int = 500) -> None:
        self._pool = pool
        self._log = log
        self._limit = limit

    async def step(self) -> int:
        """Move up to `limit` rows; returns how many. Raises Unavailable, having lost nothing."""
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            rows = await connection.fetch(_TAKE, self._limit)
            if rows:
                await self._log.append([_read(row["payload"]) for row in rows])
        return len(rows)


_decoder = msgspec.json.Decoder(Event)


def _read(payload: bytes) -> Event:
    return _decoder.decode(payload)
