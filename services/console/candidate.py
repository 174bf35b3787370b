"""A workspace that somebody wants to publish: read, checked and named by its content."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from services.console.refusal import Refused
from services.journey.core.flow import Flow
from services.journey.language.compile_segments import SegmentSource
from services.journey.language.problems import Problem
from services.journey.language.workspace import JourneySource, load_workspace
from shared.tracking import TrackingPlan
from shared.workspace import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    files: Mapping[str, bytes]
    hash: str
    settings: WorkspaceSettings
    journeys: Mapping[str, JourneySource]
    flows: Mapping[str, Flow] = field(default_factory=dict)
    segments: Mapping[str, SegmentSource] = field(default_factory=dict)
    tracking: TrackingPlan | None = None
    warnings: tuple[Problem, ...] = ()
    """What refuses nothing."""


def read_candidate(files: Mapping[str, bytes]) -> Candidate:
    """Raises Refused with every problem. Takes a moment for a large workspace: use a thread."""
    loaded = load_workspace(files)
    if loaded.problems:
        raise Refused(loaded.problems)
    return Candidate(
        files,
        hash_of_files(files),
        loaded.settings,
        loaded.journeys,
        loaded.flows,
        loaded.segment_sources,
        loaded.tracking,
        loaded.warnings,
    )


def hash_of_files(files: Mapping[str, bytes]) -> str:
    digest = sha256()
    for path in sorted(files):
        name = path.encode("utf-8", "surrogatepass")
        digest.update(b"%d %d " % (len(name), len(files[path])))
        digest.update(name)
        digest.update(files[path])
    return digest.hexdigest()
