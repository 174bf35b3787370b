"""The whole pipeline on this machine: `make bench` (or `python -m bench.pipeline [--quick]`).

A real `dangol up` on a fresh data folder per measurement, real HTTP in, real SMTP out; the load
generator, the sink and PostgreSQL share the machine's cores with it. Figures go to
bench/results/pipeline.json, with the machine's speed beside each (see bench/machine.py).
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench import machine
from bench.load import batch, post_all, request
from bench.peers.journeys import NAMES, shop_event
from bench.smtp_sink import Sink, measure
from shared.clock import wall_clock
from shared.db import embedded
from tests.processes import Dangol

RESULTS = Path(__file__).parent / "results" / "pipeline.json"


def _settings(adapter: str) -> str:
    return (
        "timezone: UTC\npolicies:\n  consent: assumed\n"
        "  frequency_caps: [{category: marketing, limit: 1000, per: 24h}]\n"
        f'channels:\n  email: {{adapter: {adapter}, from: "Shop <shop@shop.example>"}}\n'
    )


_TEMPLATE = """---
subject: "Hello {{ profile.name | default: 'there' }}"
---
<h1>Hello {{ profile.name }}</h1>
<p>Your order {{ trigger.order_id }} of {{ trigger.total }} EUR.</p>
"""


def _twenty_journeys() -> dict[str, str]:
    """Four journeys an event name; a third of the events enters one and waits a day."""
    return {
        f"journeys/j{n}.yaml": (
            f"journey: j{n}\n"
            f"trigger: {{event: {NAMES[n % 5]}, where: event.total > {300 + 10 * n}}}\n"
            + ("exit: [{event: Order Completed}]\n" if n % 4 == 0 else "")
            + "steps:\n  - wait: 1d\n  - {send: email, template: hello, id: hello}\n"
        )
        for n in range(20)
    }


def _send_at_once() -> dict[str, str]:
    return {
        "journeys/now.yaml": "journey: now\ntrigger: {event: Order Completed}\n"
        "entry: {key: event.order_id}\nsteps: [{send: email, template: hello, id: hello}]\n"
    }


def _workspace(folder: Path, adapter: str, journeys: dict[str, str]) -> Path:
    files = {
        "dangol.yaml": _settings(adapter),
        "templates/hello/email.liquid": _TEMPLATE,
        **journeys,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@asynccontextmanager
async def _dangol(
    adapter: str,
    journeys: dict[str, str],
    smtp: int | None = None,
    log_url: str | None = None,
) -> AsyncIterator[tuple[Dangol, asyncpg.Connection]]:
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        folder = Path(name)
        environment = {"DANGOL_LOG_LEVEL": "warning"}
        if smtp is not None:
            environment["DANGOL_SMTP_URL"] = f"smtp://127.0.0.1:{smtp}"
        if log_url is not None:
            environment["DANGOL_LOG_URL"] = log_url
        workspace = _workspace(folder / "workspace", adapter, journeys)
        dangol = Dangol(folder / "data", workspace, environment)
        await dangol.start()
        with embedded.connect_or_start(dangol.data) as server:
            connection = await asyncpg.connect(server.dsn)
            try:
                yield dangol, connection
            finally:
                await connection.close()
        await dangol.stop()


async def _until(connection: asyncpg.Connection, query: str, wanted: int) -> float:
    """The moment at which the query's number has reached `wanted`."""
    async with asyncio.timeout(60):
        # Polled: the figure must not depend on a wake-up of ours.
        while (await connection.fetchval(query) or 0) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return time.perf_counter()


_COMMITTED = "SELECT sum(log_offset) FROM partitions"
_DECIDED = "SELECT count(*) FROM messages WHERE status = 'decided'"


async def _cpu(dangol: Dangol) -> machine.Usage:
    assert dangol.process is not None
    postmaster = int((dangol.data / "postgres" / "postmaster.pid").read_text().split()[0])
    return machine.usage(sorted({*machine.tree(dangol.process.pid), *machine.tree(postmaster)}))


async def events_through(
    size: int, count: int, connections: int, log_url: str | None = None
) -> dict[str, float]:
    """HTTP to committed decision: 20 journeys, everything stored. The broker's CPU is not in it."""
    rng = random.Random(7)
    events = [shop_event(rng, f"c{rng.randrange(20_000)}", rng.choice(NAMES)) for _ in range(count)]
    if size == 1:
        requests = [request("/v1/track", json.dumps(event).encode()) for event in events]
    else:
        requests = [batch(events[i : i + size]) for i in range(0, count, size)]
    async with _dangol("log", _twenty_journeys(), log_url=log_url) as (dangol, connection):
        before = await _cpu(dangol)
        started = time.perf_counter()
        posted = await post_all(dangol.port, requests, connections)
        done = await _until(connection, _COMMITTED, count)
        after = await _cpu(dangol)
    latencies = sorted(posted.latencies)
    return {
        "accepted_per_second": round(count / posted.seconds),
        "committed_per_second": round(count / (done - started)),
        "answer_p50_ms": round(statistics.median(latencies) * 1000, 2),
        "answer_p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
        "cpu_us_per_event": round((after.cpu_seconds - before.cpu_seconds) / count * 1e6, 1),
    }


async def messages_through(adapter: str, count: int) -> dict[str, float]:
    """Orders in over HTTP, one message each, decided and sent by `adapter`."""
    rng = random.Random(8)
    people = [
        {"type": "identify", "messageId": f"i{n}", "userId": f"c{n}",
         "traits": {"email": f"c{n}@shop.example", "name": f"Customer {n}"}}
        for n in range(count)
    ]  # fmt: skip
    orders = [shop_event(rng, f"c{n}", "Order Completed") for n in range(count)]
    sink_process: asyncio.subprocess.Process | None = None
    port = None
    if adapter == "smtp":
        sink_process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.smtp_sink", "serve", stdout=asyncio.subprocess.PIPE
        )
        assert sink_process.stdout is not None
        port = int(await sink_process.stdout.readline())
    try:
        async with _dangol(adapter, _send_at_once(), port) as (dangol, connection):
            for rows in (people, orders):
                requests = [batch(rows[i : i + 100]) for i in range(0, count, 100)]
                if rows is orders:
                    before = await _cpu(dangol)
                    started = time.perf_counter()
                await post_all(dangol.port, requests, 4)
                await _until(connection, _COMMITTED, count)
            done = await _until(connection, _DECIDED, count)
            after = await _cpu(dangol)
            sent = await connection.fetchval(
                "SELECT count(*) FROM messages WHERE decision = 'sent'"
            )
        if sent != count:
            raise RuntimeError(f"{sent} of {count} messages were sent")
    finally:
        if sink_process is not None:
            sink_process.terminate()
            await sink_process.wait()
    return {
        "messages_per_second": round(count / (done - started)),
        "cpu_us_per_message": round((after.cpu_seconds - before.cpu_seconds) / count * 1e6),
    }


async def latency(count: int) -> dict[str, float]:
    """One order at a time, unloaded: from the HTTP request's first byte to the mail in the sink."""
    rng = random.Random(9)
    async with Sink() as sink, _dangol("smtp", _send_at_once(), sink.port) as (dangol, _connection):
        people = [
            {"type": "identify", "messageId": f"i{n}", "userId": f"c{n}",
             "traits": {"email": f"c{n}@shop.example"}}
            for n in range(count)
        ]  # fmt: skip
        await post_all(dangol.port, [batch(people[i : i + 100]) for i in range(0, count, 100)], 1)
        await asyncio.sleep(1)
        took: list[float] = []
        for n in range(count):
            body = json.dumps(shop_event(rng, f"c{n}", "Order Completed")).encode()
            started = time.perf_counter()
            await post_all(dangol.port, [request("/v1/track", body)], 1)
            took.append(await sink.arrival(f"c{n}@shop.example") - started)
            await asyncio.sleep(rng.uniform(0.01, 0.05))
    took = sorted(took[10:])
    return {
        "p50_ms": round(statistics.median(took) * 1000, 1),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
    }


async def idle(seconds: float) -> dict[str, float]:
    """What a running, idle Dangol costs, PostgreSQL included; and how long it takes to start."""
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        folder = Path(name)
        dangol = Dangol(folder / "data", _workspace(folder / "w", "log", _twenty_journeys()))
        started = time.perf_counter()
        await dangol.start()
        first = time.perf_counter() - started
        await dangol.stop()
        started = time.perf_counter()
        await dangol.start()
        again = time.perf_counter() - started
        await asyncio.sleep(3)
        before = await _cpu(dangol)
        await asyncio.sleep(seconds)
        after = await _cpu(dangol)
        await dangol.stop()
    return {
        "first_start_seconds": round(first, 2),
        "later_start_seconds": round(again, 2),
        "idle_cpu_percent_of_a_core": round(
            (after.cpu_seconds - before.cpu_seconds) / seconds * 100, 2
        ),
        "memory_mib": round(after.rss_bytes / 2**20),
    }


async def run(quick: bool) -> dict[str, Any]:
    n = 5 if quick else 1
    rounds = 1 if quick else 3
    plans: dict[str, Callable[[], Any]] = {
        "events_in_batches_of_100": lambda: events_through(100, 100_000 // n, 8),
        "single_events": lambda: events_through(1, 20_000 // n, 64),
        "messages_to_log": lambda: messages_through("log", 20_000 // n),
        "mails_through_smtp": lambda: messages_through("smtp", 10_000 // n),
        "event_to_smtp_unloaded": lambda: latency(300 // n),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    for number in range(rounds):
        for name, plan in plans.items():
            speed = machine.speed()
            figures = await plan()
            figures["machine_speed"] = round((speed + machine.speed()) / 2)
            found[name].append(figures)
            print(f"round {number + 1}  {name:26} {figures}", flush=True)
    medians = machine.medians(found)
    medians["idle"] = await idle(5 if quick else 20)
    print(f"{'idle':35} {medians['idle']}")
    medians["smtp_sink_alone_per_second"] = round(await measure())
    return {
        "measured_at": wall_clock().isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "rounds": rounds,
        "medians": medians,
        "all": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the size, one round")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(arguments.quick))
    if not arguments.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
