"""Conditions as SQL, one by one: how long PostgreSQL takes to find whom each holds for.

    python -m bench.conditions [--customers 100000]

Ten events a customer, half of them within the last 60 days. Prints and records, for each condition,
the milliseconds for all customers, the median of three.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import sqlalchemy as sa

from bench import machine
from services.journey.core.flow import Moment
from services.journey.language.expressions import Mistake, parse
from services.journey.language.sql import condition_sql
from services.journey.language.sql.statements import prepared
from shared.db import embedded
from shared.db.migrate import migrate
from shared.db.tables import Instant, customers

RESULTS = Path(__file__).parent / "results" / "conditions.json"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PARTITIONS = 32
TRIGGER = Moment("Product Restocked", {"sku": "sku-17"})

CONDITIONS = {
    "a text": 'profile.tier == "gold"',
    "a number": "profile.points >= 5000",
    "texts, negated": 'profile.tier in ["gold", "vip"] and profile.email != null',
    "a date": "days_since(profile.signed_up) > 365",
    "a list": 'any(p.sku == "sku-3" for p in profile.cart)',
    "a pattern": r'matches(profile.email, "^u[0-9]+5@example\.com$")',
    "did": 'did("Order Completed", within="30d")',
    "did not": 'not did("Order Completed", within="30d")',
    "did, of the trigger": 'did("Product Viewed", within="30d", where=e.sku == trigger.sku)',
    "count": 'count("Order Completed", within="60d") >= 2',
    "sum": 'sum("Order Completed", of=e.total) > 50000',
    "days since the last": 'days_since(last("Order Completed")) > 30',
    "lapsed": 'did("Order Completed") and days_since(last("Order Completed")) > 30',
}

_CUSTOMERS = """
INSERT INTO customers (partition, id, traits, state)
SELECT n % 32, 'u' || n, jsonb_build_object(
    'email', 'u' || n || '@example.com', 'tier', (ARRAY['basic', 'gold', 'vip'])[1 + n % 3],
    'points', n % 10000, 'signed_up', to_char(timestamp '2020-01-01' + n % 2000 * interval '1 day',
    'YYYY-MM-DD'), 'cart', jsonb_build_array(jsonb_build_object('sku', 'sku-' || n % 50)),
    'city', 'Seoul', 'locale', 'ko-KR', 'phone', '+8210' || n), ''
FROM generate_series(1, $1::int) AS n
"""
_HISTORY = """
INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at, event)
SELECT n % 32, 'u' || n, at, n || '-' || k, 'track',
  (ARRAY['Product Viewed', 'Product Viewed', 'Product Added', 'Order Completed'])[1 + (n + k) % 4],
  at, jsonb_build_object('properties', jsonb_build_object('sku', 'sku-' || (n + k) % 50,
    'total', (n * k) % 30000, 'currency', 'KRW'))
FROM generate_series(1, 10) AS k, generate_series(1, $1::int) AS n,
  LATERAL (SELECT $2::timestamptz - (k * 12 - 11 + n % 12) * interval '24 hours' AS at) AS t
"""


async def _measure(dsn: str, number: int) -> dict[str, object]:
    connection = await asyncpg.connect(dsn, command_timeout=600)
    await connection.execute(_CUSTOMERS, number)
    await connection.execute(_HISTORY, number, NOW)
    await connection.execute("VACUUM ANALYZE")
    found: dict[str, object] = {}
    for name, text in CONDITIONS.items():
        node = parse(text)
        assert not isinstance(node, Mistake)
        now = sa.literal(NOW, Instant)
        where = condition_sql(node, now=now, segments={}, trigger=TRIGGER).where
        statement, arguments = prepared(
            sa.select(sa.func.count()).select_from(customers).where(where)
        )
        times = []
        for _ in range(3):
            started = time.perf_counter()
            holds = await connection.fetchval(statement, *arguments)
            times.append((time.perf_counter() - started) * 1000)
        found[name] = {"condition": text, "ms": round(statistics.median(times)), "hold": holds}
        print(f"{statistics.median(times):9.0f} ms  {holds:9}  {text}")
    await connection.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    number = parser.parse_args().customers
    speed = machine.speed()
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as folder:
        server = embedded.start(Path(folder))
        try:
            asyncio.run(migrate(server.dsn, PARTITIONS))
            rows = asyncio.run(_measure(server.dsn, number))
        finally:
            embedded.stop(server)
    record = {
        "machine": machine.describe(),
        "machine_speed": [round(speed), round(machine.speed())],
        "customers": number,
        "events": number * 10,
        "conditions": rows,
    }
    RESULTS.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
