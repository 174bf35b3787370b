"""Who runs the embedded PostgreSQL.

PostgreSQL refuses to run as root, so root runs it as the user who owns the data folder or, where
that is root, as a system user of Dangol's own. That user may be unable to reach the files: root's
home is usually closed, and the data or the wheel's programs may lie in it. Dangol opens nobody's
folders. It gives the server one ambient capability instead, which lets it pass closed folders, and
only where something is closed.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import DataFolderError

SYSTEM_USER = "dangol-postgres"
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
"""No PG… variable may reach the server, and no secret of ours needs to."""
_SYSTEM_PATHS = os.pathsep.join([os.defpath, "/usr/sbin", "/sbin"])
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SETPCAP = 1, 2, 8  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int

    def own(self, place: Path) -> None:
        # Never through a symbolic link: the folder around may belong to somebody else.
        os.chown(place, self.uid, self.gid, follow_symlinks=False)

    def may_enter(self, place: Path) -> bool:
        stat = place.stat()
        if stat.st_uid == self.uid:
            return bool(stat.st_mode & 0o100)
        return bool(stat.st_mode & (0o010 if stat.st_gid == self.gid else 0o001))


def account_for(pgdata: Path) -> Account | None:
    """The user to become, or None to stay who we are. Raises DataFolderError, OSError."""
    if os.geteuid() != 0:
        return None
    exists = pgdata.exists()
    owner = pgdata.stat() if exists else pgdata.parent.stat()
    if owner.st_uid != 0 and (exists or _is_known(owner.st_uid)):
        return Account(owner.st_uid, owner.st_gid)
    account = _system_account()
    if exists:  # a copy that root has put back
        for place in (pgdata, *pgdata.rglob("*")):
            account.own(place)
    return account


def spawn(
    account: Account | None,
    argv: Sequence[str | Path],
    *,
    needs: Sequence[Path],
    output: IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program that must reach the paths `needs`. Raises DataFolderError, OSError."""
    user, group, groups, prefix = None, None, None, list[str]()
    if account is not None:
        closed = _closed(account, [Path(argv[0]), *needs])
        if closed:
            prefix = _with_capability(account, Path(argv[0]), closed)
        else:
            user, group, groups = account.uid, account.gid, list[int]()
    return subprocess.Popen(  # noqa: S603 - an argument list of ours, no shell
        [*prefix, *argv],
        user=user,
        group=group,
        extra_groups=groups,
        cwd="/",
        env={**_ENVIRONMENT, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is for us; we stop the server when its users are done
    )


def _closed(account: Account, needs: Sequence[Path]) -> list[Path]:
    """The folders (and programs) the account cannot get into, the outermost first."""
    places = dict.fromkeys(p for need in needs for p in (*reversed(need.parents), need))
    return [place for place in places if not account.may_enter(place)]


def _with_capability(account: Account, program: Path, closed: Sequence[Path]) -> list[str]:
    # Reading is enough to pass a folder; a program that is itself closed needs the stronger one,
    # and so do containers, which by default do not have the weaker one.
    have = _capabilities()
    setpriv = shutil.which("setpriv", path=_SYSTEM_PATHS)
    if have >> _DAC_READ_SEARCH & 1 and account.may_enter(program):
        capability = "+dac_read_search"
    elif have >> _DAC_OVERRIDE & 1:
        capability = "+dac_override"
    else:
        capability = ""
    # PostgreSQL asks access(2) whether its own programs are there, and the kernel answers that by
    # the real user, without capabilities, unless this bit says that they go along.
    program_is_closed = any(place in (program, *program.parents) for place in closed)
    if program_is_closed and not have >> _SETPCAP & 1:
        capability = ""
    if setpriv is None or not capability:
        raise DataFolderError(
            f"PostgreSQL cannot run as root, and user {_name(account.uid)}, who runs it instead, "
            f"may not enter {closed[0]}",
            hint="install Dangol where every user can read it"
            if closed[0] in (program, *program.parents)
            else "choose a folder that every user can reach with --data, such as /var/lib/dangol",
        )
    return [
        setpriv,
        f"--reuid={account.uid}",
        f"--regid={account.gid}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
        *(["--securebits=+no_setuid_fixup"] if program_is_closed else []),
        "--",
    ]


def _capabilities() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(row.split()[1], 16) for row in status.splitlines() if "CapEff" in row), 0)


def _system_account() -> Account:
    if not _is_known(SYSTEM_USER):
        _create_system_user()
    entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _create_system_user() -> None:
    useradd = shutil.which("useradd", path=_SYSTEM_PATHS)
    reason = "the program useradd is missing"
    if useradd is not None:
        options = ["--system", "--no-create-home", "--home-dir=/nonexistent"]
        done = subprocess.run(  # noqa: S603 - an argument list of ours, no shell
            [useradd, *options, "--shell=/usr/sbin/nologin", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        reason = done.stderr.strip()
    if not _is_known(SYSTEM_USER):  # or a neighbour has made it at the same moment
        raise DataFolderError(
            "PostgreSQL cannot run as root, and the system user for it cannot be made: " + reason,
            hint=f"add a system user named {SYSTEM_USER}, or run dangol as an ordinary user",
        )


def _is_known(user: int | str) -> bool:
    try:
        pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _name(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _is_known(uid) else str(uid)
