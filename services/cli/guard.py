"""The HTTP protocol with bounds that uvicorn's own lacks: on heads, and on what follows an answer.

A head (request line and headers) may have `MOST_HEAD` bytes and take `HEAD_WITHIN` seconds, or the
connection is closed. A body that still comes after its answer (too large, no key) is read and
dropped, since closing at once would cut the answer off, but only so far.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
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


class GuardedProtocol(HttpToolsProtocol):
    _unasked = 0
    """Bytes that came while no request was being answered."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
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
