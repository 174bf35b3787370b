"""Timers: 100,000 due among a million waiting runs, beside PgQueuer and Celery.

`python -m bench.timers [--waiting N] [--due N] [--rounds N] [--alone]`. Each of Dangol's timers
is claimed, its customer read and decided, the run moved to a `send`, and the message, the state,
the counts and the offset stored in one transaction a batch; a peer's job notes the time. One
process each, on PostgreSQL with the same settings (Celery on Redis, which must be installed).
Then the same worker rests: what a million waiting runs cost while nothing is due.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench import machine
from bench.streams import peer, publish, python_of, worker, write_workspace
from services.journey.core.state import AtTime, Run, State, Trigger, pack
from shared.clock import wall_clock
from shared.db import embedded
from shared.event import partition_of
from shared.ids import derived_id
from tests.processes import free_port

RESULTS = Path(__file__).parent / "results" / "timers.json"
_PARTITIONS = 8
_FILES = {
    "dangol.yaml": "timezone: UTC\npolicies: {consent: assumed}\n"
    'channels:\n  email: {adapter: log, from: "Shop <shop@shop.example>"}\n',
    "templates/hello/email.liquid": '---\nsubject: "Hello"\n---\n<p>Hello</p>\n',
    "journeys/waits.yaml": "journey: waits\ntrigger: {event: Order Completed}\n"
    "steps:\n  - {wait: 1h, id: pause}\n  - {send: email, template: hello, id: hello}\n",
}
_FIRED = "SELECT coalesce(sum(n), 0) FROM counts WHERE step = 'hello' AND what = 'reached'"
_JOBS = 10_000


def _state(customer: str, due: datetime) -> bytes:
    trigger = Trigger("Order Completed", {"order_id": f"o-{customer}", "total": 42.5})
    run = Run(
        id=derived_id("run", "waits", customer),
        journey="waits",
        version=1,
        key="",
        entered_at=due - timedelta(hours=1),
        trigger=trigger,
        step="pause",
        waiting=AtTime(due),
    )
    return pack(State(runs=(run,), seen={1: 0}, known=True, armed_at=due))


def _rows(
    numbers: Sequence[int], due: datetime
) -> Iterator[tuple[tuple[int, str, str, bytes], tuple[int, datetime, str]]]:
    for number in numbers:
        customer = f"cust_{number:08d}"
        place = partition_of(customer, _PARTITIONS)
        yield (place, customer, "{}", _state(customer, due)), (place, due, customer)


async def _fill(connection: asyncpg.Connection, first: int, count: int, due: datetime) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", decoder=bytes,
        encoder=lambda text: b"\x01" + text.encode(),
    )  # fmt: skip
    for start in range(first, first + count, 20_000):
        numbers = range(start, min(start + 20_000, first + count))
        rows = list(_rows(numbers, due))
        await connection.copy_records_to_table(
            "customers", records=[row for row, _ in rows],
            columns=("partition", "id", "traits", "state"),
        )  # fmt: skip
        await connection.copy_records_to_table(
            "timers", records=[row for _, row in rows], columns=("partition", "due_at", "customer")
        )


async def _until_fired(connection: asyncpg.Connection, wanted: int) -> float:
    async with asyncio.timeout(240):
        while await connection.fetchval(_FIRED) < wanted:  # noqa: ASYNC110 - the figure is ours
            await asyncio.sleep(0.01)
    return time.time()


def _postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


async def ours(waiting: int, due: int, rounds: int, between: Any) -> list[dict[str, float]]:
    """One database for all rounds: each adds its own due timers to the waiting million."""
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        folder = Path(name)
        write_workspace(folder, _FILES)
        with embedded.connect_or_start(folder / "data") as server:
            environment = {
                **os.environ,
                "DANGOL_DATABASE_URL": server.dsn,
                "DANGOL_LOG_LEVEL": "warning",
            }
            await asyncio.to_thread(publish, environment, folder)
            connection = await asyncpg.connect(server.dsn)
            await _fill(connection, 0, waiting, wall_clock() + timedelta(days=30))
            await connection.execute("VACUUM ANALYZE timers, customers")
            await connection.execute("CHECKPOINT")
            print(f"{waiting:,} runs wait", flush=True)
            first = waiting
            for number in range(rounds):
                speed = machine.speed()
                at = wall_clock() + timedelta(seconds=6 + due / 20_000)
                await _fill(connection, first, due, at)
                first += due
                with worker(environment, folder / "worker.log") as process:
                    await asyncio.sleep((at - wall_clock()).total_seconds())
                    before = machine.usage([process.pid]).cpu_seconds
                    took = await _until_fired(connection, due * (number + 1)) - at.timestamp()
                    after = machine.usage([process.pid]).cpu_seconds
                found.append(
                    {
                        "fired_per_second": round(due / took),
                        "cpu_us_per_timer": round((after - before) / due * 1e6, 1),
                        "machine_speed": round((speed + machine.speed()) / 2),
                        "load_average": round(os.getloadavg()[0], 1),
                    }
                )
                print(f"round {number + 1}  dangol           {found[-1]}", flush=True)
                await between(number, server.dsn)
            found[-1] |= await _idle(environment, folder)
            await connection.close()
    return found


async def _idle(environment: dict[str, str], folder: Path) -> dict[str, float]:
    with worker(environment, folder / "worker.log") as process:
        await asyncio.sleep(10)
        pids = sorted({process.pid, *machine.tree(_postmaster(folder / "data"))})
        before = machine.usage(pids).cpu_seconds
        alone = machine.usage([process.pid]).cpu_seconds
        await asyncio.sleep(30)
        figures = {
            "idle_percent_of_a_core": round(
                (machine.usage([process.pid]).cpu_seconds - alone) / 30 * 100, 2
            ),
            "idle_with_postgres_percent_of_a_core": round(
                (machine.usage(pids).cpu_seconds - before) / 30 * 100, 2
            ),
            "idle_memory_mib": round(machine.usage([process.pid]).rss_bytes / 2**20),
        }
    print(f"idle  {figures}", flush=True)
    return figures


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    peers: dict[str, list[dict[str, float]]] = {}

    async def between(number: int, dsn: str) -> None:
        if arguments.alone:
            return
        admin = await asyncpg.connect(dsn)
        for batch in (100, 1000):
            database = f"pgqueuer_{number}_{batch}"
            await admin.execute(f"CREATE DATABASE {database}")
            given = [dsn.replace("/postgres?", f"/{database}?"), str(_JOBS), str(batch)]
            python = python_of(arguments.peers, "pgqueuer")
            figures = await asyncio.to_thread(peer, python, "pgqueuer_jobs.py", given)
            peers.setdefault(f"pgqueuer_batch_{batch}", []).append(figures)
            print(f"round {number + 1}  pgqueuer {batch:5}  {figures}", flush=True)
        await admin.close()
        if shutil.which("redis-server") is None:
            print("Celery is left out: there is no redis-server", flush=True)
            return
        with tempfile.TemporaryDirectory(prefix="dangol-bench-redis-") as folder:
            given = [str(free_port()), str(_JOBS), folder]
            os.environ["BENCH_REDIS_PORT"] = given[0]
            python = python_of(arguments.peers, "celery")
            figures = await asyncio.to_thread(peer, python, "celery_jobs.py", given)
        peers.setdefault("celery", []).append(figures)
        print(f"round {number + 1}  celery           {figures}", flush=True)

    own = await ours(arguments.waiting, arguments.due, arguments.rounds, between)
    rate = statistics.median(row["fired_per_second"] for row in own)
    return {
        "measured_at": wall_clock().isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "rounds": arguments.rounds,
        "waiting": arguments.waiting,
        "due": arguments.due,
        "dangol_over": {
            name: round(rate / statistics.median(row["fired_per_second"] for row in rows), 2)
            for name, rows in peers.items()
        },
        "dangol": own,
        "peers": peers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without the peers; records nothing")
    parser.add_argument("--peers", type=Path, default=Path("/tmp/dangol-bench-peers"))
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(arguments))
    if not arguments.alone:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written to {RESULTS}")
    print(json.dumps(results["dangol_over"]))


if __name__ == "__main__":
    main()
