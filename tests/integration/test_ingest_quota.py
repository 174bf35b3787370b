"""What a key may send in a day, counted over processes in a real database."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from services.ingest.quota import Quotas, StoredUsage, TooMany
from shared.clock import EPOCH, Clock
from shared.db.connect import Pool
from shared.errors import Unavailable
from shared.keys import Source

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = Clock(EPOCH, NOON, speed=0.0)
LIMITED = Source("shop", "write", "key_1", daily=100)


async def counted(pool: Pool) -> dict[date, int]:
    rows = await pool.fetch("SELECT day, events FROM key_usage WHERE key_id = 'key_1'")
    return {row["day"]: row["events"] for row in rows}


async def test_processes_share_the_day_s_number(pool: Pool) -> None:
    one, two = (Quotas(StoredUsage(pool), NOW) for _ in range(2))
    one.took(LIMITED, 60)
    two.took(LIMITED, 39)
    two.admit(LIMITED)
    await one.settle()
    await two.settle()
    two.admit(LIMITED)
    two.took(LIMITED, 1)
    with pytest.raises(TooMany):
        two.admit(LIMITED)
    await two.settle()
    one.admit(LIMITED)  # it has not heard yet
    await one.settle()
    with pytest.raises(TooMany):
        one.admit(LIMITED)
    assert await counted(pool) == {NOON.date(): 100}


async def test_a_process_that_starts_learns_what_the_day_has_had(pool: Pool) -> None:
    before = Quotas(StoredUsage(pool), NOW)
    before.took(LIMITED, 100)
    await before.settle()
    after = Quotas(StoredUsage(pool), NOW)
    after.admit(LIMITED)
    await after.settle()
    with pytest.raises(TooMany):
        after.admit(LIMITED)


async def test_a_new_day_begins_at_nothing(pool: Pool) -> None:
    quotas = Quotas(StoredUsage(pool), NOW)
    quotas.took(LIMITED, 100)
    await quotas.settle()
    quotas._clock = Clock(EPOCH, NOON + timedelta(hours=12), speed=0.0)
    quotas.admit(LIMITED)
    quotas.took(LIMITED, 5)
    await quotas.settle()
    assert await counted(pool) == {NOON.date(): 100, date(2026, 11, 23): 5}


class AwayOnce:
    def __init__(self, inner: StoredUsage) -> None:
        self.inner, self.away = inner, True

    async def add(self, day: date, counts: Mapping[str, int]) -> dict[str, int]:
        if self.away:
            self.away = False
            raise Unavailable
        return await self.inner.add(day, counts)


async def test_nothing_is_forgotten_while_the_database_is_away(pool: Pool) -> None:
    quotas = Quotas(AwayOnce(StoredUsage(pool)), NOW)
    quotas.took(LIMITED, 60)
    with pytest.raises(Unavailable):
        await quotas.settle()
    quotas.took(LIMITED, 40)
    await quotas.settle()
    assert await counted(pool) == {NOON.date(): 100}
