"""What has been published, compiled: the `Book` the core decides by, kept current.

Versions are compiled when they are first needed, since old ones may have no runs left. A stored
version always compiles: apply refused it otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.book import EMPTY, Book, Edition, Transfer
from services.journey.core.flow import Flow, Segment
from services.journey.core.history import Needs
from services.journey.core.spans import Span, Spans
from services.journey.language.compile import JourneyRefused, compile_journey
from services.journey.language.compile_segments import (
    SegmentSource,
    compile_segments,
    needs_of_all,
    read_sources,
)
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import ConfigurationError
from shared.workspace import WorkspaceSettings, parse_share

_EDITIONS = (
    "SELECT revision, active_from, journeys, segments, in_flight,"
    " settings->>'holdout' AS holdout FROM workspaces ORDER BY revision"
)
_SETTINGS = "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"
_SOURCES = "SELECT journey, version, source FROM journey_versions"
_CHANGES = "SELECT place, journey, status, at FROM journey_changes ORDER BY place"


class Versions(Mapping[tuple[str, int], Flow]):
    """Journey and version → flow, compiled on first use."""

    def __init__(
        self,
        sources: Mapping[tuple[str, int], str],
        known: Mapping[tuple[str, int], Flow],
    ) -> None:
        self._sources = sources
        self.compiled = dict(known)

    def __getitem__(self, key: tuple[str, int]) -> Flow:
        flow = self.compiled.get(key)
        if flow is None:
            name, version = key
            try:
                flow = compile_journey(self._sources[key], version)
            except JourneyRefused as error:
                raise ConfigurationError(
                    f"version {version} of `{name}` was stored and does not compile: {error}",
                    hint="apply a mended workspace",
                ) from error
            self.compiled[key] = flow
        return flow

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


@dataclass(frozen=True, slots=True)
class Current:
    stamp: int
    """Grows with every apply, pause, resume and archiving: the fence of a commit compares it."""
    book: Book
    settling: tuple[int, datetime] | None = None
    """The newest revision with a rule for runs in flight, and when it came into force."""
    segments: Mapping[str, SegmentSource] = field(default_factory=dict)
    """The newest revision's."""


def transfers_of(rows: Iterable[Any]) -> dict[str, tuple[Transfer, ...]]:
    """By journey; `rows` are revisions in order, with `active_from` and `in_flight`."""
    found: dict[str, tuple[Transfer, ...]] = {}
    for row in rows:
        for journey, rule in row["in_flight"].items():
            transfer = Transfer(row["active_from"], rule["version"], rule["rule"] == "end")
            found[journey] = (*found.get(journey, ()), transfer)
    return found


def spans_of(rows: Iterable[Any], status: str) -> dict[str, Spans]:
    """When each journey had the status; `rows` are the changes in order."""
    found: dict[str, Spans] = {}
    for row in rows:
        spans = found.get(row["journey"], ())
        lasts = bool(spans) and spans[-1].end is None
        if row["status"] == status and not lasts:
            found[row["journey"]] = (*spans, Span(row["at"]))
        elif row["status"] != status and lasts:
            found[row["journey"]] = (*spans[:-1], Span(spans[-1].start, row["at"]))
    return found


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
            self.current = await self._read(connection)
        return self.current

    async def _read(self, connection: Connection) -> Current:
        rows = await connection.fetch(_EDITIONS)
        if not rows:
            return Current(0, EMPTY)
        sources = {
            (r["journey"], r["version"]): r["source"] for r in await connection.fetch(_SOURCES)
        }
        changes = await connection.fetch(_CHANGES)
        versions = Versions(sources, self._compiled)
        editions: list[Edition] = []
        for row in rows:
            edition = Edition.of(
                row["active_from"],
                [versions[journey, version] for journey, version in row["journeys"].items()],
                self._segments(row["segments"]),
                editions[-1] if editions else None,
                parse_share(row["holdout"] or "0%"),
            )
            editions.append(edition)
        # A segment whose file is gone keeps its last content for the versions that still ask it.
        segments = {name: s for edition in editions for name, s in edition.segments.items()}
        self._compiled = versions.compiled
        newest = await connection.fetchval(_SETTINGS)
        book = Book(
            editions,
            versions,
            spans_of(changes, "paused"),
            WorkspaceSettings.model_validate(newest).zone(),
            Needs(needs_of_all(versions.compiled.values(), segments)),
            segments,
            archived=spans_of(changes, "archived"),
            transfers=transfers_of(rows),
        )
        ruled = [(row["revision"], row["active_from"]) for row in rows if row["in_flight"]]
        stamp = rows[-1]["revision"] + (changes[-1]["place"] if changes else 0)
        return Current(
            stamp, book, ruled[-1] if ruled else None, read_sources(rows[-1]["segments"])
        )

    def _segments(self, stored: Mapping[str, Mapping[str, str]]) -> Mapping[str, Segment]:
        """Compiled once, however many revisions have the same."""
        key = msgspec.json.encode(stored, order="deterministic")
        if key not in self._of_segments:
            self._of_segments[key] = compile_segments(read_sources(stored))
        return self._of_segments[key]
