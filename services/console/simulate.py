"""A whole event file on a virtual clock, through the very core and policies that run in production.

Nothing is stored or sent: every permitted message is `sent` at the instant it is decided. One
customer's life (`simulation/life.py`) depends on nobody else's, so each instant is taken customer
by customer.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from services.console.simulation.life import Life, Stage
from services.console.simulation.lines import read_events
from services.console.simulation.observed import Observer, Row
from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow, Segment
from services.journey.core.history import Needs
from services.journey.core.state import Customer, State
from services.journey.language.compile_segments import needs_of_all
from shared.clock import EPOCH
from shared.event import Event
from shared.workspace import WorkspaceSettings

ENDLESS = timedelta(days=30)


class Simulation:
    """Events in, decided messages out."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        settings: WorkspaceSettings,
        observer: Observer | None = None,
        segments: Mapping[str, Segment] | None = None,
    ) -> None:
        versions = {(flow.journey, flow.version): flow for flow in flows.values()}
        segments = segments or {}
        edition = Edition.of(EPOCH, flows.values(), segments, holdout=settings.holdout)
        self._needs_end = any(watch.segment.timed for watch in edition.watches)
        """Whether there is always something to wait for."""
        needs = Needs(needs_of_all(flows.values(), segments))
        book = Book([edition], versions, zone=settings.zone(), needs=needs, segments=segments)
        self._stage = Stage(book, settings, observer)
        self._lives: dict[str, Life] = {}

    def run(self, events: Iterable[Event], until: datetime | None = None) -> list[Row]:
        """Rows ordered by time, customer, journey, step; runs until nothing waits, or `until`.

        Where time alone changes a segment that a journey watches, something always waits: then it
        runs until `ENDLESS` after the last event.
        """
        given = list(events)
        for event in reversed(given):
            self._life(event.customer).events.append(event)
        if until is None and self._needs_end and given:
            until = max(event.received_at or EPOCH for event in given) + ENDLESS
        queue = [(at, name) for name, life in self._lives.items() if (at := life.next_at())]
        heapq.heapify(queue)
        while queue:
            at, name = heapq.heappop(queue)
            if until is not None and at > until:
                break
            life = self._lives[name]
            life.instant(at)
            again = life.next_at()
            if again is not None:
                heapq.heappush(queue, (max(again, at), name))
        return sorted(self._stage.rows, key=lambda r: (r.at, r.customer, r.journey, r.step))

    def _life(self, name: str) -> Life:
        life = self._lives.get(name)
        if life is None:
            state = State(needs=self._stage.book.needs.id)
            life = self._lives[name] = Life(self._stage, Customer(name, {}, state))
        return life


def simulate(
    flows: Mapping[str, Flow],
    settings: WorkspaceSettings,
    lines: Iterable[bytes],
    until: datetime | None = None,
    segments: Mapping[str, Segment] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of `dangol simulate`. Raises BadInput for a line that is no event."""
    rows = Simulation(flows, settings, segments=segments).run(read_events(lines), until)
    return (row.as_dict() for row in rows)
