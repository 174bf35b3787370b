"""The process's clock is kept to the database's, and the log's time is told by the latter alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared import clock
from shared.clock import REAL, correction, wall_clock
from shared.db.clock import TOLERATED, log_clock, look
from shared.db.connect import Pool
from shared.event import Event
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS


@pytest.fixture(autouse=True)
def _right_again() -> Iterator[None]:
    yield
    clock.correct(timedelta())


class Machine:
    """Whose clock is off."""

    def __init__(self, off: timedelta) -> None:
        self.off = off

    def now(self, zone: Any) -> datetime:
        return datetime.now(zone) + self.off  # noqa: TID251 - stands for the machine's clock


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=3)])
async def test_a_wrong_clock_is_corrected_and_a_mended_one_is_believed_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    machine = Machine(off)
    monkeypatch.setattr(clock, "datetime", machine)
    assert await look(pool)
    assert abs(correction() + off) < TOLERATED
    before = wall_clock()
    at = await pool.fetchval("SELECT clock_timestamp()")
    assert before - TOLERATED < at < wall_clock() + TOLERATED
    machine.off = timedelta(seconds=0.3)  # as two machines always differ
    assert await look(pool)
    assert correction() == timedelta()


async def test_the_log_s_time_does_not_run_ahead_because_a_process_is_behind(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each start of such a process moved it on, timers would fire early."""
    monkeypatch.setattr(clock, "datetime", Machine(timedelta(hours=-1)))
    log = PostgresLog(pool, PARTITIONS, await log_clock(pool))
    at = datetime(2026, 4, 6, tzinfo=UTC)
    await log.append([Event(id="a", kind="track", name="Added", timestamp=at, user_id="u1")])
    ahead = await pool.fetchval("SELECT max(last_at) - clock_timestamp() FROM log_heads")
    assert ahead <= timedelta()
    assert await log_clock(pool) is REAL
