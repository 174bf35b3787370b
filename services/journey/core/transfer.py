"""Runs in flight when an apply comes into force: they move to the new version by step id, or end.

An apply does this at the one instant at which it comes into force, in each customer's own order:
behind the events received and the timers due before it, ahead of those at it. So it makes no
difference when the customer is met.
"""

from datetime import datetime

import msgspec

from services.journey.core.book import Transfer
from services.journey.core.effects import Count
from services.journey.core.flow import Call, Flow, Repeat, Send, Wait, WaitFor, WaitUntil
from services.journey.core.resting import rests
from services.journey.core.state import ForAnswer, ForEvent, ForOutcome, OpenGoal, Run
from services.journey.core.work import Walk

SUPERSEDED = "superseded"
"""Why runs ended that an apply with `--in-flight=end` met."""


def transfer_of(work: Walk, run: Run) -> Transfer | None:
    """The first apply with a rule for runs in flight that this run has not met yet."""
    met = run.settled_at or run.entered_at
    for transfer in work.book.transfers.get(run.journey, ()):
        if transfer.at > met:
            leads_on = (run.journey, transfer.version) not in work.book.unreadable
            return transfer if leads_on or transfer.ends else None
    return None


def transferred(work: Walk, run: Run, transfer: Transfer) -> None:
    """The run moves, stays or ends. What it has begun to wait for keeps its due time.

    A run whose own version cannot be read moves where the new one has a step of its name that can
    wait for the same.
    """
    if run.version != transfer.version and transfer.ends:
        work.end(run, SUPERSEDED, transfer.at)
        return
    settled = msgspec.structs.replace(run, settled_at=transfer.at)
    if transfer.version is None or run.version == transfer.version:
        work.put(settled)
        return
    old = None if rests(work.book, run) else work.book.flow(run.journey, run.version)
    new = work.book.flow(run.journey, transfer.version)
    if not (is_named(run, new) if old is None else is_found(run.step, old, new)):
        work.put(settled)
        return
    work.put(_moved(settled, old, new))
    work.effects.append(Count(run.journey, new.version, run.step, "migrated"))
    had_none = old is not None and old.goal is None
    _move_goal(work, run, new, transfer.at, had_none=had_none)


def is_found(step: str, old: Flow, new: Flow) -> bool:
    """Whether a run that stands at `step` finds it in the new version.

    By the id that the new file writes, if it is still a step of the same kind; a step without one
    only where place and content are unchanged.
    """
    before, after = old.steps.get(step), new.steps.get(step)
    if before is None or after is None:
        return False
    if step not in new.named:
        return old.contents.get(step) == new.contents.get(step)
    timed = (Wait, WaitUntil)
    return type(before) is type(after) or (isinstance(before, timed) and isinstance(after, timed))


def is_named(run: Run, new: Flow) -> bool:
    """Whether a run of which only the state is known can wait at the new version's step."""
    after = new.steps.get(run.step)
    if after is None or run.step not in new.named:
        return False
    match run.waiting:
        case ForOutcome():
            return isinstance(after, Send)
        case ForAnswer():
            return isinstance(after, Call)
        case ForEvent():
            return isinstance(after, WaitFor)
        case _:
            return not isinstance(after, WaitFor)


def _moved(run: Run, old: Flow | None, new: Flow) -> Run:
    """What steps have left behind goes along, unless another step has their id now.

    Visits are kept whatever became of their step: message ids are made of them.
    """
    steps = {
        step: result
        for step, result in run.steps.items()
        if step not in new.steps or (step in new.named if old is None else is_found(step, old, new))
    }
    rounds = {
        step: done for step, done in run.rounds.items() if isinstance(new.steps.get(step), Repeat)
    }
    return msgspec.structs.replace(run, version=new.version, steps=steps, rounds=rounds)


def _move_goal(work: Walk, run: Run, new: Flow, at: datetime, *, had_none: bool) -> None:
    """The goal of a run that moves is the new version's, with its window from the entry.

    One that was reached, or whose window was over, stays so.
    """
    goals = {goal.run_id: goal for goal in work.state.goals}
    was = goals.pop(run.id, None)
    goal = new.goal
    if goal is not None and (was is not None or had_none):
        until = run.entered_at + goal.within
        if until >= at:
            goals[run.id] = OpenGoal(
                run_id=run.id,
                journey=run.journey,
                version=new.version,
                key=run.key,
                entered_at=run.entered_at,
                until=until,
                trigger=run.trigger,
                held_out=run.held_out,
                held_by=run.held_by,
                missed=() if was is None else was.missed,
            )
    kept = tuple(goals.values())
    if kept != work.state.goals:
        work.state = msgspec.structs.replace(work.state, goals=kept)
