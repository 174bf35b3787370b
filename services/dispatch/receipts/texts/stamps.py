"""That a signature which covers no more than its time (Bizgo's) is believed for one report.

Whoever has seen one could report anything under it for as long as its time is believed. So the
first report under a signature takes it for itself. The same report again is the provider's own
repetition and changes nothing; another one under it is refused, and where it was the provider's
after all, in the same millisecond, it comes again under a signature of its own.
"""

from hashlib import sha256

from shared.db.connect import Pool, unavailable_when_lost

# What nobody could be made to believe any more is swept out by the way.
_TAKE = """
WITH swept AS (
  DELETE FROM report_stamps WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM report_stamps WHERE seen_at < clock_timestamp() - interval '15 minutes'
    ORDER BY seen_at LIMIT 10 FOR UPDATE SKIP LOCKED))
)
INSERT INTO report_stamps AS s (provider, stamp, digest) VALUES ($1, $2, $3)
ON CONFLICT (provider, stamp) DO UPDATE SET digest = s.digest
RETURNING s.digest = $3
"""


class Stamps:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def belongs(self, provider: str, stamp: str, body: bytes) -> bool:
        """Whether the signature is this report's. Raises Unavailable."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            return bool(await connection.fetchval(_TAKE, provider, stamp, sha256(body).digest()))
