"""A batch's new rows, written for COPY: history, customers, timers and messages.

They are most of what a commit stores, so they are written here as bytes; see
`shared/db/copying.py`. Each function's columns stand before it, in the order of the row's fields.
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from services.journey.batch import Batch
from services.journey.core.effects import QueueMessage
from services.journey.core.state import Customer, pack
from shared import message
from shared.db.copying import micros, text

_first = struct.Struct(">hii").pack
"""The number of fields, then one of four bytes: the partition."""
_number = struct.Struct(">ii").pack
_instant = struct.Struct(">iq").pack
_length = struct.Struct(">i").pack
_json_length = struct.Struct(">ib").pack
"""A jsonb is its version and its text."""
_instants = struct.Struct(">iqiqiq").pack
_happened = struct.Struct(">iqib").pack
"""An instant, and the beginning of a jsonb behind it."""
_TEXT = 25
"""PostgreSQL's number of the type, which stands in arrays."""

HISTORY = ("partition", "customer", "received_at", "id", "kind", "name", "happened_at", "event")


def history(rows: Iterable[tuple[Any, ...]]) -> list[bytes]:
    parts: list[bytes] = []
    kinds: dict[tuple[str, str], bytes] = {}
    for partition, customer, received_at, id_, kind, name, happened_at, event in rows:
        named = kinds.get((kind, name))
        if named is None:
            named = kinds[kind, name] = text(kind) + text(name)
        parts += (
            _first(8, 4, partition),
            text(customer),
            _instant(8, micros(received_at)),
            text(id_),
            named,
            _happened(8, micros(happened_at), len(event) + 1, 1),
            event,
        )
    return parts


CUSTOMERS = ("partition", "id", "traits", "state", "members")


def customers(partition: int, new: Iterable[Customer]) -> list[bytes]:
    parts: list[bytes] = []
    first = _first(len(CUSTOMERS), 4, partition)
    for customer in new:
        state = pack(customer.state)
        parts += (
            first,
            text(customer.id),
            _json(customer.traits),
            _length(len(state)),
            state,
            _json(members(customer)),
        )
    return parts


def members(customer: Customer) -> dict[str, tuple[int, bool]]:
    known = customer.state.members
    return {journey: (member.baseline, member.inside) for journey, member in known.items()}


def _json(value: dict[str, Any]) -> bytes:
    raw = msgspec.json.encode(value) if value else b"{}"
    return _json_length(len(raw) + 1, 1) + raw


TIMERS = ("partition", "due_at", "customer")


def timers(partition: int, new: Iterable[tuple[datetime, str]]) -> list[bytes]:
    first = _first(len(TIMERS), 4, partition)
    return [piece for due, name in new for piece in (first, _instant(8, micros(due)), text(name))]


MESSAGES = (
    "partition",
    "journey",
    "version",
    "step",
    "category",
    "priority",
    "held_out",
    "channels",
    "template",
    "status",
    "id",
    "customer",
    "run_id",
    "context",
    "created_at",
    "decidable_at",
    "not_before",
)


def messages(batch: Batch, status: str) -> list[bytes]:
    parts: list[bytes] = []
    first = _first(len(MESSAGES), 4, batch.partition)
    steps: dict[tuple[str, int, str, bool], bytes] = {}
    """What all messages of one step have in common."""
    for made in batch.messages:
        step = (made.journey, made.version, made.step, made.held_out)
        common = steps.get(step)
        if common is None:
            common = steps[step] = first + _common(made, status)
        context, at = message.pack(made.context), micros(made.at)
        parts += (
            common,
            text(made.id),
            text(batch.customers_of[made.id]),
            text(made.run_id),
            _length(len(context)),
            context,
            _instants(8, at, 8, at, 8, at),
        )
    return parts


def _common(made: QueueMessage, status: str) -> bytes:
    return b"".join(
        (
            text(made.journey),
            _number(4, made.version),
            text(made.step),
            text(made.category),
            _number(4, made.priority),
            _length(1) + bytes((made.held_out,)),
            _texts(made.channels),
            text(made.template),
            text(status),
        )
    )


def _texts(values: tuple[str, ...]) -> bytes:
    """An array: its dimensions, whether it holds nulls, its type, its length, its first place."""
    raw = struct.pack(">iiiii", 1, 0, _TEXT, len(values), 1) + b"".join(map(text, values))
    return _length(len(raw)) + raw
