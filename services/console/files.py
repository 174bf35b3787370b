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
from pathlib import Path

from shared.errors import BadInput
from shared.workspace_store import MAX_BYTES, MAX_FILES, unpack_files

SETTINGS = "dangol.yaml"
FOLDERS = ("journeys", "segments", "templates", "tests")
MOST_ZIPPED = 16 * 1024 * 1024
"""Bytes of a zip that are taken in."""


def belongs(path: str) -> bool:
    if path == SETTINGS:
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
            if len(found) == MAX_FILES or size > MAX_BYTES:
                raise BadInput(
                    f"{folder} is too large: a workspace has at most {MAX_FILES} files and"
                    f" {MAX_BYTES // 2**20} MiB",
                    hint="is it the right folder?",
                )
            found[path] = file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if not found:
        raise BadInput(
            f"{folder} is no workspace: there is neither {SETTINGS} nor journeys/ in it",
            hint=_nearby(folder) or f"name the folder that holds {SETTINGS}",
        )
    return found


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    if (folder / SETTINGS).is_file():
        yield SETTINGS, folder / SETTINGS
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


def read_zip(body: bytes) -> dict[str, bytes]:
    """Raises BadInput for what is no zip, is too big, leaves its folder or holds no workspace."""
    try:
        entries = unpack_files(body)
    except (zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, KeyError) as error:
        raise BadInput("the zip is damaged", hint="zip the workspace folder again") from error
    content = {
        unicodedata.normalize("NFC", name.replace("\\", "/")): entries[name] for name in entries
    }
    files = {p: c for p, c in _without_top(content).items() if belongs(p)}
    if not files:
        raise BadInput(
            f"the zip holds no workspace: there is neither {SETTINGS} nor journeys/ in it",
            hint=f"zip the folder that holds {SETTINGS}",
        )
    return files


def _without_top(content: dict[str, bytes]) -> dict[str, bytes]:
    """A zip of the folder itself, with the folder's name before each path, is as good."""
    visible = {p: c for p, c in content.items() if not p.startswith((".", "__MACOSX/"))}
    tops = {path.partition("/")[0] for path in visible}
    if len(tops) == 1 and f"{next(iter(tops))}/{SETTINGS}" in visible:
        return {path.partition("/")[2]: visible[path] for path in visible}
    return content
