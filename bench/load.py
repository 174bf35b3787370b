"""An HTTP client that costs little: keep-alive, bodies encoded before the clock runs."""

import asyncio
import base64
import random
import time
import uuid
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


def shop_event(rng: random.Random, customer: str, name: str) -> dict[str, Any]:
    """About 580 bytes, like a Segment SDK's track call."""
    return {
        "messageId": str(uuid.UUID(int=rng.getrandbits(128))),
        "type": "track",
        "event": name,
        "userId": customer,
        "properties": {
            "order_id": f"ord_{rng.randrange(10**10):010d}",
            "total": round(rng.random() * 500, 2),
            "currency": "EUR",
            "items": rng.randrange(1, 9),
            "category": rng.choice(["shoes", "bags", "coats", "hats"]),
            "sku": f"SKU-{rng.randrange(10**6):06d}",
            "coupon": None,
            "is_gift": rng.random() < 0.2,
            "url": f"https://shop.example/checkout/{rng.randrange(10**8):08d}?utm_source=newsletter",
        },
        "context": {
            "ip": "10.1.2.3",
            "locale": "en-GB",
            "timezone": "Europe/Berlin",
            "library": {"name": "analytics-python", "version": "2.3.1"},
            "device": {"id": str(uuid.UUID(int=rng.getrandbits(128))), "type": "ios"},
        },
    }


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
