"""What the recorded log comes to: every record decided by itself, in its order, by the pure core.

Nothing here batches, caches, forwards or commits: what a partition's owner does with great care
in all weathers is done once, by the same `decide`, on a few Python values. What only the tables
knew (which of an anonymous id's messages had no attempt when it was merged) is in the log's `merge`
records; what dispatch decided, and when, is in its `outcome` records.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.book import Book
from services.journey.core.decide import Decision, Tick, decide, next_due
from services.journey.core.effects import (
    Convert,
    Count,
    EmitEvent,
    QueueMessage,
    WithdrawMessage,
)
from services.journey.core.identity_effects import Forward, Link, MoveOut, TakeRow
from services.journey.core.merging import MOST_WITNESSED, asked_since
from services.journey.core.state import Customer, State
from services.journey.deciding import NO_HISTORY, emitted_event, readable
from shared.event import HAPPENINGS, Event, link_event
from shared.log.port import Record


@dataclass(frozen=True, slots=True)
class Made:
    """A message, and for whom."""

    queued: QueueMessage
    customer: str
    partition: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    received_at: datetime
    """When the log had what withdrew it."""
    customer: str


Name = tuple[str, ...]
"""What a record is known by: kind, addressee, the ids it has passed, id."""


def name_of(event: Event) -> Name:
    return (event.kind, event.customer, *event.passed, event.id)


@dataclass(slots=True)
class Expected:
    """What all partitions come to."""

    messages: dict[str, Made] = field(default_factory=dict)
    withdrawn: dict[str, Withdrawn] = field(default_factory=dict)
    outcomes: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Message → decision and reason, as the log told the run."""
    emitted: set[Name] = field(default_factory=set)
    """What the engine was to append: links, carries, forwards and the events of `emit` steps."""
    merges: set[str] = field(default_factory=set)
    """Bases of what was to be sent to another customer."""
    seen: set[Name] = field(default_factory=set)
    """What the log has of the kinds that the engine appends."""
    merged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Source and addressee of the merge records that the log has."""
    moved: set[str] = field(default_factory=set)
    """Customers who were merged into another one, or had one merged into them."""
    history: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Customer and event id."""
    received: set[str] = field(default_factory=set)
    """Ids of the events that came from outside."""
    counts: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)
    conversions: dict[tuple[str, str], datetime] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    """Customer → traits and state in a form that can be compared."""
    addresses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Customer → the traits by which dispatch decides, which nobody changes."""
    records: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Life:
    customer: Customer
    taken: list[Event] = field(default_factory=list)
    """Its history."""


def without_timers(customer: Customer) -> bytes:
    """Names within have no order, as some were read from jsonb; what was seen has one."""
    rest = msgspec.structs.replace(customer.state, armed_at=None, seen={})
    seen = msgspec.msgpack.encode(list(customer.state.seen.items()))
    return (
        msgspec.json.encode(customer.traits, order="deterministic")
        + b"\n"
        + msgspec.msgpack.encode(rest, order="deterministic")
        + seen
    )


class Oracle:
    """Takes one partition after the other in; `expected` is what they come to together."""

    def __init__(self, book: Book, watched: str | None = None) -> None:
        self._book = book
        self._watched = watched
        self._lives: dict[str, _Life] = {}
        self._partition = 0
        self.expected = Expected()
        self.story: list[str] = []
        """What befell the watched customer."""

    def partition(self, number: int, records: Iterable[Record], until: datetime) -> None:
        """All its records, in order, then the timers up to `until`."""
        self._partition, self._lives = number, {}
        for record in records:
            self._record(record)
        for life in self._lives.values():
            due = next_due(life.customer)
            if due is not None and due <= until:
                self._keep(life, decide(self._book, life.customer, Tick(until)), until)
        for name, life in self._lives.items():
            self._close(name, life)

    def _close(self, name: str, life: _Life) -> None:
        empty = State(needs=self._book.needs.id)
        if life.customer.state == empty and not life.customer.traits:
            return
        self.expected.states[name] = without_timers(life.customer)
        for event in life.taken:
            self.expected.history[name, event.id] += 1

    def _record(self, record: Record) -> None:
        expected = self.expected
        expected.records += 1
        events, refused = readable([record])
        if refused:
            expected.problems.append(f"record {record.offset} of {record.partition}: {refused[0]}")
            return
        (given,) = events
        event = given.event
        self._note(event)
        life = self._lives.get(given.customer)
        if life is None:
            new = Customer(given.customer, {}, State(needs=self._book.needs.id))
            life = self._lives[given.customer] = _Life(new)
        before = life.customer
        witnessed = self._witnessed(life, event)
        decision = decide(self._book, before, event, given.stamp, witnessed)
        if decision.taken_in and event.kind not in NO_HISTORY:
            life.taken.append(event)
        self._keep(life, decision, given.stamp)
        if self._watched in (given.customer, *event.passed):
            self._tell(record, event, decision)

    def _note(self, event: Event) -> None:
        """What the log has, to be held against what the engine was to append."""
        expected = self.expected
        match event.kind:
            case "outcome":
                told = event.properties
                said = (told["decision"], told["reason"])
                if expected.outcomes.setdefault(told["message_id"], said) != said:
                    expected.problems.append(f"{told['message_id']} was decided twice: {said}")
                if event.passed:
                    expected.seen.add(name_of(event))
            case "merge":
                expected.merged[str(event.previous_id), event.customer] += 1
                expected.moved.update((str(event.previous_id), event.customer))
            case "link" if "part" in event.properties:
                pass  # a reminder of a long history, which only the tables know of
            case _ if event.kind == "link" or event.passed or event.source == "journey":
                expected.seen.add(name_of(event))
            case _:
                expected.received.add(event.id)

    @staticmethod
    def _witnessed(life: _Life, event: Event) -> Sequence[Event]:
        since = asked_since(life.customer, event)
        if since is None:
            return ()
        own = [
            e
            for e in life.taken
            if e.kind in HAPPENINGS and e.received_at is not None and e.received_at > since
        ]
        return own[-MOST_WITNESSED:]

    def _keep(self, life: _Life, decision: Decision, stamp: datetime) -> None:
        name = decision.customer.id
        life.customer = decision.customer
        if decision.customer.traits and "push_token" in decision.customer.traits:
            self.expected.addresses.setdefault(name, decision.customer.traits)
        for effect in decision.effects:
            match effect:
                case QueueMessage():
                    made = Made(effect, name, self._partition)
                    if self.expected.messages.setdefault(effect.id, made) is not made:
                        self.expected.problems.append(f"the core made {effect.id} twice")
                case WithdrawMessage():
                    self.expected.withdrawn.setdefault(effect.message_id, Withdrawn(stamp, name))
                case Count(journey, version, step, what):
                    self.expected.counts[journey, version, step, what] += 1
                case Convert():
                    self.expected.conversions.setdefault((name, effect.run_id), effect.at)
                case TakeRow(event):
                    life.taken.append(event)
                case MoveOut():
                    life.taken = []
                    self.expected.merges.add(effect.base)
                    self.expected.moved.update((name, effect.to))
                case _:
                    self.expected.emitted.update(_appended(name, effect))

    def _tell(self, record: Record, event: Event, decision: Decision) -> None:
        self.story.append(
            f"{record.received_at:%H:%M:%S.%f} partition {record.partition} offset {record.offset}"
            f" {event.kind} {event.name} {event.id} for {event.customer} passed {event.passed}"
            f" {event.properties if event.kind != 'merge' else ''}"
        )
        self.story.extend(f"    {effect}"[:400] for effect in decision.effects)


def _appended(customer: str, effect: object) -> Iterator[Name]:
    match effect:
        case EmitEvent():
            yield name_of(emitted_event(customer, effect))
        case Link(other, alias, at):
            yield name_of(link_event(anonymous_id=other, user_id=customer, alias=alias, at=at))
        case Forward(event):
            yield name_of(event)
        case _:
            return
