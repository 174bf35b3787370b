"""Asking for an erasure, and what has become of it.

The asking is one event in the customer's log, behind everything that was received until then; the
engine erases when it meets it. Ids that belong to the customer are told in the same transaction.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import structlog

from services.console.erasure_ledger import Entry, Ledger
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import installation_id, installation_key, partition_count
from shared.erasure import LOG_RETENTION, hash_of_customer
from shared.errors import ConfigurationError, NotFound
from shared.event import Event, erase_event, partition_of
from shared.log import outbox

logger = structlog.get_logger()

State = Literal["asked", "erased", "complete"]
Kept = Literal["kept", "missing", "none"]
How = Literal["deleted", "emptied", "renamed"]

ERASES = (
    "traits, consents and their ledger, devices",
    "live runs, goals, entries and what segments know of them",
    "the history and timers",
    "messages that are not attempted (withdrawn) and places under frequency caps",
    "rendered bodies and contexts of messages, and what providers answered",
    "links to anonymous ids, and what those hold",
    "events set aside as unusable, within the hour",
    "records of the event log, when its retention has passed",
)
KEEPS = (
    "a keyed hash in place of the id, on messages, conversions and this receipt: counts stay",
    "hashes of suppressed addresses, so that nobody is written to who must not be",
    "digests of message ids for 7 days, so that a repeated event begins nobody anew",
)
_EMPTIED = {"customers", "messages", "attempts"}
_RENAMED = {"conversions"}


@dataclass(frozen=True, slots=True)
class Reached:
    """What has been erased in one table, over all ids of the customer."""

    table: str
    rows: int
    how: How
    """`emptied`: the row stays, for the counts or to refuse what is late, with nothing in it;
    `renamed`: it stands under the hash."""


@dataclass(frozen=True, slots=True)
class Erasure:
    id: str
    state: State
    customer_hash: str
    requested_at: datetime
    requested_by: str
    erased_at: datetime | None
    """When the owner of the customer took it in; None: not yet."""
    complete_at: datetime
    """When nothing received before can come any more."""
    ids: int = 0
    """The customer's own id and linked ones, as far as they are erased."""
    erased: Sequence[Reached] = ()
    ledger: Kept = "none"
    """Whether the erasure also stands outside the database, so that a backup that is restored is
    erased again: `kept`; `missing` if the ledger could not be written to; `none` without one."""
    erases: Sequence[str] = ERASES
    keeps: Sequence[str] = KEEPS


_LINKED = "SELECT id FROM customers WHERE forwarded_to = $1 ORDER BY id"
_OWNER = "SELECT forwarded_to FROM customers WHERE partition = $1 AND id = $2"
_MOST_PASSED = 64
_INSERT = """
INSERT INTO erasures
  (id, customer, customer_hash, linked_hashes, requested_at, requested_by, erased_at, complete_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""
_PARTS = "SELECT rows FROM erased_parts WHERE request = $1"


async def belongs_to(connection: Connection, customer: str, partitions: int) -> str:
    """The customer whom an id belongs to: itself, unless it has been linked."""
    for _ in range(_MOST_PASSED):
        partition = partition_of(customer, partitions)
        owner = await connection.fetchval(_OWNER, partition, customer)
        if owner is None:
            break
        customer = owner
    return customer


async def linked_ids(connection: Connection, customer: str) -> list[str]:
    return [row["id"] for row in await connection.fetch(_LINKED, customer)]


async def ask(
    pool: Pool, customer: str, by: str, clock: Clock, ledger: Ledger | None = None
) -> Erasure:
    """Raises Unavailable; then nothing has been asked for."""
    request = f"erasure-{uuid4().hex}"
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        partitions = await partition_count(connection)
        customer = await belongs_to(connection, customer, partitions)
        others = await linked_ids(connection, customer)
        at = clock.at(await connection.fetchval("SELECT clock_timestamp()"))
        key = await installation_key(connection)
        hashes = tuple(hash_of_customer(name, key) for name in (customer, *others))
        entry = Entry(await installation_id(connection), request, at, by, hashes)
        complete_at = at + LOG_RETENTION
        await put(connection, entry, customer, complete_at)
        ids = {customer: None, **dict.fromkeys(others, customer)}
        await outbox.put(connection, erase_events(entry, customer, ids, at), partitions)
    kept = await _keep(ledger, entry)
    return Erasure(request, "asked", hashes[0], at, by, None, complete_at, ledger=kept)


async def put(
    connection: Connection,
    entry: Entry,
    customer: str | None,
    complete_at: datetime,
    erased_at: datetime | None = None,
) -> None:
    """Remember that an erasure is asked for; nothing where it is remembered already."""
    hashed, *linked = entry.customers
    asked = (entry.requested_at, entry.requested_by)
    await connection.execute(
        _INSERT, entry.id, customer, hashed, linked, *asked, erased_at, complete_at
    )


def erase_events(
    entry: Entry, main: str | None, ids: Mapping[str, str | None], at: datetime
) -> list[Event]:
    """One for each id, with whom it belongs to. The customer's own is first: what the ids that
    belong to them still hold goes behind it."""
    return [
        erase_event(
            request=entry.id if name == main else f"{entry.id}:{name}",
            customer=name,
            of=ids[name],
            at=at,
            by=entry.requested_by,
        )
        for name in sorted(ids, key=lambda each: (each != main, each))
    ]


async def _keep(ledger: Ledger | None, entry: Entry) -> Kept:
    """Behind the commit: what the ledger says must not be what nobody asked for."""
    if ledger is None:
        return "none"
    try:
        await asyncio.to_thread(ledger.append, [entry])
    except ConfigurationError as error:
        logger.error(
            "an erasure cannot be kept outside the database",
            action="erasure_ledger_failed",
            erasure=entry.id,
            error=str(error),
        )
        return "missing"
    return "kept"


async def find(pool: Pool, request: str, clock: Clock, ledger: Ledger | None = None) -> Erasure:
    """Raises NotFound, Unavailable."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        row: Any = await connection.fetchrow("SELECT * FROM erasures WHERE id = $1", request)
        parts = [part["rows"] for part in await connection.fetch(_PARTS, request)]
    if row is None:
        raise NotFound(f"there is no erasure `{request[:80]}`")
    erased = row["erased_at"] is not None
    state: State = "erased" if erased else "asked"
    if erased and clock.now() >= row["complete_at"]:
        state = "complete"
    return Erasure(
        request,
        state,
        row["customer_hash"],
        row["requested_at"],
        row["requested_by"],
        row["erased_at"],
        row["complete_at"],
        ids=len(parts),
        erased=_reached(parts),
        ledger=await _is_kept(ledger, request),
    )


def _reached(parts: Sequence[Mapping[str, int]]) -> list[Reached]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return [Reached(table, rows, _how(table)) for table, rows in sorted(total.items()) if rows]


def _how(table: str) -> How:
    if table in _EMPTIED:
        return "emptied"
    return "renamed" if table in _RENAMED else "deleted"


async def _is_kept(ledger: Ledger | None, request: str) -> Kept:
    if ledger is None:
        return "none"
    try:
        return "kept" if request in await asyncio.to_thread(ledger.read) else "missing"
    except ConfigurationError:
        return "missing"
