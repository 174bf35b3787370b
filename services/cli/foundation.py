"""What every process stands on: the database, the clock, the wake-ups and the log.

The composition root is the only place that reads the wall clock, the environment and the database's
address; the services get everything handed in.
"""

import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared import call, keys, message, workspace_store
from shared.clock import REAL, Clock, wall_clock
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from shared.db.wakeups import Wakeups
from shared.log import outbox
from shared.log import postgres as postgres_log
from shared.log.postgres import PostgresLog
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Foundation:
    settings: Settings
    dsn: str
    pool: Pool
    clock: Clock
    partitions: int
    wakeups: Wakeups
    log: PostgresLog
    name: str
    """This process among others: host, process id and a random part."""


@asynccontextmanager
async def open_foundation(
    settings: Settings, dsn: str, *, name: str = "up", speed: float = 1.0, pool_size: int = 24
) -> AsyncIterator[Foundation]:
    """Migrates forward first. Raises DatabaseUnreachable, ConfigurationError."""
    await migrate(dsn, settings.partitions)
    pool = await open_pool(dsn, size=pool_size, name=name)
    try:
        partitions = await pool.fetchval("SELECT value::int FROM meta WHERE key = 'partitions'")
        clock = await _clock(pool, speed)
        yield Foundation(
            settings=settings,
            dsn=dsn,
            pool=pool,
            clock=clock,
            partitions=partitions,
            wakeups=Wakeups(
                dsn,
                [
                    postgres_log.CHANNEL,
                    outbox.CHANNEL,
                    workspace_store.CHANNEL,
                    message.CHANNEL,
                    keys.CHANNEL,
                    call.CHANNEL,
                ],
            ),
            log=PostgresLog(pool, partitions, clock),
            name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        )
    finally:
        await pool.close()


async def _clock(pool: Pool, speed: float) -> Clock:
    """The wall clock, unless time is sped up or this database's log is already ahead of it."""
    real = wall_clock()
    last = await pool.fetchval("SELECT max(last_at) FROM log_heads")
    if speed == 1.0 and last <= real:
        return REAL
    return Clock(real_start=real, virtual_start=max(real, last), speed=speed)


def calm_garbage_collection() -> None:
    """Batches make and drop many containers; the default thresholds collect far too often.

    Measured: a third of the engine's time. Reference counting frees nearly everything.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
