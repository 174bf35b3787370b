"""Asking for an erasure, and what has become of it.

The asking is one event in the customer's log, behind everything that was received until then; the
engine erases when it meets it. Ids that belong to the customer are told in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import installation_key, partition_count
from shared.erasure import LOG_RETENTION, hash_of_customer
from shared.errors import NotFound
from shared.event import erase_event, partition_of
from shared.log import outbox

State = Literal["asked", "erased", "complete"]

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
    erases: Sequence[str] = ERASES
    keeps: Sequence[str] = KEEPS


_LINKED = "SELECT id FROM customers WHERE forwarded_to = $1 ORDER BY id"
_OWNER = "SELECT forwarded_to FROM customers WHERE partition = $1 AND id = $2"
_MOST_PASSED = 64
_INSERT = """
INSERT INTO erasures (id, customer, customer_hash, requested_at, requested_by, complete_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


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


async def ask(pool: Pool, customer: str, by: str, clock: Clock) -> Erasure:
    """Raises Unavailable; then nothing has been asked for."""
    request = f"erasure-{uuid4().hex}"
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        partitions = await partition_count(connection)
        customer = await belongs_to(connection, customer, partitions)
        others = await linked_ids(connection, customer)
        at = clock.at(await connection.fetchval("SELECT clock_timestamp()"))
        hashed = hash_of_customer(customer, await installation_key(connection))
        complete_at = at + LOG_RETENTION
        await connection.execute(_INSERT, request, customer, hashed, at, by, complete_at)
        events = [erase_event(request=request, customer=customer, at=at, by=by)]
        events += [
            erase_event(request=f"{request}:{other}", customer=other, of=customer, at=at, by=by)
            for other in others
        ]
        await outbox.put(connection, events, partitions)
    return Erasure(request, "asked", hashed, at, by, None, complete_at)


async def find(pool: Pool, request: str, clock: Clock) -> Erasure:
    """Raises NotFound, Unavailable."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        row: Any = await connection.fetchrow("SELECT * FROM erasures WHERE id = $1", request)
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
    )
