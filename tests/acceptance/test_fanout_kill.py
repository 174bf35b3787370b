"""Kill −9 in the middle of a fan-out, several times, with real processes: no double and no gap."""

import asyncio
from pathlib import Path

import httpx
import pytest

from services.journey.core.state import State, pack
from shared.db.connect import Pool
from shared.event import partition_of
from tests.conftest import PARTITIONS
from tests.patience import SOON
from tests.processes import WRITE_KEY, Dangol

SLOWLY = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE UPDATE ON firing_cursors FOR EACH ROW EXECUTE FUNCTION slowly();
"""
"""So that no kill comes too late, after the last member has been put."""
MEMBERS = 4_000
KILL_AT = (300, 1_100, 1_900, 2_700)

WORKSPACE = {
    "dangol.yaml": "channels:\n  email: {adapter: log}\n",
    "journeys/back.yaml": (
        "journey: back\n"
        "trigger: {event: Product Restocked, audience: profile.wants == trigger.sku}\n"
        "steps: [{wait: 30d}]\n"
    ),
}


def write_workspace(folder: Path) -> Path:
    for name, text in WORKSPACE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


async def reached(pool: Pool) -> int:
    put: int = await pool.fetchval("SELECT coalesce(sum(put), 0)::int FROM firing_cursors")
    return put


async def until(pool: Pool, query: str, *arguments: object) -> None:
    async with asyncio.timeout(SOON):
        while not await pool.fetchval(query, *arguments):
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_fan_out_survives_kills(dsn: str, pool: Pool, tmp_path: Path) -> None:
    state = pack(State(seen={1: 0}))
    names = [f"c{n}" for n in range(MEMBERS)]
    await pool.execute(SLOWLY)
    await pool.executemany(
        "INSERT INTO customers (partition, id, traits, state) VALUES ($1, $2, $3, $4)",
        [
            (partition_of(n, PARTITIONS), n, {"wants": "A" if place % 2 else "B"}, state)
            for place, n in enumerate([*names, *(f"d{n}" for n in range(MEMBERS))])
        ],
    )
    dangol = Dangol(
        tmp_path / "data",
        write_workspace(tmp_path / "workspace"),
        environment={"DANGOL_DATABASE_URL": dsn},
    )
    await dangol.start()
    event = {"event": "Product Restocked", "properties": {"sku": "A"}, "messageId": "m1"}
    async with httpx.AsyncClient(timeout=SOON) as client:
        answer = await client.post(f"{dangol.url}/v1/catalog", json=event, auth=(WRITE_KEY, ""))
        assert answer.status_code == 200, answer.text
    for place in KILL_AT:
        await until(pool, "SELECT coalesce(sum(put), 0) >= $1::int FROM firing_cursors", place)
        await dangol.kill()
        assert await reached(pool) < MEMBERS, "killed in the middle"
        await dangol.start()
    try:
        await until(pool, "SELECT bool_and(done_at IS NOT NULL) FROM firings")
        await until(
            pool,
            "SELECT bool_and(p.log_offset = h.next_offset - 1)"
            " AND NOT EXISTS (SELECT FROM log_outbox)"
            " FROM partitions p JOIN log_heads h ON h.partition = p.id",
        )
    finally:
        await dangol.stop()
    assert await reached(pool) == MEMBERS
    counted = await pool.fetch("SELECT what, sum(n)::int AS n FROM counts GROUP BY what")
    assert {row["what"]: row["n"] for row in counted if "wait" not in row["what"]} == {
        "entered": MEMBERS,
        "reached": MEMBERS,
    }
    entered = await pool.fetch("SELECT customer FROM history WHERE kind = 'enter'")
    everybody = [*names, *(f"d{n}" for n in range(MEMBERS))]
    assert sorted(row["customer"] for row in entered) == sorted(everybody[1::2])
