"""One batch of one partition: records and due timers in, a `Batch` for the store out. Pure.

Per customer the order is the core's: its events as the log has them, then the tick that fires
what is due at the batch's log time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from services.journey.batch import Batch, TimerRow
from services.journey.core.book import Book
from services.journey.core.decide import Decision, Tick, decide, next_due, next_look
from services.journey.core.effects import (
    IN_A_ROW,
    Convert,
    Count,
    Deed,
    EmitEvent,
    Erase,
    Forget,
    MakeCall,
    QueueMessage,
    SpillSeen,
    StateConsent,
    WithdrawCall,
    WithdrawMessage,
)
from services.journey.core.identity_effects import (
    Belong,
    CarryOn,
    Forward,
    GiveBack,
    IdentityEffect,
    LetGo,
    Link,
    MoveOut,
    TakeRecord,
    TakeRow,
)
from services.journey.core.occasions import due_by_catalog
from services.journey.core.state import Customer, State
from shared.event import Event, decode, encode, link_event
from shared.log.port import Record


def emitted_event(customer: str, effect: EmitEvent) -> Event:
    """What an `emit` step appends to the log, for the customer as the log knows them."""
    return Event(
        id=effect.id,
        kind="track",
        name=effect.name,
        timestamp=effect.at,
        user_id=customer if effect.known else None,
        anonymous_id=None if effect.known else customer,
        properties=effect.properties,
        context={IN_A_ROW: effect.in_a_row} if effect.in_a_row else {},
        source="journey",
    )


class Given(msgspec.Struct, frozen=True, gc=False):
    """A record that could be read."""

    event: Event
    customer: str
    payload: bytes
    stamp: datetime
    """When this partition's log received it: later than its receipt where it was forwarded."""


NO_HISTORY = frozenset({"outcome", "look", "link", "merge", "erase", "scored"})
"""Kinds that are nothing the customer did."""


def readable(records: Iterable[Record]) -> tuple[list[Given], list[tuple[str, bytes]]]:
    """Events, and the records that are none with the reason why they are set aside."""
    events: list[Given] = []
    refused: list[tuple[str, bytes]] = []
    for record in records:
        try:
            event = decode(record.payload, record.received_at)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            refused.append((f"not an event: {error}", record.payload))
            continue
        customer = event.customer
        if not customer:
            refused.append(("neither userId nor anonymousId", record.payload))
        elif b"\\u0000" in record.payload:
            refused.append(("contains U+0000, which the database cannot keep", record.payload))
        else:
            events.append(Given(event, customer, record.payload, record.received_at))
    return events, refused


class Deciding:
    """Builds a batch; `customers` are the rows loaded for it (missing ones are new)."""

    def __init__(self, book: Book, batch: Batch, customers: Mapping[str, Customer]) -> None:
        self._book = book
        self._new = State(needs=book.needs.id)
        self._batch = batch
        self._now: dict[str, Customer] = dict(customers)
        self._before: dict[str, Customer] = dict(customers)
        self._dues: dict[str, datetime | None] = {}
        """What is next due for customers whose runs moved."""
        self._broken: set[str] = set()
        self._moving: set[str] = set()
        self.new_events = 0
        self.repeated_events = 0
        self.forwarded_events = 0

    def add(self, customers: Mapping[str, Customer]) -> None:
        """More rows, loaded for timers."""
        self._now.update(customers)
        self._before.update(customers)

    def knows(self, customer: str) -> bool:
        return customer in self._now

    def event(self, given: Given, stored: Sequence[Event] = ()) -> None:
        """Take one event in. One that cannot be decided is set aside and stops only itself.

        `stored` are the customer's own events that it asks for (`merging.asked_since`), as far as
        they are stored.
        """
        event = given.event
        if event.kind == "catalog":
            self._announce(given)
            return
        late = bool(event.passed) or event.kind == "merge"
        witnessed = self._witnessed(given, stored) if late else stored
        try:
            decision = decide(
                self._book,
                self._customer(given.customer),
                event,
                given.stamp,
                witnessed,
                moving=given.customer in self._moving,
            )
        except Exception as error:  # noqa: BLE001 - whatever a poison event does, it does to itself
            self._batch.set_aside.append((f"not decided: {error!r}", given.payload))
            return
        self._keep(decision)
        if decision.passed_on:
            self.forwarded_events += event.kind != "link"
            return
        if event.kind in NO_HISTORY:
            return
        if not decision.taken_in:
            self.repeated_events += 1
            return
        self.new_events += 1
        self._write_history(given.customer, event, given.payload)

    def _announce(self, given: Given) -> None:
        """A catalogue event belongs to no customer: it makes firings, and is kept for backtests."""
        try:
            self._batch.firings += due_by_catalog(self._book, given.event)
        except Exception as error:  # noqa: BLE001 - as above
            self._batch.set_aside.append((f"not decided: {error!r}", given.payload))
            return
        self.new_events += 1
        self._write_history(given.customer, given.event, given.payload)

    def _write_history(self, customer: str, event: Event, payload: bytes) -> None:
        self._batch.history.append(
            (
                self._batch.partition,
                customer,
                event.received_at,
                event.id,
                event.kind,
                event.name,
                event.timestamp,
                payload,
            )
        )

    def _witnessed(self, given: Given, stored: Sequence[Event]) -> list[Event]:
        """What is stored, and what this batch has taken in of the customer before the merge."""
        return [
            *stored,
            *(
                decode(payload, received_at)
                for _, customer, received_at, *_, payload in self._batch.history
                if customer == given.customer
            ),
        ]

    def tick(self, customer: str, at: datetime, *, looks: bool = True) -> None:
        """Fire what is due. A run that cannot be decided rests until the customer's next event."""
        try:
            self._keep(decide(self._book, self._customer(customer), Tick(at, looks)))
        except Exception as error:  # noqa: BLE001 - a poison run stops only its own customer
            self._broken.add(customer)
            self._batch.set_aside.append((f"timer of {at}: {error!r}", customer.encode()))

    def due_now(self, at: datetime) -> list[str]:
        """Customers whose runs moved, with something due at or before `at`."""
        return [name for name, due in self._dues.items() if due is not None and due <= at]

    def finish(self, fired: Sequence[TimerRow]) -> Batch:
        """Arm timers and collect what changed."""
        gone: dict[str, set[datetime]] = {}
        for row in fired:
            gone.setdefault(row.customer, set()).add(row.due_at)
        self._batch.fired.extend(fired)
        for name, customer in self._now.items():
            armed = self._arm(customer, gone.get(name, ()))
            before = self._before.get(name)
            if armed is before or (before is None and armed.state == self._new):
                continue
            if name in self._batch.forgotten:
                continue
            self._now[name] = armed
            self._batch.changed[name] = armed
            if before is None:
                self._batch.new.add(name)
            if before is None or (
                before.traits is not armed.traits and not armed.state.forward
            ):  # the traits of an id that belongs to somebody else go with its last message
                self._batch.new_traits.add(name)
            if before is None or before.state.members is not armed.state.members:
                self._batch.new_members.add(name)
            if armed.state.rfm is not (None if before is None else before.state.rfm):
                self._batch.rescored.add(name)
        return self._batch

    def _arm(self, customer: Customer, gone: Collection[datetime]) -> Customer:
        """Keep the promise: if something is due, a row with that time or an earlier one exists."""
        if customer.id not in self._dues and not gone:
            return customer
        armed_at = customer.state.armed_at
        if armed_at is not None and gone and armed_at <= max(gone):
            armed_at = None  # they fire in order; a later one is left where the first was held
        due = None if customer.id in self._broken else self._next_look(customer)
        if due is not None and (armed_at is None or due < armed_at):
            self._batch.timers.append((due, customer.id))
            armed_at = due
        if armed_at == customer.state.armed_at:
            return customer
        state = msgspec.structs.replace(customer.state, armed_at=armed_at)
        return msgspec.structs.replace(customer, state=state)

    def _next_look(self, customer: Customer) -> datetime | None:
        return next_look(self._book, customer, self._batch.log_time)

    def _customer(self, name: str) -> Customer:
        customer = self._now.get(name)
        if customer is None:
            customer = self._now[name] = Customer(name, {}, self._new)
        return customer

    def _keep(self, decision: Decision) -> None:
        customer = decision.customer
        before = self._now[customer.id]
        if customer.state.runs is not before.state.runs:
            self._dues[customer.id] = next_due(customer)
        self._now[customer.id] = customer
        counts = self._batch.counts
        for effect in decision.effects:
            if isinstance(effect, Count):  # most of them are
                counts[effect.journey, effect.version, effect.step, effect.what] += 1
            else:
                self._collect(customer.id, effect)

    def _collect(self, customer: str, effect: Deed) -> None:
        batch = self._batch
        match effect:
            case QueueMessage():
                batch.messages.append(effect)
                batch.customers_of[effect.id] = customer
            case WithdrawMessage():
                batch.withdrawn.append(effect)
            case MakeCall():
                batch.calls.append((customer, effect))
            case WithdrawCall():
                batch.withdrawn_calls.append(effect)
            case StateConsent():
                batch.consents.append((customer, effect))
            case EmitEvent():
                batch.emitted.append(emitted_event(customer, effect))
            case Convert():
                batch.conversions.append((customer, effect))
            case SpillSeen(ids):
                batch.spilled.extend((customer, digest, second) for digest, second in ids)
            case Erase() | Forget():
                self._collect_erasure(customer, effect)
            case _:
                self._collect_identity(customer, effect)

    def _collect_erasure(self, customer: str, effect: Erase | Forget) -> None:
        if isinstance(effect, Forget):
            self._batch.forgotten.add(customer)
            return
        self._batch.drop(customer, effect.at)
        self._batch.erased.append((customer, effect))
        self._dues[customer] = None  # its timers go; there is a last one to come

    def _collect_identity(self, customer: str, effect: IdentityEffect) -> None:
        batch, moved = self._batch, self._batch.moved
        match effect:
            case Link(other, alias, at):
                batch.emitted.append(
                    link_event(anonymous_id=other, user_id=customer, alias=alias, at=at)
                )
            case Forward(event):
                batch.emitted.append(event)
            case Belong(to):
                moved.belongs[customer] = to
            case MoveOut() | CarryOn():
                moved.out.append((customer, effect))
                self._moving.add(customer)
            case LetGo():
                moved.let_go.add(customer)
            case TakeRecord(record):
                moved.records.append((customer, record))
            case TakeRow(event):
                self._write_history(customer, event, encode(event))
            case GiveBack(message_id):
                moved.given_back.append(message_id)
