"""Sweeps: find the customers whom time alone has moved into or out of a segment.

A job of the leader. SQL finds them (`sweep_sql.py`); what becomes of them is for their owners to
decide, exactly, when the `look` that each is sent comes to them. Nothing is remembered from one
sweep to the next: what journeys know of memberships stands with the customers, so a sweep that dies
is simply followed by another, and a second look at the same customer finds nothing to do.

Looks go through the outbox a few at a time, as fast as the partition decides them, so that a mass
of customers who leave a segment at once holds nobody's events up.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

from services.journey import metrics
from services.journey.core import history, segments
from services.journey.core.book import Book, Watch
from services.journey.language.compile_segments import parse_segments
from services.journey.library import Current, Library
from services.journey.store import Store
from services.journey.sweep_sql import Sweep, sweep
from shared.clock import EPOCH, Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.event import look_event
from shared.log import outbox
from shared.log.port import LogEnds

logger = structlog.get_logger()

EVERY = timedelta(minutes=3)
"""Between the starts of two sweeps, by Dangol's clock. What time changes is found at most two of
these less one minute late, as long as a sweep and its looks take less than two minutes."""
_SHORTEST = 0.2
"""Real seconds between two sweeps, however fast the clock: up to 1,500 times as fast, what time
changes is still found within five of its minutes."""
_SIDE_BY_SIDE = 2
"""Statements at once: each keeps one core of the database busy."""
_AT_ONCE = 250_000
"""Customers whose partitions are asked in one statement: each reads the whole history, and holds
what it counts of each customer in memory, about a kilobyte for twenty segments."""
_MOST = 200_000
"""Customers that one statement finds; the next sweep finds the others."""
_CHUNK = 500
_LONGEST = 240.0
"""Real seconds that one statement may take."""
_PATIENCE = 60.0
"""Real seconds that a sweep waits for a partition that is behind."""
_PAUSE = 0.02

_SETTINGS = (
    "SET LOCAL jit = off; SET LOCAL work_mem = '256MB';"
    " SET LOCAL max_parallel_workers_per_gather = 0"
)
"""To compile some hundred small expressions takes longer than to evaluate them. The pass over the
history is sorted or hashed in memory where it can be, and made once: parallel workers would each
make all of it."""

_SIZES = "SELECT partition, count(*) AS n FROM customers GROUP BY partition ORDER BY partition"
_WAITING = """
SELECT (SELECT count(*) FROM (SELECT FROM log_outbox LIMIT $2) AS o) - log_offset
FROM partitions WHERE id = $1
"""
"""With the log's end added: how much is on its way to the partition's owner."""


@dataclass(frozen=True, slots=True)
class Swept:
    at: datetime
    changed: int
    """Customers who were sent a look."""
    seconds: float
    """Real seconds until all had been handed on."""


class Sweeps:
    def __init__(
        self,
        pool: Pool,
        library: Library,
        store: Store,
        log: LogEnds,
        clock: Clock,
        partitions: int,
    ) -> None:
        self._pool = pool
        self._library = library
        self._store = store
        self._log = log
        self._clock = clock
        self._partitions = partitions
        self._last: datetime | None = None

    @property
    def every(self) -> float:
        """Real seconds between the starts of two sweeps."""
        return max(self._clock.real_delay(EVERY), _SHORTEST)

    async def run(self) -> None:
        """The leader's job. Raises Unavailable."""
        await self.once()

    async def once(self) -> Swept:
        """One sweep over all partitions. Raises Unavailable."""
        started, current = time.perf_counter(), await self._library.refresh()
        now = await self._in_force(current.book)
        watches = [watch for watch in current.book.watches(now) if watch.segment.timed]
        changed = 0
        if watches:
            side_by_side = asyncio.Semaphore(_SIDE_BY_SIDE)

            async def one(partitions: list[int]) -> int:
                async with side_by_side:
                    return await self._sweep(partitions, current, watches, now)

            passes = await self._passes()
            done = await asyncio.gather(*map(one, passes), return_exceptions=True)
            for each in done:
                if isinstance(each, BaseException):
                    raise each
                changed += each
        swept = Swept(now, changed, time.perf_counter() - started)
        self._record(swept)
        return swept

    async def _in_force(self, book: Book) -> datetime:
        """Now; what has been published for a moment ahead is waited for."""
        left = book.newest_from - self._clock.now()
        if left >= timedelta(0):
            await asyncio.sleep(self._clock.real_delay(left) + 0.01)
        return max(self._clock.now(), book.newest_from)

    def _record(self, swept: Swept) -> None:
        metrics.SWEEP_SECONDS.observe(swept.seconds)
        metrics.SWEEP_CHANGED.inc(swept.changed)
        if self._last is not None:
            late = self._clock.now() - self._last
            metrics.SWEEP_LATENESS.set(late.total_seconds())
        self._last = swept.at

    async def _passes(self) -> list[list[int]]:
        """Partitions that are asked together: each pass reads the whole history once."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SIZES, timeout=_LONGEST)
        passes: list[list[int]] = []
        room = 0
        for row in rows:
            if row["n"] > room:
                passes.append([])
                room = _AT_ONCE
            passes[-1].append(row["partition"])
            room -= row["n"]
        return passes

    async def _sweep(
        self, partitions: list[int], current: Current, watches: Sequence[Watch], now: datetime
    ) -> int:
        asked = await asyncio.to_thread(
            sweep, watches, parse_segments(current.segments), partitions, now, _MOST
        )
        found = await self._find(asked)
        if sum(map(len, found.values())) == _MOST:
            logger.warning(
                "very many customers have changed their segments; the next sweep goes on",
                action="sweep_full",
                partitions=partitions,
            )
        return sum(
            [
                await self._hand_on(partition, ids, asked, current.book, now)
                for partition, ids in found.items()
            ]
        )

    async def _hand_on(
        self, partition: int, ids: Sequence[str], asked: Sweep, book: Book, now: datetime
    ) -> int:
        """How many were sent a look: all, unless the partition's owner does not get on."""
        sent = 0
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            if not asked.exact:
                chunk = await self._changed(partition, chunk, book, now)
            if not await self._has_room(partition):
                logger.warning(
                    "a partition is behind: its looks wait for the next sweep",
                    action="sweep_behind",
                    partition=partition,
                )
                break
            await self._send(chunk, now)
            sent += len(chunk)
        return sent

    async def _find(self, asked: Sweep) -> dict[int, list[str]]:
        """By partition."""
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute(_SETTINGS)
            try:
                rows = await connection.fetch(asked.text, *asked.arguments, timeout=_LONGEST)
            except asyncpg.StatementTooComplexError:
                logger.exception("a sweep's statement is too complex", action="sweep_failed")
                metrics.SWEEP_FAILURES.inc()
                return {}
        found: dict[int, list[str]] = {}
        for row in rows:
            found.setdefault(row["partition"], []).append(row["id"])
        return found

    async def _changed(
        self, partition: int, ids: Sequence[str], book: Book, now: datetime
    ) -> list[str]:
        """Those of whom the conditions themselves say that something has changed."""
        customers, _unreadable = await self._store.load(partition, ids)
        back_to = {name: segments.horizon(book, row, now) for name, row in customers.items()}
        if not back_to:
            return []
        earliest = min(back_to.values(), default=EPOCH)
        rows = await self._store.history(partition, ids, book.needs, earliest)
        return [
            name
            for name, row in customers.items()
            if segments.is_due(
                book, history.fill(row, book.needs, rows.get(name, ()), back_to[name]), now
            )
        ]

    async def _has_room(self, partition: int) -> bool:
        """Waits for the owner to have decided most of what is on its way; false if it does not."""
        deadline = time.perf_counter() + _PATIENCE
        while time.perf_counter() < deadline:
            async with unavailable_when_lost():
                ends = await self._log.ends()
            waiting = await self._pool.fetchval(_WAITING, partition, _CHUNK)
            if waiting + ends.get(partition, 0) < _CHUNK:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    async def _send(self, ids: Sequence[str], now: datetime) -> None:
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            looks = [look_event(customer=customer, at=now) for customer in ids]
            await outbox.put(connection, looks, self._partitions)
