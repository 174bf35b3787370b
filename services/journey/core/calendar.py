"""When a schedule fires: crontab's five fields on a local clock.

The fields mean what crontab's mean: weekdays count from Sunday (0, and 7 as well), and where both
the day of the month and the weekday are restricted, either is enough. Clock changes follow the rule
of `shared/local_time.py`: a time that is skipped fires when the clocks have jumped past it by as
much, one that comes twice fires at its first pass. Only where the hour field begins with `*` does
it fire at both passes, since such a schedule means "every so often" rather than "at".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.local_time import instant_of

_DAY = timedelta(days=1)
_LONGEST_SEARCH = 366 * 41
"""Days: 29 February on a given weekday may be 40 years away, around a century without one."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields as the numbers they stand for; Sunday is 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool = False
    """Both days are restricted: one of them is enough."""
    every_pass: bool = False
    """The hour field begins with `*`."""

    def falls_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day = day.day in self.days
        by_weekday = day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday

    @property
    def ever_fires(self) -> bool:
        """False for the likes of 30 February."""
        return any(self.falls_on(day) for day in _all_kinds_of_days())


@dataclass(frozen=True, slots=True, order=True)
class Occasion:
    """One firing: its instant, and the local moment that it stands for, the same in every zone."""

    at: datetime
    label: str


def occasions(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[Occasion]:
    """Those later than `after`, in order; it ends where the calendar does, or 41 years on."""
    last = after
    day = _local_date(after, zone)
    for _ in range(_LONGEST_SEARCH):
        if cron.falls_on(day):
            for occasion in _on(cron, day, zone):
                if occasion.at > last:
                    yield occasion
                    last = occasion.at
        if day == date.max:
            return
        day += _DAY


def next_occasion(cron: Cron, zone: ZoneInfo, after: datetime) -> Occasion | None:
    return next(occasions(cron, zone, after), None)


def _on(cron: Cron, day: date, zone: ZoneInfo) -> list[Occasion]:
    found: list[Occasion] = []
    for hour in cron.hours:
        for minute in cron.minutes:
            label = f"{day.isoformat()}T{hour:02}:{minute:02}"
            try:
                first = instant_of(day, time(hour, minute), zone)
                found.append(Occasion(first, label))
                if cron.every_pass:
                    second = instant_of(day, time(hour, minute, fold=1), zone)
                    if second > first:  # in a gap it is the earlier one
                        found.append(Occasion(second, f"{label} again"))
            except OverflowError:  # the last or first day of the calendar
                continue
    found.sort()
    return found


def _local_date(instant: datetime, zone: ZoneInfo) -> date:
    try:
        # A day early: a skipped time may have moved across midnight.
        return instant.astimezone(zone).date() - _DAY
    except OverflowError:
        return instant.date()


def _all_kinds_of_days() -> Iterator[date]:
    """28 years hold every day of the year on every weekday."""
    day = date(2000, 1, 1)
    while day.year < 2028:
        yield day
        day += _DAY
