"""Scoring a million customers: `python -m bench.rfm [--customers N]`.

The history is made by SQL on a fresh embedded PostgreSQL: each customer has one to ten orders (half
of them one) and as many other events, over a year. Measured is the statement that scores and finds
who has changed: for the first time (everybody), and on an unchanged history (nobody); and how fast
the outbox takes what is told. Figures go to bench/results/rfm.json.
"""

import argparse
import asyncio
import json
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import machine
from services.journey.maintenance import make_months
from shared import rfm_scoring
from shared.clock import wall_clock
from shared.db import embedded
from shared.db.connect import Connection, open_pool
from shared.db.migrate import migrate
from shared.workspace import RfmSettings

RESULTS = Path(__file__).parent / "results" / "rfm.json"
_PARTITIONS = 8
_SETTINGS = RfmSettings(event="Order Completed", value="total")

_CUSTOMERS = """
INSERT INTO customers (partition, id, traits, state)
SELECT n % 8, 'u' || n, '{"email": "somebody@shop.example"}', repeat('x', 300)::bytea
FROM generate_series(1, $1) n
"""
_EVENTS = """
INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at, event)
SELECT n % 8, 'u' || n, at, 'm' || n || '-' || k || $3, 'track', $3, at, jsonb_build_object(
  'properties', jsonb_build_object('order_id', 'o' || n || '-' || k, 'total', (n * k) % 500 + 0.5,
    'products', '[{"sku": "A1", "price": 20}, {"sku": "B2", "price": 30}]'::jsonb),
  'context', '{"ip": "203.0.113.9", "locale": "ko-KR", "page": {"url": "https://shop.example/"}}'::jsonb)
FROM generate_series(1, $1) n,
  LATERAL generate_series(1, CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % 10 END) k,
  LATERAL (
    SELECT $2::timestamptz - ((n::bigint * 7919 + k * 104729) % 31536000) * interval '1 second'
  ) t(at)
"""


async def _timed(connection: Connection, statement: str, *values: Any) -> float:
    started = time.perf_counter()
    await connection.execute(statement, *values, timeout=3600)
    return time.perf_counter() - started


async def _find(connection: Connection) -> dict[str, Any]:
    before, started = machine.speed(), time.perf_counter()
    changed = await rfm_scoring._find(connection, _SETTINGS, wall_clock())  # noqa: SLF001
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 2),
        "changed": changed,
        "machine_speed": round((before + machine.speed()) / 2),
    }


async def measure(dsn: str, customers: int) -> dict[str, Any]:
    await migrate(dsn, _PARTITIONS)
    pool = await open_pool(dsn, size=2, name="bench")
    async with pool.acquire() as connection:
        await connection.execute("SET synchronous_commit = off")
        now = wall_clock()
        for months in range(13):
            await make_months(connection, now - timedelta(days=30 * months))
        made = await _timed(connection, _CUSTOMERS, customers)
        for name in ("Order Completed", "Product Viewed"):
            made += await _timed(connection, _EVENTS, customers, now, name)
        made += await _timed(connection, "VACUUM ANALYZE")
        orders = await connection.fetchval(
            "SELECT count(*) FROM history WHERE name = 'Order Completed'"
        )
        events = await connection.fetchval("SELECT count(*) FROM history")
        figures = {"first": await _find(connection)}
        await connection.execute(
            "UPDATE customers c SET rfm = jsonb_build_object('recency', s.recency, 'frequency',"
            " s.frequency, 'monetary', s.monetary) FROM rfm_changed s"
            " WHERE c.partition = s.partition AND c.id = s.customer",
            timeout=3600,
        )
        await connection.execute(
            "DELETE FROM rfm_changed WHERE ctid NOT IN (SELECT ctid FROM rfm_changed LIMIT 100000)"
        )
        told = await connection.fetchval("SELECT count(*) FROM rfm_changed")
        started = time.perf_counter()
        await rfm_scoring._tell(connection, now, _PARTITIONS, 0.0)  # noqa: SLF001
        seconds = time.perf_counter() - started
        await connection.execute("DROP TABLE rfm_changed")
        figures["again"] = await _find(connection)
    await pool.close()
    return {
        "customers": customers,
        "orders": orders,
        "events": events,
        "seconds_to_make_the_data": round(made),
        "scoring": figures,
        "told_per_second": round(told / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    customers = parser.parse_args().customers
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as folder:
        server = embedded.start(Path(folder))
        try:
            found = asyncio.run(measure(server.dsn, customers))
        finally:
            embedded.stop(server)
    result = {"machine": machine.describe(), **found}
    print(json.dumps(result, indent=2))
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
