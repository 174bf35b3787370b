"""What somebody may not have meant by a change, told before it is applied. Pure.

Nothing here is refused: each may be wanted. They are about four things: people who would be reached
twice, runs whose step is gone, rules that protect people and would hold less, and advertising that
would count as information.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from services.console.changes import InFlight, JourneyChange
from services.console.prospects import FlowOf
from services.console.ways import behind
from services.journey.core.flow import (
    EventMatch,
    Expression,
    Flow,
    Send,
)
from shared.channels import INFORMATION_ONLY
from shared.workspace import duration_text


def with_warnings(
    changes: Sequence[JourneyChange], old: Callable[[str], FlowOf], new: Mapping[str, Flow]
) -> tuple[JourneyChange, ...]:
    """The changes, each with its warnings behind those that it has."""
    gone = {
        change.journey: before
        for change in changes
        if change.change == "removed" and (before := _was(change, old(change.journey)))
    }
    found = []
    for change in changes:
        flow, flow_of = new.get(change.journey), old(change.journey)
        warnings: list[str] = []
        if change.change == "added" and flow is not None:
            warnings += _renamed(flow, gone, changes)
        if change.change == "changed" and flow is not None:
            before = _was(change, flow_of)
            warnings += [] if before is None else _again(before, flow)
            warnings += [] if before is None else _otherwise(before, flow)
            warnings += _in_flight(change.in_flight, flow_of, flow)
        found.append(replace(change, warnings=(*change.warnings, *warnings)))
    return tuple(found)


def _was(change: JourneyChange, flow_of: FlowOf) -> Flow | None:
    return None if change.was is None else flow_of(change.was)


# Reached twice -------------------------------------------------------------------------------


def _renamed(
    flow: Flow, gone: Mapping[str, Flow], changes: Sequence[JourneyChange]
) -> Iterator[str]:
    for name, before in gone.items():
        if _starts(before) != _starts(flow):
            continue
        live = sum(
            row.runs for change in changes if change.journey == name for row in change.in_flight
        )
        runs = f", and its {_runs(live)} in flight go{'es' if live == 1 else ''} on" if live else ""
        yield (
            f"it starts as `{name}` did, which goes: to Dangol it is another journey, so whoever"
            f" had `{name}` may get this one as well{runs}; keep `journey: {name}` if it is the"
            " same"
        )


def _starts(flow: Flow) -> tuple[object, ...]:
    """Equal for two journeys that the same things start."""
    plan = flow.plan
    return (
        sorted((match.event, _text(match.where)) for match in flow.triggers),
        flow.api,
        flow.watches,
        None if plan is None else _plan(plan),
    )


def _plan(plan: object) -> tuple[object, ...]:
    """A schedule, date or audience with its conditions as they are written."""
    values = (getattr(plan, name) for name in getattr(plan, "__slots__", ()))
    return (type(plan).__name__, *map(_comparable, values))


def _comparable(value: object) -> object:
    if isinstance(value, Expression):
        return value.source
    if isinstance(value, EventMatch):
        return value.event, _text(value.where)
    return value


def _again(before: Flow, flow: Flow) -> Iterator[str]:
    """Whoever had the journey, and may now have it once more."""
    entry, was = flow.entry, before.entry
    if _starts(before) != _starts(flow) and entry.reentry == "always":
        yield (
            "its trigger is another one and `reentry` is `always`: whoever has had this journey may"
            " get it again; `reentry: 30d` or `never` under `entry:` would keep them out"
        )
    if _text(was.key) != _text(entry.key):
        yield (
            f"its `entry.key` is another one ({_text(was.key) or 'none'} becomes"
            f" {_text(entry.key) or 'none'}): live runs and earlier entries under the old key do"
            " not count for the new one, so somebody may be in it twice"
        )
    if _shut(entry.reentry) < _shut(was.reentry):
        yield (
            f"`reentry` is {_reentry(entry.reentry)} and was {_reentry(was.reentry)}: whoever was"
            " kept out until now may enter again"
        )


def _shut(reentry: object) -> timedelta:
    """How long an entry keeps the next one out."""
    if isinstance(reentry, timedelta):
        return reentry
    return timedelta.max if reentry == "never" else timedelta(0)


def _reentry(reentry: object) -> str:
    return duration_text(reentry) if isinstance(reentry, timedelta) else str(reentry)


# Runs in flight ------------------------------------------------------------------------------


def _in_flight(rows: Sequence[InFlight], flow_of: FlowOf, flow: Flow) -> Iterator[str]:
    for row in rows:
        if row.version == flow.version:
            continue
        before = flow_of(row.version)
        if before is None or row.step not in before.steps:
            continue
        if row.step not in flow.steps:
            yield (
                f"{_runs(row.runs)} of version {row.version} wait{_s(row.runs)} at `{row.step}`,"
                " which is gone: `--in-flight migrate` leaves them on their version"
            )
        elif row.migrates:
            for template, step in _sent_again(row.step, before, flow):
                yield (
                    f"{_runs(row.runs)} of version {row.version} wait{_s(row.runs)} at"
                    f" `{row.step}` and may have had the template `{template}` already, which"
                    f" `{step}` sends behind it now: with `--in-flight migrate` they get it again"
                )


def _sent_again(step: str, before: Flow, flow: Flow) -> Iterator[tuple[str, str]]:
    """Templates that lay before the step, and lie behind it now."""
    had = {
        send.template
        for send in before.steps.values()
        if isinstance(send, Send) and send.id != step and step in behind(before, send.id)
    }
    still_to_come = {send.template for send in _sends(before, step)}
    for send in _sends(flow, step):
        if send.template in had - still_to_come:
            yield send.template, send.id


def _sends(flow: Flow, step: str) -> list[Send]:
    after = behind(flow, step)
    return [each for each in flow.steps.values() if isinstance(each, Send) and each.id in after]


# Advertising and information -----------------------------------------------------------------


def _otherwise(before: Flow, flow: Flow) -> Iterator[str]:
    if before.category != flow.category:
        if flow.category == "transactional":
            yield (
                "advertising becomes information (`category: transactional`): consent,"
                " unsubscribing, quiet hours, caps and holdouts no longer hold for it"
            )
        else:
            yield (
                "information becomes advertising (`category: marketing`): whoever has not consented"
                " no longer gets it, and quiet hours and caps hold for it"
            )
    for step in flow.steps.values():
        was = before.steps.get(step.id)
        if not isinstance(step, Send) or not isinstance(was, Send):
            continue
        for channel in sorted(INFORMATION_ONLY & (set(step.channels) ^ set(was.channels))):
            ways = " else ".join(was.channels), " else ".join(step.channels)
            yield (
                f"`{step.id}` goes by {ways[1]} and went by {ways[0]}: {channel} carries"
                " information only, and the texts on either side obey different rules"
            )


def _text(condition: Expression | None) -> str:
    return "" if condition is None else condition.source


def _runs(count: int) -> str:
    return f"{count:,} run" if count == 1 else f"{count:,} runs"


def _s(count: int) -> str:
    return "s" if count == 1 else ""
