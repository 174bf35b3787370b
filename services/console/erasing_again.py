"""Holding the database and the ledger of erasures to each other.

What only the database knows is told to the ledger. What only the ledger knows was asked for after
the backup that the database was restored from: it is asked for again, under its old id, which makes
it harmless where the event log outside the database still has the first asking.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog

from services.console.erasure_ledger import Entry, Ledger
from services.console.erasures import erase_events, linked_ids, put
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import installation_id, installation_key, partition_count
from shared.erasure import LOG_RETENTION, hash_of_customer
from shared.errors import ConfigurationError, Unavailable
from shared.event import Event, decode_unstamped, partition_of
from shared.lifecycle import pause
from shared.log import outbox

logger = structlog.get_logger()

_EVERY = 3600.0
"""Real seconds between two looks for what the ledger has not been told."""
_PREFETCH = 5_000

_STORED = """
SELECT e.id, e.requested_at, e.requested_by, array_cat(ARRAY[e.customer_hash], e.linked_hashes)
  || ARRAY(SELECT p.customer_hash FROM erased_parts p WHERE p.request = e.id ORDER BY 1) AS hashes
FROM erasures e ORDER BY e.requested_at, e.id
"""
_KNOWN = "SELECT id FROM erasures"
_CUSTOMERS = "SELECT id, forwarded_to FROM customers"
# What the engine has not read yet, and what is still to be put into the log.
_UNREAD = """
SELECT l.payload FROM log l JOIN partitions p ON p.id = l.partition
WHERE l.log_offset > p.log_offset
UNION ALL SELECT payload FROM log_outbox
"""
# Before the engine meets the erasure, so that nobody writes to an erased customer meanwhile.
_WITHDRAW = """
UPDATE messages SET status = 'decided', decision = 'dropped', reason = 'run_ended',
  decided_at = greatest($3::timestamptz, created_at)
WHERE partition = $1 AND customer = $2 AND status IN ('staged', 'queued')
"""
_UNCALL = "DELETE FROM calls WHERE partition = $1 AND customer = $2 AND status = 'queued'"


@dataclass(frozen=True, slots=True)
class Again:
    """What a look into the ledger came to."""

    in_ledger: int
    """Erasures of this installation."""
    missing: int
    """Those that the database did not know: it is older than they are."""
    customers: int = 0
    """Ids that were found in the database and are erased again."""
    foreign: int = 0
    """Erasures in the ledger that are another installation's."""


_Ids = dict[str, str | None]
"""Ids that the database holds of an erased customer; whose each is, where it is linked."""


async def entries_of(connection: Connection) -> list[Entry]:
    """The erasures that the database knows, in the order in which they were asked for."""
    installation = await installation_id(connection)
    return [
        Entry(
            installation,
            row["id"],
            row["requested_at"],
            row["requested_by"],
            tuple(dict.fromkeys(row["hashes"])),
        )
        for row in await connection.fetch(_STORED)
    ]


async def tell_ledger(pool: Pool, ledger: Ledger) -> int:
    """Append what the ledger does not have; returns how many lines.

    Raises ConfigurationError, Unavailable.
    """
    new = await _untold(pool, await asyncio.to_thread(ledger.read))
    await asyncio.to_thread(ledger.append, new)
    return len(new)


async def unknown_to(pool: Pool, kept: Mapping[str, Entry]) -> int:
    """How many erasures of the database a ledger does not have. Raises Unavailable."""
    return len(await _untold(pool, kept))


async def _untold(pool: Pool, kept: Mapping[str, Entry]) -> list[Entry]:
    async with unavailable_when_lost(), pool.acquire() as connection:
        stored = await entries_of(connection)
    return [
        entry
        for entry in stored
        if (known := kept.get(entry.id)) is None or not {*entry.customers} <= {*known.customers}
    ]


async def keep_telling(pool: Pool, ledger: Ledger, stopping: asyncio.Event) -> None:
    """A service: what other processes were asked for reaches this ledger, too."""
    while not stopping.is_set():
        try:
            await tell_ledger(pool, ledger)
        except (ConfigurationError, Unavailable) as error:
            logger.error(
                "erasures cannot be kept outside the database",
                action="erasure_ledger_failed",
                error=str(error),
            )
        await pause(stopping, _EVERY)


async def look(pool: Pool, entries: Mapping[str, Entry]) -> Again:
    """What `erase_again` would find to do; changes nothing but the installation's key.

    Raises Unavailable.
    """
    async with unavailable_when_lost(), pool.acquire() as connection:
        own, missing = await _missing(connection, entries)
    return Again(len(own), len(missing), foreign=len(entries) - len(own))


async def erase_again(pool: Pool, entries: Mapping[str, Entry], clock: Clock) -> Again:
    """Ask again for what the database does not know, all of it or nothing; again does nothing.

    Reads through all ids if there is any: some seconds per million customers. Raises Unavailable.
    """
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        own, missing = await _missing(connection, entries)
        if not missing:
            return Again(len(own), 0, foreign=len(entries) - len(own))
        key = await installation_key(connection)
        restored = await _restored(connection, missing, key)
        partitions = await partition_count(connection)
        now = clock.at(await connection.fetchval("SELECT clock_timestamp()"))
        for entry in missing:
            await _ask(connection, entry, restored[entry.id], key, now, partitions)
    found = sum(map(len, restored.values()))
    logger.warning(
        "the database is older than the ledger of erasures: erased again",
        action="erased_again",
        erasures=len(missing),
        customers=found,
    )
    return Again(len(own), len(missing), found, len(entries) - len(own))


async def _missing(
    connection: Connection, entries: Mapping[str, Entry]
) -> tuple[list[Entry], list[Entry]]:
    """Those of this installation, and those among them that the database does not know."""
    here = await installation_id(connection)
    own = [entry for entry in entries.values() if entry.installation == here]
    known = {row["id"] for row in await connection.fetch(_KNOWN)}
    return own, [entry for entry in own if entry.id not in known]


async def _restored(
    connection: Connection, missing: Sequence[Entry], key: bytes
) -> dict[str, _Ids]:
    """By request: everybody in the database whose hash it names."""
    by_hash: dict[str, list[str]] = defaultdict(list)
    for entry in missing:
        for hashed in entry.customers:
            by_hash[hashed].append(entry.id)
    found: dict[str, _Ids] = {entry.id: {} for entry in missing}
    async for row in connection.cursor(_CUSTOMERS, prefetch=_PREFETCH):
        for request in by_hash.get(hash_of_customer(row["id"], key), ()):
            found[request][row["id"]] = row["forwarded_to"]
    async for row in connection.cursor(_UNREAD, prefetch=_PREFETCH):
        for name in _named(row["payload"]):
            for request in by_hash.get(hash_of_customer(name, key), ()):
                found[request].setdefault(name, None)
    return found


def _named(payload: bytes) -> Iterator[str]:
    try:
        event: Event = decode_unstamped(payload)
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
    ):  # nobody's event: the engine will set it aside
        return
    if event.kind != "catalog":
        yield from filter(None, (event.customer, event.user_id, event.anonymous_id))


async def _ask(
    connection: Connection,
    entry: Entry,
    ids: Mapping[str, str | None],
    key: bytes,
    now: datetime,
    partitions: int,
) -> None:
    # An id that belongs to somebody who is not erased was not hers when this backup was made.
    theirs = {name: of for name, of in ids.items() if of is None or of in ids}
    hashed = entry.customers[0]
    main = next((name for name in theirs if hash_of_customer(name, key) == hashed), None)
    if main is not None:
        theirs |= {name: main for name in await linked_ids(connection, main) if name not in theirs}
    complete_at = max(now, entry.requested_at) + LOG_RETENTION
    await put(connection, entry, main, complete_at, erased_at=None if main is not None else now)
    await outbox.put(connection, erase_events(entry, main, theirs, now), partitions)
    for name in theirs:
        place: tuple[Any, ...] = (partition_of(name, partitions), name)
        await connection.execute(_WITHDRAW, *place, now)
        await connection.execute(_UNCALL, *place)
