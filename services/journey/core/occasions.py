"""Which firings a stretch of time holds, for all customers at once. Pure.

A schedule that was missed several times fires once, for the last of them. Dates fire for every day
that was missed, because each means other customers; `max_age` bounds how far back.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.journey.core import firing
from services.journey.core.anniversaries import day_moment
from services.journey.core.book import Book
from services.journey.core.calendar import next_occasion, occasions
from services.journey.core.firing import Firing
from services.journey.core.flow import Flow, OnDate, Schedule
from shared.decisions import Refusal
from shared.event import Event
from shared.local_time import known_zones, zone_of

INSTANTS_EVERY = timedelta(minutes=1)
"""Customers' own instants are looked for in stretches of this length."""
_DAY = timedelta(days=1)
_MOST_DAYS = 3 * 366


@dataclass(frozen=True, slots=True)
class Due:
    """A firing, and for whom."""

    firing: Firing
    zones: frozenset[str] | None = None
    """None: whatever the customer's zone is."""
    rest: bool = False
    """Customers of no known zone, too."""
    missed: int = 0
    """Earlier occasions that this one stands for as well."""
    skipped: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """One occasion in one zone; an empty zone stands for a schedule that asks nobody's."""

    flow: Flow
    at: datetime
    label: str
    zone: str


def due_firings(book: Book, journey: str, after: datetime, now: datetime) -> list[Due]:
    """What the journey fires in (after, now], by the versions in force then, in order."""
    scheduled: dict[str, list[_Place]] = {}
    days: list[_Place] = []
    found: list[Due] = []
    for start, end, plans in book.reigns(after, now):
        for flow in plans:
            if flow.journey != journey:
                continue
            match flow.plan:
                case Schedule() as plan:
                    for place in _of_schedule(book, flow, plan, start, end):
                        scheduled.setdefault(place.zone, []).append(place)
                case OnDate() as plan:
                    # Beyond this nobody would be started anyway.
                    begin = max(start, now - flow.entry.max_age - _DAY)
                    days += _of_date(flow, plan, begin, end)
                    if plan.at is None and begin < end and not book.is_paused(journey, end):
                        found.append(Due(firing.on_instants(flow, begin, end, now)))
                case _:
                    pass
    met = {zone: [p for p in places if _fires(book, p)] for zone, places in scheduled.items()}
    last = [places[-1] for places in met.values() if places]
    missed = {zone: len(places) - 1 for zone, places in met.items()}
    found += _dues(book, last, now, firing.scheduled, missed)
    found += _dues(book, [p for p in days if _fires(book, p)], now, firing.on_its_date, {})
    return sorted(found, key=lambda due: (due.firing.at, due.firing.label))


def due_by_catalog(book: Book, event: Event) -> list[Due]:
    """What a catalogue event fires, by the versions in force when it was received."""
    received_at = event.received_at
    assert received_at is not None, "the log stamps every event"
    return [
        Due(
            firing.on_catalog(flow, event),
            skipped=_refusal(book, flow, event.timestamp, received_at),
        )
        for flow in book.plans(received_at)
        if firing.answers(flow.plan, event)
    ]


def _refusal(book: Book, flow: Flow, at: datetime, received_at: datetime) -> Refusal | None:
    if received_at - at > flow.entry.max_age:
        return Refusal.TOO_OLD
    return Refusal.PAUSED if book.is_paused(flow.journey, received_at) else None


def next_firing(book: Book, flow: Flow, after: datetime) -> datetime | None:
    """The next instant at which the flow fires for anybody; None: a clock does not start it."""
    match flow.plan:
        case Schedule() as plan:
            zones = _all_zones() if plan.local else [plan.zone or book.zone]
            times = (next_occasion(plan.cron, zone, after) for zone in zones)
            return min((each.at for each in times if each is not None), default=None)
        case OnDate() as plan:
            days = (at for zone in _all_zones() for _day, at in _days(plan, zone, after, None))
            by_day = min(days, default=None)
            if plan.at is not None:
                return by_day
            minute = after + INSTANTS_EVERY
            return minute if by_day is None else min(by_day, minute)
        case _:
            return None


def _fires(book: Book, place: _Place) -> bool:
    return not book.is_paused(place.flow.journey, place.at)


def _of_schedule(
    book: Book, flow: Flow, plan: Schedule, start: datetime, end: datetime
) -> Iterator[_Place]:
    zones = _all_zones() if plan.local else [plan.zone or book.zone]
    for zone in zones:
        for occasion in occasions(plan.cron, zone, start):
            if occasion.at > end:
                break
            yield _Place(flow, occasion.at, occasion.label, zone.key if plan.local else "")


def _of_date(flow: Flow, plan: OnDate, start: datetime, end: datetime) -> Iterator[_Place]:
    for zone in _all_zones():
        for day, at in _days(plan, zone, start, end):
            yield _Place(flow, at, day.isoformat(), zone.key)


def _dues(
    book: Book,
    places: Iterable[_Place],
    now: datetime,
    make: firing.Maker,
    missed: Mapping[str, int],
) -> Iterator[Due]:
    """One firing for all zones in which the same label comes at the same moment."""
    groups: dict[tuple[int, datetime, str], list[_Place]] = {}
    for place in places:
        groups.setdefault((place.flow.version, place.at, place.label), []).append(place)
    for (_version, at, label), group in groups.items():
        flow, zones = group[0].flow, frozenset(place.zone for place in group)
        yield Due(
            make(flow, label, at, now),
            None if zones == {""} else zones,
            rest=book.zone.key in zones,
            missed=max(missed.get(zone, 0) for zone in zones),
            skipped=Refusal.TOO_OLD if now - at > flow.entry.max_age else None,
        )


def _days(
    plan: OnDate, zone: ZoneInfo, after: datetime, until: datetime | None
) -> Iterator[tuple[date, datetime]]:
    """Calendar days whose moment lies in (after, until], or the first such behind `after`."""
    try:
        day = (after - plan.offset).astimezone(zone).date() - 2 * _DAY
    except OverflowError:
        return
    for _ in range(_MOST_DAYS):
        at = day_moment(plan, day, zone)
        if at is not None and at > after:
            if until is not None and at > until:
                return
            yield day, at
            if until is None:
                return
        if day == date.max:
            return
        day += _DAY


def _all_zones() -> list[ZoneInfo]:
    utc = ZoneInfo("UTC")
    return [zone_of(name, utc) for name in sorted(known_zones())]
