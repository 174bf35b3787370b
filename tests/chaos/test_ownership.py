"""Partitions follow their workers within 10 seconds, under load, and nobody is decided by two.

Visitors trade and log in all the while, so customers are merged across partitions that are changing
hands; the oracle judges what that came to.
"""

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest

from shared.db.connect import Pool
from tests.chaos.house import Kept, Shape
from tests.chaos.running import Options, Stage, run
from tests.chaos.test_chaos import told
from tests.patience import SOON, in_time

MOVED_WITHIN = 10.0
MISSED_WITHIN = 30.0
"""Who hangs is found out later than who is killed: nothing closes a connection. 5 s until it is
missed, and 5 to 7 more where it hangs within a commit; the rest is for busy machines."""
STOPPED = 8.0
"""Seconds: past the 5 of the Postgres log and the 6 of Kafka's session."""


async def owned_by(pool: Pool, *workers: Kept, within: float = MOVED_WITHIN) -> float:
    """Wait until exactly these have all partitions; how long it took."""
    began, wanted = time.monotonic(), {pid_of(kept) for kept in workers}
    while True:
        rows = await pool.fetch("SELECT owner FROM partitions")
        owners = {None if row["owner"] is None else row["owner"].split("-")[-2] for row in rows}
        if owners == wanted:
            return time.monotonic() - began
        assert in_time(time.monotonic() - began, within), f"{owners} own, not {wanted}"
        await asyncio.sleep(0.05)


def pid_of(kept: Kept) -> str:
    """A worker's name has it in the middle."""
    assert kept.service.process is not None
    return str(kept.service.process.pid)


async def ready(kept: Kept) -> None:
    async with asyncio.timeout(SOON):
        while not kept.was_ready:
            await asyncio.sleep(0.05)


async def lost(kept: Kept) -> float:
    """How often it has found out, by the epoch, that a partition is another's."""
    async with httpx.AsyncClient(timeout=SOON) as client:
        text = (await client.get(f"{kept.service.url}/metrics")).text
    found = re.search(r'^dangol_\w*restarts\w*\{[^}]*"lost"[^}]*\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def come_and_go(stage: Stage, pool: Pool) -> None:
    house = stage.house
    one, two, three = house.of("journey")
    await owned_by(pool, one, two, three)
    await house.retire(three)
    stopped = await owned_by(pool, one, two)
    house.revive(three)
    await asyncio.sleep(0.3)
    await ready(three)
    added = await owned_by(pool, one, two, three)
    await house.kill(one)
    killed = await owned_by(pool, two, three)
    house.revive(one)
    await asyncio.sleep(0.3)
    await ready(one)
    await owned_by(pool, one, two, three)
    house.stop(two)  # its session runs out; it does not know
    hung = await owned_by(pool, one, three, within=MISSED_WITHIN)
    await asyncio.sleep(max(0.0, STOPPED - hung))
    house.wake(two)
    await owned_by(pool, one, two, three)
    async with asyncio.timeout(SOON):
        while not await lost(two):
            await asyncio.sleep(0.1)
    print(f"moved in {stopped:.1f} s (stop), {added:.1f} (added), {killed:.1f} (kill), {hung:.1f}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("log", ["postgres", "kafka"])
async def test_partitions_follow_their_workers_and_merges_hold(log: str, tmp_path: Path) -> None:
    options = Options(
        tmp_path, seed=5, events=4500, seconds=45, kafka=log == "kafka", shape=Shape(journey=3)
    )
    outcome = await run(options, print, come_and_go)
    assert outcome.verdict.is_good, told(options, outcome.verdict)
    assert outcome.told["figures"]["merged customers"] > 50
    assert outcome.told["figures"]["unknown"] == 0, "no dispatcher was touched"
