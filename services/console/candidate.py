"""A workspace that somebody wants to publish: read, checked and named by its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from services.console.refusal import Refused
from services.journey.language.load import JourneySource, load_workspace
from services.journey.language.workspace_files import WorkspaceFiles
from shared.workspace import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    content: Mapping[str, bytes]
    """Every file of the workspace, by path."""
    hash: str
    settings: WorkspaceSettings
    journeys: Mapping[str, JourneySource]


def read_candidate(files: WorkspaceFiles) -> Candidate:
    """Raises Refused with every problem. Takes a moment for a large workspace: use a thread."""
    loaded = load_workspace(files)
    if loaded.problems:
        raise Refused(loaded.problems)
    return Candidate(files.content, hash_of_files(files.content), loaded.settings, loaded.journeys)


def hash_of_files(content: Mapping[str, bytes]) -> str:
    digest = sha256()
    for path in sorted(content):
        name = path.encode("utf-8", "surrogatepass")
        digest.update(b"%d %d " % (len(name), len(content[path])))
        digest.update(name)
        digest.update(content[path])
    return digest.hexdigest()
