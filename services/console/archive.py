"""A workspace's files from a zip of its folder, which comes from outside."""

import lzma
import struct
import unicodedata
import zlib

from services.journey.language.workspace_files import SETTINGS, WorkspaceFiles, files_from
from shared.errors import BadInput
from shared.workspace_store import unpack_files

MOST_ZIPPED = 16 * 1024 * 1024
"""Bytes of a zip that are taken in."""


def read_zip(body: bytes) -> WorkspaceFiles:
    """Raises BadInput for what is no zip, is too big, leaves its folder or holds no workspace.

    Files that do not belong to a workspace (git's, the editor's, the operating system's) are left
    out. A zip of the folder itself, with the folder's name before each path, is as good as one of
    its contents.
    """
    try:
        entries = unpack_files(body)
    except (zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, KeyError) as error:
        raise BadInput("the zip is damaged", hint="zip the workspace folder again") from error
    content = {
        unicodedata.normalize("NFC", name.replace("\\", "/")): entries[name] for name in entries
    }
    files = files_from(_without_top(content))
    if not files.content:
        raise BadInput(
            f"the zip holds no workspace: neither {SETTINGS} nor journeys are in it",
            hint=f"zip the folder that holds {SETTINGS}",
        )
    return files


def _without_top(content: dict[str, bytes]) -> dict[str, bytes]:
    visible = {p: c for p, c in content.items() if not p.startswith((".", "__MACOSX/"))}
    tops = {path.partition("/")[0] for path in visible}
    if len(tops) == 1 and f"{next(iter(tops))}/{SETTINGS}" in visible:
        return {path.partition("/")[2]: visible[path] for path in visible}
    return content
