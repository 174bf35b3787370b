"""What a pack is made of. Every rule names its document, and when that was last read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import cache
from zoneinfo import ZoneInfo

from shared.workspace import FrequencyCap, Policies

READ_ON = date(2026, 11, 22)
"""When the sources were last read."""
_LINK = "unsubscribe_url"


@dataclass(frozen=True, slots=True)
class NightRule:
    """Hours in which advertising waits, in the customer's own zone, unless agreed to separately."""

    channels: frozenset[str]
    start: time
    end: time
    unless_consent: str | None
    """The consent that opens these hours (`night`), or None where nothing does."""
    source: str
    zones: tuple[ZoneInfo, ...] = ()
    """Of a customer whose zone is not known: the hours hold in every one of these..."""
    dials: str = ""
    """...unless the phone number shows another country than this one."""
    is_open_on: Callable[[date], bool] | None = None
    """Whether it may be sent at all on a local day; None: on every."""
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What an advertisement must carry: as it stands in the template, and once it is filled in."""

    id: str
    """Named in the problem, as in `kr-marketing/label`."""
    channels: frozenset[str]
    part: str
    """A part of the front matter, or `body`."""
    pattern: re.Pattern[str]
    """Is searched for in the part. Of a message that is filled in, the customer's own link is read
    as `unsubscribe_url`."""
    message: str
    hint: str
    source: str
    read_on: date = READ_ON

    def is_kept(self, parts: Mapping[str, str], body: str) -> bool:
        text = body if self.part == "body" else parts.get(self.part, "")
        return self.pattern.search(text) is not None


@dataclass(frozen=True, slots=True)
class Exemption:
    """Advertising to customers who have bought, without their consent: for how long, and where."""

    channels: frozenset[str]
    months: int | None
    """Calendar months behind the transaction's end; None: without an end."""
    zone: ZoneInfo
    """In which the days are counted."""
    source: str
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class MinimumAge:
    """A consent of somebody younger counts for nothing."""

    years: int
    zone: ZoneInfo
    source: str
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class Duty:
    """A notice that has to be given, by a journey of this id, or by another system."""

    id: str
    title: str
    title_ko: str
    message: str
    hint: str
    source: str
    days: int = 0
    """So many days behind each statement that changes a consent..."""
    years: int = 0
    """...or before so many years of a consent that stands are over: either."""
    zone: str = "UTC"
    """In which the days of the years are counted."""
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a provider has to hold, and the workspace says on the channel (`certificate:`)."""

    id: str
    channels: frozenset[str]
    adapters: frozenset[str]
    message: str
    hint: str
    source: str
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """Advertising mail ends with the sender's postal address (`policies.sender`)."""

    id: str
    is_required: bool
    """Whether a workspace that sends such mail has to state it; else it is shown where stated."""
    message: str
    source: str
    names_sender: bool = False
    """Whether the mail has to name the sender, too."""
    read_on: date = READ_ON


@dataclass(frozen=True, slots=True)
class Pack:
    name: str
    title: str
    title_ko: str
    checked_on: date
    """When its sources were last read."""
    consent: str | None
    """The source that asks for a consent; None where none is needed."""
    nights: tuple[NightRule, ...]
    labels: tuple[LabelRule, ...]
    caps: tuple[FrequencyCap, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    age: MinimumAge | None = None
    duties: tuple[Duty, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    address: PostalAddress | None = None

    @property
    def needs_consent(self) -> bool:
        return self.consent is not None

    def exemption(self, channel: str) -> Exemption | None:
        return next((rule for rule in self.exemptions if channel in rule.channels), None)


@cache
def packs_of(names: tuple[str, ...]) -> tuple[Pack, ...]:
    """The packs of these names; an unknown name has been refused before, and counts for nothing."""
    from shared.packs.data import PACKS

    return tuple(PACKS[name] for name in names if name in PACKS)


@cache
def night_rules(names: tuple[str, ...], channel: str) -> tuple[NightRule, ...]:
    return tuple(
        rule for pack in packs_of(names) for rule in pack.nights if channel in rule.channels
    )


@cache
def label_rules(names: tuple[str, ...], channel: str) -> tuple[tuple[str, LabelRule], ...]:
    """Name of the pack and rule."""
    return tuple(
        (pack.name, rule)
        for pack in packs_of(names)
        for rule in pack.labels
        if channel in rule.channels
    )


def broken_rule(
    names: tuple[str, ...], channel: str, parts: Mapping[str, str], body: str, link: str
) -> str | None:
    """The first rule, as `kr-marketing/text-label`, that an advertisement breaks as it is now
    written. `link` is the customer's own for unsubscribing, empty where no public address is known:
    then the rules that ask for it are not judged."""
    rules = label_rules(names, channel)
    if rules and link:
        body = body.replace(link, _LINK)
    for pack, rule in rules:
        if (link or _LINK not in rule.pattern.pattern) and not rule.is_kept(parts, body):
            return f"{pack}/{rule.id}"
    return None


def caps_of(policies: Policies) -> tuple[FrequencyCap, ...]:
    """The workspace's caps and those of its packs."""
    if not policies.packs:
        return policies.frequency_caps
    of_packs = (cap for pack in packs_of(policies.packs) for cap in pack.caps)
    return (*policies.frequency_caps, *of_packs)
