"""Runs move: from one step to the next until they wait or end."""

from datetime import datetime
from typing import assert_never

import msgspec

from services.journey.core.effects import Count
from services.journey.core.flow import (
    Branch,
    Call,
    Emit,
    Exit,
    Flow,
    Moment,
    Repeat,
    Send,
    Set,
    Split,
    Wait,
    WaitFor,
    WaitUntil,
)
from services.journey.core.state import AtTime, ForEvent, Run, StepResult
from services.journey.core.steps import (
    already_heard,
    awaited,
    call,
    choose,
    emit,
    next_round,
    send,
    spare,
    split,
    until,
    waiting,
    write,
)
from services.journey.core.work import Walk


def walk(  # noqa: C901 - one case for each kind of step
    work: Walk, flow: Flow, run: Run, place: str | None, at: datetime, event: Moment | None
) -> None:
    """Move the run from `place` on, at the instant `at`, until it waits or ends."""
    while place is not None:
        step = flow.steps[place]
        if not isinstance(step, Repeat) or step.id not in run.rounds:
            work.effects.append(Count(run.journey, run.version, step.id, "reached"))
        match step:
            case Wait():
                work.put(waiting(run, step.id, AtTime(at + step.duration)))
                return None
            case WaitUntil():
                due = until(work, run, step, at, event)
                if due is None:
                    if step.missing == "exit":
                        return work.end(msgspec.structs.replace(run, step=step.id), "missing", at)
                    place = step.next
                elif due <= at:
                    place = step.next
                else:
                    return work.put(waiting(run, step.id, AtTime(due)))
            case WaitFor():
                heard = already_heard(work, run, step, at)
                if heard is None:
                    due = at + step.timeout
                    return work.put(waiting(run, step.id, ForEvent(due)))
                run = awaited(run, step.id, heard.event.moment(), heard.received_at)
                at, event = heard.received_at, None
                place = step.then
            case Branch():
                place = choose(step, work.scope(run, at, event))
            case Split():
                run, place = split(work, run, step)
            case Set():
                write(work, run, step, at, event)
                place = step.next
            case Emit():
                run = emit(work, run, step, at, event)
                place = step.next
            case Repeat():
                run, place, due = next_round(work, run, step, at, event)
                if due is not None:
                    return work.put(waiting(run, step.id, AtTime(due)))
            case Call() if run.held_out:
                run = spare(run, step, at)
                place = step.next
            case Call():
                return call(work, run, step, at, event)
            case Send():
                return send(work, flow, run, step, at, event)
            case Exit():
                return work.end(msgspec.structs.replace(run, step=step.id), step.reason, at)
            case _:
                assert_never(step)
    return work.end(run, "completed", at)


def come_behind(work: Walk, flow: Flow, run: Run, now: datetime) -> None:
    """A message of a paused journey has been decided: no step is taken, but waiting is none.

    A wait behind the message counts from its decision as ever. Anything else is due at once, which
    the pause puts off; so is what a `wait_for` has heard meanwhile, at `now`.
    """
    step = flow.steps.get(flow.steps[run.step].next or "")
    assert isinstance(run.waiting, AtTime)
    at = run.waiting.due
    if isinstance(step, WaitFor):
        heard = already_heard(work, run, step, at)
        work.effects.append(Count(run.journey, run.version, step.id, "reached"))
        kept, due = ((), at + step.timeout) if heard is None else ((heard,), now)
        listening = msgspec.structs.replace(run, step=step.id, waiting=ForEvent(due), heard=kept)
        work.put(listening)
    elif isinstance(step, Wait):
        walk(work, flow, run, step.id, at, None)
    else:
        work.put(msgspec.structs.replace(run, waiting=AtTime(now), heard=()))


def go_on(work: Walk, flow: Flow, run: Run, at: datetime) -> None:
    """The time that the run waited for has come."""
    step = flow.steps[run.step]
    match step:
        case WaitFor() if run.heard:
            event = run.heard[0].event.moment()  # it came while the journey was paused
            walk(work, flow, awaited(run, step.id, event, at), step.then, at, event)
        case WaitFor():
            told = {**run.steps, step.id: StepResult(outcome="timed_out", at=at)}
            walk(work, flow, msgspec.structs.replace(run, steps=told), step.timed_out, at, None)
        case Repeat():
            walk(work, flow, run, step.id, at, None)
        case _:
            walk(work, flow, run, step.next, at, None)


def wake(work: Walk, flow: Flow, run: Run, event: Moment, at: datetime) -> None:
    """The event that the run waited for has come."""
    step = flow.steps[run.step]
    assert isinstance(step, WaitFor)
    walk(work, flow, awaited(run, step.id, event, at), step.then, at, event)
