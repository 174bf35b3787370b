"""The HTTP protocol with bounds that uvicorn's own lacks, and a shorter way to an answer.

The bounds are on heads, and on what follows an answer.

A head (request line and headers) may have `MOST_HEAD` bytes and take `HEAD_WITHIN` seconds, or the
connection is closed. A body that still comes after its answer (too large, no key) is read and
dropped, since closing at once would cut the answer off, but only so far.

The shorter way is for requests that arrive whole: before a task is made of one, a `Shortcut` may
take it and answer it later, in one piece. On a connection whose client does not read, or asks
before it was answered, uvicorn's own way is kept: it waits where it must.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

MOST_HEAD = 64 * 1024
MOST_AFTER_ANSWER = 16 * 1024 * 1024
HEAD_WITHIN = 20.0
"""Seconds, as for the first request of a connection that says nothing at all."""
_EVERY = 1.0

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: 70\r\nconnection: close\r\n\r\n"
    b'{"code":"head_too_large","message":"The request\'s head is too large."}'
)


Header = tuple[bytes, bytes]
Reply = Callable[[int, Sequence[Header], bytes], None]
Shortcut = Callable[[bytes, Sequence[Header], bytes, Reply], bool]
"""Is given a POST's target, headers (names in lower case) and body. False leaves it to the app."""


class _UnderWay(RequestResponseCycle):
    """A request that a shortcut has taken, as uvicorn's protocol looks at the one under way."""

    response_complete = False
    disconnected = False
    more_body = False
    keep_alive = True
    message_event = asyncio.Event()
    """Nobody waits for it."""

    def __init__(self) -> None:
        pass  # the rest is of no use here, and costs time


class _Renderer:
    """Writes an answer's bytes; the last one, which is nearly always the next, is remembered."""

    def __init__(self) -> None:
        self._of: tuple[Sequence[Header], int, Sequence[Header], bytes] = ((), 0, (), b"")
        self._whole = b""

    def __call__(
        self, first: Sequence[Header], status: int, headers: Sequence[Header], body: bytes
    ) -> bytes:
        of = self._of
        if of[0] is not first or of[1] != status or of[2] is not headers or of[3] is not body:
            parts = [STATUS_LINE[status]]
            for name, value in (*first, *headers):
                parts += (name, b": ", value, b"\r\n")
            self._whole = b"".join((*parts, b"\r\n", body))
            self._of = (first, status, headers, body)
        return self._whole


_CLOSE = (b"connection", b"close")
_render = _Renderer()


class GuardedProtocol(HttpToolsProtocol):
    @staticmethod
    def shortcut(_target: bytes, _headers: Sequence[Header], _body: bytes, _reply: Reply) -> bool:
        """A `Shortcut`; this one takes nothing."""
        return False

    _arriving: list[bytes] | None = None
    """The body of a request that is held back until it is whole."""
    _unasked = 0
    """Bytes that came while no request was being answered."""

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def _begin(self) -> None:
        """Uvicorn's own beginning, which makes what a shortcut has no use for."""
        target, expects, headers = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = target, expects
        self.headers += headers
        super().on_headers_complete()

    def on_headers_complete(self) -> None:
        if (
            (self.cycle is not None and not self.cycle.response_complete)
            or self.pipeline
            or self.expect_100_continue
            or self.flow.write_paused
        ):
            self._begin()
        else:
            self._arriving = []

    def on_body(self, body: bytes) -> None:
        if self._arriving is None:
            super().on_body(body)
        else:
            self._arriving.append(body)

    def on_message_complete(self) -> None:
        if self._arriving is not None:
            if self._is_taken(b"".join(self._arriving)):
                self._arriving = None
                return
            self._let_go()
        super().on_message_complete()

    def _is_taken(self, body: bytes) -> bool:
        parser = self.parser
        if (
            parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
        ):
            return False
        request = _UnderWay()
        if not self.shortcut(self.url, self.headers, body, partial(self._answer, request)):
            return False
        self.cycle = request
        return True

    def _let_go(self) -> None:
        """Uvicorn is told what it has not been told."""
        held, self._arriving = self._arriving, None
        if self.transport.is_closing():
            return
        self._begin()
        for piece in held or ():
            super().on_body(piece)

    def _answer(
        self, request: _UnderWay, status: int, headers: Sequence[Header], body: bytes
    ) -> None:
        request.response_complete = True
        if self.transport.is_closing():
            return
        if not request.keep_alive:  # we are stopping
            headers = (*headers, _CLOSE)
        self.transport.write(_render(self.server_state.default_headers, status, headers, body))
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._arriving is not None:
            self._let_go()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._unasked = 0
            return
        self._unasked += len(data)
        lingering = cycle is not None and cycle.more_body
        if self._unasked > (MOST_AFTER_ANSWER if lingering else MOST_HEAD):
            if not lingering and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    @property
    def is_late(self) -> bool:
        """Whether it owes us a head: one has begun, or the connection has never had one."""
        cycle = self.cycle
        waiting = cycle is None or cycle.response_complete
        return waiting and self.timeout_keep_alive_task is None


async def watch_heads(
    state: ServerState, within: float = HEAD_WITHIN, every: float = _EVERY
) -> None:
    """Close connections whose head takes too long; runs until it is cancelled.

    Looking once a second at all connections costs less than a timer for each request.
    """
    late: dict[Any, tuple[object, float]] = {}
    while True:
        await asyncio.sleep(every)
        now, seen = time.monotonic(), late
        late = {}
        for connection in list(state.connections):
            if not isinstance(connection, GuardedProtocol) or not connection.is_late:
                continue
            cycle, since = seen.get(connection, (connection.cycle, now))
            if cycle is not connection.cycle:
                since = now
            if now - since >= within:
                connection.transport.close()
            else:
                late[connection] = (connection.cycle, since)
