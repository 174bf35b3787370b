"""Cohorts and their cells: which are over, and what is said of the others."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.retention import (
    Period,
    Question,
    Retention,
    first_of,
    index_of,
    put_together,
    start_of,
)
from shared.workspace import WorkspaceSettings

SEOUL = WorkspaceSettings(timezone="Asia/Seoul")
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
PERIODS: tuple[Period, ...] = ("day", "week", "month")


def row(cohort: str, period: str | None, customers: int) -> dict[str, Any]:
    came = None if period is None else date.fromisoformat(period)
    return {"cohort": date.fromisoformat(cohort), "period": came, "customers": customers}


def table(*rows: dict[str, Any], now: datetime = NOW, periods: int = 12) -> Retention:
    return put_together(rows, Question(periods=periods), ("Bought", "Bought"), SEOUL, now)


ROWS = (
    row("2026-09-01", None, 200), row("2026-09-01", "2026-09-01", 200),
    row("2026-09-01", "2026-10-01", 50), row("2026-09-01", "2026-11-01", 7),
    row("2026-10-01", None, 100), row("2026-10-01", "2026-10-01", 100),
    row("2026-10-01", "2026-11-01", 3),
    row("2026-11-01", None, 40), row("2026-11-01", "2026-11-01", 40),
)  # fmt: skip


def test_a_cell_whose_period_is_not_over_has_no_share() -> None:
    september, october, november = table(*ROWS).cohorts
    assert [(c.share, c.customers, c.so_far) for c in september.cells] == [
        (1.0, 200, None),
        (0.25, 50, None),
        (None, None, 7),
    ]
    assert [c.complete for c in october.cells] == [True, False]
    assert (november.complete, november.size) == (False, 40)
    assert [(c.share, c.so_far) for c in november.cells] == [(None, 40)]


def test_a_month_is_over_at_midnight_of_the_workspaces_zone() -> None:
    end = datetime(2026, 11, 30, 14, 59, tzinfo=UTC)  # 23:59 in Seoul
    assert not table(*ROWS, now=end).cohorts[0].cells[2].complete
    over = table(*ROWS, now=end.replace(hour=15, minute=0)).cohorts[0].cells
    assert (over[2].complete, over[2].customers, over[3].complete) == (True, 7, False)


def test_the_overall_share_counts_complete_cells_alone_by_their_sizes() -> None:
    assert table(*ROWS).overall == (1.0, 0.25, None)
    december = table(*ROWS, now=datetime(2026, 12, 5, tzinfo=UTC))
    assert december.overall[1] == 53 / 300  # November's first month behind is under way
    assert december.overall[2] == 7 / 200


def test_nobody_came_back_is_none_of_them_and_nobody_began_has_no_share() -> None:
    found = table(row("2026-08-01", None, 10), row("2026-10-01", None, 4))
    august, september, *_ = found.cohorts
    assert august.cells[1].share == 0.0
    assert (september.size, september.cells[0].share) == (0, None)


def test_nothing_is_known_of_cohorts_from_before_what_is_kept() -> None:
    zone = ZoneInfo("Asia/Seoul")
    assert first_of(NOW, zone, Question(periods=60)) == date(2025, 11, 1)  # 400 days back
    assert first_of(NOW, zone, Question(periods=3)) == date(2026, 9, 1)
    assert first_of(NOW, zone, Question(period="week", periods=1)) == date(2026, 11, 23)


def test_without_anybody_there_is_no_cohort() -> None:
    found = table()
    assert (found.cohorts, found.overall) == ((), ())


@pytest.mark.parametrize("period", PERIODS)
@given(day=st.dates(date(1999, 1, 1), date(2100, 1, 1)))
def test_periods_follow_each_other_without_a_gap(period: Period, day: date) -> None:
    number = index_of(day, period)
    assert start_of(number, period) <= day < start_of(number + 1, period)
    assert index_of(start_of(number, period), period) == number
