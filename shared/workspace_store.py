"""The published workspace in the database: what dispatch renders with and the engine compiles.

`workspaces` has one row per apply. A revision is in force from `active_from`; templates, segments
and policies are always the newest's, journeys' versions are those of the moment of receipt.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.db.connect import Connection
from shared.errors import BadInput
from shared.workspace import WorkspaceSettings

CHANNEL = "dangol_workspace"
"""The wake-up that tells of a new revision or of a paused, resumed or archived journey."""

MAX_FILES = 5_000
MAX_BYTES = 64 * 1024 * 1024


def pack_files(files: Mapping[str, bytes]) -> bytes:
    """The same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name])
    return buffer.getvalue()


def unpack_files(packed: bytes) -> dict[str, bytes]:
    """Path → content; BadInput for what is no zip, is too big or leaves its folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MAX_FILES or sum(e.file_size for e in entries) > MAX_BYTES:
                raise BadInput(f"a workspace has at most {MAX_FILES} files and {MAX_BYTES} bytes")
            for entry in entries:
                parts = entry.filename.replace("\\", "/").split("/")
                if entry.filename.startswith(("/", "\\")) or ".." in parts:
                    raise BadInput(f"the zip names a file outside its folder: {entry.filename!r}")
            return {entry.filename: _read(archive, entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadInput(
            "the body is no zip file", hint="send the workspace folder zipped"
        ) from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) > entry.file_size:
        raise BadInput(f"{entry.filename!r} is larger than the zip says")
    return content


@dataclass(frozen=True, slots=True)
class Published:
    revision: int
    active_from: datetime
    settings: WorkspaceSettings
    files: Mapping[str, bytes]
    journeys: Mapping[str, int]
    """Journey id → the version that events received from `active_from` on start."""


async def newest_revision(connection: Connection) -> int:
    """0 when nothing has been applied yet."""
    value: int = await connection.fetchval("SELECT coalesce(max(revision), 0) FROM workspaces")
    return value


async def newest_settings(connection: Connection) -> WorkspaceSettings:
    """Those in force; the defaults where nothing has been published."""
    stored = await connection.fetchval(
        "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"
    )
    return WorkspaceSettings.model_validate(stored or {})


async def newest(connection: Connection) -> Published | None:
    row = await connection.fetchrow("SELECT * FROM workspaces ORDER BY revision DESC LIMIT 1")
    if row is None:
        return None
    return Published(
        revision=row["revision"],
        active_from=row["active_from"],
        settings=WorkspaceSettings.model_validate(row["settings"]),
        files=unpack_files(row["files"]),
        journeys=row["journeys"],
    )
