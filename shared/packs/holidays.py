"""Public holidays on which a pack lets advertising rest: rules, and no list of years."""

from datetime import date, timedelta
from functools import cache

_DAY = timedelta(days=1)
_MONDAY, _THURSDAY = 0, 3
_FIXED = ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25))
_MOVING = ((1, _MONDAY, 3), (2, _MONDAY, 3), (9, _MONDAY, 1), (10, _MONDAY, 2), (11, _THURSDAY, 4))
"""Month, weekday, and which of them: Martin Luther King, Washington, Labor Day, Columbus and
Thanksgiving. Memorial Day is the last Monday of May."""


@cache
def us_federal_holidays(year: int) -> frozenset[date]:
    """The legal public holidays of 5 U.S.C. 6103(a), and the days on which those of a weekend are
    observed (6103(b) and Executive Order 11582): the Friday before, the Monday behind.

    Days of another year are among them where New Year's Day is observed in the old one.
    """
    days = {date(year, month, day) for month, day in _FIXED}
    days |= {_nth(year, *moving) for moving in _MOVING}
    days.add(_nth(year, 6, _MONDAY, 1) - 7 * _DAY)
    days |= {day - _DAY for day in days if day.weekday() == 5}
    days |= {day + _DAY for day in days if day.weekday() == 6}
    return frozenset(days)


def _nth(year: int, month: int, weekday: int, which: int) -> date:
    first = date(year, month, 1)
    return first + ((weekday - first.weekday()) % 7 + 7 * (which - 1)) * _DAY


def is_us_working_day(day: date) -> bool:
    """Monday to Friday, and no federal holiday, nor the day on which one is observed."""
    years = (day.year, min(day.year + 1, date.max.year))
    return day.weekday() < 5 and all(day not in us_federal_holidays(year) for year in years)
