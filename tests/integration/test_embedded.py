"""The embedded PostgreSQL for real: every server here is a process, every kill is a kill."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from shared.db import embedded
from shared.db.data_folder import LOCK
from shared.db.embedded import EmbeddedServer, connect_or_start, hold_folder, start, stop
from shared.db.pgdata import PGDATA, program
from shared.db.postmaster import runs
from shared.errors import DataFolderError
from tests.patience import SOON, in_time

ROOT = Path(__file__).parents[2]
NOBODY = 65534
BECOME_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users: run it as root")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

OWNER = """
import signal, sys
from pathlib import Path
from shared.db.embedded import hold_folder, start
with hold_folder(Path(sys.argv[1])):
    server = start(Path(sys.argv[1]))
    print(server.pid, server.dsn, flush=True)
    signal.pause()
"""
TRY = """
import json, sys
from pathlib import Path
from shared.db.embedded import hold_folder, start, stop
from shared.errors import DataFolderError
try:
    with hold_folder(Path(sys.argv[1])):
        stop(start(Path(sys.argv[1])))
    print(json.dumps(["", ""]))
except DataFolderError as error:
    print(json.dumps([str(error), error.hint]))
"""


@contextmanager
def served(folder: Path) -> Iterator[EmbeddedServer]:
    with hold_folder(folder):
        server = start(folder)
        try:
            yield server
        finally:
            stop(server)


def sql(dsn: str, *statements: str) -> str:
    """What psql prints for the last statement."""
    commands = [part for statement in statements for part in ("-c", statement)]
    argv: list[str | Path] = [program("psql"), dsn, "-XqAt", "-v", "ON_ERROR_STOP=1", *commands]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SOON, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def remember(dsn: str) -> None:
    sql(dsn, "create table kept (word text)", "insert into kept values ('단골')")


def remembered(dsn: str) -> bool:
    return sql(dsn, "select word from kept") == "단골"


@contextmanager
def busy_session(dsn: str) -> Iterator[subprocess.Popen[bytes]]:
    argv: list[str | Path] = [program("psql"), dsn, "-Xqc", "select pg_sleep(600)"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as session:
        count = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)'"
        eventually(lambda: sql(dsn, count) == "1")
        yield session


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


def attempt(folder: Path, python: Sequence[str] = (sys.executable,)) -> tuple[str, str]:
    """Message and hint of the error with which another process fails; empty if it does not."""
    done = subprocess.run(
        [*python, "-c", TRY, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    message, hint = json.loads(done.stdout)
    return str(message), str(hint)


@contextmanager
def owner_of(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process that holds the folder, with its server's pid and DSN."""
    argv: list[str | Path] = [sys.executable, "-c", OWNER, folder]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            pid, dsn = owner.stdout.readline().split()
            yield owner, int(pid), dsn
        finally:
            owner.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder every user can get into, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="dangol-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ordinary_python() -> list[str]:
    """The command that runs Python as an ordinary user."""
    if os.geteuid() != 0:
        return [sys.executable]
    packages = str(program("postgres").parents[3])
    for python in (sys.executable, "/usr/bin/python3"):
        path = os.pathsep.join([str(ROOT), packages])
        command = [*BECOME_NOBODY, "env", f"PYTHONPATH={path}", python]
        probe = [*command, "-c", "import shared.db.embedded"]
        if subprocess.run(probe, cwd="/", capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("no Python that an ordinary user may run: the interpreter's folder is closed")


def test_a_new_folder_becomes_a_running_database_and_stops_without_a_trace(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    with served(folder) as server:
        assert sql(server.dsn, "select 1") == "1"
        assert server.data_dir == folder
        assert sorted(entry.name for entry in folder.iterdir()) == [LOCK, PGDATA]
        assert os.getsid(server.pid) == server.pid, "Ctrl-C in the terminal must not reach it"
    assert not runs(server.pid, folder / PGDATA)
    assert not server.sockets.exists()
    stop(server)  # once more does no harm


async def test_asyncpg_takes_the_dsn_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere", "PGUSER": "x", "PGDATA": "/x"}.items():
        monkeypatch.setenv(name, value)
    with served(tmp_path) as server:
        connection = await asyncpg.connect(server.dsn)
        try:
            assert await connection.fetchval("select current_user::text") == "postgres"
        finally:
            await connection.close()


def test_the_server_is_durable_local_and_the_same_on_every_machine(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        settings = dict(
            line.split("|")
            for line in sql(server.dsn, "select name, setting from pg_settings").splitlines()
            if line.count("|") == 1
        )
        assert settings["listen_addresses"] == ""
        assert settings["fsync"] == settings["synchronous_commit"] == "on"
        assert settings["data_checksums"] == "on"
        assert settings["server_encoding"] == "UTF8"
        assert settings["TimeZone"] == "UTC"
        assert settings["jit"] == "off"
        locale = "select datlocprovider, datlocale, datcollate from pg_database"
        assert set(sql(server.dsn, locale).splitlines()) == {"b|C.UTF-8|C"}
        assert sql(server.dsn, "select upper('é'), lower('Ä')") == "É|ä"


def test_what_is_stored_survives_a_stop(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        remember(server.dsn)
    with served(tmp_path) as server:
        assert remembered(server.dsn)


def test_a_session_in_the_middle_of_something_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with served(tmp_path) as server, busy_session(server.dsn) as session:
        began = time.monotonic()
        stop(server)
        assert in_time(time.monotonic() - began, 10), "the fast stop was not enough"
        assert session.wait(SOON) != 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("with spaces and 한글", id="spaces and Korean"),
        pytest.param('it\'s $HOME; `x` "q" \\ 100% #a, b', id="signs that shells and lists mind"),
        pytest.param("/".join(["n" * 100] * 4), id="longer than a socket's path may be"),
    ],
)
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with served(tmp_path / name) as server:
            assert sql(server.dsn, "show data_directory") == str(tmp_path / name / PGDATA)


def test_a_path_that_postgresql_would_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="cannot use"), served(tmp_path / ("한/" * 300)):
        pass


def test_a_closed_parent_folder_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with served(closed / "data") as server:
        assert sql(server.dsn, "select 1") == "1"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
@needs_linux
def test_root_gives_the_server_no_right_that_it_does_not_need(
    tmp_path: Path, open_folder: Path
) -> None:
    def capabilities(process: int | str) -> int:
        status = Path(f"/proc/{process}/status").read_text()
        return int(re.findall(r"CapEff:\s*(\w+)", status)[0], 16)

    with served(open_folder / "data") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert capabilities(server.pid) == 0
    tmp_path.chmod(0o700)
    dac_override, dac_read_search = 1 << 1, 1 << 2
    with served(tmp_path / "data") as server:
        least = capabilities("self") & dac_read_search or dac_override
        assert capabilities(server.pid) == least


@needs_linux
def test_no_secret_of_ours_reaches_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANGOL_SMTP_PASSWORD", "secret")
    with served(tmp_path) as server:
        assert b"secret" not in Path(f"/proc/{server.pid}/environ").read_bytes()


@needs_root
def test_the_server_of_root_runs_as_the_owner_of_the_folder(open_folder: Path) -> None:
    os.chown(open_folder, NOBODY, NOBODY)
    with served(open_folder) as server:
        assert sql(server.dsn, "select 1") == "1"
    assert {entry.stat().st_uid for entry in open_folder.rglob("*")} == {NOBODY}


@needs_root
def test_a_copy_that_root_has_put_back_works(open_folder: Path) -> None:
    with served(open_folder / "data") as server:
        remember(server.dsn)
    shutil.copytree(open_folder / "data" / PGDATA, open_folder / "copy" / PGDATA)
    with served(open_folder / "copy") as server:
        assert remembered(server.dsn)


@needs_root
@needs_linux
def test_other_users_cannot_get_at_the_socket(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert sql(server.dsn, "select 1") == "1", "but root can"
        for place in (server.sockets, server.sockets / ".s.PGSQL.5432"):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        done = subprocess.run(
            [*BECOME_NOBODY, program("psql"), server.dsn, "-c", "select 1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Permission denied" in done.stderr


@needs_root
@needs_linux
def test_without_the_capability_the_closed_folder_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for place in (*reversed(tmp_path.parents), tmp_path):
        if not place.stat().st_mode & 0o001:
            closed = place  # the outermost
            break
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable]
    message, hint = attempt(tmp_path / "closed" / "data", without)
    assert re.search(rf"may not enter {re.escape(str(closed))}$", message)
    assert "--data" in hint


def test_an_ordinary_user_needs_no_rights_at_all(
    open_folder: Path, ordinary_python: list[str]
) -> None:
    (open_folder / "home").mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(open_folder / "home", NOBODY, NOBODY)
    for _ in range(2):
        assert attempt(open_folder / "home" / "data", ordinary_python) == ("", "")
    assert (open_folder / "home" / "data" / PGDATA / "PG_VERSION").exists()


def test_an_unwritable_folder_is_named(open_folder: Path, ordinary_python: list[str]) -> None:
    (open_folder / "theirs").mkdir(mode=0o755)
    (open_folder / "theirs").chmod(0o555)
    message, hint = attempt(open_folder / "theirs" / "data", ordinary_python)
    assert message == f"cannot make the data folder {open_folder}/theirs/data: Permission denied"
    assert "--data" in hint
    message, hint = attempt(open_folder / "theirs", ordinary_python)
    assert message == f"cannot lock the data folder {open_folder}/theirs: Permission denied"
    assert "run as the user who owns the folder" in hint


@needs_root
def test_a_database_of_somebody_else_is_not_touched(
    open_folder: Path, ordinary_python: list[str]
) -> None:
    with served(open_folder / "data") as server:
        remember(server.dsn)
    os.chown(open_folder / "data", NOBODY, NOBODY)
    os.chown(open_folder / "data" / LOCK, NOBODY, NOBODY)
    message, _ = attempt(open_folder / "data", ordinary_python)
    assert f"{open_folder}/data/{PGDATA} belongs to another user" in message


@needs_root
@needs_linux
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path)]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no file system of its own: {probe.stderr.decode()}")
    message, hint = attempt(tmp_path / "data", [*command, sys.executable])
    assert message.startswith(f"cannot create a database in {tmp_path}/data/{PGDATA}")
    assert "No space left on device" in message
    assert "the disk is full" in hint


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DataFolderError, match=f"{tmp_path}/file is a file"):
            start(folder)
    (tmp_path / PGDATA).touch()
    with pytest.raises(DataFolderError, match=f"{tmp_path}/{PGDATA} is a file"):
        start(tmp_path)


def test_files_that_are_no_database_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / PGDATA).mkdir()
    (tmp_path / PGDATA / "thesis.txt").touch()
    with pytest.raises(DataFolderError, match="no PostgreSQL database"):
        start(tmp_path)
    assert (tmp_path / PGDATA / "thesis.txt").exists()


def test_a_database_of_another_postgresql_is_refused_by_name(tmp_path: Path) -> None:
    with served(tmp_path):
        pass
    (tmp_path / PGDATA / "PG_VERSION").write_text("17\n")
    with pytest.raises(DataFolderError, match="PostgreSQL 17, this is PostgreSQL 18") as caught:
        start(tmp_path)
    assert "pg_dump" in caught.value.hint


def test_a_creation_that_was_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".initdb-abandoned" / "base").mkdir(parents=True)
    (tmp_path / PGDATA).mkdir(mode=0o700)  # empty, as a volume may be
    with served(tmp_path) as server:
        assert sql(server.dsn, "select 1") == "1"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [LOCK, PGDATA]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with served(tmp_path):
        pass
    for segment in (tmp_path / PGDATA / "pg_wal").glob("0*"):
        segment.unlink()
    with pytest.raises(DataFolderError, match="could not locate a valid checkpoint record"):
        start(tmp_path)
    (tmp_path / PGDATA / "global" / "pg_control").unlink()
    with pytest.raises(DataFolderError, match=r"pg_control.*No such file or directory"):
        start(tmp_path)


def test_errors_are_logged_without_the_values_and_large_logs_go(tmp_path: Path) -> None:
    log = tmp_path / PGDATA / "log"
    with served(tmp_path) as server:
        with pytest.raises(AssertionError, match="secret@example"):
            sql(
                server.dsn,
                "create table addresses (address text primary key)",
                "insert into addresses values ('secret@example.com'), ('secret@example.com')",
            )
        eventually(lambda: any("duplicate key" in day.read_text() for day in log.iterdir()))
        assert not any("secret" in day.read_text() for day in log.iterdir())
    (day,) = log.iterdir()
    os.truncate(day, embedded.LOG_LIMIT + 1)
    with served(tmp_path):
        assert sum(day.stat().st_size for day in log.iterdir()) < 10_000


def test_a_second_holder_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with hold_folder(tmp_path):
        in_use = f"the data folder {tmp_path} is in use by process {os.getpid()}"
        with pytest.raises(DataFolderError, match=in_use), hold_folder(tmp_path):
            pass
        message, hint = attempt(tmp_path)
        assert message == in_use
        assert hint == "use another folder with --data or stop the other one"
    with hold_folder(tmp_path):
        pass  # free again


def test_a_start_leaves_the_server_of_a_living_owner_alone(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (owner, pid, dsn):
        with pytest.raises(DataFolderError, match=f"in use by process {owner.pid}"):
            start(tmp_path)
        assert runs(pid, tmp_path / PGDATA)
        assert sql(dsn, "select 1") == "1"
        owner.kill()
    with served(tmp_path):
        pass


def test_the_server_of_a_killed_owner_is_replaced_within_moments(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (owner, pid, dsn):
        remember(dsn)
        owner.kill()
        owner.wait()
    assert runs(pid, tmp_path / PGDATA)
    began = time.monotonic()
    with served(tmp_path) as server:
        assert in_time(time.monotonic() - began, 10), "the fast stop was not enough"
        assert not runs(pid, tmp_path / PGDATA)
        assert server.pid != pid
        assert remembered(server.dsn)
        left = list(server.sockets.parent.glob(f"dangol-{owner.pid}-*"))
        assert left == []


def test_data_survives_a_killed_server(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        remember(server.dsn)
        with busy_session(server.dsn):
            os.kill(server.pid, signal.SIGKILL)
            again = start(tmp_path)
        try:
            assert remembered(again.dsn)
        finally:
            stop(again)


def test_a_session_that_outlives_the_killed_server_is_waited_for(tmp_path: Path) -> None:
    with served(tmp_path) as server, busy_session(server.dsn):
        pid = int(sql(server.dsn, "select pid from pg_stat_activity where query like '%(600)'"))
        os.kill(pid, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGKILL)
        wake = threading.Timer(0.5, os.kill, [pid, signal.SIGCONT])
        wake.start()
        try:
            stop(start(tmp_path))
        finally:
            wake.join()


def test_data_survives_when_owner_and_server_are_killed(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (owner, pid, dsn):
        remember(dsn)
        owner.kill()
        os.kill(pid, signal.SIGKILL)
    with served(tmp_path) as server:
        assert remembered(server.dsn)


def test_a_pid_that_is_somebody_elses_by_now_does_no_harm(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        remember(server.dsn)
        pid_file = tmp_path / PGDATA / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    user = (tmp_path / PGDATA).stat().st_uid
    with subprocess.Popen(["sleep", "600"], user=user, cwd="/") as bystander:
        try:
            pid_file.write_text("\n".join([str(bystander.pid), *lines[1:], ""]))
            os.chown(pid_file, user, -1)
            with served(tmp_path) as server:
                assert remembered(server.dsn)
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_command_starts_a_server_of_its_own_and_stops_it(tmp_path: Path) -> None:
    with connect_or_start(tmp_path) as server:
        remember(server.dsn)
    assert not runs(server.pid, tmp_path / PGDATA)
    with connect_or_start(tmp_path) as server:
        assert remembered(server.dsn)


def test_a_command_uses_the_server_of_a_running_up(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (_, pid, dsn):
        with connect_or_start(tmp_path) as server:
            assert (server.pid, server.dsn) == (pid, dsn)
            stop(server)  # not ours to stop
        assert sql(dsn, "select 1") == "1"
    with served(tmp_path):
        pass


def test_a_command_waits_for_the_server_of_an_up_that_is_starting(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (_, left_over, _):
        pass  # killed: its server is about to be stopped, so the command must not take it
    assert runs(left_over, tmp_path / PGDATA)
    found: list[int] = []

    def command() -> None:
        with connect_or_start(tmp_path) as server:
            assert sql(server.dsn, "select 1") == "1"
            found.append(server.pid)

    thread = threading.Thread(target=command)
    with hold_folder(tmp_path):
        thread.start()
        thread.join(0.2)
        server = start(tmp_path)
        thread.join(SOON)
        stop(server)
    assert found == [server.pid]


def test_commands_wait_for_each_other(tmp_path: Path) -> None:
    found: list[str] = []

    def command() -> None:
        with connect_or_start(tmp_path) as server:
            found.append(sql(server.dsn, "select 1"))

    threads = [threading.Thread(target=command) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert found == ["1", "1", "1"]


@needs_root
def test_root_runs_it_with_the_programs_under_a_closed_folder(tmp_path: Path) -> None:
    """As in a clone, with its `.venv`, in root's own home."""
    home = tmp_path / "home of root"
    package = program("postgres").parents[2]
    for part in package.parent.glob(f"{package.name}*"):  # its shared libraries lie beside it
        shutil.copytree(part, home / part.name)
    home.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(home / "data")],
        env={**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert json.loads(done.stdout or "null") == ["", ""], done.stderr
    assert stat.S_IMODE(home.stat().st_mode) == 0o700, "nobody's folders are opened"
