"""A whole event file on a virtual clock, through the very core and policies that run in production.

Nothing is stored or sent: every permitted message is `sent` at the instant it is decided. Of each
instant first all that arrives is taken in, with what one id hands over to another that it turns
out to belong to; then it is taken customer by customer (`simulation/life.py`).
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.console.simulation.life import Life
from services.console.simulation.lines import Gate, read_events
from services.console.simulation.observed import Observer, Row
from services.console.simulation.planning import by_catalog, by_clock
from services.console.simulation.record import NOTHING, OnRecord
from services.console.simulation.rendering import Rendering
from services.console.simulation.stage import Stage
from services.console.simulation.stubs import Stub
from services.dispatch.policy import Place
from services.journey.core.book import Book, Edition
from services.journey.core.firing import event_for
from services.journey.core.flow import Flow, Segment
from services.journey.core.history import Needs
from services.journey.core.state import Customer, State
from services.journey.language.compile_segments import needs_of_all
from shared.clock import EPOCH
from shared.event import Event, scored_event
from shared.local_time import next_moment
from shared.rfm import scores
from shared.templates import Template
from shared.workspace import WorkspaceSettings

ENDLESS = timedelta(days=30)
_A_MINUTE = timedelta(minutes=1)
"""A moment lasts as long as the local clock shows its minute."""


@dataclass(frozen=True, slots=True)
class Past:
    """What really was: the book with everything that has been in force, and what became of it.

    Nothing is fired by the clock then: what fired in fact stands among the events.
    """

    book: Book
    record: OnRecord = NOTHING


@dataclass(frozen=True, slots=True)
class Begin:
    """A customer as they are before their first event."""

    customer: Customer
    consents: Mapping[str, tuple[datetime, bool]] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    """Taken under the caps."""


class Simulation:
    """Events in, decided messages out."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        settings: WorkspaceSettings,
        observer: Observer | None = None,
        segments: Mapping[str, Segment] | None = None,
        stubs: Mapping[tuple[str, str], Stub] | None = None,
        past: Past | None = None,
        templates: Mapping[str, Template] | None = None,
    ) -> None:
        """`stubs`: journey and step to what that call is answered. With a `past`, its book stands
        for flows and segments. Without `templates` every message can be written."""
        segments = segments or {}
        clocks = () if past is not None else by_clock(flows.values())
        book = _book(flows, settings, segments) if past is None else past.book
        record = NOTHING if past is None else past.record
        self._rfm = None if past is not None else settings.rfm
        self._needs_end = bool(clocks) or any(
            watch.segment.timed or (self._rfm is not None and watch.segment.profile)
            for watch in book.watches(EPOCH)
        )
        """Whether there is always something to wait for."""
        self._flows = tuple(flows.values())
        self._stage = Stage(
            book,
            settings,
            clocks,
            observer,
            stubs=stubs or {},
            record=record,
            rendering=None if templates is None else Rendering(templates, settings),
        )
        self._lives: dict[str, Life] = {}
        self._zone = settings.zone()
        self._night: datetime | None = None
        """When customers are scored next."""

    @property
    def needs(self) -> str:
        """Which needs a customer's history is kept for."""
        return self._stage.book.needs.id

    def run(
        self,
        events: Iterable[Event],
        until: datetime | None = None,
        begin: Iterable[Begin] = (),
    ) -> list[Row]:
        """Rows ordered by time, customer, journey, step; runs until nothing waits, or `until`.

        Where the clock starts journeys, or time alone changes a segment that a journey watches,
        something always waits: then it runs until `ENDLESS` after the last event.
        """
        self._set(begin)
        until = self._take(list(events), until)
        queue = [(at, name) for name, life in self._lives.items() if (at := life.next_at())]
        heapq.heapify(queue)
        while self._is_on(queue, until):
            if self._night is not None and (not queue or self._night < queue[0][0]):
                self._score(queue)
                continue
            at = queue[0][0]
            names: list[str] = []
            while queue and queue[0][0] == at:
                names.append(heapq.heappop(queue)[1])
            for name in self._instant(at, dict.fromkeys(names)):
                again = self._lives[name].next_at()
                if again is not None:
                    heapq.heappush(queue, (max(again, at), name))
        return sorted(self._stage.rows, key=lambda r: (r.at, r.customer, r.journey, r.step))

    def _set(self, begin: Iterable[Begin]) -> None:
        """Nothing of an earlier run is left."""
        self._night = None
        self._lives.clear()
        self._stage.clear()
        for each in begin:
            life = self._lives[each.customer.id] = Life(self._stage, each.customer)
            life.consents, life.places = dict(each.consents), list(each.places)

    def _take(self, given: list[Event], until: datetime | None) -> datetime | None:
        """Hand the events out; returns where it all ends."""
        for event in reversed(given):
            if event.kind != "catalog":
                self._life(event.customer).events.append(event)
        for event in given:
            if event.kind == "catalog":
                self._announce(event)
        if given and self._rfm is not None:
            first = min(map(_received, given))
            self._night = next_moment(first + _A_MINUTE, self._zone, self._rfm.at)
        if until is None and self._needs_end and given:
            until = max(event.received_at or EPOCH for event in given) + ENDLESS
        return until

    def _is_on(self, queue: list[tuple[datetime, str]], until: datetime | None) -> bool:
        """Nights alone keep nothing going, unless there is an end for them to come to."""
        if queue and (until is None or queue[0][0] <= until):
            return True
        return self._night is not None and until is not None and self._night <= until

    def _score(self, queue: list[tuple[datetime, str]]) -> None:
        """A night has come: everybody is scored, and who has another score is told."""
        assert self._rfm is not None
        assert self._night is not None
        at, rfm = self._night, self._rfm
        self._night = next_moment(at + _A_MINUTE, self._zone, rfm.at)
        bought = {name: life.purchases(rfm) for name, life in self._lives.items()}
        found = scores(bought, at, rfm.window, valued=rfm.value is not None)
        for name, life in self._lives.items():
            score, known = found.get(name), life.customer.state.rfm
            if (score and score.bands) != (known and known.bands):
                life.expect(scored_event(customer=name, score=score, at=at), at)
                heapq.heappush(queue, (at, name))

    def _instant(self, at: datetime, names: dict[str, None]) -> Iterable[str]:
        """First all that arrives, with what customers have for each other; then each by itself."""
        arriving = list(names)
        while arriving:
            for name in arriving:
                self._lives[name].arrive(at)
            arriving = self._hand_over(at)
            names.update(dict.fromkeys(arriving))
        for name in sorted(names):
            self._lives[name].instant(at)
        return names

    def _hand_over(self, at: datetime) -> list[str]:
        """Who has something to take in that another customer had for them."""
        handed = list(self._stage.handed)
        self._stage.handed.clear()
        for event in handed:
            self._life(event.customer).expect(event, at)
        return list(dict.fromkeys(event.customer for event in handed))

    def _announce(self, event: Event) -> None:
        """A catalogue event comes to everybody met by then, behind their own events."""
        at = _received(event)
        for firing in by_catalog(self._flows, event):
            for name, life in self._lives.items():
                if life.events and _received(life.events[-1]) <= at:
                    life.expect(event_for(firing, name), at)

    def _life(self, name: str) -> Life:
        life = self._lives.get(name)
        if life is None:
            state = State(needs=self._stage.book.needs.id)
            life = self._lives[name] = Life(self._stage, Customer(name, {}, state))
        return life


def _book(
    flows: Mapping[str, Flow], settings: WorkspaceSettings, segments: Mapping[str, Segment]
) -> Book:
    """One edition, in force from the first."""
    versions = {(flow.journey, flow.version): flow for flow in flows.values()}
    edition = Edition.of(EPOCH, flows.values(), segments, holdout=settings.holdout)
    needs = Needs(needs_of_all(flows.values(), segments))
    return Book(
        *([edition], versions),
        zone=settings.zone(),
        needs=needs,
        segments=segments,
        country=settings.country,
    )


def _received(event: Event) -> datetime:
    assert event.received_at is not None
    return event.received_at


def simulate(
    flows: Mapping[str, Flow],
    settings: WorkspaceSettings,
    lines: Iterable[bytes],
    until: datetime | None = None,
    segments: Mapping[str, Segment] | None = None,
    templates: Mapping[str, Template] | None = None,
    gate: Gate | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of `dangol simulate`. Raises BadInput for a line that is no event; one that breaks
    an enforced tracking plan is noted by the gate."""
    simulation = Simulation(flows, settings, segments=segments, templates=templates)
    rows = simulation.run(read_events(lines, gate), until)
    return (row.as_dict() for row in rows)
