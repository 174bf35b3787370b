"""What a candidate would change of what is published. Pure."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # what is only named here would make every command slow to start
    from services.console.candidate import Candidate
    from services.journey.language.workspace import JourneySource
    from shared.workspace import WorkspaceSettings

Kind = Literal["added", "changed", "removed", "unchanged"]


@dataclass(frozen=True, slots=True)
class Base:
    """The newest published revision; revision 0 where nothing has been published yet."""

    revision: int
    hash: str
    active_from: datetime | None
    files: Mapping[str, bytes]
    journeys: Mapping[str, int]
    settings: "WorkspaceSettings | None" = None
    """None where nothing has been published, or a newer release has written what there is."""


NOTHING = Base(0, "", None, {}, {})


@dataclass(frozen=True, slots=True)
class Version:
    """A stored version of a journey."""

    number: int
    hash: str
    source: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many live runs of a version wait at a step."""

    version: int
    step: str
    runs: int
    migrates: bool = False
    """Whether `migrate` would move them."""


@dataclass(frozen=True, slots=True)
class JourneyChange:
    journey: str
    change: Kind
    file: str
    """Empty for a removed journey."""
    version: int | None
    """The version that new entries would start; None for a removed journey."""
    was: int | None
    """The version that they start now; None for an added one."""
    is_new: bool
    """Whether this content has never been published before."""
    diff: str = ""
    """Of the source, unified; empty unless it changed."""
    in_flight: tuple[InFlight, ...] = ()
    moves: int = 0
    """How many runs on other versions `migrate` would move to this one."""
    stays: int = 0
    """How many it would leave on their version."""
    ends: int = 0
    """How many runs on other versions `end` would end."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileChange:
    """Of a file that is no journey: settings, segments, templates, tests."""

    file: str
    change: Kind
    diff: str = ""


def compare_journeys(
    candidate: "Candidate", base: Base, known: Mapping[str, Collection[Version]]
) -> tuple[JourneyChange, ...]:
    """`known` are all stored versions of the candidate's and the base's journeys."""
    names = sorted(candidate.journeys.keys() | base.journeys.keys())
    return tuple(
        _compare(name, candidate.journeys.get(name), base.journeys.get(name), known.get(name, ()))
        for name in names
    )


def _compare(
    name: str, source: "JourneySource | None", was: int | None, known: Collection[Version]
) -> JourneyChange:
    if source is None:
        return JourneyChange(name, "removed", "", None, was, False)
    same = next((v.number for v in known if v.hash == source.digest), None)
    version = same or 1 + max((v.number for v in known), default=0)
    is_new = same is None
    if was is None:
        return JourneyChange(name, "added", source.file, version, None, is_new)
    if version == was:
        return JourneyChange(name, "unchanged", source.file, version, was, False)
    before = next(v.source for v in known if v.number == was)
    diff = diff_of(before, source.source, f"{source.file} (v{was})", f"{source.file} (v{version})")
    return JourneyChange(name, "changed", source.file, version, was, is_new, diff)


def compare_files(candidate: "Candidate", base: Base) -> tuple[FileChange, ...]:
    journeys = {source.file for source in candidate.journeys.values()}
    changes = []
    for path in sorted((candidate.files.keys() | base.files.keys()) - journeys):
        before, after = base.files.get(path), candidate.files.get(path)
        if before == after or (after is None and path.startswith("journeys/")):
            continue
        if before is None or after is None:
            changes.append(FileChange(path, "added" if before is None else "removed"))
        else:
            old, new = (text.decode("utf-8", "replace") for text in (before, after))
            changes.append(FileChange(path, "changed", diff_of(old, new, path, path)))
    return tuple(changes)


def diff_of(before: str, after: str, name: str, new_name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, new_name, lineterm=""
    )
    return "\n".join(lines)
