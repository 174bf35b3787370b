"""The PostgreSQL 18 that comes as a Python wheel, run in the data folder.

Only the wheel's programs are used. Its own Python code would open parent folders to everybody and
stumbles over paths with spaces.

A server outlives an owner that is killed with -9. The next `start` finds it through postmaster.pid
and stops it before it starts its own, rather than adopting it: it may run with the settings, or
from the deleted files, of an earlier release, and its sessions may still hold the dead owner's
locks. A fast stop and a start take a fraction of a second together.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from shared.db.data_folder import claim, folder_error, hold_folder, prepare, taken
from shared.db.pgdata import PGDATA, SYNC, check, failure, initialise, program
from shared.db.postmaster import end, make_sockets, moments, read_postmaster, remove_sockets
from shared.db.server_account import Account, account_for, spawn
from shared.errors import DataFolderError

__all__ = ["EmbeddedServer", "connect_or_start", "hold_folder", "start", "stop"]

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # the socket's name; given, so that no PGPORT can change it
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_compression": "off",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "recovery_init_sync_method": SYNC,
    "autovacuum_naptime": "10s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A week of logs, each day's file starting anew. Errors come without the statement and the
    # values they are about: those are customers' data.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
LOG_LIMIT = 10_000_000
"""Bytes. A restart can miss the moment that empties a file, so `start` removes larger ones."""
READY_S = 120.0
"""Covers the recovery of `max_wal_size` on a slow disk."""
PASSING = ("shared memory block", 'lock file "postmaster.pid" already exists')
"""Reasons that go by: the sessions of a server that was killed have not noticed yet, or the owner
was killed before its server had written down its pid."""
PASSING_S = 10.0


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    dsn: str
    data_dir: Path
    pid: int
    sockets: Path = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """None when the server is another process's to stop."""


def start(data_dir: Path) -> EmbeddedServer:
    """Starts the folder's server, on a new database if there is none yet. Blocks until it answers.

    Call it within `hold_folder`. Raises DataFolderError, ConfigurationError.
    """
    folder = prepare(data_dir)
    with claim(folder, "command") as holder:
        if holder is not None and holder.pid != os.getpid():
            raise taken(folder, holder)
        return _start(folder)


def stop(server: EmbeddedServer) -> None:
    """Stops a server of ours, the hard way if it takes too long. Harmless if it has stopped."""
    if server.process is None:
        return
    if end(server.pid, server.data_dir / PGDATA):
        server.process.wait()
    remove_sockets(server.sockets)


@contextmanager
def connect_or_start(data_dir: Path) -> Iterator[EmbeddedServer]:
    """The server of a running `dangol up`, or one of our own for as long as this lasts.

    Raises DataFolderError, ConfigurationError.
    """
    folder = prepare(data_dir)
    for _ in moments(READY_S):
        with claim(folder, "command") as holder:
            if holder is None:
                server = _start(folder)
                try:
                    yield server
                finally:
                    stop(server)
                return
            running = read_postmaster(folder / PGDATA)
            if running is not None and running.ready and running.started_by(holder.pid):
                yield EmbeddedServer(_dsn(running.sockets), folder, running.pid, running.sockets)
                return
            if holder.role != "up":
                raise taken(folder, holder)
    raise DataFolderError(
        f"{folder} is in use, but its PostgreSQL does not answer",
        hint="see what `dangol up` reports there, then stop it and start it again",
    )


def _start(folder: Path) -> EmbeddedServer:
    pgdata = folder / PGDATA
    try:
        exists = check(pgdata)
        account = account_for(pgdata)
        if not exists:
            initialise(pgdata, account)
        for log in _logs(pgdata):
            if log.stat().st_size > LOG_LIMIT:
                log.unlink()
        deadline = time.monotonic() + PASSING_S
        while True:
            try:
                return _launch(pgdata, account, _end_left_over(pgdata))
            except DataFolderError as error:
                passing = any(reason in str(error) for reason in PASSING)
                if not passing or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)
    except OSError as error:
        raise folder_error(error, f"start PostgreSQL in {folder}") from error


def _end_left_over(pgdata: Path) -> int:
    """Returns the pid that is left in postmaster.pid, 0 if none."""
    left_over = read_postmaster(pgdata)
    if left_over is None:
        return 0
    if not end(left_over.pid, pgdata):
        raise DataFolderError(
            f"{pgdata} is in use by a PostgreSQL, process {left_over.pid}, that cannot be stopped",
            hint="stop it, or choose another folder with --data",
        )
    remove_sockets(left_over.sockets)
    return left_over.pid


def _launch(pgdata: Path, account: Account | None, last: int) -> EmbeddedServer:
    sockets = make_sockets(account)
    options = {**SETTINGS, "unix_socket_directories": str(sockets)}.items()
    argv: list[str | Path] = [program("postgres"), "-D", pgdata]
    argv += [part for name, value in options for part in ("-c", f"{name}={value}")]
    # After a crash postmaster.pid stays, and its pid may be somebody else's by now. PostgreSQL
    # takes a pid for no rival's if it hears, from pg_ctl or from us, that it is its grandparent's.
    environment = {"PG_GRANDPARENT_PID": str(last)} if last else {}
    needs = [pgdata, sockets]
    try:
        with tempfile.TemporaryFile() as output:
            process = spawn(account, argv, needs=needs, output=output, environment=environment)
            if _becomes_ready(process, pgdata):
                return EmbeddedServer(_dsn(sockets), pgdata.parent, process.pid, sockets, process)
            said = "".join(log.read_text(errors="replace") for log in _logs(pgdata)[-1:])
            raise failure(f"PostgreSQL does not start in {pgdata}", output, said)
    except BaseException:
        remove_sockets(sockets)
        raise


def _becomes_ready(process: subprocess.Popen[bytes], pgdata: Path) -> bool:
    try:
        for _ in moments(READY_S):
            now = read_postmaster(pgdata)
            if now is not None and now.pid == process.pid and now.ready:
                return True
            if process.poll() is not None:
                return False
    except BaseException:
        _give_up(process)
        raise
    _give_up(process)
    return False


def _give_up(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _logs(pgdata: Path) -> list[Path]:
    """The log files, the newest last."""
    return sorted((pgdata / "log").glob("postgres-*.log"), key=lambda log: log.stat().st_mtime)


def _dsn(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets))}&port={SETTINGS['port']}"
