"""The local moment that a date, an offset and a time of day name."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.journey.core.flow import Value
from shared.local_time import instant_of

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOUR, _MINUTE = r"(?:[01][0-9]|2[0-3])", r"[0-5][0-9]"
_INSTANT = re.compile(
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_HOUR}:{_MINUTE}(?::{_MINUTE}(?:[.,][0-9]{{1,9}})?)?"
    rf"(?:Z|[+-]{_HOUR}(?::?{_MINUTE})?)?)?"
)
_LONGEST = 40
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
    if not isinstance(value, str):
        return None, None
    instant = spelled_instant(value)
    if instant is not None and _DATE.fullmatch(value):
        return instant.date(), None
    return None, instant


def spelled_instant(text: str) -> datetime | None:
    """The instant that a text spells, by the one rule that conditions, waits and triggers share.

    An ISO date is its midnight; without an offset it is UTC, else with the offset that is written.
    None for what no calendar holds.
    """
    if len(text) > _LONGEST or _INSTANT.fullmatch(text) is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        instant.astimezone(UTC)  # what lies beyond the calendar's ends there is none
    except (ValueError, OverflowError):
        return None
    return instant
