"""Runs move: from one step to the next until they wait or end."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

import msgspec

from services.journey.core.book import Book
from services.journey.core.effects import Count, Effect, QueueMessage, WithdrawMessage
from services.journey.core.flow import Branch, Exit, Flow, Moment, Scope, Send, Wait
from services.journey.core.state import (
    AtTime,
    Customer,
    ForOutcome,
    Run,
    StepResult,
    Trigger,
)
from shared.ids import derived_id
from shared.message import MessageContext


class Walk:
    """One decision under way: the customer's parts, unfrozen while it lasts, and its effects."""

    __slots__ = ("_customer", "book", "effects", "id", "moved", "runs", "state", "traits")

    def __init__(self, book: Book, customer: Customer) -> None:
        self.book = book
        self.id = customer.id
        self.traits: dict[str, Any] = customer.traits
        self.state = customer.state
        self.runs: dict[tuple[str, str], Run] = {
            (run.journey, run.key): run for run in customer.state.runs
        }
        self.effects: list[Effect] = []
        self.moved = False
        self._customer = customer

    def finish(self) -> Customer:
        if self.moved:
            runs = tuple(run for _place, run in sorted(self.runs.items()))
            self.state = msgspec.structs.replace(self.state, runs=runs)
        if self.state is self._customer.state and self.traits is self._customer.traits:
            return self._customer
        return Customer(self.id, self.traits, self.state)

    def scope(self, run: Run, now: datetime, event: Moment | None) -> Scope:
        return Scope(now, self.traits, event, run.trigger.moment(), results(run.steps))

    def put(self, run: Run) -> None:
        self.moved = True
        self.runs[run.journey, run.key] = run

    def end(self, run: Run, reason: str, at: datetime) -> None:
        """The run is over; its message is withdrawn if no attempt has been recorded."""
        self.moved = True
        self.runs.pop((run.journey, run.key), None)
        self.effects.append(Count(run.journey, run.version, run.step, f"ended:{reason}"))
        if isinstance(run.waiting, ForOutcome):
            self.effects.append(WithdrawMessage(run.waiting.message_id, at))


def results(steps: Mapping[str, StepResult]) -> dict[str, dict[str, Any]]:
    """`steps.<id>` as expressions and templates see it."""
    return {
        name: {"outcome": step.outcome, "reason": step.reason, "at": step.at}
        for name, step in steps.items()
    }


def walk(
    work: Walk, flow: Flow, run: Run, place: str | None, at: datetime, event: Moment | None
) -> None:
    """Move the run from `place` on, at the instant `at`, until it waits or ends."""
    while place is not None:
        step = flow.steps[place]
        work.effects.append(Count(run.journey, run.version, step.id, "reached"))
        match step:
            case Wait():
                waiting = AtTime(at + step.duration)
                work.put(msgspec.structs.replace(run, step=step.id, waiting=waiting))
                return
            case Branch():
                place = _choose(step, work.scope(run, at, event))
            case Send():
                _send(work, flow, run, step, at, event)
                return
            case Exit():
                work.end(msgspec.structs.replace(run, step=step.id), step.reason, at)
                return
            case _:
                assert_never(step)
    work.end(run, "completed", at)


def _choose(branch: Branch, scope: Scope) -> str | None:
    for arm in branch.arms:
        if arm.when is None or arm.when.holds(scope):
            return arm.first
    return branch.next


def _send(work: Walk, flow: Flow, run: Run, step: Send, at: datetime, event: Moment | None) -> None:
    visit = run.visits.get(step.id, 0) + 1
    message_id = derived_id("message", run.id, step.id, str(visit))
    scope = work.scope(run, at, event)
    seen = run.trigger if event is None else Trigger(event.name, dict(event.properties))
    work.effects.append(
        QueueMessage(
            id=message_id,
            run_id=run.id,
            journey=run.journey,
            version=run.version,
            step=step.id,
            category=flow.category,
            priority=flow.priority,
            held_out=run.held_out,
            channels=step.channels,
            template=step.template,
            context=MessageContext(
                trigger=run.trigger.properties,
                event={**seen.properties, "name": seen.name},
                steps=results(run.steps),
                values={name: value.evaluate(scope) for name, value in step.values.items()},
                title=flow.title,
            ),
            at=at,
        )
    )
    work.put(
        msgspec.structs.replace(
            run,
            step=step.id,
            waiting=ForOutcome(message_id),
            visits={**run.visits, step.id: visit},
        )
    )
