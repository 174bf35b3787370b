"""Several partitions' owners, their tables and the log, as a few Python values: what befalls them
is chosen step by step. Deciding is the engine's own; tables and relay do what Postgres and
`journey/moving.py` do."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.batch import Batch
from services.journey.core.book import Book
from services.journey.core.decide import next_due
from services.journey.core.effects import QueueMessage
from services.journey.core.identity_effects import CarryOn, MoveOut
from services.journey.core.merge import Merge, Record, content, parts
from services.journey.core.merging import asked_since
from services.journey.core.state import Customer, State, pack, unpack
from services.journey.deciding import Deciding, readable
from shared.event import (
    HAPPENINGS,
    Event,
    carry_event,
    decode,
    decode_unstamped,
    encode,
    merge_event,
    partition_of,
)
from shared.log.port import Record as LogRecord
from tests.property.engine_journeys import START

INSTANT = timedelta(microseconds=1)
PART_BYTES = 3000
"""Small enough that a few events make several parts."""
CARRIED_EVENTS = 3


@dataclass
class Message:
    """A row of `messages`."""

    customer: str
    queued: QueueMessage
    status: str = "queued"
    attempts: int = 0


@dataclass
class Tables:
    """One partition."""

    log: list[LogRecord] = field(default_factory=list)
    offset: int = 0
    log_time: datetime = START
    rows: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    forwarded: dict[str, str] = field(default_factory=dict)
    history: dict[str, list[Event]] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    consents: dict[tuple[str, str], tuple[datetime, bool]] = field(default_factory=dict)
    conversions: Counter[str] = field(default_factory=Counter)
    outbox: list[Event] = field(default_factory=list)
    set_aside: list[Any] = field(default_factory=list)

    def load(self, name: str) -> Customer | None:
        row = self.rows.get(name)
        return None if row is None else Customer(name, msgspec.json.decode(row[0]), unpack(row[1]))


class World:
    def __init__(self, book: Book, partitions: int) -> None:
        self.book = book
        self.now = START
        self.tables = [Tables() for _ in range(partitions)]
        self.moving: dict[str, Message] = {}

    # What may happen -------------------------------------------------------------------------

    def append(self, events: Iterable[Event], at: datetime | None = None) -> None:
        """Durably, in one go: they share their stamp, which is `at` unless it is later already."""
        self.now = max(self.now + INSTANT, at or START)
        for event in events:
            tables = self.tables[self._partition(event.customer)]
            stamp = self.now
            tables.log.append(LogRecord(0, len(tables.log) + 1, stamp, encode(event)))

    def step(self, partition: int, records: int, *, is_stored: bool = True) -> bool:
        """Its owner decides up to so many records, and stores it or is killed before."""
        tables = self.tables[partition]
        some = tables.log[tables.offset : tables.offset + records]
        at_end = tables.offset + len(some) == len(tables.log)
        reached = max([tables.log_time, *(r.received_at - INSTANT for r in some[-1:])])
        if at_end:
            reached = max(reached, self.now)
        batch = self._decide(tables, some, reached)
        if is_stored:
            tables.offset += len(some)
            tables.log_time = reached
            self._store(tables, batch)
        return bool(some)

    def relay(self, partition: int, rows: int, *, twice: bool = False) -> bool:
        """The relay moves the first rows; killed before it deletes them, it moves them again."""
        tables = self.tables[partition]
        some = tables.outbox[:rows]
        if some:
            for event in some:
                self.append([decode_unstamped(encode(event))])
            if not twice:
                del tables.outbox[: len(some)]
        return bool(some)

    def attempt(self, partition: int, message_id: str) -> None:
        """A dispatcher records an attempt; from now on the message is past recall."""
        message = self.tables[partition].messages[message_id]
        assert message.status == "queued"
        message.status, message.attempts = "attempting", 1

    def settle(self) -> None:
        """Everything comes to rest, without time going on."""
        busy = True
        while busy:
            busy = False
            for number in range(len(self.tables)):
                busy |= self.step(number, 1000)
                busy |= self.relay(number, 1000)

    # As the engine does it -------------------------------------------------------------------

    def _partition(self, customer: str) -> int:
        return partition_of(customer, len(self.tables))

    def _decide(self, tables: Tables, some: Sequence[LogRecord], reached: datetime) -> Batch:
        events, refused = readable(some)
        assert not refused
        batch = Batch(0, 1, 1, 1, 0, reached, reached, offered=True)
        names = {given.customer for given in events} | set(tables.rows)
        found = {name: row for name in names if (row := tables.load(name)) is not None}
        deciding = Deciding(self.book, batch, found)
        for given in events:
            since = asked_since(found.get(given.customer), given.event)
            stored = [
                event
                for event in tables.history.get(given.customer, ())
                if since is not None
                and event.received_at is not None
                and event.received_at > since
                and event.kind in HAPPENINGS
            ]
            deciding.event(given, stored)
        due = [n for n, row in found.items() if (at := next_due(row)) is not None and at <= reached]
        for name in dict.fromkeys([*due, *deciding.due_now(reached)]):
            deciding.tick(name, reached)
        return deciding.finish(())

    def _store(self, tables: Tables, batch: Batch) -> None:  # noqa: C901 - table by table
        tables.set_aside += batch.set_aside
        for name, customer in batch.changed.items():
            tables.rows[name] = msgspec.json.encode(customer.traits), pack(customer.state)
        for _, name, received_at, *_, payload in batch.history:
            tables.history.setdefault(name, []).append(decode(payload, received_at))
        for name, record in batch.moved.records:
            self._take(tables, name, record)
        for queued in batch.messages:
            tables.messages[queued.id] = Message(batch.customers_of[queued.id], queued)
        for withdrawn in batch.withdrawn:
            message = tables.messages.get(withdrawn.message_id)
            if message is not None and message.status == "queued":
                message.status = "run_ended"
        for name, said in batch.consents:
            if said.counts:
                self._consent(tables, name, said.channel, said.at, said.granted, tie=True)
        for _name, converted in batch.conversions:
            tables.conversions[converted.run_id] += 1
        tables.forwarded.update(batch.moved.belongs)
        for name, out in batch.moved.out:
            self._send(tables, name, out)
        tables.outbox += batch.emitted

    def _take(self, tables: Tables, name: str, record: Record) -> None:
        row = record.row
        if record.table == "messages":
            message = self.moving.pop(row["id"])
            message.customer = name
            assert row["id"] not in tables.messages, "taken over twice"
            tables.messages[row["id"]] = message
        else:
            at = msgspec.convert(row["stated_at"], datetime)
            self._consent(tables, name, row["channel"], at, row["granted"], tie=False)

    def _consent(
        self, tables: Tables, name: str, channel: str, at: datetime, granted: bool, *, tie: bool
    ) -> None:
        before = tables.consents.get((name, channel))
        if before is None or at > before[0] or (tie and at == before[0]):
            tables.consents[name, channel] = (at, granted)

    def _send(self, tables: Tables, name: str, out: MoveOut | CarryOn) -> None:
        whole, part = Merge(name), 0
        if isinstance(out, CarryOn):
            part = out.part
        else:
            taken = [
                message_id
                for message_id, message in tables.messages.items()
                if message.customer == name and message.status == "queued" and not message.attempts
            ]
            self.moving |= {message_id: tables.messages.pop(message_id) for message_id in taken}
            said = {key: tables.consents.pop(key) for key in [*tables.consents] if key[0] == name}
            records = [
                *(Record("messages", {"id": message_id}) for message_id in taken),
                *(
                    Record("consents", {"channel": channel, "stated_at": at, "granted": granted})
                    for (_, channel), (at, granted) in said.items()
                ),
            ]
            whole = msgspec.structs.replace(out.packed, records=tuple(records))
        events = tables.history.pop(name, [])
        events.sort(key=lambda e: (e.received_at, e.timestamp, e.id))
        events, rest = events[:CARRIED_EVENTS], events[CARRIED_EVENTS:]
        if rest:
            tables.history[name] = rest
        whole = msgspec.structs.replace(whole, events=tuple(events))
        tables.outbox += [
            merge_event(
                source=name, user_id=out.to, part=f"{out.base}:{part}:{number}",
                content=content(piece), at=out.at,
            )
            for number, piece in enumerate(parts(whole, PART_BYTES))
        ]  # fmt: skip
        if len(events) == CARRIED_EVENTS:
            tables.outbox.append(
                carry_event(
                    anonymous_id=name, user_id=out.to, base=out.base, part=part + 1, at=out.at
                )
            )

    # What it came to -------------------------------------------------------------------------

    def customers(self) -> dict[str, Customer]:
        found: dict[str, Customer] = {}
        for tables in self.tables:
            for name in tables.rows:
                row = tables.load(name)
                assert row is not None
                found[name] = row
        return found

    def root(self, name: str) -> str:
        """Whom an id belongs to. Fails on a circle."""
        customers = self.customers()
        met = [name]
        while to := customers[met[-1]].state.forward if met[-1] in customers else "":
            assert to not in met, f"a circle: {met}"
            met.append(to)
        return met[-1]

    def state(self, name: str) -> State:
        row = self.customers().get(name)
        return State(needs=self.book.needs.id) if row is None else row.state

    def messages(self) -> dict[str, Message]:
        assert not self.moving
        found: dict[str, Message] = {}
        for tables in self.tables:
            for message_id, message in tables.messages.items():
                assert message_id not in found, f"{message_id} is in two places"
                found[message_id] = message
        return found

    def history(self) -> dict[str, Counter[str]]:
        return {
            name: Counter(event.id for event in events)
            for tables in self.tables
            for name, events in tables.history.items()
        }
