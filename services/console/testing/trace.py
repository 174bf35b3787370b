"""What a test saw of its journey: facts for `expect`, lines for the timeline, places for coverage.

A `Trace` is the simulation's observer. It takes the core's effects, dispatch's verdicts and the
answers of conditions as they come, and keeps those that concern the journey under test; of other
journeys it keeps the messages that were sent, because caps count them.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from zoneinfo import ZoneInfo

from services.console.simulation.listening import Answer
from services.console.simulation.observed import Decided, Held, Observed, Told
from services.console.testing import wording
from services.console.testing.times import Local
from services.journey.core.decide import Tick, due_of
from services.journey.core.effects import Convert, Count, EmitEvent
from services.journey.core.firing import is_by_firing
from services.journey.core.flow import Branch, Flow, Send
from services.journey.core.state import Customer, ForEvent, Run
from shared.decisions import Decision as DecisionWord
from shared.decisions import Reason
from shared.event import CONSENT_CHANGED, Event
from shared.local_time import zone_of

MOST_DECISIONS = 20_000


class Endless(Exception):
    """The test has not come to an end after `MOST_DECISIONS`: journeys start each other."""


@dataclass(frozen=True, slots=True)
class Message:
    at: datetime
    step: str
    channel: str
    template: str
    decision: DecisionWord
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class End:
    at: datetime
    reason: str
    step: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    at: datetime
    local: Local
    text: str
    own: bool = True
    """False for what another journey did."""


class Trace:
    """Observer of one test of `flow`; `answers` are filled by the flows that are simulated."""

    def __init__(self, flow: Flow, answers: list[Answer], start: datetime, zone: ZoneInfo) -> None:
        self.lines: list[Line] = []
        self.messages: list[Message] = []
        self.ends: list[End] = []
        self.entered = False
        self._waiting: dict[str, tuple[Run, ...]] = {}
        """Runs that live, by the customer's id: there are several where somebody logs in."""
        self._seen: dict[str, Run] = {}
        """Each run as it was last, on whichever side of a login."""
        self.reached: set[tuple[str, int | None]] = set()
        """Steps and ways, as `suites.Stop` names them."""
        self.local = Local(start, zone)
        self._flow = flow
        self._answers = answers
        self._zone = zone
        self._decisions = 0

    def __call__(self, observed: Observed) -> None:
        match observed:
            case Decided():
                self._decided(observed)
            case Held(at, queued, verdict):
                if queued.journey == self._flow.journey:
                    self._say(at, wording.held(queued, verdict, self.local))
            case Told():
                self._told(observed)
            case _:
                assert_never(observed)

    def _say(self, at: datetime, text: str, *, own: bool = True) -> None:
        self.lines.append(Line(at, self.local, text, own))

    @property
    def waiting(self) -> tuple[Run, ...]:
        """Runs that live."""
        return tuple(run for runs in self._waiting.values() for run in runs)

    def _is_mine(self, event: Event) -> bool:
        """Whether the run that waits for this outcome is one of the journey under test."""
        return any(run.id == event.properties.get("run_id") for run in self.waiting)

    def _mine(self, customer: Customer) -> tuple[Run, ...]:
        return tuple(run for run in customer.state.runs if run.journey == self._flow.journey)

    # Decisions -------------------------------------------------------------------------------

    def _decided(self, observed: Decided) -> None:
        self._decisions += 1
        if self._decisions > MOST_DECISIONS:
            raise Endless
        customer, at = observed.decision.customer, observed.at
        self.local = Local(self.local.start, zone_of(customer.traits.get("timezone"), self._zone))
        answers = [a for a in self._answers if a.question.journey == self._flow.journey]
        self._answers.clear()
        before = self._mine(observed.before)
        match observed.given:
            case Event() as event:
                repeated = not observed.decision.taken_in and not observed.decision.passed_on
                if self._is_told_in_vain(event, observed, answers):
                    pass
                elif not is_by_firing(event):
                    self._event(at, event, answers, repeated=repeated)
                elif event.properties["journey"] == self._flow.journey:
                    self._event(at, event, answers, repeated=False)
            case Tick():
                self._timed_out(at, before)
        self._membership(observed)
        self._effects(observed, answers)
        mine = self._waiting[customer.id] = self._mine(customer)
        for run in mine:
            due, was = due_of(run), self._seen.get(run.id)
            self._seen[run.id] = run
            if due is not None and (was is None or was.waiting != run.waiting):
                self._waits(at, run, due)

    def _waits(self, at: datetime, run: Run, due: datetime) -> None:
        reaches = wording.reaches(self._flow.steps[run.step], None)
        begun = bool(self.lines) and self.lines[-1].text == reaches
        if begun:
            self.lines.pop()
        said = wording.waits(self._flow, run, due, self.local)
        self._say(at, f"{reaches}, {said}" if begun else f"{run.step} {said}")

    def close(self, until: datetime | None) -> None:
        """The clock stands still."""
        if until is not None and self.waiting:
            self._say(until, "the test ends here")

    def _event(self, at: datetime, event: Event, answers: list[Answer], *, repeated: bool) -> None:
        if event.kind == "scored":
            self._say(at, wording.scored(event))
            return
        if event.kind == "outcome":
            if "call_id" in event.properties and self._is_mine(event):
                self._say(at, wording.answered(event))
            return
        self._say(at, wording.event(event, repeated=repeated))
        held = {(a.question.kind, a.question.step) for a in answers if a.holds}
        for answer in answers:
            question = answer.question
            kind, step = question.kind, question.step
            if kind == "wait_for" and answer.holds:
                self.reached.add((step, 0))
                self._say(at, wording.awaited(question, event))
            elif kind != "branch" and (kind, step) not in held:
                self._say(at, wording.not_met(question))

    def _is_told_in_vain(self, event: Event, observed: Decided, answers: list[Answer]) -> bool:
        """A consent of which the journey under test makes nothing: most tests begin with some."""
        if event.name != CONSENT_CHANGED or event.source != "journey" or answers:
            return False
        effects = observed.decision.effects
        return not any(getattr(e, "journey", None) == self._flow.journey for e in effects)

    def _membership(self, observed: Decided) -> None:
        if self._flow.watches is None:
            return
        journey, segment = self._flow.journey, self._flow.watches.segment
        before = observed.before.state.members.get(journey)
        after = observed.decision.customer.state.members.get(journey)
        if after is not None and after.inside is not (before is not None and before.inside):
            word = "enters" if after.inside else "leaves"
            self._say(observed.at, f"{word} the segment {segment}")

    def _timed_out(self, at: datetime, before: tuple[Run, ...]) -> None:
        for run in before:
            if isinstance(run.waiting, ForEvent) and run.waiting.due <= at:
                self.reached.add((run.step, 1))
                self._say(at, f"{run.step} has timed out")

    def _effects(self, observed: Decided, answers: list[Answer]) -> None:
        branches = deque(a for a in answers if a.question.kind == "branch")
        exits = deque(a for a in answers if a.question.kind == "exit" and a.holds)
        at = observed.at
        for effect in observed.decision.effects:
            match effect:
                case Count(journey, _version, step, what) if journey == self._flow.journey:
                    self._count(at, step, what, branches, exits)
                case Convert(journey=journey, value=value) if journey == self._flow.journey:
                    self._say(at, wording.goal(value))
                case EmitEvent(name=name) if name != CONSENT_CHANGED:
                    self._say(at, f"an event is emitted: {name}")
                case _:
                    pass

    def _count(
        self, at: datetime, step: str, what: str, branches: deque[Answer], exits: deque[Answer]
    ) -> None:
        word, _colon, detail = what.partition(":")
        match word:
            case "entered":
                self.entered = True
                self._say(at, f"enters {self._flow.journey}")
            case "refused":
                self._say(at, wording.refused(self._flow, detail))
            case "reached":
                self.reached.add((step, None))
                chosen = self._chosen(step, branches)
                self._say(at, wording.reaches(self._flow.steps[step], chosen))
            case "variant":
                names = [each.name for each in getattr(self._flow.steps[step], "variants", ())]
                self.reached.add((step, names.index(detail)))
                self._say(at, f"{step} chooses the variant {detail}")
            case "ended":
                self.ends.append(End(at, detail, step))
                exit_ = exits.popleft().question if detail == "exit" and exits else None
                self._say(at, wording.ends(step, detail, exit_))
            case _:
                self._say(at, f"{what} {step}".rstrip())

    def _chosen(self, step: str, branches: deque[Answer]) -> int | None:
        """The arm that a branch took: its conditions are asked in turn until one holds."""
        branch = self._flow.steps[step]
        if not isinstance(branch, Branch):
            return None
        for _arm in branch.arms:
            answer = branches.popleft()
            if answer.holds:
                self.reached.add((step, answer.question.way))
                return answer.question.way
        return None

    # Messages --------------------------------------------------------------------------------

    def _told(self, told: Told) -> None:
        row = told.row
        if row.journey != self._flow.journey:
            if row.decision == "sent":
                self._say(told.at, f"{row.journey} sends {row.channel} ({row.step})", own=False)
            return
        step = self._flow.steps[row.step]
        assert isinstance(step, Send), "only a send makes messages"
        self.messages.append(
            Message(told.at, row.step, row.channel, step.template, row.decision, row.reason)
        )
        self._say(told.at, wording.told(told))
