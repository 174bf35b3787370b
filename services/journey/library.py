"""What has been published, compiled: the `Book` the core decides by, kept current.

Versions are compiled when they are first needed, since old ones may have no runs left. A stored
version always compiles: apply refused it otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from services.journey.core.book import EMPTY, Book, Edition
from services.journey.core.flow import Flow, Segment
from services.journey.core.history import Needs
from services.journey.language.compile import JourneyRefused, compile_journey
from services.journey.language.compile_segments import compile_segments, needs_of_all, read_sources
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import ConfigurationError
from shared.workspace import WorkspaceSettings

_EDITIONS = "SELECT revision, active_from, journeys, segments FROM workspaces ORDER BY revision"
_SETTINGS = "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"
_SOURCES = "SELECT journey, version, source FROM journey_versions"
_STATUS = "SELECT id, status, revived_at FROM journeys"


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
    revision: int
    book: Book


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
        statuses = await connection.fetch(_STATUS)
        status = {r["id"]: r["status"] for r in statuses}
        revived = {r["id"]: r["revived_at"] for r in statuses if r["revived_at"] is not None}
        versions = Versions(sources, self._compiled)
        editions: list[Edition] = []
        for row in rows:
            flows = [
                versions[journey, version]
                for journey, version in row["journeys"].items()
                if status.get(journey) != "archived"
            ]
            before = editions[-1] if editions else None
            segments = self._segments(row["segments"])
            editions.append(Edition.of(row["active_from"], flows, segments, before, revived))
        # A segment whose file is gone keeps its last content for the versions that still ask it.
        segments = {name: s for edition in editions for name, s in edition.segments.items()}
        self._compiled = versions.compiled
        needs = Needs(needs_of_all(versions.compiled.values(), segments))
        paused = frozenset(name for name, what in status.items() if what == "paused")
        newest = await connection.fetchval(_SETTINGS)
        zone = WorkspaceSettings.model_validate(newest).zone()
        return Current(
            rows[-1]["revision"],
            Book(editions, versions, paused, zone, needs, segments),
        )

    def _segments(self, stored: Mapping[str, Mapping[str, str]]) -> Mapping[str, Segment]:
        """Compiled once, however many revisions have the same."""
        key = msgspec.json.encode(stored, order="deterministic")
        if key not in self._of_segments:
            self._of_segments[key] = compile_segments(read_sources(stored))
        return self._of_segments[key]
