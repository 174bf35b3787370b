"""One customer on the virtual clock: the core and the policies that run in production.

An instant is taken in the engine's order: events, then timers, then the messages that have become
decidable, whose outcomes let runs go on, which may make further timers and messages due at the same
instant.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from services.console.simulation.observed import Decided, Held, Row, Told
from services.console.simulation.planning import Planner
from services.console.simulation.sent import Sent, sent
from services.console.simulation.stage import Pending, Stage, message_of
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
from services.journey.core.decide import Decision, Tick, decide, due_of, next_due
from services.journey.core.effects import (
    Effect,
    EmitEvent,
    MakeCall,
    QueueMessage,
    StateConsent,
    WithdrawMessage,
)
from services.journey.core.identity_effects import Forward, Link, MoveOut, TakeRecord, TakeRow
from services.journey.core.merge import Record, content
from services.journey.core.merging import asked_since
from services.journey.core.segments import next_change
from services.journey.core.state import Customer
from services.journey.core.transfer import transfer_of
from services.journey.core.work import Walk
from services.journey.deciding import NO_HISTORY, emitted_event
from shared.clock import EPOCH
from shared.decisions import Decision as DecisionWord
from shared.decisions import Reason
from shared.event import (
    HAPPENINGS,
    Event,
    decode_unstamped,
    encode,
    link_event,
    merge_event,
    outcome_event,
)
from shared.rfm import Purchase, worth
from shared.templates.live import UNASKED
from shared.workspace import RfmSettings


@dataclass(slots=True)
class Life:
    """One customer: what is known of them, and what is still to come."""

    stage: Stage
    customer: Customer
    plan: Planner | None = None
    """From the first event on, where the clock starts journeys."""
    events: list[Event] = field(default_factory=list)
    """Still to come, latest first."""
    pending: dict[str, Pending] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    consents: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    now: datetime = EPOCH
    """The last instant taken."""
    sent: dict[str, Sent] = field(default_factory=dict)
    """Channel → the newest message sent on it."""
    taken: list[Event] = field(default_factory=list)
    """The history."""

    def expect(self, event: Event, at: datetime) -> None:
        """An emitted event: behind everything that the log already has up to that instant."""
        place = bisect_left(self.events, -at.timestamp(), key=_newest_first)
        self.events.insert(place, msgspec.structs.replace(event, received_at=at))

    def purchases(self, rfm: RfmSettings) -> list[Purchase]:
        """What the customer has bought so far."""
        return [
            Purchase(event.timestamp, worth(event.properties.get(rfm.value or "")))
            for event in self.taken
            if event.kind == "track" and event.name == rfm.event
        ]

    def next_at(self) -> datetime | None:
        instants = [p.wakes_at for p in self.pending.values()]
        if self.events:
            assert self.events[-1].received_at is not None
            instants.append(self.events[-1].received_at)
        if self.customer.state.forward:
            return min(instants, default=None)
        fires = None if self.plan is None else self.plan.next_at(self.customer)
        change = next_change(self.stage.book, self.customer, self.now)
        times = self._next_timer(), change, fires
        instants += [at for at in times if at is not None]
        return min(instants, default=None)

    def _next_timer(self) -> datetime | None:
        """When a run goes on by itself, or an apply moves it; what is due in a pause waits."""
        book = self.stage.book
        if not book.pauses and not book.transfers:
            return next_due(self.customer)
        walk, dues = Walk(book, self.customer), list[datetime | None]()
        for run in self.customer.state.runs:
            due, transfer = due_of(run), transfer_of(walk, run)
            if due is not None:
                dues.append(book.fires_at(run.journey, due, self.customer.id))
            if transfer is not None:
                dues.append(transfer.at)
        return min((at for at in dues if at is not None), default=None)

    def arrive(self, at: datetime) -> None:
        """Take in what the log has at this instant."""
        self.now = at
        while self.events and self.events[-1].received_at == at:
            event = self._addressed(self.events.pop())
            if event is not None:
                self._decide(at, event)

    def _addressed(self, event: Event) -> Event | None:
        """A receipt belongs to the newest message sent on its channel; None if there is none."""
        if event.kind != "receipt" or "message_id" in event.properties:
            return event
        channel = event.properties["channel"]
        newest = self.sent.get(channel)
        if newest is None:
            return event if self.customer.state.forward else None
        self.stage.closed.note(channel, newest.address, event.properties["outcome"])
        return msgspec.structs.replace(event, properties={**event.properties, **newest.names})

    def instant(self, at: datetime) -> None:
        while True:
            self.arrive(at)
            if self._fire(at):
                continue
            if self._is_ticking(at):
                self._decide(at, Tick(at))
            if self.events and self.events[-1].received_at == at:
                continue  # a step has emitted one
            due = [p for p in self.pending.values() if p.wakes_at <= at]
            if not due:
                return
            first = min(due, key=lambda p: order_key(p.message))
            self._decide_message(first, at)

    def _is_ticking(self, at: datetime) -> bool:
        """Whether time alone may do something: without it, most instants are over with an event."""
        if self.customer.state.erased_at is not None or self.stage.book.watches(at):
            return True
        due = self._next_timer()
        return due is not None and due <= at

    def _fire(self, at: datetime) -> bool:
        """Journeys that the clock starts now, behind all that the log has up to now."""
        if self.customer.state.forward:
            return False  # they belong to somebody else, who has a clock of their own
        if self.plan is None and self.stage.by_clock:
            self.plan = Planner(self.stage.book, self.stage.by_clock, since=at)
        fired = [] if self.plan is None else self.plan.due(self.customer, at)
        for event in fired:
            self.expect(event, at)
        return bool(fired)

    def _decide(self, at: datetime, given: Event | Tick) -> None:
        decision = decide(self.stage.book, self.customer, given, at, self._witnessed(given))
        if self.stage.observer is not None:
            self.stage.observer(Decided(at, given, self.customer, decision))
        if isinstance(given, Event) and decision.taken_in and given.kind not in NO_HISTORY:
            self.taken.append(given)
        self._keep(decision)

    def _witnessed(self, given: Event | Tick) -> Sequence[Event]:
        since = asked_since(self.customer, given) if isinstance(given, Event) else None
        if since is None:
            return ()
        return [e for e in self.taken if e.kind in HAPPENINGS and _received(e) > since]

    def _keep(self, decision: Decision) -> None:
        self.customer = decision.customer
        for effect in decision.effects:
            match effect:
                case QueueMessage():
                    known = self.stage.record.messages.get(effect.id)
                    wakes_at = effect.at if known is None else max(known.at, effect.at)
                    self.pending[effect.id] = Pending(effect, message_of(effect), wakes_at)
                case WithdrawMessage(message_id, at):
                    self._withdraw(message_id, at)
                case MakeCall():
                    answer = self.stage.answer(self.customer.id, effect)
                    if answer is not None:
                        self.expect(*answer)
                case EmitEvent() if effect.id not in self.stage.record.events:
                    self.expect(emitted_event(self.customer.id, effect), effect.at)
                case StateConsent(counts=True):
                    before = self.consents.get(effect.channel)
                    if before is None or effect.at >= before[0]:
                        self.consents[effect.channel] = (effect.at, effect.granted)
                case _:
                    self._keep_identity(effect)

    def _withdraw(self, message_id: str, at: datetime) -> None:
        pending = self.pending.get(message_id)
        if pending is None:
            return
        known = self.stage.record.messages.get(message_id)
        if known is not None and known.is_past_recall:
            return  # its attempt had been recorded: it is decided, though nobody waits for it
        del self.pending[message_id]
        self._row(pending.queued, at, None, "dropped", Reason.RUN_ENDED)

    def _keep_identity(self, effect: Effect) -> None:
        match effect:
            case Link(other, alias, at):
                own = self.customer.id
                told = link_event(anonymous_id=other, user_id=own, alias=alias, at=at)
                self.stage.handed.append(told)
            case Forward(event):
                self.stage.handed.append(event)
            case MoveOut():
                self._move_out(effect)
            case TakeRow(event):
                self.taken.append(event)
            case TakeRecord(record):
                self._take_record(record)
            case _:
                pass

    def _move_out(self, out: MoveOut) -> None:
        """What the engine's tables hold beside the row goes along, as in `journey/moving.py`."""
        self.stage.travelling.update(self.pending)
        records = [
            *(Record("messages", {"id": name}) for name in self.pending),
            *(Record("cap_places", msgspec.to_builtins(place)) for place in self.places),
            *(
                Record("consents", {"channel": channel, "granted": granted, "stated_at": at})
                for channel, (at, granted) in self.consents.items()
            ),
            *(
                Record("sent", {"channel": channel, **msgspec.to_builtins(newest)})
                for channel, newest in self.sent.items()
            ),
        ]
        whole = msgspec.structs.replace(
            out.packed, records=tuple(records), events=tuple(self.taken)
        )
        merge = merge_event(
            source=self.customer.id, user_id=out.to, part=out.base, content=content(whole),
            at=out.at,
        )  # fmt: skip
        self.stage.handed.append(decode_unstamped(encode(merge)))  # as the log would have it
        self.pending, self.places, self.consents, self.taken = {}, [], {}, []
        self.sent = {}

    def _take_record(self, record: Record) -> None:
        row = record.row
        match record.table:
            case "messages":
                self.pending[row["id"]] = self.stage.travelling.pop(row["id"])
            case "cap_places":
                self.places.append(msgspec.convert(row, Place))
            case "consents":
                at = msgspec.convert(row["stated_at"], datetime)
                before = self.consents.get(row["channel"])
                if before is None or at > before[0]:
                    self.consents[row["channel"]] = (at, row["granted"])
            case "sent":
                newest, known = msgspec.convert(row, Sent), self.sent.get(row["channel"])
                if known is None or newest.at > known.at:
                    self.sent[row["channel"]] = newest

    def _decide_message(self, pending: Pending, at: datetime) -> None:
        message = pending.message
        known = self.stage.record.messages.get(message.id)
        if known is not None and known.decision is not None:
            if known.decision == "sent":
                self.sent[known.channel] = sent(pending.queued, at, address="")
            self._tell(pending, at, known.channel, known.decision, known.reason, known.passed_over)
            return
        verdict = decide_message(
            message, self._contact(message), self.stage.settings.policies, at, self.places
        )
        match verdict:
            case Hold(until):
                if self.stage.observer is not None:
                    self.stage.observer(Held(at, pending.queued, verdict))
                pending.wakes_at = until
                pending.message = replace(message, decidable_at=until, was_held=True)
            case Drop(reason, channel):
                self._tell(pending, at, channel, "dropped", reason, verdict.passed_over)
            case SendBy(channel) if refusal := self._unwritten(pending, channel, at):
                self._tell(pending, at, channel, "dropped", refusal, verdict.passed_over)
            case SendBy(channel, address, takes_place):
                if takes_place:
                    self.places.append(
                        Place(message.id, message.decidable_at, message.category, channel)
                    )
                self.sent[channel] = sent(pending.queued, at, address)
                self._tell(pending, at, channel, "sent", None, verdict.passed_over)

    def _unwritten(self, pending: Pending, channel: str, at: datetime) -> Reason | None:
        """Why the message cannot be written, or no longer may be."""
        rendering, queued = self.stage.rendering, pending.queued
        if rendering is None:
            return None
        stub = self.stage.stubs.get((queued.journey, queued.step))
        answer = UNASKED if stub is None else stub.live
        return rendering.refusal(queued, channel, self.customer.traits, at, answer)

    def _contact(self, message: Message) -> Contact:
        contact = contact_of(
            self.customer.id,
            self.customer.traits,
            channels=message.channels,
            zone=self.stage.settings.zone(),
            country=self.stage.settings.country,
            consents={channel: granted for channel, (_at, granted) in self.consents.items()},
        )
        closed = self.stage.closed.among(contact.addresses.items())
        return replace(contact, suppressed=closed) if closed else contact

    def _tell(
        self,
        pending: Pending,
        at: datetime,
        channel: str,
        decision: DecisionWord,
        reason: Reason | None,
        passed_over: tuple[PassedOver, ...],
    ) -> None:
        """The message is decided: let the waiting run go on."""
        queued = pending.queued
        del self.pending[queued.id]
        self._row(queued, at, channel, decision, reason, passed_over)
        told = outcome_event(
            message_id=queued.id,
            customer=self.customer.id,
            at=at,
            step=queued.step,
            run_id=queued.run_id,
            decision=decision,
            reason=None if reason is None else str(reason),
            channel=channel,
        )
        stamped = msgspec.structs.replace(told, received_at=at)
        self._decide(at, stamped)

    def _row(
        self,
        queued: QueueMessage,
        at: datetime,
        channel: str | None,
        decision: DecisionWord,
        reason: Reason | None,
        passed_over: tuple[PassedOver, ...] = (),
    ) -> None:
        row = Row(
            at=at,
            customer=self.customer.id,
            journey=queued.journey,
            step=queued.step,
            channel=channel or queued.channels[0],
            decision=decision,
            reason=reason,
        )
        self.stage.rows.append(row)
        if self.stage.observer is not None:
            self.stage.observer(Told(at, queued, row, passed_over))


def _received(event: Event) -> datetime:
    assert event.received_at is not None
    return event.received_at


def _newest_first(event: Event) -> float:
    return -_received(event).timestamp()
