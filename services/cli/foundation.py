"""What every process stands on: the database, the clock, the wake-ups and the log.

The composition root is the only place that reads the wall clock, the environment and the database's
address; the services get everything handed in.
"""

import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.cli.event_log import open_log
from shared import call, keys, message, workspace_store
from shared.clock import REAL, Clock
from shared.db.clock import kept_right, log_clock
from shared.db.connect import Pool, open_pool
from shared.db.installation import partition_count
from shared.db.migrate import migrate
from shared.db.wakeups import Wakeups
from shared.errors import ConfigurationError
from shared.log import outbox
from shared.log import postgres as postgres_log
from shared.log.kafka_settings import KafkaSettings, kafka_settings
from shared.log.port import Log
from shared.settings import Settings

_CHANNELS = [
    postgres_log.CHANNEL,
    outbox.CHANNEL,
    workspace_store.CHANNEL,
    message.CHANNEL,
    keys.CHANNEL,
    call.CHANNEL,
]


@dataclass(frozen=True, slots=True)
class Foundation:
    settings: Settings
    dsn: str
    pool: Pool
    clock: Clock
    partitions: int
    wakeups: Wakeups
    log: Log
    kafka: KafkaSettings | None
    """Where the log is; None: in Postgres."""
    name: str
    """This process among others: host, process id and a random part."""


@asynccontextmanager
async def open_foundation(
    settings: Settings, dsn: str, *, name: str = "up", speed: float = 1.0, pool_size: int = 24
) -> AsyncIterator[Foundation]:
    """Migrates forward first. Raises DatabaseUnreachable, ConfigurationError."""
    kafka = kafka_settings(settings)
    if kafka is not None and speed != 1.0:
        raise ConfigurationError(
            "--speed works with the log in Postgres only: brokers stamp by their own clocks",
            hint="unset DANGOL_LOG_URL",
        )
    await migrate(dsn, settings.partitions)
    pool = await open_pool(dsn, size=pool_size, name=name)
    try:
        partitions = await partition_count(pool)
        async with kept_right(pool), AsyncExitStack() as stack:
            clock = REAL if kafka is not None else await log_clock(pool, speed)
            log = await stack.enter_async_context(open_log(kafka, pool, clock, partitions))
            yield Foundation(
                settings=settings,
                dsn=dsn,
                pool=pool,
                clock=clock,
                partitions=partitions,
                wakeups=Wakeups(dsn, _CHANNELS),
                log=log,
                kafka=kafka,
                name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            )
    finally:
        await pool.close()


def calm_garbage_collection() -> None:
    """Batches make and drop many containers; the default thresholds collect far too often.

    Measured: a third of the engine's time. Reference counting frees nearly everything.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
