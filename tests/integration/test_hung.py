"""What a process that hangs has locked is taken from it, also where the server's own limits do not
see it. Each test fails without `hung.free`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.journey.metrics import leads
from services.journey.store import Store
from shared import leader as leading
from shared.db import hung
from shared.db.connect import LOST, UNLESS_HUNG, Connection, Pool
from shared.leader import JOURNEY, Leader
from tests.patience import SOON


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = hung._FREE.replace("5 seconds", "0.3 seconds").replace("10 seconds", "0.3 seconds")
    monkeypatch.setattr(hung, "_FREE", shorter)


async def hang_in_copy(connection: Connection, began: asyncio.Event) -> None:
    """Own partition 0, and stop for ever while its history is being sent."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
        began.set()
        await asyncio.Event().wait()

    async with connection.transaction():
        await connection.execute(
            f"UPDATE partitions SET log_offset = log_offset WHERE id = 0 RETURNING {UNLESS_HUNG}"
        )
        await connection.copy_to_table("history", source=rows(), format="binary")


async def test_a_partition_is_taken_from_who_hangs_within_a_copy(dsn: str, pool: Pool) -> None:
    victim = await asyncpg.connect(dsn, server_settings={"application_name": "dangol-journey"})
    looking = await asyncpg.connect(dsn)
    began = asyncio.Event()
    stuck = asyncio.create_task(hang_in_copy(victim, began))
    try:
        await asyncio.wait_for(began.wait(), SOON)
        taking = asyncio.create_task(Store(pool).take(0, "another"))
        async with asyncio.timeout(SOON):
            while not taking.done():
                await hung.free(looking)
                await asyncio.sleep(0.05)
        assert (await taking).epoch == 1
    finally:
        stuck.cancel()
        with contextlib.suppress(asyncio.CancelledError, *LOST):
            await stuck
        await looking.close()


async def test_who_works_and_who_is_not_ours_is_left_alone(dsn: str, pool: Pool) -> None:
    foreign = await asyncpg.connect(dsn, server_settings={"application_name": "psql"})
    looking = await asyncpg.connect(dsn)
    began = asyncio.Event()
    stuck = asyncio.create_task(hang_in_copy(foreign, began))
    try:
        await asyncio.wait_for(began.wait(), SOON)
        async with pool.acquire() as idle, pool.acquire() as busy:
            working = asyncio.create_task(busy.fetchval("SELECT pg_sleep(1)"))
            await idle.fetchval("SELECT 1")
            while not working.done():
                await hung.free(looking)
                await asyncio.sleep(0.05)
            await working
            assert await idle.fetchval("SELECT 1") == 1
        assert not stuck.done()
    finally:
        stuck.cancel()
        with contextlib.suppress(asyncio.CancelledError, *LOST):
            await stuck
        await foreign.close()
        await looking.close()


async def test_the_lead_is_taken_from_a_leader_that_hangs(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "_LOOK", 0.05)
    hangs = await asyncpg.connect(dsn, server_settings={"application_name": hung.LOOKING})
    await hangs.execute("SELECT pg_advisory_lock($1)", JOURNEY)
    leader, stopping = Leader(dsn, JOURNEY, leads), asyncio.Event()
    task = asyncio.create_task(leader.run(stopping))
    try:
        async with asyncio.timeout(SOON):
            while not leader.leading:
                await asyncio.sleep(0.05)
        with pytest.raises(LOST):
            await hangs.execute("SELECT 1")
    finally:
        stopping.set()
        await task
