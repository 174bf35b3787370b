"""Notices that a law asks for: which are owed to whom since when, and which are overdue.

Nothing of it is kept: the consent ledger says what was stated, `messages` what was sent, and what
is owed is computed from the two whenever somebody asks. So a notice that another journey forgot, a
pause held up or a bad address lost is found in the same way.

A notice counts as given once a message of the duty's journey was handed to its provider as `sent`;
`unknown` proves nothing. One that an id had got before it was known to be the customer's counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.db.connect import Connection
from shared.packs import Duty, packs_of
from shared.workspace import WorkspaceSettings

# When the customer was told last ($1: the journey). What had gone to an id before it was linked
# counts for whom it belongs to in the end.
_TOLD = """
RECURSIVE handed AS MATERIALIZED (
  SELECT m.customer, max(m.created_at) AS at FROM messages m
  WHERE m.journey = $1 AND m.decision = 'sent' {of_messages} GROUP BY m.customer
), passed_on(at, customer, steps) AS (
  SELECT h.at, c.forwarded_to, 1 FROM handed h
  JOIN customers c ON c.id = h.customer AND c.forwarded_to IS NOT NULL
  UNION ALL
  SELECT p.at, c.forwarded_to, p.steps + 1 FROM passed_on p
  JOIN customers c ON c.id = p.customer AND c.forwarded_to IS NOT NULL WHERE p.steps < 64
), told AS MATERIALIZED (
  SELECT customer, max(at) AS at
  FROM (SELECT customer, at FROM handed UNION ALL SELECT customer, at FROM passed_on) h
  GROUP BY customer
)"""

# Each statement that changed a consent ($3: how long behind it). One that a newer statement had
# overtaken when it came changed nothing. An import carries over what another system has told of;
# before that was noted down ($3 again), what came later than any notice could counts as imported.
_BEHIND_STATEMENTS = """
heard AS (
  SELECT l.partition, l.customer, l.channel, l.granted, l.stated_at, l.recorded_at, l.event_id,
    coalesce(l.imported, l.recorded_at >= l.stated_at + $3::interval) AS imported,
    min(l.recorded_at) OVER (PARTITION BY l.partition, l.customer, l.channel
      ORDER BY l.stated_at DESC, l.recorded_at DESC, l.event_id DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS overtaken_at
  FROM consent_ledger l {of_ledger}
), said AS (
  SELECT *, lag(granted) OVER (PARTITION BY partition, customer, channel
    ORDER BY stated_at, recorded_at, event_id) AS was
  FROM heard WHERE overtaken_at IS NULL OR overtaken_at >= recorded_at
), owed AS (
  SELECT s.partition, s.customer, min(s.stated_at) AS since, max(t.at) AS told_at,
    min(s.stated_at) + $3::interval AS due_at, array_agg(DISTINCT s.channel) AS channels
  FROM said s LEFT JOIN told t ON t.customer = s.customer
  WHERE s.granted IS DISTINCT FROM s.was AND NOT s.imported
    AND s.stated_at <= $2::timestamptz - $3::interval
    AND (t.at IS NULL OR t.at < s.stated_at)
  GROUP BY s.partition, s.customer
)"""

# Each consent that stands ($3: years, $4: in which zone days are counted). It has to be told before
# the day of the year on which it was given, or told of last.
_WHILE_IT_STANDS = """
standing AS (
  SELECT partition, customer, channel, min(stated_at) AS since FROM (
    SELECT l.*, max(l.stated_at) FILTER (WHERE NOT l.granted)
      OVER (PARTITION BY l.partition, l.customer, l.channel) AS refused_at
    FROM consent_ledger l {of_ledger}
  ) l WHERE granted AND (refused_at IS NULL OR stated_at > refused_at)
  GROUP BY partition, customer, channel
), dated AS (
  SELECT s.*, t.at AS told_at, (date_trunc('day', greatest(s.since, t.at) AT TIME ZONE $4::text)
    + make_interval(years => $3::int)) AT TIME ZONE $4::text AS due_at
  FROM standing s LEFT JOIN told t ON t.customer = s.customer
), owed AS (
  SELECT partition, customer, min(since) AS since, max(told_at) AS told_at, min(due_at) AS due_at,
    array_agg(DISTINCT channel) AS channels
  FROM dated WHERE due_at <= $2 GROUP BY partition, customer
)"""

_OF_MESSAGES = "AND m.partition = ANY ({0}::int[]) AND m.customer = ANY ({1}::text[])"
_OF_LEDGER = "WHERE l.partition = ANY ({0}::int[]) AND l.customer = ANY ({1}::text[])"
_COUNT = "SELECT count(*)::int AS customers, min(due_at) AS first FROM owed"
_LIST = """
SELECT partition, customer, since, told_at, due_at, channels FROM owed
WHERE (due_at, customer COLLATE "C") > ({0}::timestamptz, {1}::text)
ORDER BY due_at, customer COLLATE "C" LIMIT {2}
"""
_ALL = "SELECT partition, customer, since, told_at, due_at, channels FROM owed ORDER BY due_at"

# The newest message that was to tell, since it was owed.
_WHY = """
SELECT w.place, m.id, m.decision, m.reason FROM
  unnest($1::int[], $2::text[], $3::timestamptz[]) WITH ORDINALITY
  AS w(partition, customer, since, place)
CROSS JOIN LATERAL (
  SELECT m.id, m.decision, m.reason FROM messages m
  WHERE m.partition = w.partition AND m.customer = w.customer AND m.created_at >= w.since
    AND m.journey = $4 ORDER BY m.created_at DESC LIMIT 1
) m
"""
_JOURNEY = """
SELECT (SELECT status FROM journeys WHERE id = $1) AS status,
  (SELECT journeys ? $1 FROM workspaces ORDER BY revision DESC LIMIT 1) AS is_published
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """A duty of a pack in force."""

    pack: str
    duty: Duty

    @property
    def name(self) -> str:
        """As in `met_elsewhere`: `kr-marketing/consent-result`."""
        return f"{self.pack}/{self.duty.id}"


@dataclass(frozen=True, slots=True)
class Owed:
    """One customer who has to be told."""

    partition: int
    customer: str
    notice: str
    journey: str
    channels: tuple[str, ...]
    """Whose consent it is about."""
    since: datetime
    """The first statement, or the oldest consent, that was not told of in time."""
    told_at: datetime | None
    """When the customer was last told, before that."""
    due_at: datetime
    why: str = ""
    """Why it was not sent: a message's reason, or one of `WHY`."""
    message: str | None = None
    """The newest message that was to tell."""


WHY = ("no_journey", "journey_paused", "not_made", "waiting", "unknown")
"""Beside the reasons of messages: the journey is not published, or paused; it has made no message;
the message waits; it may have been sent, which proves nothing."""


def in_force(settings: WorkspaceSettings) -> tuple[Notice, ...]:
    """What the packs ask for and no other system does."""
    policies = settings.policies
    found = [Notice(pack.name, duty) for pack in packs_of(policies.packs) for duty in pack.duties]
    return tuple(notice for notice in found if notice.name not in policies.met_elsewhere)


async def count(
    connection: Connection, notice: Notice, until: datetime
) -> tuple[int, datetime | None]:
    """To how many customers the notice was due at `until`, and since when to the first."""
    query, values = _owed(notice.duty, until)
    row = await connection.fetchrow(query + _COUNT, *values)
    assert row is not None
    return row["customers"], row["first"]


async def listed(
    connection: Connection,
    notice: Notice,
    until: datetime,
    after: tuple[datetime, str],
    limit: int,
) -> list[Owed]:
    """Those to whom it was due at `until`, longest due first, with the reasons; `after` is the last
    of the page before: since when it was due, and the customer."""
    query, values = _owed(notice.duty, until)
    n = len(values)
    page = _LIST.format(*(f"${n + place}" for place in (1, 2, 3)))
    rows = await connection.fetch(query + page, *values, *after, limit)
    return await _explained(connection, notice, rows)


async def of_customer(
    connection: Connection, notice: Notice, until: datetime, ids: Sequence[tuple[int, str]]
) -> list[Owed]:
    """Of one customer; `ids` are the partitions and names of the customer and of linked ids."""
    query, values = _owed(notice.duty, until, ids)
    return await _explained(connection, notice, await connection.fetch(query + _ALL, *values))


def _owed(
    duty: Duty, until: datetime, ids: Sequence[tuple[int, str]] | None = None
) -> tuple[str, list[Any]]:
    values: list[Any] = [duty.id, until]
    if duty.years:
        values += [duty.years, duty.zone]
    else:
        values.append(timedelta(days=duty.days))
    places = [f"${len(values) + 1}", f"${len(values) + 2}"]
    of_messages = of_ledger = ""
    if ids is not None:
        of_messages, of_ledger = _OF_MESSAGES.format(*places), _OF_LEDGER.format(*places)
        values += [[partition for partition, _ in ids], [name for _, name in ids]]
    owed = _WHILE_IT_STANDS if duty.years else _BEHIND_STATEMENTS
    told = _TOLD.format(of_messages=of_messages)
    return f"WITH {told},\n{owed.format(of_ledger=of_ledger)}\n", values


async def _explained(connection: Connection, notice: Notice, rows: Sequence[Any]) -> list[Owed]:
    journey = notice.duty.id
    found = [
        Owed(
            *(row["partition"], row["customer"], notice.name, journey),
            *(tuple(sorted(row["channels"])), row["since"], row["told_at"], row["due_at"]),
        )
        for row in rows
    ]
    if not found:
        return []
    about = await connection.fetch(
        _WHY,
        [owed.partition for owed in found],
        [owed.customer for owed in found],
        [max(owed.since, owed.told_at or owed.since) for owed in found],
        journey,
    )
    made = {row["place"] - 1: row for row in about}
    unmade = await _unmade(connection, journey)
    return [_with_reason(owed, made.get(place), unmade) for place, owed in enumerate(found)]


async def _unmade(connection: Connection, journey: str) -> str:
    """Why the journey has made no message at all."""
    row = await connection.fetchrow(_JOURNEY, journey)
    assert row is not None
    if row["status"] is None or row["status"] == "archived" or not row["is_published"]:
        return "no_journey"
    return "journey_paused" if row["status"] == "paused" else "not_made"


def _with_reason(owed: Owed, message: Any, unmade: str) -> Owed:
    if message is None:
        return replace(owed, why=unmade)
    decision = message["decision"]
    if decision is None:
        why = unmade if unmade == "journey_paused" else "waiting"
    else:
        why = message["reason"] or decision
    return replace(owed, why=why, message=message["id"])
