"""The stored history, customer by customer, in one snapshot and with bounded memory.

At most `CHUNK_CUSTOMERS` customers or `CHUNK_EVENTS` events are held at a time, and of one
customer the newest `MOST_EVENTS`: some 100 MB with events of a kilobyte, however long the history.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.console.backtesting.running import Backtest
from services.console.backtesting.sides import Known, Side
from services.journey.core.state import unpack
from services.journey.language.workspace import Workspace, load_workspace
from shared import workspace_store
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import partition_count
from shared.event import Event, catalog_key, decode_unstamped, partition_of

CHUNK_CUSTOMERS = 1_000
CHUNK_EVENTS = 20_000
MOST_EVENTS = 20_000
_PREFETCH = 2_000

# Traits and ids always; events by the names that conditions count or, in the stretch itself, that
# journeys listen for.
_ROWS = """
SELECT customer, received_at, event::text AS event FROM history
WHERE partition = $1 AND received_at < $3 AND (
  kind IN ('identify', 'alias', 'enter')
  OR (kind IN ('track', 'receipt') AND (name = ANY($4) OR (received_at >= $2 AND name = ANY($5))))
  OR (event ? 'user_id' AND event ? 'anonymous_id'))
ORDER BY customer, received_at, happened_at, id
"""
_TOTAL = "SELECT count(*) FROM history WHERE received_at >= $1 AND received_at < $2"
_CATALOGUE = """
SELECT received_at, event::text AS event FROM history
WHERE partition = ANY($1::int[]) AND customer = ANY($2::text[]) AND kind = 'catalog'
  AND received_at >= $3 AND received_at < $4
ORDER BY received_at DESC, id LIMIT $5
"""
_KNOWN = """
SELECT c.id, c.traits, c.state, (
  SELECT jsonb_object_agg(l.channel, jsonb_build_array(l.stated_at, l.granted)) FROM (
    SELECT DISTINCT ON (channel) channel, stated_at, granted FROM consent_ledger
    WHERE partition = c.partition AND customer = c.id AND stated_at <= $3
    ORDER BY channel, stated_at DESC) l) AS consents
FROM customers c WHERE c.partition = $1 AND c.id = ANY($2)
"""
_CUSTOMERS = "SELECT count(*) FROM customers WHERE forwarded_to IS NULL"
_STOPPED = "SELECT id FROM journeys WHERE status <> 'active'"

Progress = Callable[[int, int], None]
"""Customers who have been met, and all of them."""


@dataclass(slots=True)
class Chunk:
    """Some customers with all that matters of theirs."""

    events: dict[str, deque[Event]] = field(default_factory=dict)
    size: int = 0

    def add(self, customer: str, event: Event) -> None:
        kept = self.events.get(customer)
        if kept is None:
            kept = self.events[customer] = deque(maxlen=MOST_EVENTS)
        kept.append(event)
        self.size += 1

    @property
    def is_full(self) -> bool:
        return self.size >= CHUNK_EVENTS or len(self.events) >= CHUNK_CUSTOMERS


@dataclass(frozen=True, slots=True)
class Found:
    """What a backtest found."""

    report: dict[str, Any]
    events: int
    """Of the stretch."""
    replayed: int
    """Those that matter to one of the two workspaces, and those of before that do."""
    stopped: tuple[str, ...]
    """Journeys that are paused or archived, which are left out of both."""
    seconds: float


async def backtest(
    pool: Pool, draft: Workspace, span: timedelta, now: datetime, progress: Progress
) -> Found:
    """`draft` is free of problems. Raises Unavailable."""
    clock = asyncio.get_running_loop().time
    began, since = clock(), now - span
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        published = await workspace_store.newest(connection)
        live = load_workspace({} if published is None else published.files)
        found = [row["id"] for row in await connection.fetch(_STOPPED)]
        stopped = tuple(name for name in found if name in live.flows)
        sides = Side.of(draft, stopped), Side.of(live, stopped)
        run = Backtest(*sides, since, now, await _catalogue(connection, sides, since, now))
        total: int = await connection.fetchval(_TOTAL, since, now)
        scored = draft.settings.rfm is not None or live.settings.rfm is not None
        customers: int = await connection.fetchval(_CUSTOMERS)

        def met() -> None:
            progress(run.customers, customers)

        replayed = await _all(connection, run, met, scored=scored)
    return Found(run.report(), total, replayed, stopped, clock() - began)


async def _catalogue(
    connection: Connection, sides: tuple[Side, Side], since: datetime, until: datetime
) -> list[Event]:
    """The newest `MOST_EVENTS` of those that some audience listens for, each once, oldest first."""
    keys = [catalog_key(name) for side in sides for name in sorted(side.catalogue)]
    if not keys:
        return []
    partitions = await partition_count(connection)
    places = [partition_of(key, partitions) for key in keys]
    rows = await connection.fetch(_CATALOGUE, places, keys, since, until, MOST_EVENTS)
    events = [_event(row["event"], row["received_at"]) for row in reversed(rows)]
    return list({event.id: event for event in reversed(events)}.values())[::-1]


async def _all(
    connection: Connection, run: Backtest, met: Callable[[], None], *, scored: bool
) -> int:
    counted = list({*run.draft.needs, *run.live.needs})
    heard = list(run.draft.names | run.live.names)
    partitions = await partition_count(connection)
    replayed = 0
    for partition in range(partitions):
        chunk, last = Chunk(), ""
        rows = connection.cursor(
            _ROWS, partition, run.since, run.until, counted, heard, prefetch=_PREFETCH
        )
        async for customer, received_at, raw in rows:
            if customer != last and chunk.is_full:
                await _take(connection, run, partition, chunk, scored=scored)
                replayed += chunk.size
                met()
                chunk = Chunk()
            chunk.add(customer, _event(raw, received_at))
            last = customer
        await _take(connection, run, partition, chunk, scored=scored)
        replayed += chunk.size
        met()
    return replayed


async def _take(
    connection: Connection, run: Backtest, partition: int, chunk: Chunk, *, scored: bool
) -> None:
    if not chunk.events:
        return
    rows = await connection.fetch(_KNOWN, partition, list(chunk.events), run.since)
    known = {row["id"]: _known(row, scored=scored) for row in rows}

    def work() -> None:
        for customer, events in chunk.events.items():
            run.customer(customer, tuple(events), known.get(customer) or Known())

    await asyncio.to_thread(work)


def _known(row: Any, *, scored: bool) -> Known:
    consents = {
        channel: (datetime.fromisoformat(at), granted)
        for channel, (at, granted) in (row["consents"] or {}).items()
    }
    score = unpack(row["state"]).rfm if scored else None
    return Known(row["traits"], consents, score)


def _event(raw: str, received_at: datetime) -> Event:
    """As the log first had it: under the ids that it came with."""
    event = decode_unstamped(raw.encode())
    return msgspec.structs.replace(event, received_at=received_at, forwarded_to=None, passed=())
