"""What breaks the tracking plan, counted by source, and told to the database every few seconds.

Counts may lose a few seconds in a crash: they are there to be looked at, nothing depends on them.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import structlog

from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.errors import Unavailable
from shared.lifecycle import pause
from shared.tracking import Violation

_logger = structlog.get_logger(__name__)

EVERY = 5.0
"""Real seconds between two reports to the database."""
MOST_OF_A_SOURCE = 1_000
"""Rows that one source may fill: what events are called is for whoever holds a browser key to say.
The rest is counted under no name."""
_MOST_WAITING = 10_000
_LONGEST_NAME = 200
_KEPT = timedelta(days=30)

_KNOWN = """
SELECT source, event, property, violation FROM plan_violations WHERE source = ANY($1::text[])
"""
_ADD = """
INSERT INTO plan_violations (source, event, property, violation, n, first_at, last_at)
SELECT source, event, property, violation, n, $6, $6
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
  AS new(source, event, property, violation, n)
ON CONFLICT (source, event, property, violation)
DO UPDATE SET n = plan_violations.n + excluded.n, last_at = excluded.last_at
"""
_FORGET = "DELETE FROM plan_violations WHERE last_at < $1"


class Key(NamedTuple):
    source: str
    event: str
    property: str
    violation: str


def _unnamed(key: Key) -> Key:
    return Key(key.source, "", "", key.violation)


class Store(Protocol):
    async def add(self, counts: Mapping[Key, int], at: datetime) -> None:
        """Raises Unavailable."""


class StoredViolations:
    """Implements `Store`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, counts: Mapping[Key, int], at: datetime) -> None:
        sources = sorted({key.source for key in counts})
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            known = {Key(*row) for row in await connection.fetch(_KNOWN, sources)}
            kept = folded(counts, known)
            # Everybody takes the rows in one order, so that two processes never wait in a circle.
            keys = sorted(kept)
            columns = list(zip(*keys, strict=True))
            await connection.execute(_ADD, *map(list, columns), [kept[key] for key in keys], at)
            await connection.execute(_FORGET, at - _KEPT)


def folded(counts: Mapping[Key, int], known: set[Key]) -> Counter[Key]:
    """The counts with what there is no room for under no name. Pure."""
    rows = Counter(key.source for key in known)
    kept: Counter[Key] = Counter()
    for key, n in counts.items():
        if key in known or key in kept:
            kept[key] += n
        elif rows[key.source] < MOST_OF_A_SOURCE:
            rows[key.source] += 1
            kept[key] += n
        else:
            kept[_unnamed(key)] += n
    return kept


class Violations:
    def __init__(self, store: Store | None, clock: Clock) -> None:
        """Without a store nothing is kept beyond the metrics."""
        self._store = store
        self._clock = clock
        self._new: Counter[Key] = Counter()

    def count(self, source: str, broken: Iterable[tuple[str, Violation]]) -> None:
        """`broken` are events' names and what each breaks."""
        if self._store is None:
            return
        for event, violation in broken:
            names = event[:_LONGEST_NAME], violation.property[:_LONGEST_NAME]
            key = Key(source, *names, violation.breach)
            room = key in self._new or len(self._new) < _MOST_WAITING
            self._new[key if room else _unnamed(key)] += 1

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; then once more."""
        while not stopping.is_set():
            await pause(stopping, EVERY)
            try:
                await self.settle()
            except Unavailable as error:
                _logger.warning(
                    "The counts of what breaks the tracking plan have to wait.",
                    action="ingest.violations",
                    error=str(error),
                )

    async def settle(self) -> None:
        """Raises Unavailable, having forgotten nothing."""
        told = self._new
        if self._store is None or not told:
            return
        self._new = Counter()
        try:
            await self._store.add(told, self._clock.now())
        except BaseException:
            self._new.update(told)
            raise
