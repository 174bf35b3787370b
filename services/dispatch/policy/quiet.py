"""Quiet hours: is this local moment quiet, and when does the quiet end?

A rule's hours are a set of intervals of instants, one per local date: from the first moment at
which the local clock shows `from` to the last at which it shows `to`. So they cross midnight like
any other, and a clock change never lets a message out early: an hour that comes twice ends with
its second pass, an hour that is skipped ends (or begins) with the first instant behind the gap.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.dispatch.policy.values import Block, Contact
from shared.decisions import Category, Reason
from shared.packs import NightRule, night_rules
from shared.workspace import QuietHours

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_AROUND = (timedelta(hours=-50), timedelta(hours=50))
"""No night that touches a moment reaches further: with one offset all around, clocks are plain."""

_MOST_STEPS = 8
"""Nights and closed days on end, in one zone: a weekend between two holidays, and more."""


def _behind_gap(wall: datetime, early: datetime, late: datetime) -> datetime:
    """The first instant in (early, late] whose local clock has reached `wall`, to the second."""
    zone = wall.tzinfo
    shown = wall.replace(tzinfo=None)
    while late - early > _SECOND:
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) >= shown:
            late = middle
        else:
            early = middle
    return late


def _instant(wall: datetime, *, last: bool) -> datetime:
    """The first or the last instant at which the local clock shows `wall`."""
    found = wall.replace(fold=1 if last else 0).astimezone(UTC)
    if found.astimezone(wall.tzinfo).replace(tzinfo=None, fold=0) == wall.replace(tzinfo=None):
        return found
    ends = sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return _behind_gap(wall, *ends)


def quiet_until(now: datetime, zone: ZoneInfo, start: time, end: time) -> datetime | None:
    """The end of the quiet hours `[start, end)` that `now` lies in, or None.

    `start` may be later than `end`: the hours then cross midnight.
    """
    local = now.astimezone(zone)
    offsets = {local.utcoffset(), *((now + way).astimezone(zone).utcoffset() for way in _AROUND)}
    if len(offsets) > 1:
        return _quiet_near_a_change(now, zone, start, end)
    shown = local.time()
    if start < end:
        if not start <= shown < end:
            return None
        date = local.date()
    else:
        if end <= shown < start:
            return None
        date = local.date() if shown < end else local.date() + _DAY
    return datetime.combine(date, end, zone).astimezone(UTC)


def _quiet_near_a_change(now: datetime, zone: ZoneInfo, start: time, end: time) -> datetime | None:
    today = now.astimezone(zone).date()
    ends = []
    for date in (today - _DAY, today, today + _DAY):  # tomorrow: clocks set back over midnight
        begins = _instant(datetime.combine(date, start, zone), last=False)
        end_date = date if start < end else date + _DAY
        stops = _instant(datetime.combine(end_date, end, zone), last=True)
        if begins <= now < stops:
            ends.append(stops)
    return max(ends, default=None)


def quiet_block(
    rules: Sequence[QuietHours], category: Category, channel: str, now: datetime, zone: ZoneInfo
) -> Block | None:
    """What the workspace's quiet hours say about this category and channel at `now`.

    An exception (`never: true`) wins over every rule, whatever their order. Where several rules
    are quiet at once, drop wins over hold, and the latest end over the earlier ones.
    """
    covering = [rule for rule in rules if _covers(rule, category, channel)]
    if any(rule.never for rule in covering):
        return None
    found: list[tuple[QuietHours, datetime]] = []
    for rule in covering:
        assert rule.start is not None
        assert rule.end is not None
        until = quiet_until(now, zone, rule.start, rule.end)
        if until is not None:
            found.append((rule, until))
    if not found:
        return None
    drops = any(rule.then == "drop" for rule, _ in found)
    return Block(
        Reason.QUIET_HOURS,
        None if drops else max(until for _, until in found),
        all(rule.channels for rule, _ in found),
    )


def law_block(
    packs: tuple[str, ...], channel: str, contact: Contact, now: datetime
) -> Block | None:
    """What the packs' night hours say. They always hold, and name their channels.

    Of a customer whose zone is not known they hold wherever the law's people may be.
    """
    ends = [
        until
        for rule in night_rules(packs, channel)
        if (rule.unless_consent is None or contact.consents.get(rule.unless_consent) is not True)
        and (until := _quiet_in(_zones(rule, contact), rule, now))
    ]
    return Block(Reason.QUIET_HOURS, max(ends), goes_on=True) if ends else None


def _zones(rule: NightRule, contact: Contact) -> Sequence[ZoneInfo]:
    """Those in which the customer may be, as far as the law is concerned."""
    phone = contact.traits.get("phone")
    elsewhere = isinstance(phone, str) and phone[:1] == "+" and not phone.startswith(rule.dials)
    if contact.zone_known or elsewhere:
        return (contact.zone,)
    return rule.zones or (contact.zone,)


def _quiet_in(zones: Sequence[ZoneInfo], rule: NightRule, now: datetime) -> datetime | None:
    """The first instant that is quiet in none of the zones; None where `now` is."""
    until = now
    for _ in range(_MOST_STEPS * len(zones)):
        ends = [_rest_until(until, zone, rule) for zone in zones]
        latest = max((end for end in ends if end is not None), default=None)
        if latest is None:
            break
        until = latest
    return until if until > now else None


def _rest_until(now: datetime, zone: ZoneInfo, rule: NightRule) -> datetime | None:
    """The end of the night, or of the night behind a day on which nothing is sent."""
    today = now.astimezone(zone).date()
    if rule.is_open_on is None or rule.is_open_on(today):
        return quiet_until(now, zone, rule.start, rule.end)
    return _instant(datetime.combine(today + _DAY, rule.end, zone), last=True)


def both(own: Block | None, law: Block | None) -> Block | None:
    """Two blocks at once: drop wins over hold, the later end over the earlier one."""
    if own is None or law is None:
        return own or law
    until = None
    if own.until is not None and law.until is not None:
        until = max(own.until, law.until)
    return Block(own.reason, until, own.goes_on and law.goes_on)


def _covers(rule: QuietHours, category: Category, channel: str) -> bool:
    return rule.category in (None, category) and (not rule.channels or channel in rule.channels)
