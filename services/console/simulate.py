"""A whole event file on a virtual clock, through the very core and policies that run in production.

Nothing is stored or sent: every permitted message is `sent` at the instant it is decided. One
customer's life depends on nobody else's, so each instant is taken customer by customer, and within
it in the engine's order: events, then timers, then the messages that have become decidable, whose
outcomes let runs go on, which may make further timers and messages due at the same instant.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.dispatch.policy import (
    Contact,
    Drop,
    Hold,
    Message,
    PassedOver,
    Place,
    SendBy,
    contact_of,
    order_key,
)
from services.dispatch.policy import (
    decide as decide_message,
)
from services.ingest.normalise import Scene
from services.ingest.protocol import open_parcel, read
from services.ingest.times import as_utc, parse_time
from services.journey.core.book import Book, Edition
from services.journey.core.decide import Decision, Tick, decide, next_due
from services.journey.core.effects import EmitEvent, QueueMessage, StateConsent, WithdrawMessage
from services.journey.core.flow import Flow
from services.journey.core.history import Needs
from services.journey.core.state import Customer, State
from services.journey.deciding import emitted_event
from shared.clock import EPOCH
from shared.decisions import Decision as DecisionWord
from shared.decisions import Reason
from shared.errors import BadInput
from shared.event import Event, outcome_event
from shared.workspace import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class Row:
    """One decided message, with the names that `dangol simulate --json` prints."""

    at: datetime
    customer: str
    journey: str
    step: str
    channel: str
    decision: DecisionWord
    reason: Reason | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": _text(self.at),
            "customer": self.customer,
            "journey": self.journey,
            "step": self.step,
            "channel": self.channel,
            "decision": self.decision,
            "reason": None if self.reason is None else str(self.reason),
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """The core has decided about an event or a tick; nothing has been carried out yet."""

    at: datetime
    given: Event | Tick
    before: Customer
    decision: Decision


@dataclass(frozen=True, slots=True)
class Held:
    """A message waits, for quiet hours or a cap that holds."""

    at: datetime
    queued: QueueMessage
    verdict: Hold


@dataclass(frozen=True, slots=True)
class Told:
    """A message is decided; its run does not know yet."""

    at: datetime
    queued: QueueMessage
    row: Row
    passed_over: tuple[PassedOver, ...] = ()


Observed = Decided | Held | Told
Observer = Callable[[Observed], None]
"""Is shown everything that happens, in the order in which it happens."""


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """Events in the SDK wire format, one a line, ordered by receipt.

    `timestamp` is the receipt, unless the line has `receivedAt`. Raises BadInput naming the line.
    """
    events = [_event(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return sorted(events, key=lambda event: event.received_at or EPOCH)


def _event(number: int, line: bytes) -> Event:
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"line {number}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput(f"line {number}: not a JSON object")
    stamp = fields.get("receivedAt", fields.get("timestamp"))
    stated = parse_time(stamp)
    received = None if stated is None else as_utc(stated)
    if received is None:
        raise BadInput(
            f"line {number}: no time of receipt", hint="give each event a `timestamp` in ISO 8601"
        )
    fields.setdefault("messageId", f"line-{number}")
    scene = Scene(received=received, source="simulate")
    reading = read(open_parcel(msgspec.json.encode(fields)), scene)
    if reading.refused:
        raise BadInput(f"line {number}: unusable event: {reading.refused[0].reason}")
    return msgspec.structs.replace(reading.events[0], received_at=received)


def _newest_first(event: Event) -> float:
    assert event.received_at is not None
    return -event.received_at.timestamp()


@dataclass(slots=True)
class _Pending:
    """An undecided message and when it is looked at next."""

    queued: QueueMessage
    message: Message
    wakes_at: datetime


@dataclass(slots=True)
class _Life:
    """One customer on the virtual clock."""

    customer: Customer
    events: list[Event] = field(default_factory=list)
    """Still to come, latest first."""
    pending: dict[str, _Pending] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    consents: dict[str, tuple[datetime, bool]] = field(default_factory=dict)

    def expect(self, event: Event, at: datetime) -> None:
        """An emitted event: behind everything that the log already has up to that instant."""
        place = bisect_left(self.events, -at.timestamp(), key=_newest_first)
        self.events.insert(place, msgspec.structs.replace(event, received_at=at))

    def next_at(self) -> datetime | None:
        instants = [p.wakes_at for p in self.pending.values()]
        if self.events:
            assert self.events[-1].received_at is not None
            instants.append(self.events[-1].received_at)
        due = next_due(self.customer)
        if due is not None:
            instants.append(due)
        return min(instants, default=None)


class Simulation:
    """Events in, decided messages out."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        settings: WorkspaceSettings,
        observer: Observer | None = None,
    ) -> None:
        versions = {(flow.journey, flow.version): flow for flow in flows.values()}
        needs = Needs(need for flow in flows.values() for need in flow.needs)
        self._book = Book(
            [Edition.of(EPOCH, flows.values())], versions, zone=settings.zone(), needs=needs
        )
        self._settings = settings
        self._observer = observer
        self._rows: list[Row] = []
        self._lives: dict[str, _Life] = {}

    def run(self, events: Iterable[Event], until: datetime | None = None) -> list[Row]:
        """Rows ordered by time, customer, journey, step; runs until nothing waits, or `until`."""
        for event in reversed(list(events)):
            life = self._lives.setdefault(
                event.customer,
                _Life(Customer(event.customer, {}, State(needs=self._book.needs.id))),
            )
            life.events.append(event)
        queue = [(at, name) for name, life in self._lives.items() if (at := life.next_at())]
        heapq.heapify(queue)
        while queue:
            at, name = heapq.heappop(queue)
            if until is not None and at > until:
                break
            life = self._lives[name]
            self._instant(life, at)
            again = life.next_at()
            if again is not None:
                heapq.heappush(queue, (max(again, at), name))
        return sorted(self._rows, key=lambda r: (r.at, r.customer, r.journey, r.step))

    def _instant(self, life: _Life, at: datetime) -> None:
        while True:
            while life.events and life.events[-1].received_at == at:
                self._decide(life, at, life.events.pop())
            self._decide(life, at, Tick(at))
            if life.events and life.events[-1].received_at == at:
                continue  # a step has emitted one
            due = [p for p in life.pending.values() if p.wakes_at <= at]
            if not due:
                return
            first = min(due, key=lambda p: order_key(p.message))
            self._decide_message(life, first, at)

    def _decide(self, life: _Life, at: datetime, given: Event | Tick) -> None:
        decision = decide(self._book, life.customer, given)
        if self._observer is not None:
            self._observer(Decided(at, given, life.customer, decision))
        self._keep(life, decision)

    def _keep(self, life: _Life, decision: Decision) -> None:
        life.customer = decision.customer
        for effect in decision.effects:
            match effect:
                case QueueMessage():
                    life.pending[effect.id] = _Pending(effect, _message(effect), effect.at)
                case WithdrawMessage(message_id, at):
                    pending = life.pending.pop(message_id, None)
                    if pending is not None:
                        self._row(life, pending.queued, at, None, "dropped", Reason.RUN_ENDED)
                case EmitEvent():
                    life.expect(emitted_event(life.customer.id, effect), effect.at)
                case StateConsent():
                    before = life.consents.get(effect.channel)
                    if before is None or effect.at >= before[0]:
                        life.consents[effect.channel] = (effect.at, effect.granted)
                case _:
                    pass

    def _decide_message(self, life: _Life, pending: _Pending, at: datetime) -> None:
        message = pending.message
        verdict = decide_message(
            message, self._contact(life, message), self._settings.policies, at, life.places
        )
        match verdict:
            case Hold(until):
                if self._observer is not None:
                    self._observer(Held(at, pending.queued, verdict))
                pending.wakes_at = until
                pending.message = replace(message, decidable_at=until, was_held=True)
            case Drop(reason, channel):
                self._tell(life, pending, at, channel, "dropped", reason, verdict.passed_over)
            case SendBy(channel, _address, takes_place):
                if takes_place:
                    life.places.append(
                        Place(message.id, message.decidable_at, message.category, channel)
                    )
                self._tell(life, pending, at, channel, "sent", None, verdict.passed_over)

    def _contact(self, life: _Life, message: Message) -> Contact:
        return contact_of(
            life.customer.id,
            life.customer.traits,
            channels=message.channels,
            zone=self._settings.zone(),
            country=self._settings.country,
            consents={channel: granted for channel, (_at, granted) in life.consents.items()},
        )

    def _tell(
        self,
        life: _Life,
        pending: _Pending,
        at: datetime,
        channel: str,
        decision: DecisionWord,
        reason: Reason | None,
        passed_over: tuple[PassedOver, ...],
    ) -> None:
        """The message is decided: let the waiting run go on."""
        queued = pending.queued
        del life.pending[queued.id]
        self._row(life, queued, at, channel, decision, reason, passed_over)
        told = outcome_event(
            message_id=queued.id,
            customer=life.customer.id,
            at=at,
            step=queued.step,
            run_id=queued.run_id,
            decision=decision,
            reason=None if reason is None else str(reason),
            channel=channel,
        )
        stamped = msgspec.structs.replace(told, received_at=at)
        self._decide(life, at, stamped)

    def _row(
        self,
        life: _Life,
        queued: QueueMessage,
        at: datetime,
        channel: str | None,
        decision: DecisionWord,
        reason: Reason | None,
        passed_over: tuple[PassedOver, ...] = (),
    ) -> None:
        row = Row(
            at=at,
            customer=life.customer.id,
            journey=queued.journey,
            step=queued.step,
            channel=channel or queued.channels[0],
            decision=decision,
            reason=reason,
        )
        self._rows.append(row)
        if self._observer is not None:
            self._observer(Told(at, queued, row, passed_over))


def _message(queued: QueueMessage) -> Message:
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


def simulate(
    flows: Mapping[str, Flow],
    settings: WorkspaceSettings,
    lines: Iterable[bytes],
    until: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of `dangol simulate`. Raises BadInput for a line that is no event."""
    rows = Simulation(flows, settings).run(read_events(lines), until)
    return (row.as_dict() for row in rows)
