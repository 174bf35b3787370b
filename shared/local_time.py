"""Local time, in the one function that makes instants of it: the next local moment.

A time that a clock change skips is the instant the clocks have jumped past it by as much (02:30 in
a gap of an hour is 03:30); one that comes twice is its first pass.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import overload
from zoneinfo import ZoneInfo, available_timezones

_DAY = timedelta(days=1)


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The IANA names; asking for them walks the file system."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    return ZoneInfo(name) if name in known_zones() else None


@overload
def zone_of(trait: object, default: ZoneInfo) -> ZoneInfo: ...
@overload
def zone_of(trait: object, default: None) -> ZoneInfo | None: ...
def zone_of(trait: object, default: ZoneInfo | None) -> ZoneInfo | None:
    """The customer's zone: the `timezone` trait if it is a known IANA name, else the default."""
    return (_zone(trait) if isinstance(trait, str) else None) or default


def instant_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def next_moment(
    now: datetime, zone: ZoneInfo, at: time, weekdays: Collection[int] = range(7)
) -> datetime:
    """The next instant at which the local clock shows `at` on one of the weekdays (Monday is 0).

    It is `now` itself while the local clock shows that very minute.
    """
    local = now.astimezone(zone)
    if local.weekday() in weekdays and (local.hour, local.minute) == (at.hour, at.minute):
        return now
    day = local.date()
    for _ in range(9):
        if day.weekday() in weekdays:
            found = instant_of(day, at, zone)
            if found > now:
                return found
        day += _DAY
    raise ValueError("no weekday is named")
