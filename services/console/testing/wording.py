"""The sentences of a timeline."""

from datetime import datetime
from typing import Any

import msgspec

from services.console.simulation.listening import Question
from services.console.simulation.observed import Told
from services.console.testing.times import Local
from services.dispatch.policy import Hold
from services.journey.core.effects import QueueMessage
from services.journey.core.firing import ON_DATE, SCHEDULED, is_by_firing
from services.journey.core.flow import Branch, Call, Flow, Send, Step, WaitFor
from services.journey.core.state import Run
from shared.decisions import Refusal
from shared.event import Event
from shared.workspace import duration_text

_FIRES = {SCHEDULED: "the schedule fires", ON_DATE: "the date has come"}
_LONGEST = 100
"""Characters of an event's properties that a line shows."""


def event(given: Event, *, repeated: bool) -> str:
    if given.kind == "link":
        return f"{given.anonymous_id} belongs to {given.properties.get('to')} from now on"
    if given.kind == "merge":
        return f"what {given.previous_id} was joins {given.customer}"
    if given.kind == "identify":
        said = f"the customer's traits: {_short(given.traits)}"
    elif is_by_firing(given):
        said = _FIRES.get(given.name, f"catalogue event {given.name}")
        if given.name not in _FIRES and given.properties["properties"]:
            said += f" {_short(given.properties['properties'])}"
    else:
        said = f"event {given.name}"
        if given.properties:
            said += f" {_short(given.properties)}"
    return f"{said} (has been taken in before)" if repeated else said


def _short(values: Any) -> str:
    text = msgspec.json.encode(values).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def awaited(question: Question, given: Event) -> str:
    return f"{question.step} has waited for it: {question.text or given.name}"


def not_met(question: Question) -> str:
    if question.kind == "trigger":
        return f"does not enter: {Refusal.NOT_MATCHED}, the trigger asks for {question.text}"
    if question.kind == "exit":
        return f"no exit: {question.text} does not hold"
    return f"{question.step} waits on: {question.text} does not hold"


def refused(flow: Flow, reason: str) -> str:
    entry = flow.entry
    why = ""
    match reason:
        case Refusal.ENTRY_CONDITION if entry.where is not None:
            why = f", {entry.where.source} does not hold"
        case Refusal.REENTRY:
            rule = entry.reentry if isinstance(entry.reentry, str) else duration_text(entry.reentry)
            why = f", which is {rule}"
        case Refusal.TOO_OLD:
            why = f", max_age is {duration_text(entry.max_age)}"
        case _:
            pass
    return f"does not enter: {reason}{why}"


def reaches(step: Step, chosen: int | None) -> str:
    """`chosen` is the arm of a branch; a heard `otherwise` is a condition without a text."""
    said = f"reaches {step.id}"
    match step:
        case Branch():
            if chosen is None:
                return f"{said}: no arm holds"
            condition = step.arms[chosen].when
            text = "" if condition is None else condition.source
            return f"{said}: when {text}" if text else f"{said}: otherwise"
        case Send():
            channels = ", else ".join(step.channels)
            return f"{said}: send {channels}, template {step.template}"
        case Call():
            return f"{said}: call {step.url}"
        case _:
            return said


def waits(flow: Flow, run: Run, due: datetime, local: Local) -> str:
    step = flow.steps[run.step]
    what = ""
    if isinstance(step, WaitFor):
        what = f" for {' or '.join(dict.fromkeys(match.event for match in step.matches))}"
    return f"waits{what} until {local.both(due)}"


def ends(step: str, reason: str, exit_: Question | None) -> str:
    if reason == "restart":
        return f"begins again: the run at {step} is restarted"
    why = f", {exit_.text}" if exit_ is not None and exit_.text else ""
    return f"ends at {step}: {reason}{why}"


def held(queued: QueueMessage, verdict: Hold, local: Local) -> str:
    until = local.both(verdict.until)
    return f"{queued.step}: {verdict.channel} is held until {until}: {verdict.reason}"


def told(observed: Told) -> str:
    row = observed.row
    over = "".join(f"not by {each.channel}: {each.reason}; " for each in observed.passed_over)
    why = "" if row.reason is None else f": {row.reason}"
    return f"{row.step}: {over}{row.channel} is {row.decision}{why}"


def answered(given: Event) -> str:
    told = given.properties
    why = "" if told.get("reason") is None else f": {told['reason']}"
    response = told.get("response")
    said = "" if response is None else f", answered {_short(response)}"
    return f"{told['step']}: the call is {told['outcome']}{why}{said}"


def scored(given: Event) -> str:
    return f"the customer's score: {_short(given.properties)}"


def goal(value: float | None) -> str:
    return "the goal is reached" if value is None else f"the goal is reached, value {value:g}"
