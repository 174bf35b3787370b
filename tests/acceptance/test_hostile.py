"""Hostile requests to a real `dangol ingest`: each is answered or cut off, and nothing leaks."""

import asyncio
import base64
import gzip
import json
import os
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.patience import SOON, in_time
from tests.processes import WRITE_KEY, free_port

_AUTH = f"Authorization: Basic {base64.b64encode(f'{WRITE_KEY}:'.encode()).decode()}\r\n"
_CUT_OFF = 60.0
"""Seconds: less than an idle connection is kept, so that not its end is taken for a cut."""
TRACK = {"type": "track", "event": "Added", "userId": "u1"}


@dataclass
class Server:
    port: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def raw(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """What is answered until the connection is closed, whatever becomes of what is sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass
        try:
            async with asyncio.timeout(_CUT_OFF):
                return await reader.read(100_000)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.fixture
async def server(dsn: str, tmp_path: Path) -> AsyncIterator[Server]:
    port = free_port()
    with (tmp_path / "ingest.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "dangol"), "ingest", "--port", str(port),
            env={**os.environ, "DANGOL_DATABASE_URL": dsn, "DANGOL_WRITE_KEYS": WRITE_KEY},
            stdout=log, stderr=log,
        )  # fmt: skip
    found = Server(port, process)
    async with httpx.AsyncClient(timeout=SOON) as client, asyncio.timeout(SOON):
        while True:
            try:
                if (await client.get(f"{found.url}/readyz")).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    yield found
    process.terminate()
    assert await process.wait() == 0


def post(body: bytes, *headers: str, path: str = "/v1/batch", length: str | None = None) -> bytes:
    size = str(len(body)) if length is None else length
    lines = "".join(f"{header}\r\n" for header in headers)
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\n{_AUTH}{lines}Content-Length: {size}\r\n\r\n".encode()
        + body
    )


BODIES: dict[str, tuple[bytes, set[int]]] = {
    "100,000 lists deep": (b"[" * 100_000, {400}),
    "100,000 lists deep, closed": (b"[" * 100_000 + b"]" * 100_000, {400}),
    "100,000 objects deep in an event": (
        b'{"batch":[' + json.dumps(TRACK).encode()[:-1] + b',"properties":'
        + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}]}",
        {200, 400},
    ),
    "a million keys": (
        b'{"type":"track","userId":"u","event":"e","properties":{'
        + b",".join(b'"%d":1' % n for n in range(700_000)) + b"}}",
        {200},
    ),
    "a million empty events": (b'{"batch":[' + b"{}," * 999_999 + b"{}]}", {413}),
    "an integer of a million digits": (
        b'{"type":"track","userId":"u","event":"e","properties":{"n":' + b"9" * 1_000_000 + b"}}",
        {200},
    ),
    "a number beyond doubles": (
        b'{"type":"track","userId":"u","event":"e","properties":{"n":1e999999999}}', {200},
    ),
    "NUL and half a pair": (
        b'{"type":"track","userId":"u\\u0000","event":"e\\ud800","properties":{"\\u0000":"\\udfff"}}',
        {200},
    ),
    "bare NUL bytes": (b'{"type":"track","userId":"u\x00","event":"e"}', {200}),
    "bytes that are no UTF-8": (b'{"type":"track","userId":"\xff\xfe","event":"e"}', {200}),
    "nothing": (b"", {400}),
    "eleven megabytes": (b" " * 11 * 1024 * 1024, {413}),
    "a gzip bomb": (gzip.compress(b" " * 200 * 1024 * 1024, 9), {413}),
    "a gzip bomb in a gzip bomb": (gzip.compress(gzip.compress(b" " * 50_000_000)), {400, 413}),
    "gzip that breaks off": (gzip.compress(json.dumps(TRACK).encode())[:-6], {400}),
    "a thousand gzip members": (gzip.compress(b" ") * 1000, {400}),
    "raw deflate": (zlib.compress(json.dumps(TRACK).encode()), {200}),
}  # fmt: skip


def status_of(answer: bytes, name: str) -> int:
    assert answer.startswith(b"HTTP/1.1 "), (name, answer[:200])
    return int(answer.split()[1])


_UPGRADE = (
    b"GET /v1/t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
)
RAW: dict[str, tuple[bytes, ...]] = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,),
    "garbage": (os.urandom(4096),),
    "a negative length": (post(b"{}", length="-1"),),
    "a length that is none": (post(b"{}", length="ten"),),
    "a length of a hundred digits": (post(b"{}", length="9" * 100),),
    "two lengths": (post(b"{}", "Content-Length: 5"),),
    "a length and chunks": (post(b"0\r\n\r\n", "Transfer-Encoding: chunked"),),
    "a chunk of a size that is none": (
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\n{_AUTH}Transfer-Encoding: chunked\r\n\r\n".encode(),
        b"zz\r\n",
    ),
    "an upgrade": (_UPGRADE, b"GARBAGE\r\n\r\n"),
    "a header flood": (b"POST /v1/t HTTP/1.1\r\n", *[b"X-%d: y\r\n" % n * 200 for n in range(900)]),
    "a header that never ends": (b"POST /v1/t HTTP/1.1\r\nX: ", *[b"y" * 10_000] * 100),
    "a path that never ends": (b"GET /", *[b"y" * 10_000] * 100),
    "chunks without an end": (
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\n{_AUTH}Transfer-Encoding: chunked\r\n\r\n".encode(),
        *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 600,
    ),
}  # fmt: skip


async def good(server: Server) -> None:
    async with httpx.AsyncClient(timeout=SOON) as client:
        answer = await client.post(f"{server.url}/v1/track", json=TRACK, auth=(WRITE_KEY, ""))
    assert answer.status_code == 200


@pytest.mark.slow
async def test_hostile_requests_are_answered_or_cut_off_and_nothing_leaks(server: Server) -> None:
    await good(server)
    for body, _statuses in BODIES.values():  # once, so that what is kept for good is there
        await server.raw(post(body, "Connection: close"))
    memory, descriptors = server.memory(), server.descriptors()
    for name, (body, statuses) in BODIES.items():
        for path in ("/v1/batch", "/v1/track"):
            answer = await server.raw(post(body, "Connection: close", path=path))
            assert status_of(answer, name) in statuses, (name, path, answer[:300])
            assert b"access-control-allow-origin: *" in answer, name
    for name, pieces in RAW.items():
        answer = await server.raw(*pieces)
        if answer:
            assert 400 <= status_of(answer, name) < 500, (name, answer[:200])
        await good(server)
    async with asyncio.timeout(SOON):
        while server.descriptors() > descriptors:
            await asyncio.sleep(0.05)
    assert server.memory() - memory < 128 * 1024 * 1024
    assert server.process.returncode is None


@pytest.mark.slow
async def test_a_flood_beyond_the_memory_s_bound_is_told_to_wait_and_passes(
    server: Server,
) -> None:
    """40 bodies of 9 MiB at once are too many; who is refused hears when to come again."""
    before = server.memory()
    body = json.dumps({"batch": [TRACK], "padding": "x" * (9 * 1024 * 1024)}).encode()
    async with httpx.AsyncClient(timeout=SOON, limits=httpx.Limits(max_connections=40)) as client:

        async def one() -> httpx.Response:
            return await client.post(f"{server.url}/v1/batch", content=body, auth=(WRITE_KEY, ""))

        answers = await asyncio.gather(*(one() for _ in range(40)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == "unavailable"
    assert server.memory() - before < 900 * 1024 * 1024
    await good(server)


@pytest.mark.slow
async def test_five_hundred_silent_connections_hold_nobody_up(server: Server) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(500)]
    for number, (_reader, writer) in enumerate(idle):
        writer.write(b"" if number % 2 else b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    started = asyncio.get_running_loop().time()
    await good(server)
    assert in_time(asyncio.get_running_loop().time() - started, 5)
    for _reader, writer in idle:
        writer.close()
