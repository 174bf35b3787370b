"""What all customers of one simulation share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.console.simulation.observed import Observer, Row
from services.console.simulation.record import NOTHING, OnRecord
from services.console.simulation.rendering import Rendering
from services.console.simulation.sent import Closed
from services.console.simulation.stubs import TAKEN, Stub
from services.dispatch.policy import Message
from services.journey.core.book import Book
from services.journey.core.effects import MakeCall, QueueMessage
from services.journey.core.flow import Flow
from shared.event import Event
from shared.workspace import WorkspaceSettings


@dataclass(slots=True)
class Pending:
    """An undecided message and when it is looked at next."""

    queued: QueueMessage
    message: Message
    wakes_at: datetime


@dataclass(frozen=True, slots=True)
class Stage:
    book: Book
    settings: WorkspaceSettings
    by_clock: Sequence[Flow] = ()
    """The flows that the clock starts."""
    observer: Observer | None = None
    rows: list[Row] = field(default_factory=list)
    handed: list[Event] = field(default_factory=list)
    """What one customer has for another, through the log."""
    travelling: dict[str, Pending] = field(default_factory=dict)
    """Messages on their way to the customer whom an id belongs to."""
    stubs: Mapping[tuple[str, str], Stub] = field(default_factory=dict)
    """Journey and step → what its call, or that of its template, is answered; any other call is
    answered with nothing, and a template's claim holds."""
    record: OnRecord = NOTHING
    """What has really happened, where the past is replayed."""
    closed: Closed = field(default_factory=Closed)
    rendering: Rendering | None = None
    """None: every template can be rendered."""

    def clear(self) -> None:
        self.rows.clear()
        self.handed.clear()
        self.travelling.clear()
        self.closed.scopes.clear()

    def answer(self, customer: str, made: MakeCall) -> tuple[Event, datetime] | None:
        """Nothing leaves the house: the call is answered in the instant in which it is made, or
        when it really was. None: not yet."""
        known = self.record.calls.get(made.id)
        if known is None:
            return self.stubs.get((made.journey, made.step), TAKEN).event(customer, made), made.at
        if known.outcome is None:
            return None
        return known.event(customer, made), max(known.at, made.at)


def message_of(queued: QueueMessage) -> Message:
    return Message(
        id=queued.id,
        journey=queued.journey,
        step=queued.step,
        category=queued.category,
        priority=queued.priority,
        channels=queued.channels,
        created_at=queued.at,
        decidable_at=queued.at,
        held_out=queued.held_out,
    )
