"""Which log a database's events are in, and that it stays that one.

Offsets stand in Postgres, and mean something for one log only. So the database remembers its log,
and a start with another one is refused.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.clock import Clock
from shared.db.connect import Pool
from shared.errors import ConfigurationError
from shared.log.kafka_settings import KafkaSettings
from shared.log.port import Log
from shared.log.postgres import PostgresLog

_BOUND = "SELECT value #>> '{}' FROM meta WHERE key = 'log'"
_BIND = "INSERT INTO meta (key, value) VALUES ('log', to_jsonb($1::text)) ON CONFLICT DO NOTHING"
_USED = """
SELECT EXISTS (SELECT FROM log_heads WHERE next_offset > 1)
  OR EXISTS (SELECT FROM partitions WHERE log_offset > 0)
"""


@asynccontextmanager
async def open_log(
    kafka: KafkaSettings | None, pool: Pool, clock: Clock, partitions: int
) -> AsyncIterator[Log]:
    """The log, checked to be this database's. Raises ConfigurationError."""
    if kafka is None:
        await _refuse_another(pool, None)
        yield PostgresLog(pool, partitions, clock)
        return
    from shared.log import kafka_topic  # only who uses Kafka waits for its client to be loaded
    from shared.log.kafka import KafkaLog

    topic = await kafka_topic.prepare(kafka, partitions)
    await bind(pool, name_of(kafka, topic.cluster))
    log = KafkaLog(kafka, partitions)
    try:
        yield log
    finally:
        await log.close()


def name_of(kafka: KafkaSettings, cluster: str) -> str:
    return f"topic {kafka.topic} of the Kafka cluster {cluster}"


async def bind(pool: Pool, name: str) -> None:
    """Make it this database's log, if it has none yet. Raises ConfigurationError."""
    if await pool.fetchval(_BOUND) is None:
        if await pool.fetchval(_USED):
            raise ConfigurationError(
                "this database's events are in its own log, and DANGOL_LOG_URL names Kafka",
                hint="unset DANGOL_LOG_URL, or begin with a new database",
            )
        await pool.execute(_BIND, name)
    await _refuse_another(pool, name)


async def _refuse_another(pool: Pool, name: str | None) -> None:
    bound = await pool.fetchval(_BOUND)
    if bound == name:
        return
    if name is None:
        raise ConfigurationError(
            f"this database's events are in {bound}", hint="set DANGOL_LOG_URL as it was"
        )
    raise ConfigurationError(
        f"this database's events are in {bound}, and DANGOL_LOG_URL names {name}",
        hint="name the same log, or begin with a new database",
    )
