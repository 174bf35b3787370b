"""One workspace over one customer after another: what it would have decided. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.console.backtesting.audiences import Look, look_of
from services.console.simulate import Begin, Simulation
from services.console.simulation.observed import Decided, Held, Observed, Row, Told
from services.journey.core.effects import Count
from services.journey.core.firing import answers
from services.journey.core.flow import (
    Audience,
    Call,
    Emit,
    Flow,
    OnDate,
    Schedule,
    Segment,
    Set,
    WaitFor,
)
from services.journey.core.history import Needs
from services.journey.core.state import Customer, State
from services.journey.language.compile_segments import needs_of_all
from services.journey.language.workspace import Workspace
from shared.decisions import Refusal
from shared.event import CONSENT_CHANGED, Event
from shared.rfm import Score
from shared.templates import Template
from shared.workspace import WorkspaceSettings

_NOT_MEANT = f"refused:{Refusal.NOT_MATCHED}"

MOST_DECISIONS = 200_000
"""Of one customer; beyond it, journeys start each other without an end."""


class Endless(Exception):
    """One customer does not come to an end."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a customer before their first event: from the tables."""

    traits: Mapping[str, Any] = field(default_factory=dict)
    consents: Mapping[str, tuple[datetime, bool]] = field(default_factory=dict)
    """As of the beginning of the stretch."""
    score: Score | None = None


@dataclass(slots=True)
class Tally:
    """What one journey would have done."""

    entered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    held: int = 0
    """Messages that waited for quiet hours or a cap before they were decided."""
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "entered": self.entered,
            "refused": dict(sorted(self.refused.items())),
            "sent": self.sent,
            "held": self.held,
            "dropped": dict(sorted(self.dropped.items())),
        }

    def add(self, other: "Tally") -> None:
        self.entered += other.entered
        self.refused.update(other.refused)
        self.sent += other.sent
        self.held += other.held
        self.dropped.update(other.dropped)


class Side:
    """A workspace, and what it has decided so far."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        settings: WorkspaceSettings,
        segments: Mapping[str, Segment],
        templates: Mapping[str, Template],
    ) -> None:
        # One customer by themselves cannot be compared with others: the scores are those of now.
        self.settings = settings.model_copy(update={"rfm": None})
        self.flows = flows
        self.needs = Needs(needs_of_all(flows.values(), segments))
        self.tallies: dict[str, Tally] = {name: Tally() for name in flows}
        self.endless = 0
        """Customers who were given up."""
        self._simulation = Simulation(
            flows, self.settings, self._observe, segments, templates=templates
        )
        self._held: set[str] = set()
        self._decisions = 0
        self.starts = frozenset(t.event for flow in flows.values() for t in flow.triggers)
        """Events that start a journey."""
        self.always = any(
            flow.watches or isinstance(flow.plan, Schedule | OnDate) for flow in flows.values()
        )
        """Whether a journey may start without any event."""
        self.names = self.starts | self.needs.keys() | frozenset(_heard(flows.values()))
        """Events that matter at all."""
        self.written = frozenset(_written(flows.values()))
        """Traits that a journey writes."""
        self.blind = frozenset(_blind(flows.values()))
        self.catalogue = frozenset(
            flow.plan.match.event for flow in flows.values() if isinstance(flow.plan, Audience)
        )
        """Catalogue events that start journeys."""
        made = frozenset(_made(flows.values()))
        self._looks = {
            name: look_of(flow.plan.condition.node, made)
            for name, flow in flows.items()
            if isinstance(flow.plan, Audience)
        }

    @classmethod
    def of(cls, workspace: Workspace, without: Iterable[str] = ()) -> "Side":
        """`without` are the journeys that are paused or archived."""
        left_out = set(without)
        flows = {name: flow for name, flow in workspace.flows.items() if name not in left_out}
        return cls(flows, workspace.settings, workspace.segments, workspace.templates)

    def looks(self, event: Event) -> list[Look | None]:
        """One for each journey that a catalogue event starts; None: it may mean anybody."""
        return [look for name, look in self._looks.items() if answers(self.flows[name].plan, event)]

    def run(
        self, customer: str, events: Iterable[Event], known: Known, until: datetime
    ) -> list[Row]:
        """The messages that would have been decided for this customer."""
        self._held.clear()
        self._decisions = 0
        state = State(needs=self._simulation.needs, rfm=known.score)
        begin = Begin(Customer(customer, dict(known.traits), state), known.consents)
        try:
            rows = self._simulation.run(events, until, [begin])
        except Endless:
            self.endless += 1
            return []
        for row in rows:
            tally = self.tallies[row.journey]
            if row.decision == "sent":
                tally.sent += 1
            else:
                tally.dropped[str(row.reason)] += 1
        return rows

    def _observe(self, observed: Observed) -> None:
        match observed:
            case Decided():
                self._decisions += 1
                if self._decisions > MOST_DECISIONS:
                    raise Endless
                for effect in observed.decision.effects:
                    if isinstance(effect, Count):
                        self._count(effect)
            case Held(_at, queued, _verdict):
                if queued.id not in self._held:
                    self._held.add(queued.id)
                    self.tallies[queued.journey].held += 1
            case Told():
                pass

    def _count(self, count: Count) -> None:
        if count.what == "entered":
            self.tallies[count.journey].entered += 1
        elif count.what == _NOT_MEANT and self.flows[count.journey].plan is not None:
            pass  # the database never names them: whom a firing does not mean is not refused
        elif count.what.startswith("refused:"):
            self.tallies[count.journey].refused[count.what.removeprefix("refused:")] += 1


def before(event: Event, since: datetime) -> Event:
    """An event of before the stretch: part of profile and history, and nobody enters by it."""
    return msgspec.structs.replace(event, received_at=since, historical=True)


def _heard(flows: Iterable[Flow]) -> Iterable[str]:
    for flow in flows:
        yield from (match.event for match in flow.exits)
        yield from (match.event for match in (flow.goal.matches if flow.goal else ()))
        for step in flow.steps.values():
            if isinstance(step, WaitFor):
                yield from (match.event for match in step.matches)


def _made(flows: Iterable[Flow]) -> Iterable[str]:
    """Events that a run of this makes by itself, beside those that are stored."""
    yield CONSENT_CHANGED
    for flow in flows:
        yield from (step.event for step in flow.steps.values() if isinstance(step, Emit))


def _written(flows: Iterable[Flow]) -> Iterable[str]:
    for flow in flows:
        for step in flow.steps.values():
            if isinstance(step, Set):
                yield from (name.partition(".")[0] for name in step.values)


def _blind(flows: Iterable[Flow]) -> Iterable[str]:
    """What a backtest cannot see of these flows."""
    for flow in flows:
        if any(isinstance(step, Call) for step in flow.steps.values()):
            yield "calls"
