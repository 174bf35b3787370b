"""One decision under way, and what its parts look like to expressions."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.book import Book
from services.journey.core.effects import Count, Effect, WithdrawCall, WithdrawMessage
from services.journey.core.flow import EventMatch, Moment, Past, Scope
from services.journey.core.state import Customer, ForAnswer, ForOutcome, Run, StepResult, Trigger


class Walk:
    """One decision under way: the customer's parts, unfrozen while it lasts, and its effects."""

    __slots__ = (
        "before",
        "book",
        "effects",
        "followed",
        "id",
        "loaded",
        "moved",
        "runs",
        "state",
        "traits",
    )

    def __init__(self, book: Book, customer: Customer) -> None:
        self.book = book
        self.id = customer.id
        self.traits: dict[str, Any] = customer.traits
        self.state = customer.state
        self.loaded: dict[str, tuple[Past, ...]] = customer.loaded
        self.runs: dict[tuple[str, str], Run] = {
            (run.journey, run.key): run for run in customer.state.runs
        }
        self.effects: list[Effect] = []
        self.moved = False
        self.before = customer
        """The customer as the decision found them."""
        self.followed = customer
        """The customer that memberships were last followed on; see `segments.py`."""

    def finish(self) -> Customer:
        if self.moved:
            runs = tuple(run for _place, run in sorted(self.runs.items()))
            self.state = msgspec.structs.replace(self.state, runs=runs)
        if self.state is self.before.state and self.traits is self.before.traits:
            return self.before
        return Customer(self.id, self.traits, self.state, self.loaded)

    @property
    def history(self) -> Mapping[str, tuple[Past, ...]]:
        kept = self.state.history
        return {**kept, **self.loaded} if self.loaded else kept

    def scope(self, run: Run, now: datetime, event: Moment | None) -> Scope:
        if event is None and run.event is not None:
            event = run.event.moment()
        trigger = run.trigger.moment()
        steps, segments = results(run.steps), self.book.segments
        rfm = self.state.rfm
        return Scope(now, self.traits, event, trigger, self.history, steps, segments, rfm)

    def scope_of_start(self, moment: Moment, now: datetime) -> Scope:
        """`event` and `trigger` are the same while a run is being started."""
        segments, rfm = self.book.segments, self.state.rfm
        return Scope(now, self.traits, moment, moment, self.history, {}, segments, rfm)

    def put(self, run: Run) -> None:
        self.moved = True
        self.runs[run.journey, run.key] = run

    def end(self, run: Run, reason: str, at: datetime) -> None:
        """The run is over; its message or call is withdrawn if no attempt has been recorded."""
        self.moved = True
        self.runs.pop((run.journey, run.key), None)
        self.effects.append(Count(run.journey, run.version, run.step, f"ended:{reason}"))
        if isinstance(run.waiting, ForOutcome):
            self.effects.append(WithdrawMessage(run.waiting.message_id, at))
        elif isinstance(run.waiting, ForAnswer):
            self.effects.append(WithdrawCall(run.waiting.call_id, at))
        goals = self.state.goals
        if run.steps and any(goal.run_id == run.id for goal in goals):
            kept = tuple(
                msgspec.structs.replace(goal, steps=run.steps) if goal.run_id == run.id else goal
                for goal in goals
            )
            self.state = msgspec.structs.replace(self.state, goals=kept)


def results(steps: Mapping[str, StepResult]) -> dict[str, dict[str, Any]]:
    """`steps.<id>` as expressions see it."""
    return {
        name: {
            "outcome": step.outcome,
            "reason": step.reason,
            "at": step.at,
            "event": None if step.event is None else step.event.moment(),
            "variant": step.variant,
            "response": step.response,
            "opened": step.opened,
            "clicked": step.clicked,
        }
        for name, step in steps.items()
    }


def trigger_of(moment: Moment) -> Trigger:
    return Trigger(moment.name, _as_dict(moment.properties), _as_dict(moment.context))


def _as_dict(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The very same where it is one: what an event says is never changed."""
    return fields if type(fields) is dict else dict(fields)


def holds(matches: Iterable[EventMatch], scope: Scope) -> bool:
    """Whether the scope's event is one of those that are looked for."""
    assert scope.event is not None
    name = scope.event.name
    for match in matches:  # a loop, not any(…): these are the hottest lines of the engine
        if match.event == name and (match.where is None or match.where.evaluate(scope) is True):
            return True
    return False
