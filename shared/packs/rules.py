"""What a pack is made of."""

import re
from dataclasses import dataclass
from datetime import date, time
from functools import cache

from shared.workspace import FrequencyCap, Policies


@dataclass(frozen=True, slots=True)
class NightRule:
    """Hours in which advertising waits, in the customer's own zone, unless agreed to separately."""

    channels: frozenset[str]
    start: time
    end: time
    unless_consent: str | None
    """The consent that opens these hours (`night`), or None where nothing does."""
    source: str


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What an advertisement's text must carry, as it stands in the template."""

    id: str
    """Named in the problem, as in `kr-marketing/label`."""
    channels: frozenset[str]
    part: str
    """A part of the front matter, or `body`."""
    pattern: re.Pattern[str]
    """Is searched for in the part's source."""
    message: str
    hint: str
    source: str


@dataclass(frozen=True, slots=True)
class Pack:
    name: str
    title: str
    title_ko: str
    checked_on: date
    """When its sources were last read."""
    needs_consent: bool
    nights: tuple[NightRule, ...]
    labels: tuple[LabelRule, ...]
    caps: tuple[FrequencyCap, ...] = ()


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


def caps_of(policies: Policies) -> tuple[FrequencyCap, ...]:
    """The workspace's caps and those of its packs."""
    if not policies.packs:
        return policies.frequency_caps
    of_packs = (cap for pack in packs_of(policies.packs) for cap in pack.caps)
    return (*policies.frequency_caps, *of_packs)
