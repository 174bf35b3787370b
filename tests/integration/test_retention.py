"""Retention over a real history: zones, first purchases, identities that were joined."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.console.publish import apply
from services.console.retention import NothingToCount, Question, Retention, retention
from shared.clock import REAL, wall_clock
from shared.db.connect import Pool
from shared.event import Event
from tests.integration.consoling import client
from tests.integration.test_identity import relaying, settled
from tests.integration.test_journey_worker import House, house

__all__ = ["house"]

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
SETTINGS = "timezone: Asia/Seoul\nrfm: {event: Bought}\nchannels: {email: {adapter: log}}\n"


async def publish(pool: Pool, settings: str = SETTINGS) -> None:
    await apply(pool, {"dangol.yaml": settings.encode()}, "test", REAL)


async def did(pool: Pool, customer: str, *moments: str, name: str = "Bought") -> None:
    for moment in moments:
        await pool.execute(
            "INSERT INTO history"
            " VALUES (0, $1, $2, gen_random_uuid()::text, 'track', $3, $2, '{}')",
            customer,
            datetime.fromisoformat(moment).astimezone(UTC),
            name,
        )


def shares(found: Retention) -> Mapping[str, list[Any]]:
    return {
        f"{cohort.starts:%m}": [cohort.size, *(cell.share for cell in cohort.cells)]
        for cohort in found.cohorts
    }


async def test_cohorts_by_the_first_purchase_with_open_cells(pool: Pool) -> None:
    await publish(pool)
    await did(pool, "ann", "2026-08-10T12:00+09:00", "2026-09-01T09:00+09:00")
    await did(pool, "ben", "2026-08-31T23:59+09:00", "2026-08-31T23:59:30+09:00")
    await did(pool, "cho", "2026-09-01T00:00+09:00", "2026-11-02T09:00+09:00")  # 31 August in UTC
    found = await retention(pool, Question(), NOW)
    assert (found.event, found.start, found.timezone) == ("Bought", "Bought", "Asia/Seoul")
    assert shares(found) == {
        "08": [2, 1.0, 0.5, 0.0, None],
        "09": [1, 1.0, 0.0, None],
        "10": [0, None, None],
        "11": [0, None],
    }
    (open_cell,) = [c for c in found.cohorts[1].cells if not c.complete]
    assert (open_cell.so_far, open_cell.customers) == (1, None)


async def test_cohorts_by_the_sign_up_and_what_came_before_it(pool: Pool) -> None:
    await publish(pool)
    await did(pool, "ann", "2026-09-10T12:00+09:00", name="Signed Up")
    await did(pool, "ann", "2026-09-02T12:00+09:00", "2026-10-05T12:00+09:00")
    await did(pool, "ben", "2026-09-11T12:00+09:00", "2026-10-11T12:00+09:00", name="Signed Up")
    await did(pool, "cho", "2026-09-11T12:00+09:00")  # never signed up
    found = await retention(pool, Question(start="Signed Up"), NOW)
    assert shares(found)["09"] == [2, 0.0, 0.5, None]
    weeks = await retention(pool, Question(start="Signed Up", period="week", periods=12), NOW)
    assert [cohort.size for cohort in weeks.cohorts] == [2] + [0] * 11
    assert weeks.cohorts[0].cells[4].share == 0.5


async def test_only_the_cohorts_asked_for_and_never_a_second_first_time(pool: Pool) -> None:
    await publish(pool)
    await did(pool, "ann", "2026-07-10T12:00+09:00", "2026-10-05T12:00+09:00")
    await did(pool, "ben", "2026-10-05T12:00+09:00", "2026-11-30T12:00+09:00")  # it is ahead
    found = await retention(pool, Question(periods=2), NOW)
    assert shares(found) == {"10": [1, 1.0, None], "11": [0, None]}
    assert found.cohorts[0].cells[1].so_far == 0


async def test_which_event_counts_has_to_be_said(pool: Pool) -> None:
    await publish(pool, "channels: {email: {adapter: log}}\n")
    with pytest.raises(NothingToCount):
        await retention(pool, Question(), NOW)
    found = await retention(pool, Question(event="Bought"), NOW)
    assert found.cohorts == ()


async def test_the_purchases_of_joined_identities_are_one_customers(house: House) -> None:
    await publish(house.pool)
    now = wall_clock()

    def bought(name: str, days: int, **who: Any) -> Event:
        at = now - timedelta(days=days)
        return Event(id=name, kind="track", name="Bought", timestamp=at, **who)

    async with relaying(house), house.running():
        # The same order, told by the browser of the guest and by the shop's server.
        await house.log.append([bought("o1", 2, anonymous_id="guest")])
        await house.log.append([bought("o1", 2, user_id="ann"), bought("o2", 1, user_id="ann")])
        await settled(house)
        before = await retention(house.pool, Question(period="day"), now + timedelta(days=3))
        assert before.cohorts[0].size == 2
        login = Event(id="l", kind="identify", timestamp=now, user_id="ann", anonymous_id="guest")
        await house.log.append([msgspec.structs.replace(login, traits={"name": "Ann"})])
        await settled(house)
        await house.until("SELECT NOT EXISTS (SELECT FROM history WHERE customer = 'guest')")
        await settled(house)
    after = await retention(house.pool, Question(period="day"), now + timedelta(days=3))
    assert (after.cohorts[0].size, after.cohorts[0].cells[1].customers) == (1, 1)


async def test_the_api_tells_it_with_the_open_cells_marked(pool: Pool, dsn: str) -> None:
    await publish(pool)
    await pool.execute(
        "INSERT INTO history SELECT 0, 'ann', at, 'm', 'track', 'Bought', at, '{}'"
        " FROM (SELECT now() - interval '1 day' AS at) t"
    )
    async with client(dsn, pool) as api:
        answer = (await api.get("/api/retention", params={"by": "day", "periods": 5})).json()
        assert (await api.get("/api/retention?by=year")).status_code == 422
    (yesterday, today) = answer["cohorts"]
    assert [cell["share"] for cell in yesterday["cells"]] == [1.0, None]
    assert [cell["so_far"] for cell in yesterday["cells"]] == [None, 0]
    assert (today["size"], today["complete"]) == (0, False)
