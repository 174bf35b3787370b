"""Runs of a version that cannot be read rest, and catch up once it can.

For such a run it is as in an outage that befalls it alone: nothing fires, and what its customer
does meanwhile is kept with it, since only the version knows its exits, waits and goals. Once it can
be read the run lives through what it missed, in order, behind the timers due before each: nobody
is reminded of what they have done meanwhile. Everything else of the customer goes on.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from services.journey.core.book import Book
from services.journey.core.flow import Moment
from services.journey.core.state import Heard, OpenGoal, Run
from services.journey.core.work import Walk, trigger_of
from shared.event import Event
from shared.ids import fraction

MOST_MISSED = 50
"""Events kept with a run; of one that misses more nobody can say what it would have come to."""
UNREADABLE = "unreadable"
"""Why runs ended that had missed more than that."""
_SHORTEST, _LONGEST = timedelta(seconds=2), timedelta(minutes=1)

Kept = TypeVar("Kept", Run, OpenGoal)
Fire = Callable[[datetime], None]
"""Fires what is due before an instant."""
Testify = Callable[[Event, Callable[[Run | OpenGoal], bool]], None]
"""Holds an event of the past against the runs and goals that it concerns."""


def rests(book: Book, kept: Run | OpenGoal) -> bool:
    return (kept.journey, kept.version) in book.unreadable


def able(
    work: Walk, moment: Moment, at: datetime, concerns: Callable[[Run | OpenGoal], bool]
) -> list[Run]:
    """The runs that can be moved; the others, and their goals, keep the event where it concerns
    them."""
    heard = Heard(at, trigger_of(moment))
    goals: tuple[OpenGoal, ...] = tuple(
        _with(goal, heard) if rests(work.book, goal) and concerns(goal) else goal
        for goal in work.state.goals
    )
    if goals != work.state.goals:
        work.state = msgspec.structs.replace(work.state, goals=goals)
    found: list[Run] = []
    for run in tuple(work.runs.values()):
        if not rests(work.book, run):
            found.append(run)
        elif concerns(run):
            work.put(_with(run, heard))
    return found


def _with(kept: Kept, heard: Heard) -> Kept:
    if len(kept.missed) > MOST_MISSED:
        return kept
    return msgspec.structs.replace(kept, missed=(*kept.missed, heard))


def is_behind(work: Walk) -> bool:
    """Whether something of the customer's has missed events, readable again or not."""
    return any(run.missed for run in work.runs.values()) or any(
        goal.missed for goal in work.state.goals
    )


def catch_up(work: Walk, stamp: datetime, fire: Fire, testify: Testify) -> None:
    """Live through what was missed by runs and goals whose version can be read again."""
    missed: dict[str, tuple[Heard, ...]] = {}
    every: list[Run | OpenGoal] = [*work.state.goals, *work.runs.values()]
    for kept in every:
        if kept.missed and not rests(work.book, kept):
            missed[_run_id(kept)] = kept.missed
    if not missed:
        return
    _forget(work, missed)
    too_much = {name for name, events in missed.items() if len(events) > MOST_MISSED}
    for run in tuple(work.runs.values()):
        if run.id in too_much:
            work.end(run, UNREADABLE, stamp)
    timeline = [
        (heard.received_at, place, name, heard)
        for name, events in missed.items()
        if name not in too_much
        for place, heard in enumerate(events)
    ]
    for at, _place, name, heard in sorted(timeline, key=lambda one: one[:3]):
        fire(at)
        testify(_event(heard), lambda kept: _run_id(kept) == name)  # noqa: B023 - called at once


def _forget(work: Walk, caught_up: Iterable[str]) -> None:
    names = set(caught_up)
    goals = tuple(
        msgspec.structs.replace(goal, missed=()) if goal.run_id in names else goal
        for goal in work.state.goals
    )
    work.state = msgspec.structs.replace(work.state, goals=goals)
    for run in tuple(work.runs.values()):
        if run.id in names:
            work.put(msgspec.structs.replace(run, missed=()))


def _run_id(kept: Run | OpenGoal) -> str:
    return kept.id if isinstance(kept, Run) else kept.run_id


def _event(heard: Heard) -> Event:
    told = heard.event
    return Event(
        id="", kind="track", name=told.name, timestamp=heard.received_at,
        properties=told.properties, context=told.context, received_at=heard.received_at,
    )  # fmt: skip


def looks_again(due: datetime, now: datetime, customer: str) -> datetime:
    """When to see whether the version of a run that is due can be read: soon at first, then every
    one to two minutes, each customer at a moment of its own."""
    if due > now:
        return due
    pause = min(max((now - due) / 2, _SHORTEST), _LONGEST)
    return now + pause * (1 + fraction("unreadable", customer))
