"""When a `date` trigger fires for one customer.

The value is read as `wait_until` reads it (`moments.py`): a date, or an instant with a time of day
beside it, is a local calendar day; an instant by itself is that instant.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.journey.core.calendar import Occasion
from services.journey.core.flow import OnDate, Value
from services.journey.core.moments import local_moment, read_moment


def next_date(plan: OnDate, value: Value, zone: ZoneInfo, after: datetime) -> Occasion | None:
    """The first occasion later than `after`; None where there is none, or the value is no date.

    Its label is the calendar day that it stands for, or for an instant by itself that instant.
    """
    day, instant = read_moment(value)
    found = (
        _instants(plan, instant, zone, after)
        if instant is not None and plan.at is None
        else _days(plan, _day_of(day, instant, zone), zone, after)
    )
    return next((occasion for occasion in found if occasion.at > after), None)


def is_day(label: str) -> bool:
    """Whether an occasion's label names a calendar day rather than an instant."""
    return "T" not in label


def in_year(day: date, year: int) -> date:
    """The same day in another year; 29 February falls on 28 February where there is none."""
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def day_moment(plan: OnDate, day: date, zone: ZoneInfo) -> datetime | None:
    """The instant at which the plan fires for this calendar day; None off the calendar's ends."""
    return local_moment(day, plan.offset, plan.at, zone)


def _day_of(day: date | None, instant: datetime | None, zone: ZoneInfo) -> date | None:
    if day is not None or instant is None:
        return day
    try:
        return instant.astimezone(zone).date()
    except OverflowError:
        return None


def _days(plan: OnDate, day: date | None, zone: ZoneInfo, after: datetime) -> Iterator[Occasion]:
    if day is None:
        return
    for each in _years(plan, day, after):
        at = day_moment(plan, each, zone)
        if at is not None:
            yield Occasion(at, each.isoformat())


def _instants(
    plan: OnDate, instant: datetime, zone: ZoneInfo, after: datetime
) -> Iterator[Occasion]:
    try:
        local = instant.astimezone(zone)
    except OverflowError:
        return
    for each in _years(plan, local.date(), after):
        try:
            at = instant
            if each != local.date():
                moment = local_moment(each, timedelta(0), local.time(), zone)
                if moment is None:
                    continue
                at = moment
            yield Occasion(at + plan.offset, at.isoformat())
        except OverflowError:
            continue


def _years(plan: OnDate, day: date, after: datetime) -> Iterator[date]:
    """The day itself, or with `every: year` it and its anniversaries around `after`."""
    if not plan.yearly:
        yield day
        return
    try:
        near = (after - plan.offset).year
    except OverflowError:
        return
    for year in range(max(day.year, near - 1), min(max(day.year, near + 1), date.max.year) + 1):
        yield in_year(day, year)
