"""A workspace's files as path → content, from its folder.

Only what belongs to a workspace is taken: editors, operating systems and git leave files of their
own in a folder.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from shared.errors import BadInput

SETTINGS = "dangol.yaml"
TRACKING = "events.yaml"
FOLDERS = ("journeys", "segments", "templates", "tests")
MOST_FILES = 5_000
MOST_BYTES = 64 * 2**20
"""As for a zip: see `shared.workspace_store`, which is too slow to import for `validate`."""


def belongs(path: str) -> bool:
    if path in (SETTINGS, TRACKING):
        return True
    parts = path.split("/")
    return len(parts) > 1 and parts[0] in FOLDERS and not any(p.startswith(".") for p in parts)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Raises BadInput that says what is wrong with the folder."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise BadInput(f"{folder} {what}", hint=f"name the folder that holds {SETTINGS}")
    found: dict[str, bytes] = {}
    size = 0
    try:
        for path, file in _walk(folder):
            size += file.stat().st_size
            if len(found) == MOST_FILES or size > MOST_BYTES:
                raise BadInput(
                    f"{folder} is too large: a workspace has at most {MOST_FILES} files and"
                    f" {MOST_BYTES // 2**20} MiB",
                    hint="is it the right folder?",
                )
            found[path] = file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if not found.keys() - {TRACKING}:
        raise BadInput(
            f"{folder} is no workspace: there is neither {SETTINGS} nor journeys/ in it",
            hint=_nearby(folder) or f"name the folder that holds {SETTINGS}",
        )
    return found


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for name in (SETTINGS, TRACKING):
        if (folder / name).is_file():
            yield name, folder / name
    for top in FOLDERS:
        for place, folders, names in os.walk(folder / top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(place, name)
                path = unicodedata.normalize("NFC", file.relative_to(folder).as_posix())
                if belongs(path) and file.is_file():
                    yield path, file


def _nearby(folder: Path) -> str:
    below = [d.name for d in sorted(folder.iterdir()) if (d / SETTINGS).is_file()][:1]
    return f"did you mean {folder / below[0]}?" if below else ""
