"""An HTTP client that costs little: keep-alive, bodies encoded before the clock runs."""

import asyncio
import base64
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.processes import WRITE_KEY

_AUTH = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()


def request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {_AUTH}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def batch(events: Sequence[dict[str, Any]]) -> bytes:
    return request("/v1/batch", msgspec.json.encode({"batch": events}))


@dataclass(frozen=True, slots=True)
class Posted:
    seconds: float
    latencies: list[float]
    """Seconds from the request's first byte to the answer's last, in no order."""


async def post_all(port: int, requests: Iterable[bytes], connections: int) -> Posted:
    """Post everything over so many connections; every answer must be 200."""
    waiting = iter(list(requests))
    latencies: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            started = time.perf_counter()
            writer.write(body)
            await _answer(reader)
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return Posted(time.perf_counter() - started, latencies)


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
