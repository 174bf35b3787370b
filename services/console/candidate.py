"""A workspace that somebody wants to publish: read, checked and named by its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from services.console.refusal import Refused
from services.journey.language.workspace import load_workspace
from shared.workspace import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class Source:
    """A journey's file as a version of it is kept."""

    file: str
    text: str
    hash: str
    """Of the text: the same content is the same version, whatever the file is called."""

    @classmethod
    def of(cls, file: str, content: bytes) -> "Source":
        # Line ends are the editor's business: they make no new version.
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        return cls(file, text, sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Candidate:
    files: Mapping[str, bytes]
    hash: str
    settings: WorkspaceSettings
    journeys: Mapping[str, Source]
    """By journey id."""


def read_candidate(files: Mapping[str, bytes]) -> Candidate:
    """Raises Refused with every problem. Takes a moment for a large workspace: use a thread."""
    loaded = load_workspace(files)
    if loaded.problems:
        raise Refused(loaded.problems)
    journeys = {
        str(name): Source.of(journey.file, files[journey.file])
        for name, journey in sorted(loaded.journeys.items())
    }
    return Candidate(dict(files), hash_of_files(files), loaded.settings, journeys)


def hash_of_files(files: Mapping[str, bytes]) -> str:
    digest = sha256()
    for path in sorted(files):
        name, content = path.encode("utf-8", "surrogatepass"), files[path]
        digest.update(b"%d %d " % (len(name), len(content)))
        digest.update(name)
        digest.update(content)
    return digest.hexdigest()
