"""The tables at the end of a run, as values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.journey.core.spans import RESUME_SPREAD
from services.journey.core.state import Customer, unpack
from shared.db.connect import Pool
from tests.chaos.oracle import without_timers


@dataclass(frozen=True, slots=True)
class Row:
    """A message's."""

    customer: str
    journey: str
    step: str
    category: str
    priority: int
    channels: tuple[str, ...]
    held_out: bool
    created_at: datetime
    decidable_at: datetime
    status: str
    channel: str | None
    decision: str | None
    reason: str | None
    decided_at: datetime | None
    attempts: int
    held_reason: str | None
    resumed_at: datetime | None
    """When its journey was resumed, if it has been paused."""
    anew_at: datetime | None
    """When what had waited until then was decided anew."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that is held against the oracle."""

    messages: Mapping[str, Row]
    places: Mapping[str, tuple[datetime, str]]
    """Message → when its place under the caps was taken, and on which channel."""
    states: Mapping[str, bytes]
    """As `oracle.without_timers` packs them."""
    history: Counter[tuple[str, str]]
    """Customer and event id."""
    counts: Mapping[tuple[str, int, str, str], int]
    conversions: Mapping[tuple[str, str], datetime]
    set_aside: tuple[str, ...]
    timers: int
    outbox: int


_MESSAGES = f"""
WITH resumed AS (
  SELECT c.journey, min(c.at) AS at FROM journey_changes c
  WHERE c.status = 'active' AND EXISTS (SELECT FROM journey_changes p
    WHERE p.journey = c.journey AND p.status = 'paused' AND p.place < c.place)
  GROUP BY 1
)
SELECT m.id, m.customer, m.journey, m.step, m.category, m.priority, m.channels, m.held_out,
  m.created_at, m.decidable_at, m.status, m.channel, m.decision, m.reason, m.decided_at,
  m.attempts, m.held_reason, r.at,
  r.at + interval '{RESUME_SPREAD.total_seconds()} seconds'
    * ((hashtextextended(m.customer, 0) & 65535) / 65536.0)
FROM messages m LEFT JOIN resumed r ON r.journey = m.journey
"""
_COUNTS = "SELECT journey, version, step, what, sum(n)::bigint AS n FROM counts GROUP BY 1, 2, 3, 4"


async def read_tables(pool: Pool) -> Tables:
    messages, states, history = {}, {}, Counter[tuple[str, str]]()
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        async for row in connection.cursor(_MESSAGES, prefetch=5000):
            name, *rest = tuple(row)
            rest[5] = tuple(rest[5])
            messages[name] = Row(*rest)
        statement = "SELECT id, traits, state FROM customers"
        async for row in connection.cursor(statement, prefetch=5000):
            customer = Customer(row["id"], row["traits"], unpack(row["state"]))
            states[row["id"]] = without_timers(customer)
        async for row in connection.cursor("SELECT customer, id FROM history", prefetch=20_000):
            history[row["customer"], row["id"]] += 1
    places = await pool.fetch("SELECT message_id, taken_at, channel FROM cap_places")
    conversions = await pool.fetch("SELECT customer, run_id, at FROM conversions")
    aside = await pool.fetch(
        "SELECT source, reason FROM set_aside WHERE replayed_at IS NULL ORDER BY id LIMIT 100"
    )
    return Tables(
        messages,
        {row["message_id"]: (row["taken_at"], row["channel"]) for row in places},
        states,
        history,
        {tuple(row)[:4]: row["n"] for row in await pool.fetch(_COUNTS)},
        {(row["customer"], row["run_id"]): row["at"] for row in conversions},
        tuple(f"{row['source']}: {row['reason']}" for row in aside),
        await pool.fetchval("SELECT count(*) FROM timers"),
        await pool.fetchval("SELECT count(*) FROM log_outbox"),
    )
