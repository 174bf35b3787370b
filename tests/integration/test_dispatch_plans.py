"""The hot statements walk indexes by key, on a table that was empty when they were planned, too."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.dispatch import sql
from tests.integration.dispatching import NOON, House

LEASE = timedelta(seconds=30)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


WALKS = re.compile(r"Seq Scan on (?!journeys|send_rates)|Bitmap|Hash Join|Merge Join")
"""The journeys and the rates are few: they may be read whole."""

FILL = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, status, waits_for)
SELECT i % 4, 'm' || i, 'c' || i / 2, 'r', 'j', 1, 's', 'marketing', 50, '{email}', 't', '',
  $1, $1, $1, 'queued', CASE WHEN i % 2 = 0 THEN 'email' END FROM generate_series(1, 10000) i
"""
RATE = "INSERT INTO send_rates VALUES ('email', 50, now())"

ATTEMPT = (
    b'[{"partition": 0, "id": "m4", "customer": "c2", "number": 1, "channel": "email", "adapter":'
    b'"log", "passed_over": [], "at": "2026-03-02T12:00:00Z", "category": "marketing"}]'
)
CHANGE = b'[{"partition": 0, "id": "m4", "customer": "c2", "number": 1, "decision": "sent"}]'

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "claim": (sql.CLAIM, (NOON, 16, ["email"], [10])),
    "lines": (sql.LINES, ()),
    "waiting": (sql.WAITING, ()),
    "depth": (sql.DEPTH, (NOON,)),
    "next due": (sql.NEXT_DUE, ()),
    "read": (sql.READ, ([0, 1], ["m4", "m5"], NOON, LEASE)),
    "suppressed": (sql.SUPPRESSED, (["a", "b"],)),
    "attempt": (sql.ATTEMPT, ("me", LEASE, ATTEMPT)),
    "change": (sql.CHANGE, ("me", "attempting", CHANGE)),
    "retries": (sql.RETRIES, ([0], ["m4"], ["email"], ["log"])),
    "remember": (sql.REMEMBER, (0, "m4", 1, "me", "t")),
    "refresh": (sql.REFRESH, ("me", LEASE, [0], ["m4"])),
    "release": (sql.RELEASE, ("me", [0], ["m4"], [1], [NOON])),
    "gone": (sql.GONE_ATTEMPTS, (False, 10)),
}


@pytest.mark.parametrize("when", ["empty", "full", "analyzed"])
async def test_no_hot_statement_walks_a_table(house: House, when: str) -> None:
    if when != "empty":
        await house.pool.execute(FILL, NOON)
        await house.pool.execute(RATE)
    if when == "analyzed":
        await house.pool.execute("ANALYZE")
    async with house.pool.acquire() as connection:
        for name, (statement, values) in STATEMENTS.items():
            rows = await connection.fetch(f"EXPLAIN {statement}", *values)
            plan = "\n".join(row[0] for row in rows)
            assert not WALKS.search(plan), f"{name}:\n{plan}"


async def test_a_claim_reads_no_more_of_a_large_campaign_than_it_takes(house: House) -> None:
    """Neither those that wait for a rate, nor those in front of a transactional message."""
    await house.pool.execute(FILL, NOON)
    await house.pool.execute(RATE)
    await house.message("receipt", category="transactional", at=NOON)
    await house.pool.execute("VACUUM ANALYZE messages")
    async with house.pool.acquire() as connection:
        claimed = await connection.fetch(sql.CLAIM, NOON, 4, ["email"], [2])
        rows = await connection.fetch(
            f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) {sql.CLAIM}", NOON, 4, ["email"], [2]
        )
    assert claimed[0]["id"] == "receipt"
    read = [int(n) for row in rows for n in re.findall(r"actual rows=(\d+)", row[0])]
    assert max(read) < 20, "\n".join(row[0] for row in rows)
