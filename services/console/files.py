"""A workspace's files as path → content, from a folder or from a zip of one.

Only what belongs to a workspace is taken: editors, operating systems and git leave files of their
own in a folder, and a zip of the folder often holds the folder itself.
"""

import lzma
import os
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from shared.errors import BadInput
from shared.workspace_store import MAX_BYTES, MAX_FILES, unpack_files

FOLDERS = ("journeys", "segments", "templates", "tests")
MOST_ZIPPED = 16 * 1024 * 1024
"""Bytes of a zip that are taken in."""


def belongs(path: str) -> bool:
    """Whether a path is a workspace's: YAML at the top, anything in the known folders."""
    parts = PurePosixPath(path).parts
    if not parts or any(part.startswith((".", "__MACOSX")) for part in parts):
        return False
    if len(parts) == 1:
        return path.endswith((".yaml", ".yml"))
    return parts[0] in FOLDERS


def read_folder(folder: Path) -> dict[str, bytes]:
    """Raises BadInput that says what is wrong with the folder."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise BadInput(f"{folder} {what}", hint="name the folder that holds dangol.yaml")
    found: dict[str, bytes] = {}
    size = 0
    try:
        for path, file in _walk(folder):
            content = file.read_bytes()
            found[path] = content
            size += len(content)
            if len(found) > MAX_FILES or size > MAX_BYTES:
                raise BadInput(
                    f"{folder} is too large: a workspace has at most {MAX_FILES} files and"
                    f" {MAX_BYTES // 1024 // 1024} MiB",
                    hint="is it the right folder?",
                )
    except OSError as error:
        raise BadInput(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if not found:
        raise BadInput(
            f"{folder} is no workspace: there is neither dangol.yaml nor journeys/ in it",
            hint=_nearby(folder) or "name the folder that holds dangol.yaml",
        )
    return found


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    places = [folder, *(folder / name for name in FOLDERS)]
    for top in places:
        for place, folders, names in os.walk(top):
            folders[:] = [] if top == folder else sorted(f for f in folders if f[0] != ".")
            for name in sorted(names):
                file = Path(place) / name
                path = unicodedata.normalize("NFC", file.relative_to(folder).as_posix())
                if belongs(path) and file.is_file():
                    yield path, file


def _nearby(folder: Path) -> str:
    below = [d.name for d in sorted(folder.iterdir()) if (d / "dangol.yaml").is_file()][:1]
    return f"did you mean {folder / below[0]}?" if below else ""


def read_zip(body: bytes) -> dict[str, bytes]:
    """Raises BadInput for what is no zip, is too big, leaves its folder or holds no workspace."""
    if len(body) > MOST_ZIPPED:
        raise BadInput(f"the zip is larger than {MOST_ZIPPED // 1024 // 1024} MiB")
    try:
        entries = unpack_files(body)
    except (zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, KeyError) as error:
        raise BadInput(
            "the zip is damaged", hint="send the workspace folder zipped again"
        ) from error
    files = {
        unicodedata.normalize("NFC", name.replace("\\", "/")): entries[name] for name in entries
    }
    if not any(belongs(path) for path in files):
        files = _without_top(files)
    files = {path: content for path, content in files.items() if belongs(path)}
    if not files:
        raise BadInput(
            "the zip holds no workspace: there is neither dangol.yaml nor journeys/ in it",
            hint="zip the folder that holds dangol.yaml",
        )
    return files


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    """A zip of the folder itself: its one folder is taken off."""
    visible = {p: c for p, c in files.items() if not p.startswith((".", "__MACOSX/"))}
    tops = {path.partition("/")[0] for path in visible}
    if len(tops) != 1:
        return files
    return {path.partition("/")[2]: content for path, content in visible.items()}
