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


WALKS = re.compile(r"Seq Scan on (?!journeys)|Bitmap|Hash Join|Merge Join")
"""The journeys are few: they may be read whole."""

FILL = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, status)
SELECT i % 4, 'm' || i, 'c' || i / 2, 'r', 'j', 1, 's', 'marketing', 50, '{email}', 't', '',
  $1, $1, $1, 'queued' FROM generate_series(1, 5000) i
"""

ATTEMPT: list[list[Any]] = [
    *([0], ["m4"], ["c2"], [1], ["email"], ["log"], [b"[]"], [NOON], ["marketing"], [NOON])
]
CHANGE: list[list[Any]] = [
    *([0], ["m4"], ["c2"], [1], ["sent"], [None], [NOON], ["email"], [None], [None], [None]),
    *([None], [False], [None], ["accepted"], [NOON], ["p"], ["d"]),
]

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "claim": (sql.CLAIM, (NOON, 16)),
    "next due": (sql.NEXT_DUE, ()),
    "read": (sql.READ, ([0, 1], ["m4", "m5"], NOON, LEASE)),
    "suppressed": (sql.SUPPRESSED, (["a", "b"],)),
    "attempt": (sql.ATTEMPT, ("me", LEASE, *ATTEMPT)),
    "change": (sql.CHANGE, ("me", "attempting", *CHANGE)),
    "retries": (sql.RETRIES, ([0], ["m4"], ["email"], ["log"])),
    "remember": (sql.REMEMBER, (0, "m4", 1, "me", "t")),
    "refresh": (sql.REFRESH, ("me", LEASE, [0], ["m4"])),
    "release": (sql.RELEASE, ("me", [0], ["m4"])),
    "gone": (sql.GONE_ATTEMPTS, (False, 10)),
}


@pytest.mark.parametrize("when", ["empty", "full", "analyzed"])
async def test_no_hot_statement_walks_a_table(house: House, when: str) -> None:
    if when != "empty":
        await house.pool.execute(FILL, NOON)
    if when == "analyzed":
        await house.pool.execute("ANALYZE")
    async with house.pool.acquire() as connection:
        for name, (statement, values) in STATEMENTS.items():
            rows = await connection.fetch(f"EXPLAIN {statement}", *values)
            plan = "\n".join(row[0] for row in rows)
            assert not WALKS.search(plan), f"{name}:\n{plan}"
