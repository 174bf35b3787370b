"""Compiled flows whose conditions can be heard.

The core counts which steps a run reaches, but not which condition led it there. A condition is a
closure, so it is wrapped in one that answers the same and notes the answer; the core, which asks,
sees no difference.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from services.journey.core.flow import (
    Arm,
    Branch,
    EventMatch,
    Expression,
    Flow,
    Scope,
    Step,
    Value,
    WaitFor,
)

Kind = Literal["trigger", "exit", "wait_for", "branch"]


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


@dataclass(frozen=True, slots=True)
class Answer:
    question: Question
    holds: bool


def listening(flow: Flow, answers: list[Answer]) -> Flow:
    """The same flow; every answer of its conditions is appended to `answers`."""

    def heard(question: Question, condition: Expression | None) -> Expression:
        def evaluate(scope: Scope) -> Value:
            value = True if condition is None else condition.evaluate(scope)
            answers.append(Answer(question, value is True))
            return value

        return Expression(question.text, evaluate)

    def matches(kind: Kind, given: Iterable[EventMatch], step: str = "") -> tuple[EventMatch, ...]:
        return tuple(
            EventMatch(
                each.event,
                heard(Question(flow.journey, kind, _text(each.where), step), each.where),
            )
            for each in given
        )

    def step_of(step: Step) -> Step:
        match step:
            case Branch():
                place: tuple[str, Kind] = flow.journey, "branch"
                arms = [
                    Arm(heard(Question(*place, _text(arm.when), step.id, way), arm.when), arm.first)
                    for way, arm in enumerate(step.arms)
                ]
                return replace(step, arms=tuple(arms))
            case WaitFor():
                return replace(step, matches=matches("wait_for", step.matches, step.id))
            case _:
                return step

    return replace(
        flow,
        triggers=matches("trigger", flow.triggers),
        exits=matches("exit", flow.exits),
        steps={name: step_of(step) for name, step in flow.steps.items()},
    )


def _text(condition: Expression | None) -> str:
    return "" if condition is None else condition.source
