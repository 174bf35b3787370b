"""What has been published, from the rows that keep it to the `Book` the core decides by. Pure.

The engine keeps one current (`library.py`); the console makes one to explain the past by.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.journey.core.book import EMPTY, Book, Edition, Transfer
from services.journey.core.flow import Flow, Segment
from services.journey.core.history import Needs
from services.journey.core.spans import Span, Spans
from services.journey.language.compile import JourneyRefused, compile_journey
from services.journey.language.compile_segments import (
    compile_segments,
    needs_of_all,
    sound_sources,
)
from shared.errors import ConfigurationError
from shared.workspace import WorkspaceSettings, parse_share

EDITIONS = (
    "SELECT revision, active_from, journeys, segments, in_flight,"
    " settings->>'holdout' AS holdout FROM workspaces ORDER BY revision"
)
SETTINGS = "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"
SOURCES = "SELECT journey, version, source FROM journey_versions"
CHANGES = "SELECT place, journey, status, at FROM journey_changes ORDER BY place"

Compile = Callable[[str, int], Flow]
"""A journey's source and its version to the flow. Raises JourneyRefused."""
Segments = Callable[[Mapping[str, Mapping[str, str]]], Mapping[str, Segment]]
"""A revision's stored segments, compiled."""


class Versions(Mapping[tuple[str, int], Flow]):
    """Journey and version → flow, compiled on first use."""

    def __init__(
        self,
        sources: Mapping[tuple[str, int], str],
        known: Mapping[tuple[str, int], Flow],
        compiled: Compile = compile_journey,
    ) -> None:
        self._sources = sources
        self._compile = compiled
        self.compiled = dict(known)
        self.unreadable: dict[tuple[str, int], str] = {}
        """Those of which `read` found that they cannot be used, and why."""

    def __getitem__(self, key: tuple[str, int]) -> Flow:
        flow = self.compiled.get(key)
        if flow is None:
            name, version = key
            try:
                flow = self._compile(self._sources[key], version)
            except KeyError as error:
                raise _unusable(name, version, "is not in journey_versions") from error
            except JourneyRefused as error:
                raise _unusable(name, version, f"does not compile: {error}") from error
            except Exception as error:
                raise _unusable(name, version, f"does not compile: {error!r}") from error
            self.compiled[key] = flow
        return flow

    def read(self, key: tuple[str, int]) -> Flow | None:
        """None for a version that cannot be used, which stops nothing but itself."""
        try:
            return self[key]
        except ConfigurationError as error:
            self.unreadable[key] = str(error)
            return None

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def _unusable(name: str, version: int, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"version {version} of `{name}` was stored and {why}", hint="apply a mended workspace"
    )


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


@dataclass(frozen=True, slots=True)
class Rows:
    """What the statements above find, in one snapshot."""

    editions: Sequence[Any]
    sources: Sequence[Any]
    changes: Sequence[Any]
    settings: Mapping[str, Any] | None
    """The newest revision's."""

    def by_version(self) -> dict[tuple[str, int], str]:
        return {(row["journey"], row["version"]): row["source"] for row in self.sources}


def segments_of(stored: Mapping[str, Mapping[str, str]]) -> Mapping[str, Segment]:
    """Those that compile; one that does not takes along those that refer to it."""
    return compile_segments(sound_sources(stored))


def book_of(rows: Rows, versions: Versions, segments_of: Segments = segments_of) -> Book:
    """`versions` compile what the editions name; the newest settings say the zone."""
    if not rows.editions:
        return EMPTY
    editions: list[Edition] = []
    for row in rows.editions:
        segments = segments_of(row["segments"])
        edition = Edition.of(
            row["active_from"],
            _flows(versions, row, segments),
            segments,
            editions[-1] if editions else None,
            parse_share(row["holdout"] or "0%"),
        )
        editions.append(edition)
    # A segment whose file is gone keeps its last content for the versions that still ask it.
    newest = {name: s for edition in editions for name, s in edition.segments.items()}
    settings = WorkspaceSettings.model_validate(rows.settings)
    return Book(
        editions,
        versions,
        spans_of(rows.changes, "paused"),
        settings.zone(),
        Needs(needs_of_all(versions.compiled.values(), newest)),
        newest,
        archived=spans_of(rows.changes, "archived"),
        transfers=transfers_of(rows.editions),
        country=settings.country,
        unreadable=frozenset(versions.unreadable),
    )


def _flows(versions: Versions, row: Any, segments: Mapping[str, Segment]) -> list[Flow]:
    """What a revision publishes, as far as it can be read, with all that it asks of."""
    found: list[Flow] = []
    for journey, version in row["journeys"].items():
        flow = versions.read((journey, version))
        if flow is None:
            continue
        asked = (*flow.segments, *([] if flow.watches is None else [flow.watches.segment]))
        lost = [name for name in asked if name not in segments and name in row["segments"]]
        if lost:
            said = (
                f"version {version} of `{journey}` asks the segment `{lost[0]}`, which was stored"
            )
            versions.unreadable[journey, version] = f"{said} and does not compile"
            continue
        found.append(flow)
    return found
