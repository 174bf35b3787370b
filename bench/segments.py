"""Sweeps on this machine: `python -m bench.segments [--customers N]`.

A real PostgreSQL with N customers (1,000,000), four events each over the last 120 days, and 20
segments that time changes, each watched by a journey that was published ten minutes ago. Nobody has
been looked at since, so every customer is compared with the baseline: the dearest case. A worker
decides the looks meanwhile. Figures go to bench/results/segments.json.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from services.console.publish import apply
from services.journey.core.state import State, pack
from services.journey.library import Library
from services.journey.maintenance import make_months
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.sweeps import Sweeps
from services.journey.worker import Worker
from shared import workspace_store
from shared.clock import REAL, wall_clock
from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from shared.db.wakeups import Wakeups
from shared.event import partition_of
from shared.log import outbox
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader

RESULTS = Path(__file__).parent / "results" / "segments.json"
PARTITIONS = 8
ROUNDS = 3
PUBLISHED = timedelta(minutes=10)

SEGMENTS = {
    "active-7d": 'did("Product Viewed", within="7d")',
    "active-30d": 'did("Product Viewed", within="30d") or did("Order Completed", within="30d")',
    "lapsed-30d": 'did("Order Completed") and not did("Order Completed", within="30d")',
    "lapsed-60d": 'did("Order Completed") and not did("Order Completed", within="60d")',
    "lapsed-90d": 'did("Order Completed") and not did("Order Completed", within="90d")',
    "browsers": 'count("Product Viewed", within="14d") >= 3'
    ' and not did("Order Completed", within="14d")',
    "repeat-buyers": 'count("Order Completed", within="60d") >= 2',
    "big-spenders": 'sum("Order Completed", of=e.total, within="90d") >= 500',
    "small-baskets": 'avg("Order Completed", of=e.total, within="60d") < 50',
    "one-big-order": 'max("Order Completed", of=e.total, within="30d") >= 400',
    "abandoned": 'did("Cart Updated", within="2d") and not did("Order Completed", within="2d")',
    "shoes": 'count("Product Viewed", within="30d", where=e.category == "shoes") >= 2',
    "gold-and-quiet": 'profile.tier == "gold" and not did("Order Completed", within="45d")',
    "newcomers": 'now - profile.created_at < "30d"',
    "first-month-buyers": 'in_segment("newcomers") and did("Order Completed", within="30d")',
    "days-since-order": 'days_since(last("Order Completed")) > 21',
    "seoul-actives": 'profile.city == "Seoul" and in_segment("active-30d")',
    "coupon-hunters": 'count("Order Completed", within="90d", where=e.coupon != null) >= 1',
    "at-risk-vips": 'in_segment("big-spenders") and days_since(last("Order Completed")) >= 30',
    "reachable-lapsed": 'in_segment("lapsed-60d") and profile.email != null'
    " and profile.consent.email == true",
}

_CUSTOMERS = """
UPDATE customers SET traits = jsonb_build_object(
  'email', id || '@shop.example', 'name', 'Customer ' || id,
  'tier', (ARRAY['gold', 'silver', 'bronze'])[1 + abs(hashtext(id)) % 3],
  'city', (ARRAY['Seoul', 'Busan', 'Incheon', 'Daegu'])[1 + abs(hashtext(id || 'c')) % 4],
  'consent', jsonb_build_object('email', abs(hashtext(id || 'e')) % 4 > 0),
  'created_at', to_jsonb($1::timestamptz - abs(hashtext(id || 't')) % 400 * interval '1 day'
    - abs(hashtext(id || 's')) % 86400 * interval '1 second'))
"""
_HISTORY = """
INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at, event)
SELECT partition, customer, at, id, 'track', name, at, jsonb_build_object(
  'id', id, 'kind', 'track', 'name', name, 'timestamp', at, 'user_id', customer,
  'properties', jsonb_build_object('order_id', 'ord_' || id, 'currency', 'EUR',
    'total', (random() * 300)::numeric(8, 2), 'items', 1 + floor(random() * 8),
    'category', (ARRAY['shoes', 'bags', 'coats', 'hats'])[1 + floor(random() * 4)],
    'coupon', CASE WHEN random() < 0.2 THEN 'SPRING' END,
    'url', 'https://shop.example/p/' || id),
  'context', jsonb_build_object('ip', '10.1.2.3', 'locale', 'ko-KR',
    'library', jsonb_build_object('name', 'analytics.js', 'version', '2.3.1')))
FROM (
  SELECT c.partition, c.id AS customer, c.id || '-' || n AS id,
    $1::timestamptz - (random() * 120 + 0.01) * interval '1 day' AS at,
    CASE WHEN random() < 0.6 THEN 'Product Viewed' WHEN random() < 0.5 THEN 'Cart Updated'
      ELSE 'Order Completed' END AS name
  FROM customers c CROSS JOIN generate_series(1, $2::int) AS n
) AS events
ORDER BY at
"""


def workspace() -> dict[str, bytes]:
    files = {
        "dangol.yaml": "timezone: Asia/Seoul\npolicies: {consent: assumed}\n"
        "channels:\n  email: {adapter: log}\n",
        "templates/hello/email.liquid": "---\nsubject: Hello\n---\n<p>Hello</p>\n",
    }
    for name, where in SEGMENTS.items():
        files[f"segments/{name}.yaml"] = f"segment: {name}\nwhere: '{where}'\n"
        files[f"journeys/{name}.yaml"] = (
            f"journey: {name}\ntrigger: {{segment: {name}, on: enter}}\n"
            "steps: [{send: email, template: hello}]\n"
        )
    return {name: text.encode() for name, text in files.items()}


async def fill(pool: Pool, customers: int, each: int) -> None:
    now = wall_clock()
    state = pack(State(seen={1: int(now.timestamp())}))
    await pool.copy_records_to_table(
        "customers",
        records=(
            (partition_of(name, PARTITIONS), name, state)
            for name in (f"c{n}" for n in range(customers))
        ),
        columns=("partition", "id", "state"),
    )
    await pool.execute(_CUSTOMERS, now, timeout=600)
    async with pool.acquire() as connection:
        for months in range(6):
            await make_months(connection, now - timedelta(days=30 * months))
    # In the order in which events come in: one customer's lie far apart.
    await pool.execute(_HISTORY, now, each, timeout=1800)
    await pool.execute("VACUUM ANALYZE customers", timeout=600)
    await pool.execute("VACUUM ANALYZE history", timeout=600)


async def sweeps(pool: Pool, dsn: str, data: Path) -> list[dict[str, Any]]:
    """The rounds, while a worker and a relay decide what they find."""
    wakeups = Wakeups(dsn, [CHANNEL, outbox.CHANNEL, workspace_store.CHANNEL])
    log = PostgresLog(pool, PARTITIONS)
    store, library = Store(pool), Library(pool)
    reader = PostgresLogReader(pool, wakeups, PARTITIONS, "bench")
    engine = Engine("bench", reader, store, library, REAL, PARTITIONS, 500, 50_000)
    stopping = asyncio.Event()
    tasks = [
        asyncio.create_task(wakeups.run(stopping)),
        asyncio.create_task(Worker(engine, wakeups.listen(workspace_store.CHANNEL)).run(stopping)),
        asyncio.create_task(outbox.Relay(pool, log, wakeups.listen(outbox.CHANNEL)).run(stopping)),
    ]
    postmaster = int((data / "postgres" / "postmaster.pid").read_text().split()[0])

    def cpu() -> float:
        return machine.usage(machine.tree(postmaster)).cpu_seconds

    job = Sweeps(pool, Library(pool), store, log, REAL, PARTITIONS)
    found: list[dict[str, Any]] = []
    try:
        for _round in range(ROUNDS):
            speed, before = machine.speed(), cpu()
            swept = await job.once()
            found.append(
                {
                    "seconds": round(swept.seconds, 2),
                    "changed": swept.changed,
                    "postgres_cpu_seconds": round(cpu() - before, 1),
                    "machine_speed": round(speed),
                }
            )
            print(found[-1], flush=True)
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
    return found


async def measure(customers: int, each: int, folder: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        data = folder or Path(name) / "data"
        server = embedded.start(data)
        try:
            await migrate(server.dsn, PARTITIONS)
            pool = await open_pool(server.dsn, size=24, name="bench")
            try:
                started = time.perf_counter()
                if not await pool.fetchval("SELECT EXISTS (SELECT FROM customers)"):
                    await fill(pool, customers, each)
                print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
                await pool.execute("TRUNCATE workspaces, journey_versions, journeys")
                await apply(pool, workspace(), "bench", REAL)
                await pool.execute(
                    "UPDATE workspaces SET active_from = active_from - $1::interval", PUBLISHED
                )
                rounds = await sweeps(pool, server.dsn, data)
                size = await pool.fetchval("SELECT pg_database_size(current_database())")
            finally:
                await pool.close()
        finally:
            embedded.stop(server)
    return {
        "machine": machine.describe(),
        "customers": customers,
        "history_rows": customers * each,
        "segments": len(SEGMENTS),
        "database_gigabytes": round(size / 1e9, 1),
        "median_seconds": statistics.median(each["seconds"] for each in rounds),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=4, help="events of each customer")
    parser.add_argument("--data", type=Path, help="a folder that is filled once and kept")
    options = parser.parse_args()
    found = uvloop.run(measure(options.customers, options.events, options.data))
    print(json.dumps(found, indent=2))
    if options.customers == 1_000_000:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
