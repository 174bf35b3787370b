"""Ingest against its yardsticks on this machine: `python -m bench.ingest [--quick | --soak N]`.

Each server is one process on the same uvicorn (uvloop, httptools). `dangol ingest` answers 200 only
when the event is durably in PostgreSQL's log; the yardsticks (bench/ingest_yardsticks.py) store
nothing. Rounds take turns, so that all meet the same machine; what counts are the ratios of their
medians. Where the machine has two cores, the server has one to itself; PostgreSQL and the load
generator share the other. With `--soak N` it is its memory over N events that is measured.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench import machine
from shared.clock import wall_clock
from shared.db import embedded
from tests.processes import WRITE_KEY, free_port

RESULTS = Path(__file__).parent / "results" / "ingest.json"
_CONNECTIONS = {"single": 32, "batch": 8}
_DURABLE = {"single": 256, "batch": 32}
"""Whose answers wait for a commit needs more requests under way to keep a core busy."""
_SERVERS = ("bare", "fastapi", "dangol")
_FLAT = 1.1
"""Memory is flat if the last fifth of a soak has no more than this times the second fifth; the
first one is for caches and the allocator to settle."""


@dataclass
class Server:
    name: str
    process: subprocess.Popen[bytes]
    port: int
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def _pinned(core: int) -> list[str]:
    cores = os.cpu_count() or 1
    return ["taskset", "-c", str(core)] if cores >= 2 and shutil.which("taskset") else []


def _command(name: str, port: int) -> list[str]:
    scripts = Path(sys.executable).parent
    if name == "dangol":
        return [str(scripts / "dangol"), "ingest", "--port", str(port)]
    app = {"bare": "bare", "fastapi": "fastapi_app"}[name]
    return [
        str(scripts / "uvicorn"), f"bench.ingest_yardsticks:{app}", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--lifespan", "off",
        "--no-access-log", "--no-server-header", "--log-level", "warning",
    ]  # fmt: skip


@contextmanager
def _servers(dsn: str, names: Sequence[str] = _SERVERS) -> Iterator[dict[str, Server]]:
    environment = {
        **os.environ,
        "DANGOL_DATABASE_URL": dsn,
        "DANGOL_WRITE_KEYS": WRITE_KEY,
        "DANGOL_LOG_LEVEL": "warning",
    }
    made: dict[str, Server] = {}
    try:
        for name in names:
            port = free_port()
            command = [*_pinned(1), *_command(name, port)]
            made[name] = Server(name, subprocess.Popen(command, env=environment), port)
        for server in made.values():
            _await(server)
        yield made
    finally:
        for server in made.values():
            server.process.terminate()
            server.process.wait(20)


def _await(server: Server) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if server.name == "dangol":
                urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=2)
            else:
                socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"{server.name} does not answer")


def _round(server: Server, mode: str, seconds: float, postgres: int) -> dict[str, float]:
    speed = machine.speed()
    before = machine.usage([server.process.pid])
    before_postgres = machine.usage(machine.tree(postgres)).cpu_seconds
    done = subprocess.run(
        [*_pinned(0), sys.executable, "-m", "bench.wire_load", str(server.port), mode,
         str((_DURABLE if server.name == "dangol" else _CONNECTIONS)[mode]), str(seconds)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{server.name}, {mode}: {done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    after = machine.usage([server.process.pid])
    spent = after.cpu_seconds - before.cpu_seconds
    took = figures["events"] / figures["rate"]
    figures["cpu_us"] = spent * 1e6 / figures["events"]
    figures["core"] = spent / took
    if server.name == "dangol":
        in_postgres = machine.usage(machine.tree(postgres)).cpu_seconds - before_postgres
        figures["postgres_cpu_us"] = in_postgres * 1e6 / figures["events"]
    figures["rss_mb"] = after.rss_bytes / 1e6
    figures["machine_speed"] = speed
    figures["load_average"] = os.getloadavg()[0]
    return figures


async def _forget(dsn: str) -> None:
    """Each round of Dangol begins with an empty log, so that the disk does not fill up."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("TRUNCATE log")
    finally:
        await connection.close()


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(r[name] for r in rounds), 6) for name in rounds[0]}


def _ratios(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    single, batch = found["single"], found["batch"]
    return {
        "single_to_bare": single["dangol"]["rate"] / single["bare"]["rate"],
        "single_to_fastapi": single["dangol"]["rate"] / single["fastapi"]["rate"],
        "batch_to_fastapi": batch["dangol"]["rate"] / batch["fastapi"]["rate"],
        "single_to_bare_by_cpu": single["bare"]["cpu_us"] / single["dangol"]["cpu_us"],
        "single_to_fastapi_by_cpu": single["fastapi"]["cpu_us"] / single["dangol"]["cpu_us"],
        "batch_to_fastapi_by_cpu": batch["fastapi"]["cpu_us"] / batch["dangol"]["cpu_us"],
    }


def _compare(dsn: str, postgres: int, rounds: int, seconds: float) -> dict[str, Any]:
    with _servers(dsn) as servers:
        for mode in _CONNECTIONS:
            for server in servers.values():
                _round(server, mode, min(1.0, seconds), postgres)  # to warm it up
        for _ in range(rounds):
            for mode in _CONNECTIONS:
                for server in servers.values():
                    if server.name == "dangol":
                        asyncio.run(_forget(dsn))
                    figures = _round(server, mode, seconds, postgres)
                    server.rounds.setdefault(mode, []).append(figures)
                    _show(server.name, mode, figures)
        found = {
            mode: {name: _summary(server.rounds[mode]) for name, server in servers.items()}
            for mode in _CONNECTIONS
        }
    return {"medians": found, "ratios": {k: round(v, 3) for k, v in _ratios(found).items()}}


def _soak(dsn: str, postgres: int, events: int) -> dict[str, Any]:
    """Memory over so many events: ten seconds in batches of 100, then two of single ones. The log
    is emptied before each such turn, so that the disk does not fill up."""
    with _servers(dsn, ["dangol"]) as servers:
        server, taken, memory, started = servers["dangol"], 0, [], time.monotonic()
        while taken < events:
            asyncio.run(_forget(dsn))
            for mode, seconds in (("batch", 10.0), ("single", 2.0)):
                figures = _round(server, mode, seconds, postgres)
                taken += int(figures["events"])
            memory.append(round(figures["rss_mb"], 1))
            print(
                f"soak: {taken:,} of {events:,} events, {memory[-1]} MB"
                f"  ({time.monotonic() - started:.0f} s)",
                flush=True,
            )
    fifth = max(1, len(memory) // 5)
    early = statistics.median(memory[fifth : 2 * fifth] or memory)
    late = statistics.median(memory[-fifth:])
    return {
        "at": wall_clock().isoformat(),
        "events": taken,
        "seconds": round(time.monotonic() - started),
        "load_average": round(os.getloadavg()[0], 2),
        "rss_mb_early": early,
        "rss_mb_late": late,
        "flat": late <= early * _FLAT,
        "rss_mb": memory,
    }


def _show(name: str, mode: str, f: dict[str, float]) -> None:
    print(
        f"{mode:6} {name:8} {f['rate']:9,.0f} events/s  cpu {f['cpu_us']:6.1f} µs/event"
        f"  p50 {f['p50'] * 1e3:6.2f}  p99 {f['p99'] * 1e3:6.2f}  p99.9 {f['p999'] * 1e3:6.2f} ms"
        f"  {f['rss_mb']:.0f} MB  cores: server {f['core']:.2f}, load {f['load_core']:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds; writes no results")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of 3 seconds each")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="memory over N events")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as folder:
        server = embedded.start(Path(folder) / "data")
        postgres = int((Path(folder) / "data/postgres/postmaster.pid").read_text().split()[0])
        if pinned := _pinned(0):
            command = [*pinned[:1], "-cp", "0", str(postgres)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        try:
            if options.soak:
                found: dict[str, Any] = {"soak": _soak(server.dsn, postgres, options.soak)}
            else:
                rounds, seconds = (3, 1.0) if options.quick else (options.rounds, 3.0)
                found = _compare(server.dsn, postgres, rounds, seconds)
                found |= {"at": wall_clock().isoformat(), "machine": machine.describe()}
        finally:
            embedded.stop(server)
    print(json.dumps(found["soak"] if options.soak else found["ratios"], indent=2))
    if not options.quick:
        RESULTS.write_text(json.dumps(json.loads(RESULTS.read_text()) | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
