"""The local moment that a date, an offset and a time of day name."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.journey.core.flow import Value
from shared.local_time import instant_of

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY = timedelta(days=1)


def moment_of(value: Value, offset: timedelta, at: time | None, zone: ZoneInfo) -> datetime | None:
    """None where the value is absent or no date.

    A date, or an instant with a time of day beside it, is a local calendar day: offsets in whole
    days move along the calendar. An instant by itself is moved by elapsed time.
    """
    day, instant = read_moment(value)
    try:
        if instant is not None and at is None:
            return instant + offset
        if instant is not None:
            day = instant.astimezone(zone).date()
    except OverflowError:
        return None
    return None if day is None else local_moment(day, offset, at, zone)


def local_moment(day: date, offset: timedelta, at: time | None, zone: ZoneInfo) -> datetime | None:
    """The time of day (midnight without one) on a calendar day, moved by the offset: whole days
    along the calendar, the rest as elapsed time. None beyond the calendar's ends."""
    whole, rest = divmod(offset, _DAY)
    try:
        return instant_of(day + whole * _DAY, at or time(0), zone) + rest
    except OverflowError:
        return None


def read_moment(value: Value) -> tuple[date | None, datetime | None]:
    """The date or the aware instant that a value spells; at most one of the two."""
    if isinstance(value, datetime):
        return None, value
    if not isinstance(value, str) or len(value) > 40:
        return None, None
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value), None
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None, None
    return None, instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
