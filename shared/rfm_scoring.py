"""Score all customers at once: one SQL statement over the history, and the log is told who changed.

The statement is what `rfm.scores` computes, customer by customer the same (a test holds the two to
each other). Whoever's bands are others than those in `customers.rfm` is told so by an event with a
deterministic id, a few thousand at a time and no faster than they are relayed, so that a night's
scores hold nobody's outcomes up. A scoring that dies is simply followed by another: what has been
taken in does not differ any more.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Conflict, DangolError
from shared.event import scored_event
from shared.local_time import next_moment
from shared.log import outbox
from shared.rfm import score_of
from shared.workspace import RfmSettings
from shared.workspace_store import newest_settings

logger = structlog.get_logger()

_LOCK = 0x44414E52
_LONGEST = 600.0
"""Real seconds that the statement may take."""
_MEMORY = "128MB"
"""For each of the statement's sorts and hashes: a million buyers fit without a temporary file."""
_CHUNK = 5_000
_PAUSE = 0.05
_LAST = "rfm_scored"
PATIENCE = 60.0
SKEW = timedelta(days=2)
"""How much later than its receipt an event may claim to have happened, generously."""

_TABLE = """
CREATE TEMP TABLE rfm_changed (
  partition int, customer text, recency int, frequency int, monetary int)
"""
# Every band is 1 + floor(5 × percent_rank), at most 5; ties take the lowest. Whoever has no
# purchase left in the window comes with NULLs.
_SCORE = """
INSERT INTO rfm_changed
WITH bought AS (
  SELECT partition, customer, count(*) AS times,
    floor(extract(epoch FROM $2::timestamptz - max(happened_at)) / 86400) AS days,
    sum(CASE WHEN jsonb_typeof(event->'properties'->$5::text) = 'number'
      THEN (event->'properties'->>$5::text)::numeric ELSE 0 END) AS total
  FROM history
  WHERE kind = 'track' AND name = $1 AND happened_at > $3 AND happened_at <= $2
    AND received_at > $4 AND received_at <= $2
  GROUP BY partition, customer
), bands AS (
  SELECT partition, customer,
    least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY days DESC)))::int AS recency,
    least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY times)))::int AS frequency,
    CASE WHEN $5::text IS NOT NULL
      THEN least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY total)))::int END AS monetary
  FROM bought
)
SELECT c.partition, c.id, b.recency, b.frequency, b.monetary
FROM customers c LEFT JOIN bands b ON b.partition = c.partition AND b.customer = c.id
WHERE (c.rfm->>'recency')::int IS DISTINCT FROM b.recency
  OR (c.rfm->>'frequency')::int IS DISTINCT FROM b.frequency
  OR (c.rfm->>'monetary')::int IS DISTINCT FROM b.monetary
"""
_NEXT = """
DELETE FROM rfm_changed WHERE ctid = ANY(ARRAY(SELECT ctid FROM rfm_changed LIMIT $1))
RETURNING customer, recency, frequency, monetary
"""
_WAITING = "SELECT count(*) FROM (SELECT FROM log_outbox LIMIT $1) AS o"
_REMEMBER = """
INSERT INTO meta (key, value) VALUES ($1, to_jsonb($2::timestamptz))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class NotConfigured(DangolError):
    """dangol.yaml does not say what a purchase is, so there is nothing to score."""

    code = "rfm_not_configured"
    status = 409


@dataclass(frozen=True, slots=True)
class Scored:
    at: datetime
    changed: int
    """Customers whose score is another one."""


async def score(
    pool: Pool,
    settings: RfmSettings,
    at: datetime,
    partitions: int,
    patience: float = PATIENCE,
) -> Scored:
    """Raises Conflict while another scoring is under way, and Unavailable.

    `patience`: real seconds that a full outbox is waited for before more is put into it.
    """
    async with unavailable_when_lost(), pool.acquire() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise Conflict("customers are being scored at this moment", hint="try again later")
        try:
            changed = await _find(connection, settings, at)
            await _tell(connection, at, partitions, patience)
            await connection.execute(_REMEMBER, _LAST, at)
        finally:
            await connection.execute("DROP TABLE IF EXISTS rfm_changed")
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    logger.info("customers have been scored", action="rfm_scored", changed=changed)
    return Scored(at, changed)


async def _find(connection: Connection, settings: RfmSettings, at: datetime) -> int:
    since = at - settings.window
    await connection.execute(_TABLE)
    async with connection.transaction():
        await connection.execute(f"SET LOCAL work_mem = '{_MEMORY}'")
        done = await connection.execute(
            _SCORE, settings.event, at, since, since - SKEW, settings.value, timeout=_LONGEST
        )
    return int(done.split()[-1])


async def _tell(connection: Connection, at: datetime, partitions: int, patience: float) -> None:
    while True:
        for _ in range(int(patience / _PAUSE)):
            if await connection.fetchval(_WAITING, _CHUNK) < _CHUNK:
                break
            await asyncio.sleep(_PAUSE)
        async with connection.transaction():
            rows = await connection.fetch(_NEXT, _CHUNK)
            events = [
                scored_event(
                    customer=row["customer"],
                    score=None
                    if row["recency"] is None
                    else score_of(row["recency"], row["frequency"], row["monetary"], at),
                    at=at,
                )
                for row in rows
            ]
            await outbox.put(connection, events, partitions)
        if len(rows) < _CHUNK:
            return


async def last_scored(connection: Connection) -> datetime | None:
    text = await connection.fetchval("SELECT value #>> '{}' FROM meta WHERE key = $1", _LAST)
    return None if text is None else datetime.fromisoformat(text)


async def score_now(pool: Pool, clock: Clock, patience: float = PATIENCE) -> Scored:
    """On demand. Raises NotConfigured, Conflict, Unavailable."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        settings = await newest_settings(connection)
        partitions = await connection.fetchval("SELECT count(*) FROM partitions")
    if settings.rfm is None:
        raise NotConfigured(
            hint="add to dangol.yaml, for example  rfm: {event: Order Completed, value: total}"
        )
    return await score(pool, settings.rfm, clock.now(), partitions, patience)


def is_due(settings: RfmSettings, zone: ZoneInfo, last: datetime | None, now: datetime) -> bool:
    """Whether a night's scoring has come since the last one; at once where there was none."""
    # A minute on, because a moment lasts as long as the local clock shows its minute.
    return last is None or next_moment(last + timedelta(minutes=1), zone, settings.at) <= now


class Nightly:
    """The leader's job: look whether it is time."""

    every = 30.0
    """Real seconds between two looks."""

    def __init__(self, pool: Pool, clock: Clock, partitions: int) -> None:
        self._pool = pool
        self._clock = clock
        self._partitions = partitions

    async def run(self) -> None:
        """Raises Unavailable."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            settings = await newest_settings(connection)
            last = await last_scored(connection)
        now = self._clock.now()
        if settings.rfm is not None and is_due(settings.rfm, settings.zone(), last, now):
            try:
                await score(self._pool, settings.rfm, now, self._partitions)
            except Conflict:
                logger.info("somebody is scoring already", action="rfm_under_way")
