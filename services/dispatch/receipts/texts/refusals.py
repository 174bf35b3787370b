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
from shared.workspace import ChannelSettings
from shared.workspace_store import newest, newest_revision

logger = structlog.get_logger()

EVERY = 60.0
"""Real seconds: so soon a webhook's refusal is in the ledger; its number is closed at once."""
LISTS_EVERY = timedelta(hours=1)
_OVERLAP = timedelta(days=1)
"""A list is read from before where it was read to: vendors enter refusals late."""
_AT_ONCE = 1000

# A STOP is told apart from every other refusal, because a START takes it back, and nothing else.
_CLOSE = """
INSERT INTO suppressions AS s (address_hash, scope, reason, at)
SELECT h, 'marketing', $3, $2 FROM unnest($1::text[]) AS h
ON CONFLICT (address_hash, scope) DO UPDATE SET reason = excluded.reason, at = excluded.at
  WHERE s.reason = 'stop' AND excluded.reason <> 'stop'
"""
# The STOP that was taken last becomes a START, for the leader to tell its customers' ledgers.
_LIFT = """
WITH lifted AS (
  UPDATE refusals SET phone = $2, source = $3, refused_at = $4, taken_at = $4
  WHERE address_hash = $1 AND source LIKE '% STOP' RETURNING true
), opened AS (
  DELETE FROM suppressions
  WHERE address_hash = $1 AND scope = 'marketing' AND reason = 'stop'
    AND EXISTS (SELECT FROM lifted)
)
SELECT EXISTS (SELECT FROM lifted)
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
# Whose last word on texts is a STOP, behind a consent: that consent is what is left without it.
_STOPPED = """
SELECT c.id, c.traits->>'phone' AS phone FROM customers c
CROSS JOIN LATERAL (
  SELECT array_agg(k.granted) AS granted, array_agg(k.source) AS sources FROM (
    SELECT l.granted, l.source FROM consent_ledger l
    WHERE l.partition = c.partition AND l.customer = c.id AND l.channel = 'sms'
    ORDER BY l.stated_at DESC, l.recorded_at DESC LIMIT 2
  ) k
) k
WHERE c.traits->>'phone' = ANY ($1::text[]) AND c.forwarded_to IS NULL
  AND NOT k.granted[1] AND k.sources[1] LIKE '% STOP' AND k.granted[2]
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
    reason = "stop" if source.endswith(" STOP") else "unsubscribed"
    await connection.execute(_CLOSE, hashes, now, reason)
    phones, ats = [each.phone for each in refused], [min(each.at, now) for each in refused]
    new = len(await connection.fetch(_NOTE, hashes, phones, source, ats, now))
    metrics.REFUSALS.labels(source).inc(new)
    return new


async def lift(
    connection: Connection, phone: str, provider: str, key: bytes, now: datetime
) -> bool:
    """Take a STOP back: the number is open as it was before it. A complaint, another refusal and a
    number where nobody is stay as they are; so does who had never agreed. False: there was none."""
    closed = address_hash("phone", phone, key)
    done: bool = await connection.fetchval(_LIFT, closed, phone, f"{provider} START", now)
    return done


class RefusalSync:
    def __init__(
        self, pool: Pool, clock: Clock, partitions: int, environment: Mapping[str, str]
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._environment = environment
        self._doors = Doors(pool, partitions)
        self._key = b""
        self._revision = 0
        self._channels: Mapping[str, ChannelSettings] = {}

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
            await self._follow(connection)
        lists, unread = lists_of(self._channels, self._environment)
        for why in unread:
            logger.warning("an 080 list cannot be read", action="refusals_unread", why=why)
        for each in lists:
            try:
                await self._read(each)
            finally:
                await each.close()

    async def _follow(self, connection: Connection) -> None:
        """The newest workspace's channels."""
        revision = await newest_revision(connection)
        if revision != self._revision:
            published = await newest(connection)
            self._channels = published.settings.channels if published is not None else {}
            self._revision = revision

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
            back = {r["phone"] for r in rows if r["source"].endswith(" START")}
            refused = [row for row in rows if row["phone"] not in back]
            owners = await connection.fetch(
                _OWNERS, [r["phone"] for r in refused], [r["refused_at"] for r in refused]
            )
            owners += await connection.fetch(_STOPPED, list(back)) if back else []
        known = {row["phone"]: row for row in rows}
        for owner in owners:
            await self._state(owner, known[owner["phone"]], owner["phone"] in back, now)
            await asyncio.sleep(0)
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(_FOUND, phones, now)
        return len(rows) == _AT_ONCE

    async def _state(self, owner: Any, told: Any, granted: bool, now: datetime) -> None:
        source = told["source"]
        wording = f"took it back by {source}" if granted else f"refused advertising by {source}"
        leave = Leave(owner["id"], "sms", "", address_hash("phone", owner["phone"], self._key))
        said = Statement("sms", granted, wording)
        await self._doors.state(leave, [said], source, now, told["refused_at"])


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
