"""What running dispatchers find broken, told to whoever asks (`dangol doctor`)."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.dispatch.channel_lines import Paused
from shared.db.connect import Pool, unavailable_when_lost

_LONGEST_WHY = 300
# What must not stand where people read it, should an adapter of somebody else's have let it
# through: addresses, numbers of people, and what looks like a key.
_SECRET = re.compile(
    r"[^\s@<>:;,\"']+@[^\s@<>:;,\"']+|\+?\d(?:[ -]?\d){7,}"
    r"|(?=[\w+/=.-]*\d)(?=[\w+/=.-]*[A-Za-z])[\w+/=.-]{24,}"
)

# A dispatcher that was killed says nothing any more; its rows go with the next that speaks.
_FORGET = """
DELETE FROM channel_pauses WHERE dispatcher = $1 OR said_until < clock_timestamp() - interval '1h'
"""
_SAY = """
INSERT INTO channel_pauses
  (dispatcher, channel, adapter, since, until, times, why, said_until)
SELECT $1, t.*, clock_timestamp() + $8::interval FROM unnest(
  $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::text[]
) AS t
"""
_HEAR = """
SELECT channel, adapter, count(*)::int AS dispatchers, min(since) AS since, max(until) AS until,
  max(times) AS times, (array_agg(why ORDER BY times DESC))[1] AS why
FROM channel_pauses WHERE said_until > clock_timestamp()
GROUP BY channel, adapter ORDER BY channel, adapter
"""


class Told(NamedTuple):
    channel: str
    adapter: str
    dispatchers: int
    """So many running dispatchers say it."""
    since: datetime
    until: datetime
    times: int
    why: str


def redacted(why: str) -> str:
    """For people to read: without addresses, telephone numbers and keys."""
    return _SECRET.sub("…", why.replace("\0", "")[:4000])


async def say(
    pool: Pool, dispatcher: str, paused: Sequence[Paused], believed_for: timedelta
) -> None:
    """In place of what this dispatcher said before. `believed_for`: real time."""
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute(_FORGET, dispatcher)
        if paused:
            await connection.execute(
                _SAY,
                dispatcher,
                [p.channel for p in paused],
                [p.adapter for p in paused],
                [p.since for p in paused],
                [p.until for p in paused],
                [p.times for p in paused],
                [redacted(p.why)[:_LONGEST_WHY] for p in paused],
                believed_for,
            )


async def hear(pool: Pool) -> list[Told]:
    """What running dispatchers say now."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        rows = await connection.fetch(_HEAR)
    return [Told(*row.values()) for row in rows]
