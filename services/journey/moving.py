"""Identity in tables: what is sent out of them for the customer an id belongs to, and taken in.

All of it happens within the transaction that stores the batch, in the partition that it belongs
to: rows leave their table in the transaction that puts them into the outbox, and enter the other
partition's in the one that takes the merge in. So each is always in one of the three places.

A message or call with an attempt stays behind, and its outcome is forwarded; with a message stay
the profile and consent by which a retry would be decided, which go when it has been decided.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.journey.batch import Batch
from services.journey.core.identity_effects import CarryOn, MoveOut
from services.journey.core.merge import AWAITED, Merge, Record, content, parts
from services.journey.core.merging import MOST_WITNESSED
from shared import call, message
from shared.db.connect import Connection
from shared.event import Event, carry_event, merge_event
from shared.log import outbox

CARRIED_EVENTS = 500
"""Events of the history that one transaction carries over; the log brings the reminder of more."""

_MESSAGES = """
DELETE FROM messages m WHERE m.partition = $1 AND m.customer = $2
  AND m.status IN ('staged', 'queued') AND m.attempts = 0
RETURNING to_jsonb(m) AS row
"""
_CALLS = """
DELETE FROM calls c WHERE c.partition = $1 AND c.customer = $2
  AND c.status IN ('staged', 'queued') AND c.attempts = 0
RETURNING to_jsonb(c) AS row
"""
_PLACES = "SELECT to_jsonb(p) AS row FROM cap_places p WHERE p.partition = $1 AND p.customer = $2"
_CONSENTS = "SELECT to_jsonb(c) AS row FROM consents c WHERE c.partition = $1 AND c.customer = $2"
_LEDGER = """
DELETE FROM consent_ledger l WHERE l.partition = $1 AND l.customer = $2 RETURNING to_jsonb(l) AS row
"""
_EVENTS = """
WITH oldest AS (
  SELECT received_at, id FROM history WHERE partition = $1 AND customer = $2
  ORDER BY received_at, happened_at, id LIMIT $3
)
DELETE FROM history h USING oldest o
WHERE h.partition = $1 AND h.customer = $2 AND h.received_at = o.received_at AND h.id = o.id
RETURNING h.received_at, h.happened_at, h.id, h.event
"""
_BELONG = """
UPDATE customers c SET forwarded_to = nullif(b.owner, '')
FROM unnest($2::text[], $3::text[]) AS b(id, owner) WHERE c.partition = $1 AND c.id = b.id
"""
# Of ids that belong to somebody else and have no message any more: what was kept for it.
_LET_GO = """
WITH gone AS (
  UPDATE customers c SET traits = '{}' WHERE c.partition = $1 AND c.id = ANY($2::text[])
    AND c.forwarded_to IS NOT NULL AND NOT EXISTS (
      SELECT FROM messages m WHERE m.partition = $1 AND m.customer = c.id AND m.status <> 'decided')
  RETURNING c.id
), consents_gone AS (
  DELETE FROM consents k USING gone g WHERE k.partition = $1 AND k.customer = g.id
)
DELETE FROM cap_places p USING gone g WHERE p.partition = $1 AND p.customer = g.id
"""
_WITNESSED = """
SELECT a.place, h.received_at, h.event
FROM unnest($2::int[], $3::text[], $4::timestamptz[]) AS a(place, customer, since)
CROSS JOIN LATERAL (
  SELECT h.received_at, h.event FROM history h
  WHERE h.partition = $1 AND h.customer = a.customer AND h.received_at > a.since
    AND h.kind IN ('track', 'receipt')
  ORDER BY h.received_at DESC LIMIT $5) h
"""
_POPULATED = """
FROM unnest($2::text[], $3::jsonb[]) AS t(customer, row)
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table},
  t.row || jsonb_build_object('partition', $1::int, 'customer', t.customer){more}) AS r
"""


def _insert(table: str, conflict: str, more: str = "") -> str:
    return (
        f"INSERT INTO {table} AS o SELECT r.* "
        f"{_POPULATED.format(table=table, more=more)} ON CONFLICT {conflict}"
    )


_TAKE = {
    "messages": _insert("messages", "DO NOTHING", " || jsonb_build_object('status', $4::text)"),
    "calls": _insert("calls", "DO NOTHING", " || jsonb_build_object('status', $4::text)"),
    "cap_places": _insert("cap_places", "DO NOTHING"),
    "consents": _insert(
        "consents",
        "(partition, customer, channel) DO UPDATE SET granted = excluded.granted,"
        " stated_at = excluded.stated_at WHERE excluded.stated_at > o.stated_at",
    ),
    "consent_ledger": _insert("consent_ledger", "DO NOTHING"),
}
"""On a tie of two statements the known customer's stays."""


async def take_in(connection: Connection, batch: Batch) -> None:
    """Before the batch's own messages and withdrawals, which may concern what is taken in."""
    rows: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for customer, record in batch.moved.records:
        rows.setdefault(record.table, []).append((customer, record.row))
    for table, taken in rows.items():
        status = ("queued" if batch.offered else "staged",) if table in AWAITED else ()
        for customer, row in taken:  # one by one: two rows may be for one key
            await connection.execute(_TAKE[table], batch.partition, [customer], [row], *status)
    for table, channel in (("messages", message.CHANNEL), ("calls", call.CHANNEL)):
        if table in rows and batch.offered:
            await connection.execute("SELECT pg_notify($1, '')", channel)
    if batch.moved.given_back:
        await connection.execute(
            "DELETE FROM cap_places WHERE partition = $1 AND message_id = ANY($2::text[])",
            batch.partition,
            batch.moved.given_back,
        )


async def send_out(connection: Connection, batch: Batch) -> None:
    """Behind everything else that the batch stores, and before the events it forwards."""
    moved = batch.moved
    if moved.belongs:
        await connection.execute(
            _BELONG, batch.partition, list(moved.belongs), list(moved.belongs.values())
        )
    for customer, out in moved.out:
        await _send(connection, batch, customer, out)
    left = sorted({customer for customer, _ in moved.out} | moved.let_go)
    if left:
        await connection.execute(_LET_GO, batch.partition, left)


async def _send(
    connection: Connection, batch: Batch, customer: str, out: MoveOut | CarryOn
) -> None:
    whole, part = Merge(customer), 0
    if isinstance(out, CarryOn):
        part = out.part
    else:
        records = await _records(connection, batch.partition, customer)
        whole = msgspec.structs.replace(out.packed, records=records)
    events = await _events(connection, batch.partition, customer)
    whole = msgspec.structs.replace(whole, events=tuple(events))
    sent = [
        merge_event(
            source=customer,
            user_id=out.to,
            part=f"{out.base}:{part}:{number}",
            content=content(piece),
            at=out.at,
        )
        for number, piece in enumerate(parts(whole))
    ]
    if len(events) == CARRIED_EVENTS:
        more = carry_event(
            anonymous_id=customer, user_id=out.to, base=out.base, part=part + 1, at=out.at
        )
        sent.append(more)
    await outbox.put(connection, sent, batch.partitions)


async def _records(connection: Connection, partition: int, customer: str) -> tuple[Record, ...]:
    found: list[Record] = []
    for table, statement in (
        ("messages", _MESSAGES),
        ("calls", _CALLS),
        ("cap_places", _PLACES),
        ("consents", _CONSENTS),
        ("consent_ledger", _LEDGER),
    ):
        rows = await connection.fetch(statement, partition, customer)
        found += [Record(table, row["row"]) for row in rows]
    return tuple(found)


async def _events(connection: Connection, partition: int, customer: str) -> Sequence[Event]:
    rows = await connection.fetch(_EVENTS, partition, customer, CARRIED_EVENTS)
    rows.sort(key=lambda row: (row["received_at"], row["happened_at"], row["id"]))
    return [_event(row) for row in rows]


async def witnessed(
    connection: Connection, partition: int, asked: Sequence[tuple[int, str, datetime]]
) -> dict[int, list[Event]]:
    """Place → the customer's newest events since the instant, up to a bound."""
    columns = [list(column) for column in zip(*asked, strict=True)]
    found: dict[int, list[Event]] = {}
    for row in await connection.fetch(_WITNESSED, partition, *columns, MOST_WITNESSED):
        found.setdefault(row["place"], []).append(_event(row))
    return found


def _event(row: Any) -> Event:
    """An event of the history as its customer has taken it in."""
    event = msgspec.convert(row["event"], Event)
    return msgspec.structs.replace(event, received_at=row["received_at"])
