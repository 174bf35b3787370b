"""Housekeeping, by one worker at a time: months of history made ahead, old rows let go.

What goes: log records that every owner has passed and that are older than the log's retention,
spilled ids and cap places that no window reaches any more, months of history past theirs.
"""

import asyncio
import json
from datetime import datetime, timedelta

import msgspec
import structlog

from services.journey import metrics
from shared.clock import Clock, wall_clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.erasure import HISTORY_RETENTION, LOG_RETENTION
from shared.errors import Unavailable
from shared.lifecycle import pause
from shared.log.port import Log

logger = structlog.get_logger()

SET_ASIDE_RETENTION = timedelta(days=30)
"""What was set aside holds personal data that no customer's page shows: it is not kept long."""
SET_ASIDE_MOST = 100_000
"""What a stranger writes into the log is no reason to fill the disk: the oldest go first."""
USAGE_RETENTION = timedelta(days=40)
_WHO = ("user_id", "userId", "anonymous_id", "anonymousId", "previous_id", "previousId")
_KEYS_KEPT = timedelta(days=8)
"""Longer than a key names its message (`services/console/send_api.py`)."""
_FIRINGS_KEPT = timedelta(days=100)
_LONGEST_CAP = timedelta(days=100)
_EVERY = 3600.0
_LOCK = 0x44414E48

_TOO_MANY_ASIDE = """
DELETE FROM set_aside WHERE id <=
  (SELECT id FROM set_aside ORDER BY id DESC OFFSET $1 LIMIT 1)
"""


class Maintenance:
    def __init__(self, pool: Pool, clock: Clock, log: Log) -> None:
        self._pool = pool
        self._clock = clock
        self._log = log

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self.once()
            except Unavailable as error:
                logger.warning(
                    "housekeeping has to wait", action="maintenance_unavailable", error=str(error)
                )
            await pause(stopping, _EVERY)

    async def once(self) -> None:
        """Raises Unavailable. Does nothing while another worker is at it."""
        now = self._clock.now()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return
            try:
                await make_months(connection, now)
                await _drop_months(connection, now - HISTORY_RETENTION)
                await self._trim(connection, now - LOG_RETENTION)
                await _forget(connection, now)
                await _finish_erasures(connection, now)
                metrics.MAINTAINED.set(wall_clock().timestamp())
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    async def _trim(self, connection: Connection, before: datetime) -> None:
        rows = await connection.fetch("SELECT id, log_offset FROM partitions")
        try:
            await self._log.trim({row["id"]: row["log_offset"] for row in rows}, before)
        except Unavailable as error:  # the log has its own troubles: go on with the rest
            logger.warning(
                "the log's old records have to wait", action="trim_unavailable", error=str(error)
            )


def _month(at: datetime, later: int) -> datetime:
    months = at.year * 12 + at.month - 1 + later
    return at.replace(
        year=months // 12, month=months % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0
    )


async def make_months(connection: Connection, now: datetime) -> None:
    """A partition of `history` for this month and the next two; what fits none is in `rest`."""
    for later in range(3):
        start, end = _month(now, later), _month(now, later + 1)
        name = f"history_{start:%Y_%m}"
        if await connection.fetchval("SELECT to_regclass($1)", name):
            continue
        # A month that the clock has jumped into may already have rows in the default partition.
        taken = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM history_rest WHERE received_at >= $1 AND received_at < $2)",
            start,
            end,
        )
        if not taken:
            await connection.execute(
                f"CREATE TABLE {name} PARTITION OF history"
                f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )


async def _drop_months(connection: Connection, before: datetime) -> None:
    names = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'history'::regclass"
    )
    oldest = f"history_{before:%Y_%m}"
    for row in names:
        if row["name"] != "history_rest" and row["name"] < oldest:
            await connection.execute(f"DROP TABLE {row['name']}")
    await connection.execute("DELETE FROM history_rest WHERE received_at < $1", before)


async def _finish_erasures(connection: Connection, now: datetime) -> None:
    """Let go of what was set aside of erased customers, and, at the end, of their ids."""
    for row in await connection.fetch("SELECT customer FROM erasures WHERE customer IS NOT NULL"):
        customer = row["customer"]
        found = await connection.fetch(
            "SELECT id, payload FROM set_aside WHERE position($1::bytea IN payload) > 0",
            customer.encode(),
        )
        theirs = [r["id"] for r in found if _names(r["payload"], customer)]
        await connection.execute("DELETE FROM set_aside WHERE id = ANY($1::bigint[])", theirs)
    await connection.execute(
        "UPDATE erasures SET customer = NULL"
        " WHERE customer IS NOT NULL AND erased_at IS NOT NULL AND complete_at <= $1",
        now,
    )


def _names(payload: bytes, customer: str) -> bool:
    """Whether a payload that was set aside is about the customer, as far as it can be read."""
    if payload == customer.encode():
        return True
    try:
        event = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.dumps(customer).encode() in payload
    return isinstance(event, dict) and any(event.get(field) == customer for field in _WHO)


async def _forget(connection: Connection, now: datetime) -> None:
    await connection.execute("DELETE FROM firings WHERE done_at < $1", now - _FIRINGS_KEPT)
    await connection.execute(
        "DELETE FROM firing_cursors c WHERE done AND NOT EXISTS"
        " (SELECT FROM firings f WHERE f.id = c.firing)"
    )
    await connection.execute(
        "DELETE FROM spilled_ids WHERE second < $1", int((now - timedelta(days=7)).timestamp())
    )
    await connection.execute(
        "DELETE FROM calls WHERE status = 'decided' AND decided_at < $1", now - HISTORY_RETENTION
    )
    await connection.execute("DELETE FROM idempotency_keys WHERE made_at < $1", now - _KEYS_KEPT)
    await connection.execute("DELETE FROM set_aside WHERE at < $1", now - SET_ASIDE_RETENTION)
    dropped = await connection.execute(_TOO_MANY_ASIDE, SET_ASIDE_MOST)
    if dropped != "DELETE 0":
        logger.warning(
            "too much was set aside; the oldest of it is gone", action="set_aside_full", sql=dropped
        )
    await connection.execute("DELETE FROM key_usage WHERE day < $1", (now - USAGE_RETENTION).date())
    await connection.execute("DELETE FROM cap_places WHERE taken_at < $1", now - _LONGEST_CAP)
    await connection.execute(
        "DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 hour'"
    )
