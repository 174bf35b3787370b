"""A load generator that costs less than what it loads: sockets and epoll, nothing of asyncio.

`python -m bench.wire_load PORT MODE CONNECTIONS SECONDS` posts prepared requests over keep-alive
connections, one request under way on each, and prints one JSON object. Every answer must be 200.
Runs as a process of its own, so that its CPU time is not the server's.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from array import array
from typing import Literal

import msgspec

from bench.load import request
from bench.peers.journeys import NAMES, shop_event

Mode = Literal["single", "batch"]
BATCH = 100
_STAMP = "2026-11-22T10:40:12.199Z"


def prepared(mode: Mode, count: int) -> list[bytes]:
    """Requests of events of about 580 bytes each. Ids repeat from round to round: ingest does not
    look at them, and nobody reads the log behind it here."""
    rng = random.Random(7)

    def event() -> dict[str, object]:
        made = shop_event(rng, f"cust_{rng.randrange(100_000):08d}", rng.choice(NAMES))
        return {**made, "timestamp": _STAMP}

    if mode == "single":
        return [request("/v1/track", msgspec.json.encode(event())) for _ in range(count)]
    return [
        request("/v1/batch", msgspec.json.encode({"batch": [event() for _ in range(BATCH)]}))
        for _ in range(count)
    ]


def load(port: int, mode: Mode, connections: int, seconds: float) -> dict[str, float]:
    """Rates are events a second; latencies are seconds from the send to the whole answer.

    `load_core` is the share of a core that the generator itself took: well below 1, or what is
    measured is the generator.
    """
    requests = prepared(mode, 2000 if mode == "single" else 100)
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    latencies = array("d")
    sent_at = dict.fromkeys(sockets, 0.0)
    clock, most, at = time.perf_counter, len(requests), 0
    own, started = time.process_time(), clock()
    until = started + seconds
    for fd, sock in sockets.items():
        sent_at[fd] = clock()
        sock.sendall(requests[at % most])
        at += 1
    under_way = len(sockets)
    while under_way:
        for fd, _event in poll.poll():
            sock = sockets[fd]
            answer = sock.recv(4096)
            now = clock()
            if not answer.endswith(b"}"):
                if answer.startswith(b"HTTP/1.1 200"):
                    continue  # its body comes by itself
                raise SystemExit(f"an answer that is no 200: {answer[:200]!r}")
            latencies.append(now - sent_at[fd])
            if now >= until:
                under_way -= 1
                poll.unregister(fd)
                continue
            sent_at[fd] = now
            sock.sendall(requests[at % most])
            at += 1
    took = clock() - started
    figures = _figures(latencies, took, 1 if mode == "single" else BATCH)
    return {**figures, "load_core": (time.process_time() - own) / took}


def _figures(latencies: array[float], took: float, events: int) -> dict[str, float]:
    ordered = sorted(latencies)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        "events": len(ordered) * events,
        "rate": len(ordered) * events / took,
        "p50": at(0.5),
        "p99": at(0.99),
        "p999": at(0.999),
    }


if __name__ == "__main__":
    port, mode, connections, seconds = sys.argv[1:]
    if mode not in ("single", "batch"):
        raise SystemExit("MODE is single or batch")
    print(json.dumps(load(int(port), mode, int(connections), float(seconds))))  # type: ignore[arg-type]
