"""One clock for all processes: the database's, which stamps the log and keeps the leases.

A process on a machine whose clock is wrong would offer messages too early or timers too late, and
would carry its error into the log's time. So each looks at its start, and now and then, how far its
own clock is from the database's, and goes by the latter where that is more than a second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from shared.clock import REAL, Clock, correct, correction, machine_clock
from shared.db.connect import LOST, Pool

logger = structlog.get_logger()

TOLERATED = timedelta(seconds=1)
_QUICK = timedelta(seconds=0.5)
"""A slower answer tells nothing: nobody knows when in between the database looked."""
_EVERY = 10.0
"""Real seconds."""
_TRIES = 5


async def look(pool: Pool) -> bool:
    """Correct this process's clock if it is wrong; False: the answer came too slowly to tell."""
    before = machine_clock()
    there = await pool.fetchval("SELECT clock_timestamp()")
    trip = machine_clock() - before
    if not timedelta() <= trip <= _QUICK:
        return False
    off = there - before - trip / 2
    wanted = off if abs(off) > TOLERATED else timedelta()
    if abs(wanted - correction()) > TOLERATED:
        logger.warning(
            "this machine's clock is not the database's: going by the database's",
            action="clock_corrected",
            seconds=round(wanted.total_seconds(), 1),
        )
        correct(wanted)
    return True


@asynccontextmanager
async def kept_right(pool: Pool) -> AsyncIterator[None]:
    """Before anything is done by the clock, and for as long as this lasts."""
    for _ in range(_TRIES):
        if await look(pool):
            break
    task = asyncio.create_task(_keep(pool), name="clock")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep(pool: Pool) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        with contextlib.suppress(*LOST):
            await look(pool)


async def log_clock(pool: Pool, speed: float = 1.0) -> Clock:
    """The wall clock, unless time is sped up or this database's log is already ahead of it.

    Told by the database's clock alone: the Postgres log maps that one.
    """
    row = await pool.fetchrow(
        "SELECT clock_timestamp() AS real, (SELECT max(last_at) FROM log_heads) AS last"
    )
    assert row is not None
    real, last = row["real"], row["last"]
    if speed == 1.0 and last <= real:
        return REAL
    return Clock(real_start=real, virtual_start=max(real, last), speed=speed)
