"""What one source may send: events a second, held by each process, and events a day, over all.

The rate is a bucket that holds a second's worth. A request is let in while the bucket is not empty,
whatever it then costs: a batch larger than the bucket must get through at some time, and its debt
keeps the next one waiting. The day's count lives in the table `key_usage`; each process adds what
it took about once a second and learns the sum, so that a day's limit is overstepped by about a
second's worth at most.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import structlog

from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.errors import BadInput, Unavailable
from shared.keys import Source
from shared.lifecycle import pause

_logger = structlog.get_logger(__name__)

_EVERY = 1.0
"""Seconds between two looks at the table."""
_LONGEST_WAIT = 300
"""Seconds: SDKs wait no longer than that, whatever they are told."""
_MOST_BUCKETS = 10_000

_ADD = """
INSERT INTO key_usage AS u (key_id, day, events)
SELECT *, $2::date, 0 FROM unnest($1::text[])
ON CONFLICT (key_id, day) DO NOTHING
"""
_COUNT = """
UPDATE key_usage u SET events = u.events + n.events
FROM unnest($1::text[], $3::bigint[]) AS n(key_id, events)
WHERE u.key_id = n.key_id AND u.day = $2
RETURNING u.key_id, u.events
"""


class TooMany(BadInput):
    """This source sends more than it may."""

    code = "rate_limited"
    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Whole seconds, at least 1."""


class Usage(Protocol):
    async def add(self, day: date, counts: Mapping[str, int]) -> dict[str, int]:
        """Add to the day's counts; returns the sums over all processes. Raises Unavailable."""


class StoredUsage:
    """Implements `Usage` on the table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, day: date, counts: Mapping[str, int]) -> dict[str, int]:
        ids = sorted(counts)  # in one order: two processes never wait for each other in a ring
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(_ADD, ids, day)
            rows = await connection.fetch(_COUNT, ids, day, [counts[key_id] for key_id in ids])
        return {row["key_id"]: row["events"] for row in rows}


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Quotas:
    """Asked only about sources that have a limit."""

    def __init__(
        self,
        usage: Usage | None,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `usage` nothing is counted beyond this process."""
        self._usage = usage
        self._clock = clock
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}
        self._day = clock.now().date()
        self._sums: dict[str, int] = {}
        """Events of the day over all processes, as last heard, and what was taken since."""
        self._new: dict[str, int] = {}
        """What the table has not heard of yet."""

    def admit(self, source: Source) -> None:
        """Raises TooMany if nothing of this source is taken now."""
        if source.rate is not None:
            bucket = self._bucket(source, source.rate)
            if bucket.tokens <= 0:
                seconds = math.ceil(-bucket.tokens / source.rate) or 1
                raise TooMany(
                    f"This key may send {source.rate:g} events a second.",
                    min(max(seconds, 1), _LONGEST_WAIT),
                )
        if source.daily is not None and self._today(source) >= source.daily:
            raise TooMany(f"This key may send {source.daily} events a day (UTC).", _LONGEST_WAIT)

    def took(self, source: Source, events: int) -> None:
        if source.rate is not None:
            self._bucket(source, source.rate).tokens -= events
        if source.daily is not None:
            self._today(source)
            self._sums[source.id] = self._sums.get(source.id, 0) + events
            self._new[source.id] = self._new.get(source.id, 0) + events

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell the table and hear from it, until `stopping`; then once more."""
        while not stopping.is_set():
            await pause(stopping, _EVERY)
            try:
                await self.settle()
            except Unavailable as error:
                _logger.warning(
                    "The day's counts have to wait.", action="ingest.usage", error=str(error)
                )

    async def settle(self) -> None:
        """Raises Unavailable, having forgotten nothing."""
        day, told = self._day, self._new
        asked = {**dict.fromkeys(self._sums, 0), **told}
        if self._usage is None or not asked:
            return
        self._new = {}
        try:
            sums = await self._usage.add(day, asked)
        except BaseException:
            for key_id, events in told.items():
                self._new[key_id] = self._new.get(key_id, 0) + events
            raise
        if day == self._day:
            for key_id, total in sums.items():
                self._sums[key_id] = total + self._new.get(key_id, 0)

    def _bucket(self, source: Source, rate: float) -> _Bucket:
        now, most = self._monotonic(), max(rate, 1.0)
        bucket = self._buckets.get(source.id)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[source.id] = _Bucket(most, now)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        return bucket

    def _today(self, source: Source) -> int:
        day = self._clock.now().date()
        if day != self._day:
            # What the table has not heard of yesterday's last second is let go.
            self._day, self._sums, self._new = day, {}, {}
        return self._sums.setdefault(source.id, 0)
