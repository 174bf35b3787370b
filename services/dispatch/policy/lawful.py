"""Who may be sent advertising without a consent, and whose consent counts for nothing.

Both are the packs'. With several packs in force all of them have to agree: the strictest holds.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.dispatch.policy.values import Contact
from shared.packs import Exemption, packs_of
from shared.templates.instants import instant_of
from shared.workspace import Policies

_DAY = timedelta(days=1)


def is_exempt(
    policies: Policies, journey: str, channel: str, contact: Contact, now: datetime
) -> bool:
    """Whether the customer has bought goods of the kind that the journey advertises, lately enough
    for every pack."""
    packs = [pack for pack in packs_of(policies.packs) if pack.needs_consent]
    exemptions = [pack.exemption(channel) for pack in packs]
    if not exemptions:
        return False
    return any(
        all(rule is not None and _holds(rule, bought, now) for rule in exemptions)
        for each in policies.existing_customers
        if journey in each.journeys and (bought := contact.traits.get(each.trait)) is not None
    )


def _holds(rule: Exemption, bought: object, now: datetime) -> bool:
    day, today = _day_of(bought, rule.zone), now.astimezone(rule.zone).date()
    if day is None or day > today:
        return False
    return rule.months is None or today <= _months_later(day, rule.months)


def _day_of(value: object, zone: ZoneInfo) -> date | None:
    """The calendar day; None where the value is no date."""
    found = instant_of(value)
    if found is None:
        return None
    if isinstance(value, str) and len(value) == 10:
        return found.date()
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(zone).date()
    except OverflowError:
        return None


def _months_later(day: date, months: int) -> date:
    """The last day of so many months behind a day: the same day of the month, or its last."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > 9998:
        return date.max
    behind = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (behind - _DAY).day))


def is_too_young(policies: Policies, contact: Contact, now: datetime) -> bool:
    """Only where the year of birth is known."""
    for pack in packs_of(policies.packs):
        if pack.age is None:
            continue
        born = _day_of(contact.traits.get("birthday"), pack.age.zone)
        if born is not None:
            today = now.astimezone(pack.age.zone).date()
            turned = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
            if turned < pack.age.years:
                return True
    return False
