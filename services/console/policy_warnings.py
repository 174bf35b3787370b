"""Rules of `dangol.yaml` that would protect people less than they do now. Pure."""

from collections.abc import Iterable, Iterator
from datetime import time

from shared.workspace import (
    FrequencyCap,
    Policies,
    QuietHours,
    WorkspaceSettings,
    duration_text,
)

_Scope = tuple[str | None, frozenset[str]]


def policy_warnings(before: WorkspaceSettings, after: WorkspaceSettings) -> tuple[str, ...]:
    old, new = before.policies, after.policies
    return (
        *_consent(old, new),
        *_caps(old.frequency_caps, new.frequency_caps),
        *_quiet(old.quiet_hours, new.quiet_hours),
        *_holdout(before.holdout, after.holdout),
        *_leaving(before, after),
    )


def _consent(old: Policies, new: Policies) -> Iterator[str]:
    if old.consent == "required" and new.consent == "assumed":
        yield (
            "consent is assumed and was required: whoever was never asked gets advertising from now"
            " on, where they have not refused it"
        )
    for pack in old.packs:
        if pack not in new.packs:
            yield f"the pack {pack} is left out: the rules of law that it holds no longer hold"


def _caps(old: Iterable[FrequencyCap], new: Iterable[FrequencyCap]) -> Iterator[str]:
    now = list(new)
    for cap in old:
        if any(_covers(each, cap) and _as_tight(each, cap) for each in now):
            continue
        same = next((each for each in now if _scope(each) == _scope(cap)), None)
        if same is None:
            yield f"the frequency cap for {_said(cap)} ({_limit(cap)}) is left out"
        else:
            limits = f"{_limit(cap)} becomes {_limit(same)}"
            yield f"the frequency cap for {_said(cap)} is looser: {limits}"


def _as_tight(cap: FrequencyCap, than: FrequencyCap) -> bool:
    return cap.limit <= than.limit and cap.per >= than.per


def _limit(cap: FrequencyCap) -> str:
    return f"{cap.limit} per {duration_text(cap.per)}"


def _quiet(old: Iterable[QuietHours], new: Iterable[QuietHours]) -> Iterator[str]:
    was, now = list(old), list(new)
    for rule in was:
        if rule.never:
            continue
        covering = [each for each in now if not each.never and _covers(each, rule)]
        kept = set().union(*map(_minutes, covering))
        if _minutes(rule) <= kept:
            continue
        hours = f"{_clock(rule.start)} to {_clock(rule.end)}"
        if not covering:
            yield f"the quiet hours for {_said(rule)} ({hours}) are left out"
        else:
            spans = " and ".join(f"{_clock(r.start)} to {_clock(r.end)}" for r in covering)
            yield f"the quiet hours for {_said(rule)} are shorter: {hours} becomes {spans}"
    for rule in now:
        if rule.never and not any(each.never and _covers(each, rule) for each in was):
            yield f"quiet hours no longer hold for {_said(rule)} (`never: true`)"


def _minutes(rule: QuietHours) -> set[int]:
    assert rule.start is not None
    assert rule.end is not None
    start, end = (at.hour * 60 + at.minute for at in (rule.start, rule.end))
    return {minute % 1440 for minute in range(start, end if end > start else end + 1440)}


def _holdout(old: float, new: float) -> Iterator[str]:
    if new < old:
        yield (
            f"the holdout of all customers is {100 * new:.4g}% and was {100 * old:.4g}%: whoever is"
            " let out of it no longer stands for those who are sent nothing"
        )


def _leaving(before: WorkspaceSettings, after: WorkspaceSettings) -> Iterator[str]:
    for name, channel in after.channels.items():
        was = before.channels.get(name)
        if was is not None and was.adapter == "log" != channel.adapter:
            yield f"messages by {name} leave the house from now on, through {channel.adapter}"


# Scopes --------------------------------------------------------------------------------------


def _scope(rule: FrequencyCap | QuietHours) -> _Scope:
    return rule.category, frozenset(rule.channels)


def _covers(rule: FrequencyCap | QuietHours, other: FrequencyCap | QuietHours) -> bool:
    """Whether it holds for every message for which the other holds."""
    category = rule.category is None or rule.category == other.category
    channels = not rule.channels or bool(
        other.channels and set(other.channels) <= set(rule.channels)
    )
    return category and channels


def _said(rule: FrequencyCap | QuietHours) -> str:
    what = rule.category or "all"
    return f"{what} messages" + (f" by {', '.join(sorted(rule.channels))}" if rule.channels else "")


def _clock(at: time | None) -> str:
    return "" if at is None else f"{at:%H:%M}"
