"""The data folder: made when missing, used by one process at a time.

The lock is an flock on `<folder>/lock`, which the kernel gives back however its holder ends. The
file says who holds it and as what: `dangol up` for as long as it runs, or a one-shot command for a
moment. A command's hold is waited out; `up`'s is not. The file stays when the lock is given back:
deleting it would let two processes lock two files of the same name.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import DataFolderError

LOCK = "lock"
PATIENCE_S = 15.0
"""How long a one-shot command that holds the folder is waited for."""
LONGEST_PATH = 900
"""Bytes. PostgreSQL cuts paths off at 1023, its own included."""

Role = Literal["up", "command"]

_ANOTHER = "choose another folder with --data"
_REMEDIES = {
    errno.EACCES: f"run as the user who owns the folder, or {_ANOTHER}",
    errno.EPERM: f"run as the user who owns the folder, or {_ANOTHER}",
    errno.EROFS: f"the file system is read-only: {_ANOTHER}",
    errno.ENOSPC: f"the disk is full: free some space, or {_ANOTHER}",
    errno.EDQUOT: f"the disk quota is used up: free some space, or {_ANOTHER}",
    errno.ENOLCK: f"the file system cannot lock files: {_ANOTHER}, on a local disk",
    errno.EOPNOTSUPP: f"the file system cannot lock files: {_ANOTHER}, on a local disk",
    errno.ELOOP: f"`{LOCK}` must not be a symbolic link: delete it, or {_ANOTHER}",
}


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    """0 in the moment between taking the lock and writing the file."""
    role: str


def folder_error(error: OSError, doing: str) -> DataFolderError:
    """Maps what the operating system says; `doing` names the folder."""
    reason = error.strerror or str(error)
    return DataFolderError(f"cannot {doing}: {reason}", hint=remedy(reason))


def remedy(reason: str) -> str:
    """How to mend what `reason`, a text of the operating system or of PostgreSQL, speaks of."""
    found = (text for code, text in _REMEDIES.items() if os.strerror(code) in reason)
    return next(found, _ANOTHER)


def prepare(data_dir: Path) -> Path:
    """Makes the folder if missing and returns its real path. Raises DataFolderError."""
    folder = Path(os.path.realpath(data_dir))
    if "\n" in str(folder) or len(os.fsencode(folder)) > LONGEST_PATH:
        raise DataFolderError(
            f"PostgreSQL cannot use the folder {str(folder)!r}",
            hint=f"its path may have {LONGEST_PATH} bytes and no line breaks: {_ANOTHER}",
        )
    try:
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                raise DataFolderError(
                    f"cannot use the data folder {folder}: {place} is a file",
                    hint=f"move the file away, or {_ANOTHER}",
                )
        # Root's PostgreSQL runs as another user, who must be able to pass through here; what is in
        # the folder guards itself.
        folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(error, f"make the data folder {folder}") from error
    return folder


@contextmanager
def hold_folder(data_dir: Path) -> Iterator[None]:
    """Holds the folder as `dangol up` does. Raises DataFolderError if it is taken or unusable."""
    folder = prepare(data_dir)
    with claim(folder, "up") as holder:
        if holder is not None:
            raise taken(folder, holder)
        yield


@contextmanager
def claim(folder: Path, role: Role) -> Iterator[Holder | None]:
    """Takes the folder's lock and yields None, or yields who has it."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        while isinstance(lock := _lock(folder, role), Holder):
            if lock.role == "up" or time.monotonic() > deadline:
                break
            time.sleep(0.02)
    except OSError as error:
        raise folder_error(error, f"lock the data folder {folder}") from error
    if isinstance(lock, Holder):
        yield lock
        return
    try:
        yield None
    finally:
        os.ftruncate(lock, 0)
        os.close(lock)


def taken(folder: Path, holder: Holder) -> DataFolderError:
    who = f"process {holder.pid}" if holder.pid else "another process"
    return DataFolderError(
        f"the data folder {folder} is in use by {who}",
        hint="use another folder with --data or stop the other one",
    )


def _lock(folder: Path, role: Role) -> int | Holder:
    # Not through a symbolic link: root may run this in a folder that belongs to somebody else.
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            owner = folder.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} {role}\n".encode(), 0)
    except BlockingIOError:
        pid, _, held_as = os.pread(lock, 64, 0).decode().strip().partition(" ")
        os.close(lock)
        return Holder(int(pid) if pid.isdigit() else 0, held_as)
    except OSError:
        os.close(lock)
        raise
    return lock
