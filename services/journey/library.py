"""What has been published, compiled: the `Book` the core decides by, kept current.

Apply refuses what does not compile. Still, a stored version may be found that does not: another
release wrote it, or its row is damaged. It starts nobody and its runs rest (`core/resting.py`);
everything else goes on, and it is tried again until it can be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import structlog

from services.journey import metrics, published
from services.journey.core.book import EMPTY, Book
from services.journey.core.flow import Flow, Segment
from services.journey.language.compile_segments import SegmentSource, sound_sources
from shared.db.connect import Connection, Pool, unavailable_when_lost

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Current:
    stamp: int
    """Grows with every apply, pause, resume and archiving: the fence of a commit compares it."""
    book: Book
    settling: tuple[int, datetime] | None = None
    """The newest revision with a rule for runs in flight, and when it came into force."""
    segments: Mapping[str, SegmentSource] = field(default_factory=dict)
    """The newest revision's."""
    unreadable: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Journey and version → why it can be used no more."""


class Library:
    """Loads the book; `current` is what batches are decided by until the next `refresh`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._compiled: dict[tuple[str, int], Flow] = {}
        self._of_segments: dict[bytes, Mapping[str, Segment]] = {}
        self.current = Current(0, EMPTY)

    async def refresh(self) -> Current:
        """Raises Unavailable."""
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            found = await self._read(connection)
        self._tell(found.unreadable)
        self.current = found
        return found

    def _tell(self, unreadable: Mapping[tuple[str, int], str]) -> None:
        before = self.current.unreadable
        for key in unreadable.keys() - before.keys():
            logger.error(
                "a journey cannot be read: it starts nobody, and its runs rest",
                action="journey_unreadable",
                journey=key[0],
                version=key[1],
                why=unreadable[key],
            )
        for key in before.keys() - unreadable.keys():
            logger.info(
                "a journey can be read again",
                action="journey_readable",
                journey=key[0],
                version=key[1],
            )
        metrics.unreadable(unreadable)

    async def _read(self, connection: Connection) -> Current:
        editions = await connection.fetch(published.EDITIONS)
        if not editions:
            return Current(0, EMPTY)
        rows = published.Rows(
            editions,
            await connection.fetch(published.SOURCES),
            await connection.fetch(published.CHANGES),
            await connection.fetchval(published.SETTINGS),
        )
        versions = published.Versions(rows.by_version(), self._compiled)
        book = published.book_of(rows, versions, self._segments)
        self._compiled = versions.compiled
        ruled = [(row["revision"], row["active_from"]) for row in editions if row["in_flight"]]
        stamp = editions[-1]["revision"] + (rows.changes[-1]["place"] if rows.changes else 0)
        return Current(
            stamp,
            book,
            ruled[-1] if ruled else None,
            sound_sources(editions[-1]["segments"]),
            versions.unreadable,
        )

    def _segments(self, stored: Mapping[str, Mapping[str, str]]) -> Mapping[str, Segment]:
        """Compiled once, however many revisions have the same."""
        key = msgspec.json.encode(stored, order="deterministic")
        if key not in self._of_segments:
            self._of_segments[key] = published.segments_of(stored)
        return self._of_segments[key]
