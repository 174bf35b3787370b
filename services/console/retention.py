"""Retention: of those who began in one period, how many came back in each of the next.

A cohort is everybody whose first `start` event fell into a calendar period of the workspace's time
zone. Its cell n tells how many of them did the `event` in the n-th period behind, from their first
`start` on. A period that is not over yet would make a share that only looks low: such a cell is
`incomplete`, it has no share, and what there is so far stands apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from shared.db.connect import Pool, unavailable_when_lost
from shared.erasure import HISTORY_RETENTION
from shared.errors import DangolError
from shared.workspace import WorkspaceSettings
from shared.workspace_store import newest_settings

Period = Literal["day", "week", "month"]
MOST_PERIODS = 60
_MEMORY = "128MB"
_MONDAY = date(1970, 1, 5)

# Customers stand under the id that they belong to: what an id had done before its link has moved
# along, once. The first statement's rows are the cohorts' sizes, those of the second their cells.
_COUNT = """
WITH happened AS MATERIALIZED (
  SELECT customer, name, happened_at FROM history
  WHERE kind = 'track' AND name IN ($1, $2) AND happened_at <= $3
), began AS MATERIALIZED (
  SELECT customer, min(happened_at) AS at FROM happened WHERE name = $1 GROUP BY customer
), cohorts AS MATERIALIZED (
  SELECT customer, at, date_trunc($4::text, at AT TIME ZONE $5::text)::date AS cohort FROM began
  WHERE at >= $6
), came AS (
  SELECT DISTINCT c.customer, c.cohort,
    date_trunc($4::text, h.happened_at AT TIME ZONE $5::text)::date AS period
  FROM cohorts c JOIN happened h
    ON h.customer = c.customer AND h.name = $2 AND h.happened_at >= c.at
)
SELECT cohort, NULL::date AS period, count(*)::int AS customers FROM cohorts GROUP BY cohort
UNION ALL
SELECT cohort, period, count(*)::int FROM came GROUP BY cohort, period
"""


class NothingToCount(DangolError):
    """Neither the request nor dangol.yaml says which event counts."""

    code = "no_event"
    status = 400


@dataclass(frozen=True, slots=True)
class Question:
    event: str | None = None
    """What counts as coming back; None: the purchase of `rfm:`."""
    start: str | None = None
    """Whose first one begins a cohort; None: the same event."""
    period: Period = "month"
    periods: int = 12
    """How many cohorts at most, the newest of them under way."""


@dataclass(frozen=True, slots=True)
class Cell:
    period: int
    """How many periods behind the cohort's own, which is 0."""
    starts: date
    complete: bool
    customers: int | None
    """None while the period is not over."""
    share: float | None
    """Of the cohort, 0 to 1; None while the period is not over."""
    so_far: int | None
    """What there is until now of a period that is not over; None of one that is."""


@dataclass(frozen=True, slots=True)
class Cohort:
    starts: date
    size: int
    complete: bool
    """False: its own period is not over, so it may still grow."""
    cells: tuple[Cell, ...]
    """From its own period to the one under way."""


@dataclass(frozen=True, slots=True)
class Retention:
    at: datetime
    event: str
    start: str
    period: Period
    timezone: str
    known_since: date
    """History that is older is not kept: who began before it counts as new at the first `start`
    since."""
    cohorts: tuple[Cohort, ...]
    """Oldest first; periods in which nobody began are among them."""
    overall: tuple[float | None, ...]
    """Share by period over all cohorts whose cell is complete, weighed by their sizes."""


async def retention(pool: Pool, question: Question, now: datetime) -> Retention:
    """Raises NothingToCount, Unavailable."""
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        settings = await newest_settings(connection)
        event = question.event or (settings.rfm.event if settings.rfm else None)
        if event is None:
            raise NothingToCount(
                "which event counts as coming back is not said",
                hint="name it (`event`), or add to dangol.yaml, for example"
                "  rfm: {event: Order Completed}",
            )
        start = question.start or event
        zone, period = settings.zone(), question.period
        first = first_of(now, zone, question)
        await connection.execute(f"SET LOCAL work_mem = '{_MEMORY}'")
        begins = datetime.combine(first, time(), zone).astimezone(UTC)
        rows = await connection.fetch(_COUNT, start, event, now, period, zone.key, begins)
    return put_together(rows, question, (event, start), settings, now)


def first_of(now: datetime, zone: ZoneInfo, question: Question) -> date:
    """Where the oldest cohort begins: no earlier than history reaches back as a whole."""
    current = index_of(now.astimezone(zone).date(), question.period)
    known = _known_since(now, zone)
    oldest = index_of(known, question.period)
    if start_of(oldest, question.period) < known:
        oldest += 1
    return start_of(max(current - question.periods + 1, oldest), question.period)


def _known_since(now: datetime, zone: ZoneInfo) -> date:
    return (now - HISTORY_RETENTION).astimezone(zone).date()


def index_of(day: date, period: Period) -> int:
    """Periods are numbered one after the other; weeks begin on Monday."""
    if period == "month":
        return day.year * 12 + day.month - 1
    days = (day - _MONDAY).days
    return days // 7 if period == "week" else days


def start_of(index: int, period: Period) -> date:
    if period == "month":
        return date(index // 12, index % 12 + 1, 1)
    return _MONDAY + timedelta(days=index * (7 if period == "week" else 1))


def put_together(
    rows: Iterable[Any],
    question: Question,
    names: tuple[str, str],
    settings: WorkspaceSettings,
    now: datetime,
) -> Retention:
    """`rows`: cohort, period (None: the cohort's size), customers; `names`: event and start."""
    zone, period = settings.zone(), question.period
    counts: dict[tuple[int, int | None], int] = {}
    for row in rows:
        came = None if row["period"] is None else index_of(row["period"], period)
        counts[index_of(row["cohort"], period), came] = row["customers"]
    current = index_of(now.astimezone(zone).date(), period)
    first = index_of(first_of(now, zone, question), period)
    if counts:
        first = max(first, min(cohort for cohort, _ in counts))
    numbers = range(first, current + 1) if counts else range(0)
    cohorts = tuple(_cohort(number, counts, current, period) for number in numbers)
    return Retention(
        at=now,
        event=names[0],
        start=names[1],
        period=period,
        timezone=settings.timezone,
        known_since=_known_since(now, zone),
        cohorts=cohorts,
        overall=tuple(_overall(cohorts, n) for n in range(len(cohorts))),
    )


def _cohort(
    number: int, counts: Mapping[tuple[int, int | None], int], current: int, period: Period
) -> Cohort:
    size = counts.get((number, None), 0)
    cells = []
    for index in range(number, current + 1):
        came, complete = counts.get((number, index), 0), index < current
        cells.append(
            Cell(
                period=index - number,
                starts=start_of(index, period),
                complete=complete,
                customers=came if complete else None,
                share=came / size if complete and size else None,
                so_far=None if complete else came,
            )
        )
    return Cohort(start_of(number, period), size, number < current, tuple(cells))


def _overall(cohorts: Iterable[Cohort], n: int) -> float | None:
    """A cohort under way has no complete cell, so it never counts."""
    whole = [(c.size, c.cells[n]) for c in cohorts if len(c.cells) > n and c.cells[n].complete]
    size = sum(size for size, _ in whole)
    return sum(cell.customers or 0 for _, cell in whole) / size if size else None
