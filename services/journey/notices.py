"""The leader's look at notices that a law asks for: to how many customers one is overdue."""

from services.journey import metrics
from shared import notices
from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.workspace_store import newest_settings


class NoticeWatch:
    EVERY = 600.0
    """Real seconds between two looks: each reads the consent ledger as a whole."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def turn(self) -> None:
        """Raises Unavailable."""
        now = self._clock.now()
        found: dict[str, tuple[int, float]] = {}
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            for notice in notices.in_force(await newest_settings(connection)):
                customers, first = await notices.count(connection, notice, now)
                late = (now - first).total_seconds() if first is not None else 0.0
                found[notice.name] = (customers, late)
        metrics.notices_overdue(found)
