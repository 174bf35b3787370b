"""Dispatch alone, on prepared rows: `python -m bench.dispatch [--only NAME …]`.

One dispatcher in this process, a fresh embedded PostgreSQL, links and tracking on. Measured are
messages through policies, caps and rendering to `log` and through real SMTP, what a million held
messages cost an idle dispatcher, and a campaign of 100,000 that becomes due at once beside
transactional messages: with a rate (by one dispatcher, and by three together) and without. Figures
go to bench/results/dispatch.json, with the machine's speed and load beside each.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from bench.smtp_sink import measure as measure_sink
from services.cli.foundation import calm_garbage_collection
from services.dispatch.database import open_dispatch_pool
from services.dispatch.worker import WAKEUPS, Dispatcher
from shared import message
from shared.clock import REAL, wall_clock
from shared.db import embedded
from shared.db.connect import Pool
from shared.db.migrate import migrate
from shared.db.wakeups import Wakeups
from shared.message import MessageContext
from shared.workspace_store import pack_files

RESULTS = Path(__file__).parent / "results" / "dispatch.json"
_PARTITIONS = 8
_RATE = 200

_TEMPLATE = b"""---
subject: "Hello {{ profile.name | default: 'there' }}"
---
<h1>Hello {{ profile.name }}</h1>
<p>Your order {{ trigger.order_id }} of {{ trigger.total }} EUR.</p>
<p><a href="https://shop.example/orders">Your orders</a></p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
"""
_CUSTOMERS = """
INSERT INTO customers (partition, id, traits, state)
SELECT n % 8, 'c' || n, jsonb_build_object('email', 'c' || n || '@shop.example', 'name',
  'Customer ' || n), '' FROM generate_series(1, $1) n
"""
_MESSAGES = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, status)
SELECT n % 8, $2 || n, 'c' || n, 'run' || n, 'welcome', 1, 'hello', $3, 50, '{email}', 'hello', $4,
  $5, $5, $6, 'queued' FROM generate_series($7::int, $1::int) n
"""
_CONTEXT = message.pack(MessageContext())
_OPEN = "SELECT EXISTS (SELECT 1 FROM messages WHERE status <> 'decided' AND id LIKE $1)"


class House:
    """A database with a workspace, and a dispatcher that runs while it is told to."""

    def __init__(self, dsn: str, pool: Pool, postmaster: int) -> None:
        self.pool, self._dsn, self._postmaster = pool, dsn, postmaster
        self._wakeups = Wakeups(dsn, WAKEUPS)

    async def publish(self, adapter: str, **settings: Any) -> None:
        email = {"adapter": adapter, "from": "Shop <shop@shop.example>", **settings}
        caps = [{"category": "marketing", "limit": 1000, "per": "24h"}]
        await self.pool.execute(
            "INSERT INTO workspaces SELECT 1 + coalesce(max(revision), 0), 'h' || count(*), $1, $2,"
            " '{}', now(), 'bench' FROM workspaces",
            pack_files({"templates/hello/email.liquid": _TEMPLATE}),
            {
                "policies": {"consent": "assumed", "frequency_caps": caps},
                "channels": {"email": email},
            },
        )

    async def customers(self, count: int) -> None:
        await self.pool.execute(_CUSTOMERS, count, timeout=3600)

    async def messages(
        self,
        count: int,
        prefix: str,
        *,
        category: str = "marketing",
        due: datetime | None = None,
        first: int = 1,
    ) -> None:
        now = wall_clock()
        await self.pool.execute(
            _MESSAGES, count, prefix, category, _CONTEXT, now, due or now, first, timeout=3600
        )

    async def vacuum(self) -> None:
        await self.pool.execute("VACUUM ANALYZE messages", timeout=3600)
        await self.pool.execute("CHECKPOINT", timeout=3600)

    @asynccontextmanager
    async def dispatching(
        self, environment: dict[str, str] | None = None, concurrency: int = 32, count: int = 1
    ) -> AsyncIterator[None]:
        """`count` dispatchers, each with connections of its own."""
        pools = [self.pool, *[await open_dispatch_pool(self._dsn) for _ in range(count - 1)]]
        dispatchers = [
            Dispatcher(
                pool,
                REAL,
                self._wakeups,
                partitions=_PARTITIONS,
                environment=environment or {},
                concurrency=concurrency,
                public_url="https://mail.shop.example",
            )
            for pool in pools
        ]
        stopping = asyncio.Event()
        running = [asyncio.create_task(each.run(stopping)) for each in dispatchers]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*running)
            await asyncio.gather(*(pool.close() for pool in pools[1:]))

    def ring(self) -> None:
        self._wakeups.ring(message.CHANNEL)

    async def decided(self, like: str) -> None:
        async with asyncio.timeout(600):
            # Polled: the figure must not depend on a wake-up of ours.
            while await self.pool.fetchval(_OPEN, like):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of this process, and of PostgreSQL."""
        database = machine.usage(machine.tree(self._postmaster)).cpu_seconds
        return time.process_time(), database


def _postmaster(folder: Path) -> int:
    return int(next(folder.rglob("postmaster.pid")).read_text().split()[0])


@asynccontextmanager
async def _house() -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as folder:
        server = embedded.start(Path(folder))
        try:
            await migrate(server.dsn, _PARTITIONS)
            pool = await open_dispatch_pool(server.dsn)
            yield House(server.dsn, pool, _postmaster(Path(folder)))
            await pool.close()
        finally:
            embedded.stop(server)


async def through(
    adapter: str, count: int, environment: dict[str, str] | None = None, concurrency: int = 32
) -> Any:
    """So many due messages, decided, rendered and sent."""
    async with _house() as house:
        await house.publish(adapter)
        await house.customers(count)
        await house.messages(count, "m")
        await house.vacuum()
        before, started = house.cpu(), time.perf_counter()
        async with house.dispatching(environment, concurrency):
            await house.decided("m%")
            seconds = time.perf_counter() - started
            after = house.cpu()
        sent = await house.pool.fetchval("SELECT count(*) FROM messages WHERE decision = 'sent'")
    if sent != count:
        raise RuntimeError(f"{sent} of {count} messages were sent")
    return {
        "messages_per_second": round(count / seconds),
        "cpu_us_per_message": round((after[0] - before[0]) / count * 1e6),
        "postgres_cpu_us_per_message": round((after[1] - before[1]) / count * 1e6),
    }


async def smtp(count: int) -> Any:
    sink = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.smtp_sink", "serve", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert sink.stdout is not None
        port = int(await sink.stdout.readline())
        url = f"smtp://127.0.0.1:{port}"
        return await through("smtp", count, {"DANGOL_SMTP_URL": url})
    finally:
        sink.terminate()
        await sink.wait()


async def idle(held: int, seconds: float) -> Any:
    """Nothing is due; so many are held until tomorrow."""
    async with _house() as house:
        await house.publish("log")
        await house.messages(held, "m", due=wall_clock() + timedelta(days=1))
        await house.vacuum()
        async with house.dispatching():
            await asyncio.sleep(12)  # whatever PostgreSQL still does about the rows
            before = house.cpu()
            await asyncio.sleep(seconds)
            after = house.cpu()
    return {
        "held": held,
        "percent_of_a_core": round((after[0] - before[0]) / seconds * 100, 2),
        "postgres_percent_of_a_core": round((after[1] - before[1]) / seconds * 100, 2),
    }


async def release(campaign: int, seconds: int, rate: int | None, dispatchers: int = 1) -> Any:
    """A campaign becomes due at once; five transactional messages a second come beside it."""
    async with _house() as house:
        await house.publish("log", **({} if rate is None else {"rate": f"{rate}/s"}))
        receipts = 5 * seconds
        await house.customers(campaign + receipts)
        await house.messages(campaign, "m")
        await house.vacuum()
        before = house.cpu()
        async with house.dispatching(count=dispatchers):
            for n in range(receipts):
                number = campaign + n + 1
                await house.messages(number, "t", category="transactional", first=number)
                house.ring()
                await asyncio.sleep(0.2)
            after = house.cpu()
            await house.decided("t%")
        rows = await house.pool.fetch(
            "SELECT a.started_at - m.created_at AS took, a.started_at, m.category FROM attempts a"
            " JOIN messages m ON m.partition = a.partition AND m.id = a.message_id"
            " ORDER BY a.started_at"
        )
    took = sorted(r["took"].total_seconds() for r in rows if r["category"] == "transactional")
    started = [r["started_at"].timestamp() for r in rows]
    figures = {
        "campaign": campaign,
        "sent_per_second": round(len(started) / (started[-1] - started[0]), 1),
        "transactional_p50_seconds": round(statistics.median(took), 3),
        "transactional_p99_seconds": round(took[int(len(took) * 0.99)], 3),
        "transactional_worst_seconds": round(took[-1], 3),
        "cpu_percent_of_a_core": round((after[0] - before[0]) / seconds * 100, 1),
        "postgres_cpu_percent_of_a_core": round((after[1] - before[1]) / seconds * 100, 1),
    }
    if rate is not None:
        windows = _windows(started, 10.0)
        figures["rate"] = rate
        figures["ten_seconds_least_of_rate"] = round(min(windows) / (10 * rate), 4)
        figures["ten_seconds_most_of_rate"] = round(max(windows) / (10 * rate), 4)
    return figures


def _windows(instants: list[float], length: float) -> list[int]:
    """How many fall into each window that begins at an instant and ends before the last."""
    found, end = [], 0
    for begin, instant in enumerate(instants):
        if instant + length > instants[-1]:
            break
        while instants[end] < instant + length:
            end += 1
        found.append(end - begin)
    return found


async def run(plans: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, plan in plans.items():
        speed = machine.speed()
        figures = await plan()
        figures["machine_speed"] = round((speed + machine.speed()) / 2)
        figures["load_average"] = round(os.getloadavg()[0], 1)
        found[name] = figures
        print(f"{name:24} {figures}", flush=True)
    return found


def main() -> None:
    plans: dict[str, Callable[[], Awaitable[Any]]] = {
        "to_log": lambda: through("log", 30_000),
        "to_log_128_at_once": lambda: through("log", 30_000, concurrency=128),
        "through_smtp": lambda: smtp(10_000),
        "idle_with_a_million_held": lambda: idle(1_000_000, 20),
        "released_at_a_rate": lambda: release(100_000, 40, _RATE),
        "released_at_a_rate_by_three": lambda: release(100_000, 30, _RATE, dispatchers=3),
        "released_without_a_rate": lambda: release(100_000, 15, None),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(plans), default=list(plans))
    parser.add_argument("--keep", action="store_true", help="write the figures into the results")
    arguments = parser.parse_args()
    calm_garbage_collection()  # as every service does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run({name: plans[name] for name in arguments.only}))
        if not arguments.keep:
            return
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kept["machine"] = machine.describe()
        kept["measured_at"] = wall_clock().isoformat(timespec="seconds")
        kept["smtp_sink_alone_per_second"] = round(runner.run(measure_sink()))
        kept["figures"] = kept.get("figures", {}) | found
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
