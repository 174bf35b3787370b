"""A customer takes in what another id of theirs was.

For each trait the newest statement wins, on a tie the known one's. Live runs come with their ids,
variants and holdout; where both have one of the same journey and key the known one's stays, and
one that `reentry` would not have let in ends. What either had received after a live run of the
other began is tested against that run's exits, goals and waits, in the order received: the runs
that come here against what happened here, and the runs that are here against what comes along.
"""

from collections.abc import Callable, Container, Iterable
from datetime import datetime, timedelta

import msgspec

from services.journey.core import dedupe, history, segments
from services.journey.core.effects import Count, SpillSeen, WithdrawCall, WithdrawMessage
from services.journey.core.entry import is_refused
from services.journey.core.identity_effects import TakeRecord, TakeRow
from services.journey.core.merge import AWAITED, Merge, group_of, merge_of, waits_for
from services.journey.core.moves import testify
from services.journey.core.resting import rests
from services.journey.core.state import Customer, OpenGoal, Run, entry_name
from services.journey.core.work import Walk
from shared.event import HAPPENINGS, Event

MOST_WITNESSED = 1000
"""Events of the customer's own, the newest, that what comes late is held against."""

Fire = Callable[[datetime], None]
"""Fires what is due before an instant."""
Take = Callable[[Event, Container[str]], None]
"""Takes a late event in; the second are runs that other late events have moved on already."""


def take_in(
    work: Walk, merge: Merge, stamp: datetime, witnessed: Iterable[Event], fire: Fire
) -> None:
    """`witnessed` are the customer's own events since the instant that `asked_since` names."""
    _take_traits(work, merge)
    came = _take_runs(work, merge)
    _take_goals(work, merge, came)
    _take_entries(work, merge)
    _take_members(work, merge)
    _take_records(work, merge, stamp)

    def take(event: Event, moved: Container[str]) -> None:
        if _take_row(work, event, stamp):
            testify(
                work,
                event,
                stamp,
                lambda kept: kept.came_with != merge.source,
                lambda run: run.came_with != merge.source or run.id in moved,
            )

    relive(work, merge.events, witnessed, stamp, fire, take, came)


def relive(
    work: Walk,
    late: Iterable[Event],
    own: Iterable[Event],
    stamp: datetime,
    fire: Fire,
    take: Take,
    came: Container[str] = frozenset(),
) -> None:
    """Take late events in, in the order received among the customer's own.

    The own ones have been taken in before. They are only held against runs that did not live
    through them: those that came here, those that a late event begins, and, as far as it is a
    matter of waiting, those that a late event moves on.
    """
    begun: set[str] = set()
    moved: set[str] = set()
    for event, is_late in _timeline(late, own):
        if not is_late and not came and not moved:
            continue
        fire(_received_at(event))
        before = {run.id: run for run in work.runs.values()}
        if is_late:
            take(event, moved)
        else:
            testify(
                work,
                event,
                stamp,
                lambda kept: _run_id(kept) in came or _run_id(kept) in begun,
                lambda run: run.id in came or run.id in moved,
            )
        for run in work.runs.values():
            if before.get(run.id) is not run:
                moved.add(run.id)
                if run.id not in before:
                    begun.add(run.id)


def _timeline(late: Iterable[Event], own: Iterable[Event]) -> list[tuple[Event, bool]]:
    both = [*((event, True) for event in late), *((event, False) for event in own)]
    return sorted(both, key=lambda one: (_received_at(one[0]), one[0].timestamp, one[0].id))


def asked_since(customer: Customer | None, event: Event) -> datetime | None:
    """Since when the customer's own events have to be shown together with this one.

    None where none have to be.
    """
    if event.passed and event.kind in HAPPENINGS:
        return event.received_at
    if event.kind != "merge":
        return None
    try:
        merge = merge_of(event)
    except msgspec.ValidationError:
        return None  # deciding it will tell
    runs: list[Run | OpenGoal] = [*merge.runs, *merge.goals]
    if merge.events and customer is not None:
        runs += customer.state.runs
    return min((kept.entered_at for kept in runs), default=None)


def _received_at(event: Event) -> datetime:
    assert event.received_at is not None
    return event.received_at


def _run_id(kept: Run | OpenGoal) -> str:
    return kept.id if isinstance(kept, Run) else kept.run_id


def _take_traits(work: Walk, merge: Merge) -> None:
    if not merge.traits and not merge.stated:
        return
    traits, stated = dict(work.traits), dict(work.state.stated)
    for name in dict.fromkeys((*merge.traits, *map(group_of, merge.stated))):
        if name == "consent" and isinstance(merge.traits.get(name), dict):
            continue
        at = merge.stated.get(name, 0)
        if at > stated.get(name, -1):
            stated[name] = at
            if name in merge.traits:
                traits[name] = merge.traits[name]
            else:
                traits.pop(name, None)
    _take_consent(traits, stated, merge)
    work.traits = traits
    work.state = msgspec.structs.replace(work.state, stated=stated)


def _take_consent(traits: dict[str, object], stated: dict[str, int], merge: Merge) -> None:
    """Channel by channel, as `profile.py` keeps it."""
    theirs = merge.traits.get("consent")
    if not isinstance(theirs, dict):
        return
    own = traits.get("consent")
    consent = dict(own) if isinstance(own, dict) else {}
    for channel, granted in theirs.items():
        name = f"consent.{channel}"
        at = merge.stated.get(name, 0)
        if at > stated.get(name, -1):
            stated[name] = at
            consent[channel] = granted
    traits["consent"] = consent


def _take_runs(work: Walk, merge: Merge) -> set[str]:
    """The ids of those that live on."""
    came: set[str] = set()
    for run in merge.runs:
        reason = _why_not(work, run)
        if reason is None:
            work.put(msgspec.structs.replace(run, came_with=merge.source))
            came.add(run.id)
        else:
            work.effects.append(Count(run.journey, run.version, run.step, f"ended:{reason}"))
    return came


def _why_not(work: Walk, run: Run) -> str | None:
    if (run.journey, run.key) in work.runs:
        return "merged"
    last = work.state.entries.get(entry_name(run.journey, run.key))
    if rests(work.book, run):
        return None
    entry = work.book.flow(run.journey, run.version).entry
    if last is not None and last != run.entered_at and is_refused(entry, last, run.entered_at):
        return "reentry"
    return None


def _take_goals(work: Walk, merge: Merge, came: set[str]) -> None:
    """Of two open goals of one journey and key the known one's stays, as a restart has one."""
    ended = {run.id for run in merge.runs} - came
    own = {(goal.journey, goal.key) for goal in work.state.goals}
    taken = [
        msgspec.structs.replace(goal, came_with=merge.source)
        for goal in merge.goals
        if goal.run_id not in ended and (goal.journey, goal.key) not in own
    ]
    if taken:
        goals = (*work.state.goals, *taken)
        work.state = msgspec.structs.replace(work.state, goals=goals)
    came.update(goal.run_id for goal in taken)


def _take_members(work: Walk, merge: Merge) -> None:
    if merge.members:
        members = segments.joined(work.state.members, merge.members)
        work.state = msgspec.structs.replace(work.state, members=members)


def _take_entries(work: Walk, merge: Merge) -> None:
    if merge.entries:
        entries = dict(work.state.entries)
        for name, at in merge.entries.items():
            entries[name] = max(at, entries.get(name, at))
        work.state = msgspec.structs.replace(work.state, entries=entries)


def _take_records(work: Walk, merge: Merge, stamp: datetime) -> None:
    """A message or call for which no run waits any more is recorded, and withdrawn at once."""
    awaited = {waits_for(run) for run in work.runs.values()}
    for record in merge.records:
        work.effects.append(TakeRecord(record))
        if record.table not in AWAITED or record.row["id"] in awaited:
            continue
        if record.table == "messages":
            work.effects.append(WithdrawMessage(record.row["id"], stamp))
        else:
            work.effects.append(WithdrawCall(record.row["id"], stamp))


_LONGEST_REMEMBERED = timedelta(days=7)


def _take_row(work: Walk, event: Event, stamp: datetime) -> bool:
    """False for an event that the customer has taken in by another way already."""
    received_at = _received_at(event)
    message = dedupe.digest_of(event)
    if received_at > stamp - _LONGEST_REMEMBERED:
        if dedupe.is_known(work.state.seen, message, received_at):
            return False
        seen, spilled = dedupe.remember(work.state.seen, message, received_at)
        if spilled:
            work.effects.append(SpillSeen(spilled))
        work.state = msgspec.structs.replace(
            work.state, seen=seen, spilled=work.state.spilled or bool(spilled)
        )
    need = work.book.needs.get(event.name)
    if need is not None and (need.window is None or event.timestamp > stamp - need.window):
        work.state, work.loaded = history.take(work.state, work.loaded, work.book.needs, event)
    work.effects.append(TakeRow(event))
    return True
