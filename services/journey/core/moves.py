"""What one event moves: it ends, converts, wakes and starts, in this order.

Everything is tested on the customer as the event left it; only then do runs move, by journey id
and key. A run that the event ends is not also woken by it; the same event may start a new one.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import msgspec

from services.journey.core import resting
from services.journey.core.book import Starter
from services.journey.core.effects import Convert
from services.journey.core.entry import Admission, admit, carry_out
from services.journey.core.firing import Meant
from services.journey.core.flow import Flow, Moment, Scope, WaitFor
from services.journey.core.state import (
    ForAnswer,
    ForEvent,
    ForOutcome,
    Heard,
    OpenGoal,
    Run,
    StepResult,
)
from services.journey.core.walk import wake
from services.journey.core.work import Walk, holds, results, trigger_of
from shared.event import HAPPENINGS, Event

_MOST_HEARD = 50
"""Events kept for a `wait_for` while the message or call before it is on its way."""


Concerns = Callable[[Run | OpenGoal], bool]
Listens = Callable[[Run], bool]


def move(work: Walk, event: Event, received_at: datetime, stamp: datetime) -> None:
    """`stamp` is when it came here, which is later than its receipt where it was forwarded."""
    if event.kind not in HAPPENINGS:
        return
    starters = work.book.started_by(event.name, received_at)
    if not starters and not work.runs and not work.state.goals:
        return
    _move(work, event, received_at, stamp, starters, _LATE if event.passed else None)


def _everything(_kept: Run | OpenGoal) -> bool:
    return True


Late = tuple[Concerns, Listens]
_LATE: Late = (_everything, _everything)


def testify(
    work: Walk, event: Event, stamp: datetime, concerns: Concerns, listens: Listens
) -> None:
    """An event of the past: of the runs that had begun before it, it ends and converts those that
    it concerns, wakes those that listen, and starts none."""
    if event.kind in HAPPENINGS and (work.runs or work.state.goals):
        assert event.received_at is not None
        _move(work, event, event.received_at, stamp, (), (concerns, listens))


def _move(
    work: Walk,
    event: Event,
    received_at: datetime,
    stamp: datetime,
    starters: tuple[Starter, ...],
    late: Late | None,
) -> None:
    """`late` says whom an event concerns, and who listens, that comes here after its receipt."""
    moment = Moment(event.name, event.properties, event.context)
    concerned: Iterable[Run] = work.runs.values()
    if work.book.unreadable:
        concerned = _able(work, moment, received_at, late)
    listening = concerned
    if late is not None:
        begun = [run for run in concerned if run.entered_at < received_at]
        concerned, listening = filter(late[0], begun), list(filter(late[1], begun))
    ended = {run.id for run in _ended(work, concerned, moment, received_at)}
    converted = _converted(work, moment, received_at, late)
    live = [run for run in work.runs.values() if run.id not in ended]
    hearing = live
    if late is not None or work.book.unreadable:
        hearing = [run for run in listening if run.id not in ended]
    woken = {run.id for run in hearing if _is_woken(work, run, moment, received_at, late)}
    starting = work.scope_of_start(moment, received_at)
    admissions = [
        admit(starter.flow, work, starting, event, live)
        for starter in starters
        if holds(starter.matches, starting)
    ]
    if not work.runs and not work.state.goals:  # most often; they are in order already
        for admission in admissions:
            carry_out(work, admission, moment, event, received_at)
        return
    _convert(work, converted, moment, received_at)
    _hear(work, [run for run in hearing if run.id not in woken], moment, received_at)
    moves: list[tuple[tuple[str, str, int], Run | Admission]] = [
        *(((run.journey, run.key, 0), run) for run in work.runs.values() if run.id in ended),
        *(((run.journey, run.key, 1), run) for run in work.runs.values() if run.id in woken),
        *(((a.flow.journey, a.key, 2), a) for a in admissions),
    ]
    for (_journey, _key, kind), moving in sorted(moves, key=lambda pair: pair[0]):
        if isinstance(moving, Admission):
            carry_out(work, moving, moment, event, received_at)
        elif kind == 0:
            work.end(moving, "exit", stamp)
        elif work.book.is_paused(moving.journey, stamp):
            _keep_for_resume(work, moving, moment, received_at, stamp)
        else:
            wake(work, _flow(work, moving), moving, moment, received_at)


def _able(work: Walk, moment: Moment, received_at: datetime, late: Late | None) -> list[Run]:
    """The runs whose version can be read; the others keep what they would have been told."""

    def concerns(kept: Run | OpenGoal) -> bool:
        if late is None:
            return True
        listens = isinstance(kept, Run) and late[1](kept)
        return kept.entered_at < received_at and (late[0](kept) or listens)

    return resting.able(work, moment, received_at, concerns)


def enter(work: Walk, event: Event, received_at: datetime) -> None:
    """A call to the API names this customer for a journey; `trigger.x` is what it gave along."""
    properties = event.properties.get("properties")
    moment = Moment(event.name, properties if isinstance(properties, dict) else {}, {})
    flow = work.book.started_by_api(str(event.properties.get("journey")), received_at)
    if flow is not None:
        starting = work.scope_of_start(moment, received_at)
        admission = admit(flow, work, starting, event, work.runs.values())
        carry_out(work, admission, moment, event, received_at)


def enter_meant(work: Walk, meant: Meant, received_at: datetime) -> None:
    """A journey that fired for many starts for this customer, if it may."""
    assert meant.event.received_at is not None
    starting = work.scope_of_start(meant.moment, meant.event.received_at)
    admission = admit(meant.flow, work, starting, meant.event, work.runs.values())
    carry_out(work, admission, meant.moment, meant.event, received_at)


def _flow(work: Walk, run: Run | OpenGoal) -> Flow:
    return work.book.flow(run.journey, run.version)


def _ended(work: Walk, runs: Iterable[Run], moment: Moment, now: datetime) -> Iterator[Run]:
    for run in runs:
        exits = _flow(work, run).exits
        if any(match.event == moment.name for match in exits) and holds(
            exits, work.scope(run, now, moment)
        ):
            yield run


def _is_woken(work: Walk, run: Run, moment: Moment, now: datetime, late: Late | None) -> bool:
    if not isinstance(run.waiting, ForEvent) or run.heard or run.waiting.due < now:
        return False  # one that is overdue has timed out; only a pause keeps it
    step = _flow(work, run).steps[run.step]
    assert isinstance(step, WaitFor)
    if late is not None and now <= run.waiting.due - step.timeout:
        return False  # received before the run came here
    return holds(step.matches, work.scope(run, now, moment))


def _keep_for_resume(
    work: Walk, run: Run, moment: Moment, received_at: datetime, stamp: datetime
) -> None:
    """A paused run keeps its match; it is due at once, which the pause puts off."""
    heard = (Heard(received_at, trigger_of(moment)),)
    work.put(msgspec.structs.replace(run, waiting=ForEvent(due=stamp), heard=heard))


# Goals ---------------------------------------------------------------------------------------


def _steps_of(work: Walk, goal: OpenGoal) -> dict[str, StepResult]:
    run = work.runs.get((goal.journey, goal.key))
    return run.steps if run is not None and run.id == goal.run_id else goal.steps


def _goal_scope(work: Walk, goal: OpenGoal, moment: Moment, now: datetime) -> Scope:
    steps = results(_steps_of(work, goal))
    trigger, segments = goal.trigger.moment(), work.book.segments
    rfm = work.state.rfm
    return Scope(now, work.traits, moment, trigger, work.history, steps, segments, rfm)


def _converted(work: Walk, moment: Moment, now: datetime, late: Late | None) -> set[str]:
    found: set[str] = set()
    for open_goal in work.state.goals:
        if work.book.unreadable and resting.rests(work.book, open_goal):
            continue
        goal = _flow(work, open_goal).goal
        if goal is None or now > open_goal.until:
            continue
        if late is not None and not (open_goal.entered_at < now and late[0](open_goal)):
            continue
        if any(match.event == moment.name for match in goal.matches) and holds(
            goal.matches, _goal_scope(work, open_goal, moment, now)
        ):
            found.add(open_goal.run_id)
    return found


def _convert(work: Walk, converted: set[str], moment: Moment, now: datetime) -> None:
    """Count each goal once, and let go of those that are reached or past."""
    kept: list[OpenGoal] = []
    for open_goal in work.state.goals:
        if open_goal.run_id in converted:
            work.effects.append(_conversion(work, open_goal, moment, now))
        elif now <= open_goal.until or open_goal.missed:
            kept.append(open_goal)
    if len(kept) != len(work.state.goals):
        work.state = msgspec.structs.replace(work.state, goals=tuple(kept))


def _conversion(work: Walk, open_goal: OpenGoal, moment: Moment, now: datetime) -> Convert:
    goal = _flow(work, open_goal).goal
    assert goal is not None
    value = None
    if goal.value is not None:
        value = goal.value.evaluate(_goal_scope(work, open_goal, moment, now))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    steps = _steps_of(work, open_goal)
    return Convert(
        run_id=open_goal.run_id,
        journey=open_goal.journey,
        version=open_goal.version,
        held_out=open_goal.held_out,
        held_by=open_goal.held_by,
        variants={name: step.variant for name, step in steps.items() if step.variant},
        entered_at=open_goal.entered_at,
        at=now,
        value=float(value) if value is not None and is_number else None,
    )


# Listening behind a send ---------------------------------------------------------------------


def _hear(work: Walk, runs: list[Run], moment: Moment, now: datetime) -> None:
    """A `wait_for` behind a send or a call listens from its instant, even if learnt later."""
    for run in runs:
        if not isinstance(run.waiting, ForOutcome | ForAnswer) or len(run.heard) >= _MOST_HEARD:
            continue
        steps = _flow(work, run).steps
        behind = steps.get(steps[run.step].next or "")
        if isinstance(behind, WaitFor) and any(m.event == moment.name for m in behind.matches):
            one = Heard(now, trigger_of(moment))
            heard = (*run.heard, one)
            if run.heard and now <= run.heard[-1].received_at:
                if one in run.heard:
                    continue
                heard = tuple(sorted(heard, key=lambda one: one.received_at))
            work.put(msgspec.structs.replace(run, heard=heard))
