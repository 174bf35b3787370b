"""One leader among several processes: never two at work for long, never none."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from services.journey.metrics import leads
from shared import leader as leading
from shared.db.connect import Pool
from shared.errors import Unavailable
from shared.leader import JOURNEY, Leader
from tests.patience import SOON


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "_LOOK", 0.02)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.01)


async def holder(pool: Pool) -> int:
    pid: int = await pool.fetchval(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1",
        JOURNEY,
    )
    return pid


async def test_one_leads_and_another_takes_over(dsn: str, pool: Pool) -> None:
    turns: list[str] = []
    leaders = {name: Leader(dsn, JOURNEY, leads) for name in ("a", "b")}
    for name, each in leaders.items():

        async def work(name: str = name) -> None:
            turns.append(name)

        each.every(0.05, "count", work)
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(each.run(stopping)) for each in leaders.values()]
    try:
        await until(lambda: len(turns) > 2)
        (first,) = set(turns)
        other = "b" if first == "a" else "a"
        assert leaders[first].leading
        assert not leaders[other].leading
        # Only one of them may find the lock free: make sure that it is the other one.
        leaders[first]._dsn = "postgresql://nobody@127.0.0.1:1/none"
        await pool.execute("SELECT pg_terminate_backend($1)", await holder(pool))
        await until(lambda: turns[-1] == other)
        await until(lambda: not leaders[first].leading)
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
    assert await holder(pool) is None


async def test_a_turn_ends_with_the_lead(dsn: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    leader, stopping = Leader(dsn, JOURNEY, leads), asyncio.Event()
    leader.every(0.05, "long", work)
    task = asyncio.create_task(leader.run(stopping))
    await asyncio.wait_for(begun.wait(), SOON)
    stopping.set()
    await task
    assert ended.is_set()


async def test_trouble_is_tried_again_and_a_defect_is_raised(dsn: str) -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise Unavailable("the database is away")
        raise AssertionError("a defect")

    leader = Leader(dsn, JOURNEY, leads)
    leader.every(0.05, "weak", work)
    with pytest.raises(AssertionError, match="a defect"):
        await asyncio.wait_for(leader.run(asyncio.Event()), SOON)
    assert turns >= 3


async def test_a_database_that_is_away_is_waited_for(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, done = 0, asyncio.Event()
    connect = asyncpg.connect

    async def away_at_first(*args: object, **options: object) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionRefusedError
        return await connect(dsn)

    async def work() -> None:
        done.set()

    monkeypatch.setattr(asyncpg, "connect", away_at_first)
    leader, stopping = Leader(dsn, JOURNEY, leads), asyncio.Event()
    leader.every(1, "any", work)
    task = asyncio.create_task(leader.run(stopping))
    await asyncio.wait_for(done.wait(), SOON)
    stopping.set()
    await task
    assert tries == 2
