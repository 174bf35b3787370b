"""Who has refused advertising by 080 or STOP, where only a number is named.

The number is closed to advertising at once. Whose it is only a walk over all customers tells, so
the leader does that for all new numbers together: each of their customers gets an entry in the
consent ledger and the log hears of it. The vendors' 080 lists are read by the same leader, from
where the last reading has come to.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from services.dispatch import metrics, store
from services.dispatch.channels.refusal_lists import ListUnread, RefusalList, Refused, lists_of
from services.dispatch.doors.links import Leave
from services.dispatch.doors.store import Doors, Statement
from shared.address import address_hash
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Unavailable
from shared.workspace_store import newest

logger = structlog.get_logger()

EVERY = 60.0
"""Real seconds: so soon a webhook's refusal is in the ledger; its number is closed at once."""
LISTS_EVERY = timedelta(hours=1)
_OVERLAP = timedelta(days=1)
"""A list is read from before where it was read to: vendors enter refusals late."""
_AT_ONCE = 1000

_CLOSE = """
INSERT INTO suppressions (address_hash, scope, reason, at)
SELECT h, 'marketing', 'unsubscribed', $2 FROM unnest($1::text[]) AS h ON CONFLICT DO NOTHING
"""
# A later refusal than the known one is a new one: there was a consent in between.
_NOTE = """
INSERT INTO refusals AS r (address_hash, phone, source, refused_at, taken_at)
SELECT DISTINCT ON (t.hash) t.hash, t.phone, $3, t.at, $5
FROM unnest($1::text[], $2::text[], $4::timestamptz[]) AS t(hash, phone, at)
ORDER BY t.hash, t.at DESC
ON CONFLICT (address_hash) DO UPDATE
  SET phone = excluded.phone, source = excluded.source, refused_at = excluded.refused_at,
    taken_at = excluded.taken_at
  WHERE excluded.refused_at > r.refused_at
RETURNING true
"""
_OPEN = """
SELECT phone, source, refused_at FROM refusals WHERE phone IS NOT NULL ORDER BY taken_at LIMIT $1
"""
# Whoever has the number, and has not agreed again since.
_OWNERS = """
SELECT c.id, c.traits->>'phone' AS phone FROM customers c
JOIN unnest($1::text[], $2::timestamptz[]) AS r(phone, at) ON r.phone = c.traits->>'phone'
WHERE c.forwarded_to IS NULL AND NOT EXISTS (
  SELECT FROM consents k WHERE k.partition = c.partition AND k.customer = c.id
    AND k.channel = 'sms' AND (k.stated_at > r.at OR NOT k.granted))
"""
_FOUND = "UPDATE refusals SET phone = NULL WHERE phone = ANY($1::text[]) AND taken_at <= $2"
_STATE = "SELECT through, synced_at, failed_at FROM refusal_syncs WHERE provider = $1"
_READ = """
INSERT INTO refusal_syncs (provider, through, synced_at) VALUES ($1, $2, $2)
ON CONFLICT (provider) DO UPDATE
  SET through = $2, synced_at = $2, failed_at = NULL, why = NULL
"""
_FAILED = """
INSERT INTO refusal_syncs (provider, failed_at, why) VALUES ($1, $2, $3)
ON CONFLICT (provider) DO UPDATE SET failed_at = $2, why = $3
"""


async def take(
    connection: Connection, refused: Sequence[Refused], source: str, key: bytes, now: datetime
) -> int:
    """Close the numbers to advertising, and note whose customers are to be found; how many are
    new. Repeating it changes nothing."""
    hashes = [address_hash("phone", each.phone, key) for each in refused]
    await connection.execute(_CLOSE, hashes, now)
    phones, ats = [each.phone for each in refused], [min(each.at, now) for each in refused]
    new = len(await connection.fetch(_NOTE, hashes, phones, source, ats, now))
    metrics.REFUSALS.labels(source).inc(new)
    return new


class RefusalSync:
    def __init__(
        self, pool: Pool, clock: Clock, partitions: int, environment: Mapping[str, str]
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._environment = environment
        self._doors = Doors(pool, partitions)
        self._key = b""

    async def turn(self) -> None:
        """Raises Unavailable."""
        if not self._key:
            self._key = await store.address_key(self._pool)
        await self._read_lists()
        while await self._enter():
            pass

    # The lists ------------------------------------------------------------------------------

    async def _read_lists(self) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            published = await newest(connection)
        if published is None:
            return
        lists, unread = lists_of(published.settings.channels, self._environment)
        for why in unread:
            logger.warning("an 080 list cannot be read", action="refusals_unread", why=why)
        for each in lists:
            try:
                await self._read(each)
            finally:
                await each.close()

    async def _read(self, found: RefusalList) -> None:
        now = self._clock.now()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            state = await connection.fetchrow(_STATE, found.name)
        if state and state["synced_at"] and state["failed_at"] is None:
            metrics.REFUSALS_SYNCED.labels(found.name).set(state["synced_at"].timestamp())
            if now - state["synced_at"] < LISTS_EVERY:
                return
        since = state["through"] - _OVERLAP if state and state["through"] else None
        try:
            await self._take_all(found, since, now)
        except ListUnread as error:
            await self._note(_FAILED, found.name, now, str(error)[:500])
            logger.warning(
                "an 080 list was not read; it is tried again",
                action="refusals_unread",
                provider=found.name,
                why=str(error),
            )
            return
        await self._note(_READ, found.name, now)
        metrics.REFUSALS_SYNCED.labels(found.name).set(now.timestamp())

    async def _take_all(self, found: RefusalList, since: datetime | None, now: datetime) -> None:
        group: list[Refused] = []
        async for each in found.read(since, now):
            group.append(each)
            if len(group) == _AT_ONCE:
                await self._take(group, found.name, now)
                group = []
        if group:
            await self._take(group, found.name, now)

    async def _take(self, group: Sequence[Refused], provider: str, now: datetime) -> None:
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await take(connection, group, f"{provider} 080", self._key, now)

    async def _note(self, statement: str, *values: Any) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(statement, *values)

    # The ledger -----------------------------------------------------------------------------

    async def _enter(self) -> bool:
        """Enter a group of refusals for their customers; False where none is left."""
        now = self._clock.now()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(_OPEN, _AT_ONCE)
            if not rows:
                return False
            phones = [row["phone"] for row in rows]
            owners = await connection.fetch(_OWNERS, phones, [r["refused_at"] for r in rows])
        known = {row["phone"]: row for row in rows}
        for owner in owners:
            refusal = known[owner["phone"]]
            closed = address_hash("phone", owner["phone"], self._key)
            leave = Leave(owner["id"], "sms", "", closed)
            said = Statement("sms", False, f"refused advertising by {refusal['source']}")
            await self._doors.state(leave, [said], refusal["source"], now, refusal["refused_at"])
            await asyncio.sleep(0)
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(_FOUND, phones, now)
        return len(rows) == _AT_ONCE


async def open_lists(pool: Pool) -> list[Mapping[str, Any]]:
    """For the doctor: each list, when it was read to its end, and why it was not since."""
    try:
        async with unavailable_when_lost(), pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT provider, synced_at, failed_at, why FROM refusal_syncs ORDER BY provider"
            )
    except Unavailable:
        return []
    return [dict(row) for row in rows]
