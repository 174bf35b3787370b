"""An apply's rule for runs in flight meets the customers whom nobody touches: who is next, and how
far a partition has come."""

from services.journey.batch import Batch
from services.journey.core.state import LIVE
from shared.db.connect import Connection

_LIVE = """
SELECT id, position($4::bytea IN state) > 0 AS live FROM customers
WHERE partition = $1 AND id > $2 ORDER BY id LIMIT $3
"""
_SETTLED = """
UPDATE partitions SET settled_revision = $2, settling_revision = $3, settling_after = $4
WHERE id = $1
"""


async def with_runs(
    connection: Connection, partition: int, after: str, limit: int
) -> tuple[list[str], str | None]:
    """Of the next `limit` customers those with live runs, and the last of them all; None behind
    the last customer.
    """
    rows = await connection.fetch(_LIVE, partition, after, limit, LIVE)
    return [r["id"] for r in rows if r["live"]], rows[-1]["id"] if len(rows) == limit else None


async def store(connection: Connection, batch: Batch) -> None:
    if batch.settled is not None:
        done = batch.settled
        await connection.execute(
            _SETTLED, batch.partition, done.revision, done.under_way, done.after
        )
