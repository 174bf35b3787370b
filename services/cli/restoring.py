"""Makes a restored database fit for use beside a log, and workers, that have gone on without it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.db.connect import Pool
from shared.errors import ConfigurationError
from shared.log.kafka_settings import KafkaSettings

EPOCHS = 1_000_000
"""By how much epochs are raised: no owner of before can have come so far since the backup."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A partition that cannot go on where the database is. Offsets are the port's."""

    partition: int
    read: int
    """The last that the database has read."""
    start: int
    """The one before the first that there is."""
    end: int

    def __str__(self) -> str:
        if self.end < self.read:
            return (
                f"partition {self.partition} ends at {self.end}, and was read up to {self.read}:"
                " the topic was made anew, or has lost records"
            )
        return (
            f"partition {self.partition} was read up to {self.read}, and the topic begins behind"
            f" {self.start}: {self.start - self.read:,} records are gone"
        )


@dataclass(frozen=True, slots=True)
class Restored:
    accepted: tuple[Gap, ...]
    """Where reading begins at the topic's first record, whatever has been lost."""
    unread: int
    """Records that the log has and the database has not taken in."""
    waiting: int
    """Messages that are still to be sent, which may have been sent since the backup."""
    calls: int


def gaps(
    read: Mapping[int, int], starts: Mapping[int, int], ends: Mapping[int, int]
) -> Iterator[Gap]:
    for number, offset in sorted(read.items()):
        start, end = starts.get(number, 0), ends.get(number, 0)
        if not start <= offset <= end:
            yield Gap(number, offset, start, end)


async def places(pool: Pool, kafka: KafkaSettings | None) -> tuple[Mapping[int, int], ...]:
    """By partition: where the log begins and where it ends. Raises DangolError."""
    from services.cli.event_log import open_log
    from shared.clock import REAL
    from shared.log.postgres import PostgresLog

    partitions = await pool.fetchval("SELECT count(*) FROM partitions")
    if kafka is None:
        ends = await PostgresLog(pool, partitions).ends()
        return {}, ends
    from shared.log.kafka import KafkaLog

    async with open_log(kafka, pool, REAL, partitions) as log:
        assert isinstance(log, KafkaLog)
        return await log.starts(), await log.ends()


async def make_fit(pool: Pool, kafka: KafkaSettings | None, *, accept_loss: bool) -> Restored:
    """Shuts out whoever owned a partition before, and finds where reading goes on.

    Raises ConfigurationError, with nothing changed, if records are gone and that is not accepted.
    """
    starts, ends = await places(pool, kafka)
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            "SELECT id, log_offset FROM partitions ORDER BY id FOR UPDATE"
        )
        read = {row["id"]: row["log_offset"] for row in rows}
        found = tuple(gaps(read, starts, ends))
        if found and not accept_loss:
            raise ConfigurationError(
                "the log does not have what the database has not read: "
                + "; ".join(map(str, found)),
                hint="`dangol restored --accept-loss` goes on with the first record that there is",
            )
        await connection.execute("UPDATE partitions SET owner = NULL, epoch = epoch + $1", EPOCHS)
        for gap in found:
            read[gap.partition] = gap.start
            await connection.execute(
                "UPDATE partitions SET log_offset = $2 WHERE id = $1", gap.partition, gap.start
            )
        waiting, calls = [
            await connection.fetchval(f"SELECT count(*) FROM {table} WHERE status <> 'decided'")  # noqa: S608 - our names
            for table in ("messages", "calls")
        ]
    unread = sum(max(0, ends.get(number, 0) - offset) for number, offset in read.items())
    return Restored(found, unread, waiting, calls)
