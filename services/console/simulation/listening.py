"""Compiled flows whose conditions can be heard.

The core counts which steps a run reaches, but not which condition led it there. A condition is a
closure, so it is wrapped in one that answers the same and notes the answer; the core, which asks,
sees no difference.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from services.journey.core.flow import (
    Arm,
    Audience,
    Branch,
    EventMatch,
    Expression,
    Flow,
    OnDate,
    Plan,
    Repeat,
    Schedule,
    Scope,
    Step,
    Value,
    WaitFor,
)

Kind = Literal["trigger", "exit", "wait_for", "branch", "entry", "meant", "until"]
"""`entry` is `entry.where`, `meant` what a journey that starts for many asks of each customer,
`until` that of a `repeat`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A condition of a journey, and where it stands."""

    journey: str
    kind: Kind
    text: str
    """The condition as written; empty where there is none and the event alone decides."""
    step: str = ""
    way: int = 0
    """Of a branch: which arm."""
    condition: Expression | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    question: Question
    holds: bool
    scope: Scope = field(compare=False, repr=False)
    """What the condition looked at."""


def listening(flow: Flow, answers: list[Answer], *, to_all: bool = False) -> Flow:
    """The same flow; every answer of its conditions is appended to `answers`.

    Without `to_all` only those of triggers, exits, `wait_for` and branches.
    """
    return _Listener(flow.journey, answers, to_all).flow(flow)


@dataclass(frozen=True, slots=True)
class _Listener:
    journey: str
    answers: list[Answer]
    to_all: bool

    def flow(self, flow: Flow) -> Flow:
        entry, plan = flow.entry, flow.plan
        if self.to_all:
            plan = self._plan(plan)
            if entry.where is not None:
                entry = replace(entry, where=self._heard("entry", entry.where))
        return replace(
            flow,
            entry=entry,
            plan=plan,
            triggers=self._matches("trigger", flow.triggers),
            exits=self._matches("exit", flow.exits),
            steps={name: self._step(step) for name, step in flow.steps.items()},
        )

    def _heard(
        self, kind: Kind, condition: Expression | None, step: str = "", way: int = 0
    ) -> Expression:
        text = "" if condition is None else condition.source
        question = Question(self.journey, kind, text, step, way, condition)

        def evaluate(scope: Scope) -> Value:
            value = True if condition is None else condition.evaluate(scope)
            self.answers.append(Answer(question, value is True, scope))
            return value

        return Expression(text, evaluate, None if condition is None else condition.node)

    def _matches(
        self, kind: Kind, given: Iterable[EventMatch], step: str = ""
    ) -> tuple[EventMatch, ...]:
        return tuple(EventMatch(m.event, self._heard(kind, m.where, step)) for m in given)

    def _step(self, step: Step) -> Step:
        match step:
            case Branch():
                arms = [
                    Arm(self._heard("branch", arm.when, step.id, way), arm.first)
                    for way, arm in enumerate(step.arms)
                ]
                return replace(step, arms=tuple(arms))
            case WaitFor():
                return replace(step, matches=self._matches("wait_for", step.matches, step.id))
            case Repeat() if self.to_all and step.until is not None:
                return replace(step, until=self._heard("until", step.until, step.id))
            case _:
                return step

    def _plan(self, plan: Plan | None) -> Plan | None:
        match plan:
            case Schedule():
                return replace(plan, member=self._heard("meant", plan.member))
            case OnDate():
                return replace(plan, date=self._heard("meant", plan.date))
            case Audience():
                return replace(plan, condition=self._heard("meant", plan.condition))
            case None:
                return None
