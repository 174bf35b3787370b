"""Journeys that watch segments, compiled from the language, for tests of the core."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow
from services.journey.core.history import Needs
from services.journey.core.spans import Span, Spans
from services.journey.core.state import Customer, State
from services.journey.language.compile import compile_journey
from services.journey.language.compile_segments import (
    SegmentSource,
    compile_segments,
    needs_of_all,
)
from shared.clock import EPOCH
from tests.unit.core.flows import Person

SEND = "  - {send: email, template: t, id: said}"


def watching(
    journey: str,
    segment: str,
    on: str = "enter",
    steps: str = SEND,
    version: int = 1,
    more: str = "",
) -> Flow:
    text = f"journey: {journey}\ntrigger: {{segment: {segment}, on: {on}}}\n{more}steps:\n{steps}\n"
    return compile_journey(text, version)


class World:
    """Revisions one after the other, each with its journeys and segments."""

    def __init__(self) -> None:
        self.editions: list[Edition] = []
        self.flows: dict[tuple[str, int], Flow] = {}

    def publish(
        self,
        at: datetime,
        flows: Iterable[Flow],
        segments: Mapping[str, str],
    ) -> "World":
        compiled = compile_segments({n: SegmentSource(where) for n, where in segments.items()})
        flows = list(flows)
        before = self.editions[-1] if self.editions else None
        self.editions.append(Edition.of(at, flows, compiled, before))
        self.flows |= {(flow.journey, flow.version): flow for flow in flows}
        return self

    def book(self, paused: Iterable[str] = (), archived: Mapping[str, Spans] | None = None) -> Book:
        segments = {name: s for edition in self.editions for name, s in edition.segments.items()}
        needs = Needs(needs_of_all(self.flows.values(), segments))
        pauses = {journey: (Span(EPOCH),) for journey in paused}
        return Book(
            self.editions, self.flows, pauses, needs=needs, segments=segments, archived=archived
        )

    def person(self) -> Person:
        found = Person(self.book())
        found.customer = Customer("u1", {}, State(needs=found.book.needs.id))
        return found


def world(flows: Iterable[Flow], **segments: str) -> World:
    """Published before the first event."""
    return World().publish(EPOCH, flows, {n.replace("_", "-"): w for n, w in segments.items()})
