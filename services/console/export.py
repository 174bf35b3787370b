"""Everything that is kept about a customer, as one JSON document, row by row."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from services.console.erasures import belongs_to, linked_ids
from services.journey.core.state import State, unpack
from shared import message
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import partition_count
from shared.errors import NotFound
from shared.event import partition_of

_PREFETCH = 200
_TABLES = {
    "consents": "SELECT channel, granted, stated_at FROM consents {of} ORDER BY channel",
    "consent_ledger": (
        "SELECT channel, granted, stated_at, source, wording, recorded_at, event_id,"
        " imported"
        " FROM consent_ledger {of} ORDER BY stated_at, event_id"
    ),
    "messages": (
        "SELECT id, journey, version, step, run_id, category, held_out, channels, channel,"
        " template, context, created_at, status, decision, reason, detail, decided_at,"
        " passed_over, provider_id,"
        " (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'partition' - 'message_id'"
        " ORDER BY a.number), '[]') FROM attempts a"
        " WHERE a.partition = m.partition AND a.message_id = m.id) AS attempts"
        " FROM messages m {of} ORDER BY created_at, id"
    ),
    "calls": (
        "SELECT id, journey, version, step, run_id, url, created_at, status, attempts, outcome,"
        " reason, detail, decided_at FROM calls {of} ORDER BY created_at, id"
    ),
    "cap_places": "SELECT message_id, taken_at, category, channel FROM cap_places {of}",
    "conversions": (
        "SELECT journey, version, run_id, held_out, held_by, variants, entered_at, at, value"
        " FROM conversions {of} ORDER BY at"
    ),
    "timers": "SELECT due_at FROM timers {of} ORDER BY due_at",
    "history": "SELECT received_at, event FROM history {of} ORDER BY received_at, id",
}
"""Section → its rows, `{of}` being one id of the customer's."""
_OF = "WHERE partition = $1 AND customer = $2"

_encode = msgspec.json.Encoder().encode


async def export(pool: Pool, customer: str) -> AsyncIterator[bytes]:
    """The document in pieces; raises NotFound before the first one, Unavailable at any time."""
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        partitions = await partition_count(connection)
        customer = await belongs_to(connection, customer, partitions)
        row = await connection.fetchrow(
            "SELECT traits, state FROM customers WHERE partition = $1 AND id = $2",
            partition_of(customer, partitions),
            customer,
        )
        if row is None:
            raise NotFound(f"there is no customer `{customer}`", hint="ids are case-sensitive")
        others = await linked_ids(connection, customer)
        head = {
            "customer": customer,
            "linked_ids": others,
            "traits": row["traits"],
            "state": _state(unpack(row["state"])),
        }
        yield _encode(head)[:-1]
        for section in _TABLES:
            yield b',"%s":[' % section.encode()
            first = True
            for name in (customer, *others):
                async for found in _rows(connection, section, name, partitions):
                    yield (b"" if first else b",") + _encode(found)
                    first = False
            yield b"]"
        yield b"}"


def _state(state: State) -> dict[str, Any]:
    """As far as it says something about a person."""
    kept = msgspec.to_builtins(state, builtin_types=())
    for name in ("seen", "spilled", "needs", "armed_at", "full"):
        kept.pop(name, None)
    return {**kept, "message_ids_remembered": len(state.seen)}


async def _rows(
    connection: Connection, section: str, customer: str, partitions: int
) -> AsyncIterator[dict[str, Any]]:
    query = _TABLES[section].format(of=_OF)
    partition = partition_of(customer, partitions)
    async for row in connection.cursor(query, partition, customer, prefetch=_PREFETCH):
        found = dict(row)
        if section == "messages":
            found["context"] = message.unpack(found["context"])
        yield found
