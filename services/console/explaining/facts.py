"""What became of one customer in one journey: facts in order, from what a replay shows.

A `Tracer` is a simulation's observer. It keeps what concerns the journey: the events that did
something to it or might have, entries and refusals, conditions with what they saw, steps, waits,
exits, messages. The words for them are elsewhere (`wording.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never

from services.console.explaining.checks import Check, check_of, plain
from services.console.explaining.reasons import refusal_detail
from services.console.simulation.listening import Answer, Kind
from services.console.simulation.observed import Decided, Held, Observed, Told
from services.journey.core.decide import Tick, due_of
from services.journey.core.effects import Convert, Count, EmitEvent
from services.journey.core.firing import is_by_firing
from services.journey.core.flow import Emit, Flow, Send, WaitFor
from services.journey.core.state import Customer, ForEvent, Run, Waiting
from shared.decisions import Refusal
from shared.event import HAPPENINGS, Event

MOST_DECISIONS = 200_000
_UNMET: Mapping[Kind, str] = {"trigger": "refused", "exit": "no_exit", "wait_for": "listens"}
"""What it is called when none of the conditions that an event meets holds."""


_RESTING = frozenset({"wait", "waituntil", "waitfor", "split", "exit"})
"""Kinds of steps at which nothing happens but what is told next: it waits, is given a variant, or
ends there."""


class Endless(Exception):
    """A replay that does not come to an end: journeys start each other."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened, or did not."""

    at: datetime
    kind: str
    """`event`, `refused`, `entered`, `reached`, `message`, …: see `wording.WORDS`."""
    step: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """As JSON has it."""
    checks: tuple[Check, ...] = ()


class Tracer:
    """Observer of the replay of one journey; `answers` are filled by its flows."""

    def __init__(self, journey: str, flows: Iterable[Flow], answers: list[Answer]) -> None:
        self.facts: list[Fact] = []
        self.customers: dict[str, Customer] = {}
        """By id, as the replay left them."""
        self._journey = journey
        self._flows = {flow.version: flow for flow in flows}
        self._starts = frozenset(
            match.event for flow in self._flows.values() for match in flow.triggers
        )
        steps = (step for flow in self._flows.values() for step in flow.steps.values())
        self._emits = frozenset(step.event for step in steps if isinstance(step, Emit))
        self._answers = answers
        self._decisions = 0
        self._place = 0
        """Where the facts of the decision under way begin."""
        self._waiting: dict[str, Waiting] = {}
        """Run id → what it was last seen to wait for."""

    def __call__(self, observed: Observed) -> None:
        match observed:
            case Decided():
                self._decided(observed)
            case Held(at, queued, verdict):
                if queued.journey == self._journey:
                    held = {"channel": verdict.channel, "reason": str(verdict.reason)}
                    held["until"] = plain(verdict.until)
                    self._add(at, "held", queued.step, held)
            case Told():
                self._told(observed)
            case _:
                assert_never(observed)

    def _add(
        self,
        at: datetime,
        kind: str,
        step: str = "",
        detail: Mapping[str, Any] | None = None,
        checks: Iterable[Check | None] = (),
    ) -> None:
        seen = tuple(check for check in checks if check is not None)
        self.facts.append(Fact(at, kind, step, detail or {}, seen))

    def _runs(self, customer: Customer) -> dict[str, Run]:
        return {run.id: run for run in customer.state.runs if run.journey == self._journey}

    def _decided(self, observed: Decided) -> None:
        self._decisions += 1
        if self._decisions > MOST_DECISIONS:
            raise Endless
        answers = [a for a in self._answers if a.question.journey == self._journey]
        self._answers.clear()
        given, at = observed.given, observed.at
        self.customers[observed.before.id] = observed.decision.customer
        place = self._place = len(self.facts)
        before, after = self._runs(observed.before), self._runs(observed.decision.customer)
        if isinstance(given, Tick):
            self._timed_out(at, before.values())
        else:
            self._event(observed, given, answers, before)
        self._membership(observed)
        self._effects(observed, answers, before, after)
        for run in after.values():
            due = due_of(run)
            if due is not None and due > at and self._waiting.get(run.id) != run.waiting:
                self._waits(at, run, due)
            self._waiting[run.id] = run.waiting
        if isinstance(given, Event) and _is_shown(given) and len(self.facts) > place:
            self.facts.insert(place, Fact(at, "event", detail=event_detail(given)))

    # Events ----------------------------------------------------------------------------------

    def _event(
        self, observed: Decided, event: Event, answers: list[Answer], before: Mapping[str, Run]
    ) -> None:
        at = observed.at
        if event.kind == "link":
            self._add(at, "linked", detail={"id": event.anonymous_id, "to": event.properties["to"]})
            return
        if event.kind == "merge":
            self._add(at, "merged", detail={"id": event.previous_id})
            return
        if event.kind == "outcome":
            if "call_id" in event.properties and event.properties.get("run_id") in before:
                self._add(at, "answered", event.properties["step"], _answer_detail(event))
            return
        if event.kind in HAPPENINGS and event.name in self._starts:
            self._unasked(observed, event, answers)
        for kind, word in _UNMET.items():
            own = [a for a in answers if a.question.kind == kind]
            if own and not any(a.holds for a in own):
                detail = {"reason": str(Refusal.NOT_MATCHED)} if word == "refused" else {}
                self._add(at, word, own[0].question.step, detail, map(check_of, own))
            elif kind == "wait_for" and own:
                matched = next(a for a in own if a.holds)
                self._add(at, "matched", matched.question.step, checks=[check_of(matched)])

    def _unasked(self, observed: Decided, event: Event, answers: list[Answer]) -> None:
        """Why an event of the right name did not even meet the trigger's condition."""
        decision = observed.decision
        if decision.passed_on or any(a.question.kind == "trigger" for a in answers):
            return
        if event.historical:
            self._add(observed.at, "imported")
        else:
            self._add(observed.at, "not_published" if decision.taken_in else "repeated")

    def _timed_out(self, at: datetime, before: Iterable[Run]) -> None:
        for run in before:
            if isinstance(run.waiting, ForEvent) and run.waiting.due <= at and not run.heard:
                self._add(at, "timed_out", run.step)

    def _membership(self, observed: Decided) -> None:
        before = observed.before.state.members.get(self._journey)
        after = observed.decision.customer.state.members.get(self._journey)
        if after is None or after.inside is (before is not None and before.inside):
            return
        watched = next((f.watches for f in self._flows.values() if f.watches is not None), None)
        name = "" if watched is None else watched.segment
        self._add(observed.at, "inside" if after.inside else "outside", detail={"segment": name})

    # Effects ---------------------------------------------------------------------------------

    def _effects(
        self,
        observed: Decided,
        answers: list[Answer],
        before: Mapping[str, Run],
        after: Mapping[str, Run],
    ) -> None:
        asked: dict[Kind, list[Answer]] = {}
        for answer in answers:
            asked.setdefault(answer.question.kind, []).append(answer)
        for answer in asked.get("until", ()):
            word = "rounds_over" if answer.holds else "another_round"
            self._add(observed.at, word, answer.question.step, checks=[check_of(answer)])
        for effect in observed.decision.effects:
            match effect:
                case Count(journey, version, step, what) if journey == self._journey:
                    self._count(observed, version, step, what, asked, before, after)
                case Convert(journey=journey, value=value) if journey == self._journey:
                    self._add(observed.at, "goal", detail={"value": value})
                case EmitEvent(name=name) if name in self._emits and (before or after):
                    self._add(observed.at, "emitted", detail={"event": name})
                case _:
                    pass

    def _count(
        self,
        observed: Decided,
        version: int,
        step: str,
        what: str,
        asked: Mapping[Kind, list[Answer]],
        before: Mapping[str, Run],
        after: Mapping[str, Run],
    ) -> None:
        at, (word, _colon, more) = observed.at, what.partition(":")
        started = (*asked.get("trigger", ()), *asked.get("meant", ()), *asked.get("entry", ()))
        match word:
            case "entered":
                key = next((run.key for name, run in after.items() if name not in before), "")
                held = [check_of(answer) for answer in started if answer.holds]
                self._add(at, "entered", detail={"version": version, "key": key}, checks=held)
            case "refused":
                failed = [check_of(answer) for answer in started if not answer.holds]
                detail = {"reason": more, "version": version}
                flow = self._flows.get(version)
                if flow is not None and isinstance(observed.given, Event):
                    scope = started[0].scope if started else None
                    detail |= refusal_detail(more, flow, observed.before, observed.given, at, scope)
                self._add(at, "refused", detail=detail, checks=failed)
            case "held_out":
                self._add(at, "held_out", detail={"by": more})
            case "reached":
                self._reached(at, version, step, asked.get("branch", []))
            case "variant":
                self._arrived(step)
                self._add(at, "variant", step, {"variant": more})
            case "ended" if more == "restart":
                self._add(at, "restarted", step)
            case "ended":
                self._arrived(step)
                exits = [a for a in asked.get("exit", ()) if a.holds] if more == "exit" else []
                self._add(at, "ended", step, {"reason": more}, map(check_of, exits[:1]))
            case "migrated":
                self._add(at, "migrated", step, {"version": version})
            case _:
                pass

    def _reached(self, at: datetime, version: int, step: str, branches: list[Answer]) -> None:
        flow = self._flows.get(version)
        found = None if flow is None else flow.steps.get(step)
        detail: dict[str, Any] = {"kind": type(found).__name__.lower() if found else ""}
        if isinstance(found, Send):
            detail |= {"channels": list(found.channels), "template": found.template}
        own = [a for a in branches if a.question.step == step]
        if own:
            chosen = next((a for a in own if a.holds), None)
            detail["way"] = None if chosen is None else chosen.question.way
            detail["otherwise"] = chosen is not None and not chosen.question.text
        for answer in own:
            branches.remove(answer)
        self._add(at, "reached", step, detail, map(check_of, own))

    def _waits(self, at: datetime, run: Run, due: datetime) -> None:
        flow = self._flows.get(run.version)
        step = None if flow is None else flow.steps.get(run.step)
        detail: dict[str, Any] = {"until": plain(due)}
        if isinstance(step, WaitFor):
            detail["events"] = list(dict.fromkeys(match.event for match in step.matches))
        self._arrived(run.step)
        self._add(at, "waits", run.step, detail)

    def _arrived(self, step: str) -> None:
        """That it came to a step goes without saying where what is told next says so."""
        last = self.facts[-1] if len(self.facts) > self._place else None
        here = last is not None and (last.kind, last.step) == ("reached", step)
        if here and last is not None and last.detail["kind"] in _RESTING:
            self.facts.pop()

    # Messages --------------------------------------------------------------------------------

    def _told(self, told: Told) -> None:
        row = told.row
        if row.journey != self._journey:
            return
        detail = {
            "id": told.queued.id,
            "channel": row.channel,
            "decision": row.decision,
            "reason": None if row.reason is None else str(row.reason),
            "passed_over": [
                {"channel": each.channel, "reason": str(each.reason)} for each in told.passed_over
            ],
            "held_out": told.queued.held_out,
        }
        self._add(told.at, "message", row.step, detail)


def _is_shown(event: Event) -> bool:
    return event.kind not in ("outcome", "link", "merge", "look", "scored")


_MOST_PROPERTIES = 12


def event_detail(event: Event) -> dict[str, Any]:
    given = event.properties
    if event.kind == "enter":
        inner = given.get("properties")
        given = inner if isinstance(inner, dict) else {}
    elif event.kind == "identify":
        given = event.traits
    shown = {name: plain(given[name]) for name in list(given)[:_MOST_PROPERTIES]}
    by = "firing" if is_by_firing(event) else event.kind
    return {"id": event.id, "by": by, "name": event.name, "properties": shown}


def _answer_detail(event: Event) -> dict[str, Any]:
    told = event.properties
    return {"outcome": told.get("outcome"), "reason": told.get("reason")}
