"""The pure model: one customer's recorded log, decided record by record; and the very same log
cut into batches, as a partition's owner does it, on a store that is a few Python values."""

import difflib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.batch import Batch, TimerRow
from services.journey.core.book import Book
from services.journey.core.decide import Decision, Tick, decide, due_of
from services.journey.core.effects import (
    Convert,
    Count,
    Effect,
    EmitEvent,
    Erase,
    MakeCall,
    QueueMessage,
    StateConsent,
    WithdrawCall,
    WithdrawMessage,
)
from services.journey.core.identity_effects import MoveOut, TakeRecord, TakeRow
from services.journey.core.merging import asked_since
from services.journey.core.state import AtTime, Customer, Run, State, pack, unpack
from services.journey.deciding import NO_HISTORY, Deciding, emitted_event, readable
from shared.clock import EPOCH
from shared.erasure import hash_of_customer
from shared.event import HAPPENINGS, Event, answer_event, encode, outcome_event, receipt_event
from shared.log.port import Record
from shared.message import pack as pack_context
from tests.property.engine_journeys import START, Input

_INSTANT = timedelta(microseconds=1)
_MOST_RECORDS = 80
WHO = "u1"


@dataclass(frozen=True)
class Telling:
    """What becomes of a message, when it is decided and when the log learns of it."""

    decision: str | None
    """None: nobody ever decides it."""
    after: timedelta
    learnt: timedelta
    twice: bool = False


@dataclass
class Told:
    """Everything a run of the engine came to."""

    traits: dict[str, Any] = field(default_factory=dict)
    state: bytes = b""
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    withdrawn: list[WithdrawMessage] = field(default_factory=list)
    calls: list[MakeCall] = field(default_factory=list)
    withdrawn_calls: list[WithdrawCall] = field(default_factory=list)
    conversions: list[Convert] = field(default_factory=list)
    consents: list[StateConsent] = field(default_factory=list)
    emitted: list[bytes] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    erased: bool = False
    counts: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)

    def end(self, customer: Customer) -> "Told":
        """The customer as a later reader finds her; where timers are armed is its own affair."""
        if self.erased:
            known = {message[0] for message in self.messages}
            self.withdrawn = [w for w in self.withdrawn if w.message_id in known]
            calls = {call.id for call in self.calls}
            self.withdrawn_calls = [w for w in self.withdrawn_calls if w.call_id in calls]
        self.traits = as_stored(customer.traits)
        self.state = pack(msgspec.structs.replace(customer.state, armed_at=None))
        return self

    def erase(self) -> None:
        """What an erasure takes away; what became of goals and the counts stay."""
        self.erased = True
        for kept in (self.messages, self.calls, self.consents, self.emitted, self.history):
            kept.clear()

    def lines(self) -> list[str]:
        state = unpack(self.state)
        return [
            f"traits {self.traits}",
            *(f"state.{name} = {getattr(state, name)}" for name in State.__struct_fields__),
            *(f"message {message}" for message in self.messages),
            *(f"withdrawn {effect}" for effect in self.withdrawn),
            *(f"call {effect}" for effect in self.calls),
            *(f"withdrawn call {effect}" for effect in self.withdrawn_calls),
            *(f"conversion {effect}" for effect in self.conversions),
            *(f"consent {effect}" for effect in self.consents),
            *(f"emitted {effect!r}" for effect in self.emitted),
            f"history {self.history}",
            *(f"count {key}: {n}" for key, n in sorted(self.counts.items())),
        ]


def as_stored(traits: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(traits))
    return found


def as_message(effect: QueueMessage) -> tuple[Any, ...]:
    *plain, _context, at = msgspec.structs.astuple(effect)
    return (*plain, at, pack_context(effect.context))


def same(model: Told, other: Told, log: Iterable[Record], what: str) -> None:
    """Fails with the log and the difference, for a person to read."""
    if model == other:
        return
    difference = difflib.unified_diff(model.lines(), other.lines(), "alone", what, n=0, lineterm="")
    raise AssertionError("\n".join([f"{what}:", *shown(log), "", *difference]))


def shown(log: Iterable[Record]) -> list[str]:
    return [f"  {r.offset:3} {r.received_at:%m-%d %H:%M:%S.%f} {r.payload.decode()}" for r in log]


# One by one ---------------------------------------------------------------------------------------


class Alone:
    """Every record decided by itself, in order."""

    def __init__(self, book: Book, name: str = WHO) -> None:
        self.book = book
        self.customer = Customer(name, {}, State(needs=book.needs.id))
        self.told = Told()
        self.made: dict[str, QueueMessage | MakeCall] = {}
        """Every message and call that was decided here."""
        self.holds: set[str] = set()
        """Those that are in this customer's name."""
        self.consents: dict[str, tuple[datetime, bool]] = {}
        self.erased: list[str] = []
        """Messages of a life before an erasure."""
        self.erased_at: datetime | None = None
        self._taken: list[Event] = []

    def record(self, record: Record) -> tuple[Effect, ...]:
        (given,), refused = readable([record])
        assert not refused
        waiting = _due_at(self.customer, record.received_at)
        since = asked_since(self.customer, given.event)
        own = [e for e in self._taken if since and e.received_at and e.received_at > since]
        own = [event for event in own if event.kind in HAPPENINGS]
        decision = self._keep(decide(self.book, self.customer, given.event, given.stamp, own))
        for run in () if self.book.transfers else decision.customer.state.runs:
            # Rule 3: a timer due at T comes after every event received at T.
            was = waiting.get(run.id, run)
            assert (was.step, was.waiting) == (run.step, run.waiting), f"{run} moved by {record}"
        if decision.taken_in and given.event.kind not in NO_HISTORY:
            self._taken.append(given.event)
            self.told.history.append(given.event.id)
        return decision.effects

    def hidden(self, at: datetime, key: bytes) -> str:
        """Under which name something of that instant stands in the tables that count."""
        name = self.customer.id
        if self.erased_at is not None and at <= self.erased_at:
            return hash_of_customer(name, key)
        return name

    def tick(self, at: datetime) -> tuple[Effect, ...]:
        return self._keep(decide(self.book, self.customer, Tick(at))).effects

    def _keep(self, decision: Decision) -> Decision:  # noqa: C901 - one case for each effect
        self.customer = decision.customer
        told = self.told
        for effect in decision.effects:
            match effect:
                case Erase(at=at):
                    made = [self.made.pop(name) for name in self.holds]
                    self.erased += [m.id for m in made if isinstance(m, QueueMessage)]
                    self.erased_at = at
                    self.holds.clear()
                    self.consents, self._taken = {}, []
                    told.erase()
                case QueueMessage():
                    self.made[effect.id] = effect
                    self.holds.add(effect.id)
                    told.messages.append(as_message(effect))
                case WithdrawMessage():
                    told.withdrawn.append(effect)
                case MakeCall():
                    self.made[effect.id] = effect
                    self.holds.add(effect.id)
                    told.calls.append(effect)
                case WithdrawCall():
                    told.withdrawn_calls.append(effect)
                case Convert():
                    told.conversions.append(effect)
                case StateConsent():
                    told.consents.append(effect)
                    before = self.consents.get(effect.channel)
                    if effect.counts and (before is None or effect.at >= before[0]):
                        self.consents[effect.channel] = (effect.at, effect.granted)
                case EmitEvent():
                    told.emitted.append(encode(emitted_event(self.customer.id, effect)))
                case Count(journey, version, step, what):
                    told.counts[journey, version, step, what] += 1
                case TakeRow(event):
                    self._taken.append(event)
                    told.history.append(event.id)
                case TakeRecord(record):
                    self._take(record.table, record.row)
                case MoveOut():
                    over = {effect.message_id for effect in told.withdrawn}
                    over |= {effect.call_id for effect in told.withdrawn_calls}
                    self.holds &= over
                    self._taken, told.history, self.consents = [], [], {}
        return decision

    def _take(self, table: str, row: dict[str, Any]) -> None:
        if table in ("messages", "calls"):
            self.holds.add(row["id"])
        elif table == "consents":
            at = msgspec.convert(row["stated_at"], datetime)
            before = self.consents.get(row["channel"])
            if before is None or at > before[0]:
                self.consents[row["channel"]] = (at, row["granted"])


def next_firing(book: Book, customer: Customer) -> datetime | None:
    """When the next run moves by itself; pauses put it off."""
    firings = [
        book.fires_at(run.journey, due, customer.id)
        for run in customer.state.runs
        if (due := due_of(run)) is not None
    ]
    return min((at for at in firings if at is not None), default=None)


def _due_at(customer: Customer, at: datetime) -> dict[str, Run]:
    return {
        run.id: run
        for run in customer.state.runs
        if isinstance(run.waiting, AtTime) and run.waiting.due == at
    }


def alone(book: Book, life: "Life") -> Told:
    model = Alone(book)
    for record in life.log:
        model.record(record)
    model.tick(life.end)
    return model.told.end(model.customer)


# The log of a life --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    log: list[Record]
    told: Told
    """What it came to with each timer in its own time."""
    dues: list[datetime]
    """When timers fired."""
    end: datetime
    """An instant behind all of it."""


def live(book: Book, inputs: Sequence[Input], tellings: Sequence[Telling]) -> Life:
    """The log as it comes to be: what the customer does, what becomes of each message, what steps
    emit."""
    model = Alone(book)
    dues: list[datetime] = []
    coming: list[tuple[datetime, int, Event]] = []
    sent: list[Event] = []
    at = START
    for number, given in enumerate(inputs):
        at += given.gap
        event = given.event(number, at, WHO)
        if 0 < given.repeats <= len(sent):
            event = sent[-given.repeats]
        sent.append(event)
        heapq.heappush(coming, (at, len(coming), event))
    later = len(coming)
    log: list[Record] = []
    while coming:
        at = coming[0][0]
        due = next_firing(book, model.customer)
        if due is not None and due < at:
            effects, at = model.tick(due), due
            dues.append(due)
        else:
            _, _, event = heapq.heappop(coming)
            if len(log) == _MOST_RECORDS:
                break
            log.append(Record(0, len(log) + 1, at, encode(event)))
            effects = model.record(log[-1])
        for event, moment in _news(effects, at, tellings, later):
            later += 1
            heapq.heappush(coming, (moment, later, event))
    end = (log[-1].received_at if log else START) + timedelta(days=3)
    while (due := next_firing(book, model.customer)) is not None and due <= end:
        model.tick(due)
        dues.append(due)
    model.tick(end)
    return Life(log, model.told.end(model.customer), sorted(dues), end)


def _news(
    effects: Iterable[Effect], at: datetime, tellings: Sequence[Telling], number: int
) -> Iterable[tuple[Event, datetime]]:
    """Whatever is appended because of an effect is stamped after it."""
    for place, effect in enumerate(effects):
        telling = tellings[(number + place) % len(tellings)]
        if isinstance(effect, EmitEvent):
            yield emitted_event(WHO, effect), max(effect.at, at) + telling.learnt + _INSTANT
        if isinstance(effect, MakeCall) and telling.decision is not None:
            answered = effect.at + telling.after
            told = answer_event(
                call_id=effect.id, customer=WHO, at=max(answered, at), step=effect.step,
                run_id=effect.run_id, outcome="sent", reason=None,
                response={"total": len(telling.decision), "at": "soon"},
            )  # fmt: skip
            yield told, max(answered, at) + telling.learnt + _INSTANT
        if isinstance(effect, QueueMessage) and telling.decision is not None:
            decided = max(effect.at, at) + telling.after
            told = outcome_event(
                message_id=effect.id, customer=WHO, at=decided, step=effect.step,
                run_id=effect.run_id, decision=telling.decision, reason=None,
                channel=effect.channels[0],
            )  # fmt: skip
            yield told, decided + telling.learnt + _INSTANT
            if telling.decision == "sent":
                yield from _receipts(effect, decided, telling)
            if telling.twice:
                yield told, decided + 2 * telling.learnt + 2 * _INSTANT


def _receipts(
    sent: QueueMessage, decided: datetime, telling: Telling
) -> Iterable[tuple[Event, datetime]]:
    """Opened at once, which may be learnt before the outcome is, and clicked a little later."""
    message = {"message_id": sent.id, "run_id": sent.run_id, "step": sent.step}
    for outcome, later in (("opened", telling.after), ("clicked", 4 * telling.after + _INSTANT)):
        at = decided + later
        receipt = receipt_event(
            receipt_id=f"{sent.id}:{outcome}", customer=WHO, at=at, outcome=outcome,
            channel=sent.channels[0], message=message,
        )  # fmt: skip
        yield receipt, at + _INSTANT
        if telling.twice:
            yield receipt, at + telling.learnt + 2 * _INSTANT


# In batches ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """One batch: how many records, whether they end the log for now, and what befalls it."""

    records: int
    at_end: bool
    share: float | None
    """Where log time lies between the last record and the next one, if this ends the log; None:
    at the very instant of a timer, if there is one."""
    failures: int
    """How often its commit fails before it is stored."""
    rows: int
    """How many timer rows are claimed at once."""


class Stored:
    """What the database holds: one customer, her timers, and what was decided for her."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.row: tuple[bytes, bytes] | None = None
        self.timers: list[TimerRow] = []
        self.log_time = EPOCH
        self.told = Told()
        self._number = 0

    def load(self) -> dict[str, Customer]:
        if self.row is None:
            return {}
        traits, state = self.row
        return {WHO: Customer(WHO, msgspec.json.decode(traits), unpack(state))}

    @property
    def customer(self) -> Customer:
        return self.load().get(WHO) or Customer(WHO, {}, State(needs=self.book.needs.id))

    def decide(
        self, records: Sequence[Record], log_time: datetime, rows: int, settles: bool = False
    ) -> Batch:
        """As `PartitionOwner._step` does it; `settles` if an apply's rule is to meet everybody."""
        events, refused = readable(records)
        assert not refused
        batch = Batch(0, 1, 1, 1, 0, log_time, log_time, offered=True)
        deciding = Deciding(self.book, batch, self.load() if events else {})
        for given in events:
            deciding.event(given)
        fired = sorted(
            (row for row in self.timers if row.due_at <= log_time), key=lambda row: row.due_at
        )[:rows]
        if fired and not deciding.knows(WHO):
            deciding.add(self.load())
        for name in dict.fromkeys([*(r.customer for r in fired), *deciding.due_now(log_time)]):
            deciding.tick(name, log_time)
        if settles and self.row is not None:
            if not deciding.knows(WHO):
                deciding.add(self.load())
            deciding.tick(WHO, log_time, looks=False)
        return deciding.finish(fired)

    def commit(self, batch: Batch) -> None:
        """As `Store.commit` does it."""
        assert not batch.set_aside, batch.set_aside
        self.log_time = batch.log_time
        for customer in batch.changed.values():
            traits = msgspec.json.encode(customer.traits)
            if customer.id not in batch.new_traits:
                assert self.row is not None, "an update of a row that is not there"
                traits = self.row[0]
            self.row = traits, pack(customer.state)
        if batch.erased:
            self.timers.clear()
        if WHO in batch.forgotten:
            self.row = None
        for row in batch.fired:
            if row in self.timers:
                self.timers.remove(row)
        for due, name in batch.timers:
            self._number += 1
            self.timers.append(TimerRow(self._number, due, name))
        told = self.told
        if batch.erased:
            told.erase()
        told.messages += [as_message(message) for message in batch.messages]
        told.withdrawn += batch.withdrawn
        told.calls += [call for _, call in batch.calls]
        told.withdrawn_calls += batch.withdrawn_calls
        told.conversions += [conversion for _, conversion in batch.conversions]
        told.consents += [consent for _, consent in batch.consents]
        told.emitted += [encode(event) for event in batch.emitted]
        told.history += [row[3] for row in batch.history]
        told.counts += batch.counts

    def check(self) -> None:
        """The promises about timers, between any two batches."""
        state = self.customer.state
        due = next_firing(self.book, self.customer)
        rows = [row.due_at for row in self.timers]
        if due is not None:
            assert any(at <= due for at in rows), f"due at {due}, no row before it: {rows}"
            assert due > self.log_time, f"due at {due}, not decided at {self.log_time}"
        assert state.armed_at is None or state.armed_at in rows, f"{state.armed_at} not in {rows}"


def log_time(
    last: datetime, ends: datetime, share: float | None, dues: Sequence[datetime]
) -> datetime:
    if share is None:
        return next((due for due in dues if last <= due < ends), last)
    return last + (ends - _INSTANT - last) * share


def in_batches(book: Book, life: Life, cuts: Sequence[Cut]) -> Told:
    log, end, dues = life.log, life.end, life.dues
    stored = Stored(book)
    place, number = 0, 0
    while place < len(log) or number == 0:
        cut = cuts[number % len(cuts)]
        number += 1
        records = log[place : place + cut.records]
        place += len(records)
        ends = log[place].received_at if place < len(log) else end
        last = log[place - 1].received_at if place else EPOCH
        reached = max(stored.log_time, last - _INSTANT)
        at_end = cut.at_end and place > 0 and last < ends
        if at_end:
            reached = max(reached, log_time(last, ends, cut.share, dues))
        for _ in range(cut.failures):
            stored.decide(records, reached, cut.rows)  # never stored
        stored.commit(stored.decide(records, reached, cut.rows, settles=cut.rows == 1))
        stored.check()
        if number > 10 * len(log) + 100:
            break  # cuts without records only
    stored.commit(stored.decide(log[place:], end, 1000, settles=True))
    stored.check()
    return stored.told.end(stored.customer)
