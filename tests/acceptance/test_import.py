"""`dangol import` against a real `dangol up`: killed on its way, and nothing is lost or twice."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from shared.db import embedded
from tests.acceptance.test_up import write_workspace
from tests.patience import SOON
from tests.processes import WRITE_KEY, Dangol

EVENTS = 3000


@pytest.fixture
async def dangol(tmp_path: Path) -> AsyncIterator[Dangol]:
    made = Dangol(tmp_path / "data", write_workspace(tmp_path / "workspace"))
    await made.start()
    yield made
    await made.stop()


async def start(dangol: Dangol, file: Path, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), "import", str(file),
        "--server", dangol.url, *options,
        env={**os.environ, "DANGOL_WRITE_KEY": WRITE_KEY},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def write(file: Path, customers: int, event: str = "Signed Up") -> None:
    lines = ["userId,event,timestamp,total:number"]
    lines += [f"u{n},{event},2024-01-01T00:00:{n % 60:02}Z,{n}" for n in range(customers)]
    file.write_text("\n".join(lines) + "\n,nobody,,\n")


def read(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def mode(file: Path) -> int:
    return file.stat().st_mode


async def counted(connection: asyncpg.Connection, query: str, wanted: int) -> None:
    async with asyncio.timeout(SOON):
        while (found := await connection.fetchval(query)) != wanted:
            assert found < wanted, f"{found}, not {wanted}"
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_killed_import_goes_on_and_no_journey_starts(
    dangol: Dangol, tmp_path: Path
) -> None:
    file = tmp_path / "past.csv"
    write(file, EVENTS)
    state, rejects = Path(f"{file}.import-state"), Path(f"{file}.rejects.ndjson")
    process = await start(dangol, file, "--rate", "200/s")
    async with asyncio.timeout(SOON):
        while read(state) is None:
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    stopped = json.loads(read(state) or b"")
    assert 0 < stopped["sent"] < EVENTS
    process = await start(dangol, file, "--rate", "100000/s", "--json")
    out, err = await process.communicate()
    assert process.returncode == 1, "a line was rejected"
    assert json.loads(out)["sent"] == EVENTS
    assert b"going on behind line" in err
    (rejected,) = (json.loads(line) for line in (read(rejects) or b"").splitlines())
    assert (rejected["line"], rejected["error"]) == (EVENTS + 2, "no_identity")
    assert mode(rejects) & 0o077 == 0, "it holds personal data"
    assert read(state) is None
    with embedded.connect_or_start(dangol.data) as server:
        connection = await asyncpg.connect(server.dsn)
        await counted(connection, "SELECT count(*) FROM history", EVENTS)
        assert await connection.fetchval("SELECT count(DISTINCT id) FROM history") == EVENTS
        assert await connection.fetchval("SELECT count(*) FROM messages") == 0
        again = tmp_path / "again.csv"
        write(again, 3)
        process = await start(dangol, again, "--start-journeys")
        await process.communicate()
        await counted(connection, "SELECT count(*) FROM history", EVENTS)  # the ids are the same
        await connection.close()
