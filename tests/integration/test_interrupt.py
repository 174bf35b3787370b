"""Ctrl-C in the middle of a command: it ends at once, says nothing odd, breaks nothing."""

import asyncio
import json
import os
import pty
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.console.publish import _LOCK as APPLYING
from shared.db.connect import Pool
from tests.patience import SOON

# The command with nobody at its usual address, whatever else runs on this machine.
_COMMAND = """
import sys
from services.cli import local
local.DEFAULT_SERVER = "http://127.0.0.1:1"
from services.cli.app import main
sys.argv[0] = "dangol"
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journeys = tmp_path / "workspace/journeys"
    journeys.mkdir(parents=True)
    (journeys.parent / "dangol.yaml").write_text("channels:\n  email: {adapter: log}\n")
    (journeys / "welcome.yaml").write_text(
        "journey: welcome\ntrigger: {event: Signed Up}\nsteps: [{wait: 1h}, {exit: done}]\n"
    )
    return tmp_path


@asynccontextmanager
async def command(
    folder: Path, *arguments: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, *arguments),
        cwd=folder,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def interrupted(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Ctrl-C; what it has said by its end."""
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), SOON)
    assert process.returncode == 130, err.decode()
    assert "Traceback" not in err.decode()
    return out.decode(), err.decode()


async def test_an_apply_is_whole_or_not_at_all(folder: Path, dsn: str, pool: Pool) -> None:
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", APPLYING)
        here = {"DANGOL_DATABASE_URL": dsn}
        async with command(folder, "apply", "workspace", **here) as process:
            async with asyncio.timeout(SOON):
                while not await pool.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = "
                    " current_database())"
                ):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            await interrupted(process)
    assert await pool.fetchval("SELECT count(*) FROM workspaces") == 0
    assert await pool.fetchval("SELECT count(*) FROM journey_versions") == 0
    async with command(folder, "apply", "workspace", **here) as process:
        out, err = await asyncio.wait_for(process.communicate(), SOON)
    assert b"Published as revision 1" in out, err.decode()


class Ingest(ThreadingHTTPServer):
    """Takes one request of an import and then keeps the next one waiting."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ids: list[str] = []
        self.requests = 0
        self.waiting = threading.Event()
        self.patient = False


class _Handler(BaseHTTPRequestHandler):
    server: Ingest

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests += 1
        if self.server.requests == 2 and not self.server.patient:
            self.server.waiting.set()
            self.rfile.read(1)  # until the client is gone
            return
        self.server.ids += [event["messageId"] for event in body["batch"]]
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    server = Ingest()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def test_an_import_goes_on_where_it_was(folder: Path, ingest: Ingest) -> None:
    lines = [
        {"type": "track", "event": "A", "userId": f"u{n}", "messageId": f"m{n}"} for n in range(500)
    ]
    file = folder / "events.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    url = f"http://127.0.0.1:{ingest.server_address[1]}"
    call = ("import", str(file), "--server", url, "--key", "k", "--rate", "1000000/s")
    async with command(folder, *call) as process:
        assert await asyncio.to_thread(ingest.waiting.wait, SOON)
        await interrupted(process)
    first = len(ingest.ids)
    assert 0 < first < 500
    ingest.patient = True
    async with command(folder, *call) as process:
        out, err = await asyncio.wait_for(process.communicate(), SOON)
    assert process.returncode == 0, err.decode()
    assert ingest.ids == [f"m{n}" for n in range(500)]
    assert b"500 events taken in" in out


async def test_a_simulation_just_ends(folder: Path) -> None:
    pipe = folder / "events"
    os.mkfifo(pipe)
    async with command(folder, "simulate", "workspace", "--events", str(pipe)) as process:
        writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # until it is being read
        try:
            out, _err = await interrupted(process)
        finally:
            os.close(writer)
    assert out == ""


# What is shown meanwhile ---------------------------------------------------------------------

_WORK = """
import time
from services.cli.terminal import working
with working("counting sheep"):
    time.sleep(SECONDS)
print("done")
"""


async def shown(seconds: str, *, terminal: bool, environment: Mapping[str, str]) -> tuple[str, str]:
    """Standard output, and what is shown on standard error."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WORK.replace("SECONDS", seconds)),
        env={**os.environ, "TERM": "xterm", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    out, _ = await asyncio.wait_for(process.communicate(), SOON)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # a terminal whose other side is closed
        pass
    finally:
        os.close(ours)
    return out.decode(), said.decode()


async def test_what_takes_long_is_shown_to_people_only() -> None:
    nobody: dict[str, str] = {}
    out, err = await shown("3", terminal=True, environment=nobody)
    assert out == "done\n"
    assert "counting sheep" in err
    assert await shown("0", terminal=True, environment=nobody) == ("done\n", "")
    assert await shown("1.4", terminal=False, environment=nobody) == ("done\n", "")
    assert await shown("1.4", terminal=True, environment={"TERM": "dumb"}) == ("done\n", "")


async def test_a_backtest_just_ends_and_leaves_nothing(folder: Path, dsn: str, pool: Pool) -> None:
    here = {"DANGOL_DATABASE_URL": dsn}
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        async with command(folder, "backtest", "workspace", **here) as process:
            async with asyncio.timeout(SOON):
                while not await pool.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation ="
                    " 'customers'::regclass"
                ):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            out, err = await interrupted(process)
    assert (out, err) == ("", "")
    async with asyncio.timeout(SOON):
        while await pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE '%command%'"
        ):
            await asyncio.sleep(0.02)
    assert not await pool.fetchval("SELECT EXISTS (SELECT FROM messages)")
    async with command(folder, "backtest", "workspace", "--json", **here) as process:
        out_, err_ = await asyncio.wait_for(process.communicate(), SOON)
    assert process.returncode == 0, err_.decode()
    assert json.loads(out_.splitlines()[0])["journey"] == "welcome"
