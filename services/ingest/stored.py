"""Events that cannot be used, kept in the database with the reason, until somebody mends them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from services.ingest.again import Circumstances
from services.ingest.refused import Refused
from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost

_PUT = """
INSERT INTO set_aside (at, source, reason, payload, scene)
SELECT $1::timestamptz, *, $5::jsonb FROM unnest($2::text[], $3::text[], $4::bytea[])
"""


class SetAside(Protocol):
    async def put(self, items: Sequence[Refused], circumstances: Circumstances) -> None:
        """Record durably, or raise Unavailable. Putting the same item twice is harmless."""


class StoredAside:
    """Implements `SetAside`."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def put(self, items: Sequence[Refused], circumstances: Circumstances) -> None:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(
                _PUT,
                self._clock.now(),
                [item.source for item in items],
                [str(item.reason) for item in items],
                [item.raw for item in items],
                msgspec.json.encode(circumstances),
            )
