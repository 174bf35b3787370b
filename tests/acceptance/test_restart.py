"""A restart under load, with real processes: not one connection is refused or reset."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest

from shared.db.connect import Pool
from tests.patience import SOON
from tests.processes import WRITE_KEY, Dangol, free_port

_AUTH = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()


def request(ident: str) -> bytes:
    body = json.dumps(
        {"messageId": ident, "type": "track", "event": "Added", "userId": f"u{ident[:2]}"}
    ).encode()
    head = (
        f"POST /v1/track HTTP/1.1\r\nHost: shop\r\nAuthorization: Basic {_AUTH}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Clients:
    """Some keep their connection as long as they may, some open one for each event."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered: list[str] = []
        self.failures: list[str] = []
        self._over = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client(n, keep=n % 2 == 0)) for n in range(16)]

    async def end(self) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> None:
        wanted = len(self.answered) + count
        async with asyncio.timeout(SOON):
            while len(self.answered) < wanted and not self.failures:
                await asyncio.sleep(0.01)

    async def _client(self, number: int, *, keep: bool) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        sent = 0
        while not self._over.is_set():
            ident = f"{number}-{sent}"
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = connection
                writer.write(request(ident))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError, AssertionError) as error:
                self.failures.append(f"{ident}: {error!r}")
                connection = None
                continue
            sent += 1
            self.answered.append(ident)
            if not keep or b"connection: close" in head.lower():
                writer.close()
                connection = None
        if connection is not None:
            connection[1].close()


async def ingest(port: int, dsn: str, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "dangol"), "ingest", "--port", str(port),
            "--take-over",
            env={**os.environ, "DANGOL_DATABASE_URL": dsn, "DANGOL_WRITE_KEYS": WRITE_KEY},
            stdout=file, stderr=file,
        )  # fmt: skip


def times_ready(log: Path) -> int:
    return log.read_text().count("is ready")


async def until_said(log: Path, times: int) -> None:
    async with asyncio.timeout(SOON):
        while times_ready(log) < times:
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_rolling_restart_of_ingest_refuses_and_resets_nobody(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "ingest.log"
    process = await ingest(port, dsn, log)
    await until_said(log, 1)
    clients = Clients(port)
    await clients.more(200)
    for restarts in (2, 3):
        successor = await ingest(port, dsn, log)
        await until_said(log, restarts)
        async with asyncio.timeout(SOON):
            assert await process.wait() == 0, log.read_text()
        await clients.more(200)
        process = successor
    await clients.end()
    process.terminate()
    assert await process.wait() == 0
    assert clients.failures == []
    stored = await pool.fetch("SELECT payload FROM log")
    ids = [json.loads(row["payload"])["id"] for row in stored]
    assert sorted(ids) == sorted(clients.answered), "each was stored once, and none is missing"


@pytest.mark.slow
async def test_a_restart_of_up_on_its_own_database_lets_clients_wait(tmp_path: Path) -> None:
    """Two cannot run on one data folder: what arrives in between waits in the socket."""
    first = Dangol(tmp_path / "data", arguments=("--take-over",))
    await first.start()
    clients = Clients(first.port)
    await clients.more(100)
    second = Dangol(tmp_path / "data", port=first.port, arguments=("--take-over",))
    await second.spawn()
    assert first.process is not None
    async with asyncio.timeout(SOON):
        assert await first.process.wait() == 0, first.log.read_text()
    await clients.more(100)
    await clients.end()
    assert clients.failures == []
    assert await second.stop() == 0
