"""What has been published, compiled: the `Book` the core decides by, kept current.

Versions are compiled when they are first needed, since old ones may have no runs left. A stored
version always compiles: apply refused it otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.journey.core.book import EMPTY, Book, Edition
from services.journey.core.flow import Flow
from services.journey.core.history import Needs
from services.journey.language.compile import JourneyRefused, compile_journey
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import ConfigurationError
from shared.workspace import WorkspaceSettings

_EDITIONS = "SELECT revision, active_from, journeys FROM workspaces ORDER BY revision"
_SETTINGS = "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"
_SOURCES = "SELECT journey, version, source FROM journey_versions"
_STATUS = "SELECT id, status FROM journeys WHERE status <> 'active'"


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
        status = {r["id"]: r["status"] for r in await connection.fetch(_STATUS)}
        versions = Versions(sources, self._compiled)
        editions = [
            Edition.of(
                row["active_from"],
                [
                    versions[journey, version]
                    for journey, version in row["journeys"].items()
                    if status.get(journey) != "archived"
                ],
            )
            for row in rows
        ]
        self._compiled = versions.compiled
        needs = Needs(need for flow in versions.compiled.values() for need in flow.needs)
        paused = frozenset(name for name, what in status.items() if what == "paused")
        newest = await connection.fetchval(_SETTINGS)
        zone = WorkspaceSettings.model_validate(newest).zone()
        return Current(rows[-1]["revision"], Book(editions, versions, paused, zone, needs))
