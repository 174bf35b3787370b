"""Hostile connections against a real uvicorn in this process, with bounds that a test can reach."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from services.cli import guard
from services.cli.guard import Header, Reply
from services.cli.web import serve
from tests.patience import SOON, stretched

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
async def connected(
    at_once: guard.Shortcut | None = None, stopping: asyncio.Event | None = None
) -> AsyncIterator[Connection]:
    stopping = stopping or asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        server = asyncio.create_task(serve(app, sock, stopping, at_once=at_once))
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
    async with asyncio.timeout(30):  # less than an idle connection is kept
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
    within = stretched(0.1)
    monkeypatch.setattr(
        "services.cli.web.watch_heads", lambda state: guard.watch_heads(state, within, 0.02)
    )
    async with connected() as (reader, writer):
        writer.write(b"GET /read HTTP/1.1\r\nHost: x\r\n\r\n")  # a good request before it
        assert b"200" in await reader.readuntil(b"ok")
        await asyncio.sleep(2 * within)  # an idle connection that has had its answer is let be
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


class Quick:
    """A shortcut that takes every /quick and answers when it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.replies: list[Reply] = []
        self.came = asyncio.Event()

    def __call__(
        self, target: bytes, _headers: Sequence[Header], body: bytes, reply: Reply
    ) -> bool:
        if target != b"/quick":
            return False
        self.bodies.append(body)
        self.replies.append(reply)
        self.came.set()
        return True

    async def next(self) -> Callable[[bytes], None]:
        async with asyncio.timeout(SOON):
            await self.came.wait()
        self.came.clear()
        reply = self.replies.pop()
        return lambda body: reply(200, ((b"content-length", b"%d" % len(body)),), body)


def post(target: str, body: str, more: str = "") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def test_a_whole_request_goes_the_shorter_way_and_its_answer_is_whole() -> None:
    quick = Quick()
    async with connected(quick) as (reader, writer):
        for body in ("one", "two"):
            writer.write(post("/quick", body))
            (await quick.next())(b"done")
            answer = await reader.readuntil(b"done")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\ndate: " in answer
        writer.write(post("/read", "three"))
        assert b"200" in await reader.readuntil(b"ok")
    assert quick.bodies == [b"one", b"two"]


@pytest.mark.parametrize(
    "request_",
    [
        post("/quick", "body", "Connection: close\r\n"),
        post("/quick", "body").replace(b"1.1", b"1.0"),
        post("/quick", "body").replace(b"POST", b"PUT"),
        post("/quick", "body", "Expect: 100-continue\r\n"),
        post("/slow", "body"),
    ],
    ids=["close", "HTTP/1.0", "PUT", "Expect", "another path"],
)
async def test_what_needs_more_is_left_to_the_app(request_: bytes) -> None:
    quick = Quick()
    async with connected(quick) as (reader, writer):
        writer.write(request_)
        assert b"200" in await reader.readuntil(b"ok")
    assert quick.bodies == []


async def test_what_comes_in_pieces_is_left_to_the_app() -> None:
    quick = Quick()
    async with connected(quick) as (reader, writer):
        whole = post("/read", "x" * 10)
        for cut in (whole.index(b"\r\n\r\n") + 4, len(whole) - 3):
            writer.write(whole[:cut])
            await asyncio.sleep(0.05)
            writer.write(whole[cut:])
            assert b"200" in await reader.readuntil(b"ok")
        writer.write(post("/quick", "a") + b"POST /quick HTTP/1.1\r\n")
        (await quick.next())(b"done")
        assert b"200" in await reader.readuntil(b"done")
        writer.write(b"Host: x\r\nContent-Length: 1\r\n\r\nb")
        (await quick.next())(b"done")
        await reader.readuntil(b"done")
    assert quick.bodies == [b"a", b"b"]


async def test_answers_keep_the_order_of_the_requests() -> None:
    quick = Quick()
    async with connected(quick) as (reader, writer):
        writer.write(post("/quick", "a") + post("/", "b") + post("/quick", "c"))
        answer = await quick.next()
        await asyncio.sleep(0.05)
        answer(b"done")
        first = await reader.readuntil(b"done")
        assert b"ok" not in first
        rest = await reader.readuntil(b"ok") + await reader.readuntil(b"ok")
        assert rest.count(b"HTTP/1.1 200") == 2
        writer.write(post("/quick", "d"))
        (await quick.next())(b"done")
        await reader.readuntil(b"done")
    assert quick.bodies == [b"a", b"d"]


async def test_who_leaves_before_the_answer_harms_nobody() -> None:
    quick = Quick()
    async with connected(quick) as (_, writer):
        writer.write(post("/quick", "a"))
        answer = await quick.next()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        answer(b"done")


async def test_a_stop_waits_for_the_answer_and_says_that_it_is_the_last() -> None:
    quick, stopping = Quick(), asyncio.Event()
    async with connected(quick, stopping) as (reader, writer):
        writer.write(post("/quick", "a"))
        answer = await quick.next()
        stopping.set()
        await asyncio.sleep(1.5)  # the server has seen the idle ones off by then
        answer(b"done")
        last = await all_of(reader)
        assert last.endswith(b"done")
        assert b"connection: close" in last


async def test_a_client_that_does_not_read_is_not_written_to_without_bounds() -> None:
    taken = 0

    def at_once(_target: bytes, _headers: Sequence[Header], _body: bytes, reply: Reply) -> bool:
        nonlocal taken
        taken += 1
        answer = b"x" * 60_000
        asyncio.get_running_loop().call_soon(reply, 200, ((b"content-length", b"60000"),), answer)
        return True

    async with connected(at_once) as (_, writer):
        for _ in range(2_000):
            writer.write(post("/quick", "a"))
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        assert taken < 500
