"""A PostgreSQL server process seen from outside: what it says of itself, its end, its socket.

The server listens on a Unix socket only and trusts whoever reaches it, so the socket lies in a
folder that only the server's user (and root) can enter. It is a short temporary folder, because a
socket's path is limited to about a hundred bytes. Its name carries the pid of the process that
started the server, which tells the server of a running owner from one that was left over.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.db.server_account import Account

STOPPING = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
"""Fast; then immediate, which recovers at the next start; then by force. Seconds given to each."""
_SOCKETS = "dangol-"
_LONGEST_BASE = 50
"""Bytes: leaves room for the folder's and the socket's own names in the 104 that macOS has."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The lines of postmaster.pid that matter here."""

    pid: int
    sockets: Path
    ready: bool

    def started_by(self, pid: int) -> bool:
        return self.sockets.name.startswith(f"{_SOCKETS}{pid}-")


def read_postmaster(pgdata: Path) -> Postmaster | None:
    """None if there is no such file. A server that is starting fills it line by line."""
    try:
        text = (pgdata / "postmaster.pid").read_text(errors="surrogateescape")
        pid, *lines = text.splitlines()
        sockets, status = (lines[at] if len(lines) > at else "" for at in (3, 6))
        return Postmaster(int(pid), Path(sockets), status.strip() == "ready")
    except (FileNotFoundError, ValueError):
        return None


def runs(pid: int, pgdata: Path) -> bool:
    """Whether the process lives and is a server on this database: pids are used again."""
    if Path("/proc/self/cmdline").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        # A zombie's is empty, a session's has been replaced by a title.
        return command[0].endswith(b"/postgres") and os.fsencode(pgdata) in command
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    done = subprocess.run(ps, capture_output=True, check=False)  # noqa: S603 - no shell
    return b"/postgres -D " + os.fsencode(pgdata) + b" " in done.stdout


def end(pid: int, pgdata: Path) -> bool:
    """Stops the server, more and more forcefully. Returns whether it is gone."""
    for sign, patience in STOPPING:
        if not runs(pid, pgdata):
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        for _ in moments(patience):
            if not runs(pid, pgdata):
                return True
    return False


def moments(seconds: float) -> Iterator[None]:
    """Yields at once and then every few milliseconds until the seconds are over."""
    deadline = time.monotonic() + seconds
    yield
    while time.monotonic() < deadline:
        time.sleep(0.005)
        yield


def make_sockets(account: Account | None) -> Path:
    base = tempfile.gettempdir()
    # The setting is a list with commas and quotes of its own.
    if len(os.fsencode(base)) > _LONGEST_BASE or set(base) & set(',"'):
        base = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    sockets = Path(tempfile.mkdtemp(prefix=f"{_SOCKETS}{os.getpid()}-", dir=base))
    if account is not None:
        account.own(sockets)
    return sockets


def remove_sockets(sockets: Path) -> None:
    # The path may come from a file that another user can write, so it must look like one of ours,
    # and nothing but sockets is deleted.
    if sockets.parent not in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
        return
    if sockets.name.startswith(_SOCKETS) and not sockets.is_symlink():
        with contextlib.suppress(OSError):
            for entry in sockets.glob(".s.PGSQL.*"):
                entry.unlink()
            sockets.rmdir()
