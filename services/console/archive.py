"""A workspace's files from a zip of its folder, which comes from outside."""

import lzma
import struct
import unicodedata
import zlib

from services.console.folder import SETTINGS, belongs
from shared.errors import BadInput
from shared.workspace_store import unpack_files

MOST_ZIPPED = 16 * 2**20
"""Bytes of a zip that are taken in."""


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
