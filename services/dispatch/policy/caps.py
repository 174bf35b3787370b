"""Frequency caps: rolling windows over the instants at which messages became decidable.

A message that became decidable at t fits under a rule if fewer than `limit` other messages that
the rule covers have their place in `(t - per, t]`. Instants, not the provider's answers, are
counted, so that simulation and production agree, whoever claims first.
"""

from collections.abc import Sequence
from datetime import datetime

from services.dispatch.policy.values import Block, Place
from shared.decisions import Category, Reason
from shared.workspace import FrequencyCap


def cap_block(
    rules: Sequence[FrequencyCap],
    category: Category,
    channel: str,
    at: datetime,
    others: Sequence[Place],
) -> Block | None:
    """What the caps say to one more message at `at`. `others` are the places of other messages.

    Where several caps are full, drop wins over hold, and the latest end over the earlier ones.
    """
    full: list[tuple[FrequencyCap, datetime]] = []
    for rule in rules:
        if not _covers(rule, category, channel):
            continue
        taken = sorted(
            place.taken_at
            for place in others
            if _covers(rule, place.category, place.channel) and at - rule.per < place.taken_at <= at
        )
        if len(taken) >= rule.limit:
            # The places up to this one must leave the window before one more fits.
            full.append((rule, taken[len(taken) - rule.limit] + rule.per))
    if not full:
        return None
    drops = any(rule.then == "drop" for rule, _ in full)
    return Block(
        Reason.FREQUENCY_CAP,
        None if drops else max(until for _, until in full),
        all(rule.channels for rule, _ in full),
    )


def _covers(rule: FrequencyCap, category: Category, channel: str) -> bool:
    return rule.category in (None, category) and (not rule.channels or channel in rule.channels)
