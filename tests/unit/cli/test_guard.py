"""Hostile connections against a real uvicorn in this process, with bounds that a test can reach."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from services.cli import guard
from services.cli.web import serve

_LENGTH = (b"content-length", b"2")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body of /read; answers everything else before it has come."""
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [_LENGTH]})
    await send({"type": "http.response.body", "body": b"ok"})


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    stopping = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        server = asyncio.create_task(serve(app, sock, stopping))
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            stopping.set()
            await server


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed."""
    parts = []
    async with asyncio.timeout(10):
        try:
            while part := await reader.read(65536):
                parts.append(part)
        except ConnectionError:
            pass
    return b"".join(parts)


async def flood(writer: asyncio.StreamWriter, piece: bytes) -> None:
    for _ in range(100_000):
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize(
    "piece", [b"X-More: " + b"x" * 100 + b"\r\n", b"x" * 4096], ids=["headers", "one header"]
)
async def test_a_head_that_never_ends_is_cut_off(piece: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-First: ")
        with pytest.raises(ConnectionError):
            await flood(writer, piece)
        assert b"200" not in await all_of(reader)


async def test_a_long_head_is_told_so() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-First: " + b"x" * (guard.MOST_HEAD + 1))
        answer = await all_of(reader)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431")
        assert f"content-length: {len(body)}".encode() in head


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_head_that_does_not_come_in_time_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    monkeypatch.setattr(
        "services.cli.web.watch_heads", lambda state: guard.watch_heads(state, 0.1, 0.02)
    )
    async with connected() as (reader, writer):
        writer.write(b"GET /read HTTP/1.1\r\nHost: x\r\n\r\n")  # a good request before it
        assert b"200" in await reader.readuntil(b"ok")
        await asyncio.sleep(0.3)  # an idle connection that has had its answer is let be
        writer.write(words or b"G")
        assert await all_of(reader) == b""
    async with connected() as (reader, writer):
        writer.write(words)
        assert await all_of(reader) == b""


async def test_many_short_heads_on_one_connection_are_let_be() -> None:
    async with connected() as (reader, writer):
        more = b"X-More: " + b"x" * 8000 + b"\r\n"
        for _ in range(20):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
            assert b"200" in await reader.readuntil(b"ok")


async def test_what_comes_after_an_answer_is_dropped_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MOST_AFTER_ANSWER", 1024 * 1024)
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"200" in await reader.readuntil(b"ok")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with pytest.raises(ConnectionError):
            await flood(writer, chunk)


async def test_a_large_body_is_no_head() -> None:
    async with connected() as (reader, writer):
        size = 4 * 1024 * 1024
        writer.write(f"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        writer.write(b"x" * size)
        assert b"200" in await reader.readuntil(b"ok")
