"""Segments in production: found at events and by sweeps, from a baseline that enters nobody."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.console.publish import Status, apply, set_status
from services.journey.library import Library
from services.journey.store import Store
from services.journey.sweeps import Sweeps, Swept
from shared import workspace_store
from shared.clock import REAL, wall_clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import Event
from shared.log.outbox import Relay
from shared.log.postgres import CHANNEL, PostgresLog
from tests.conftest import PARTITIONS
from tests.integration.test_journey_worker import House, track, workspace

DAY = timedelta(days=1)
LAPSED = """
segment: lapsed
where: did("Bought") and not did("Bought", within="3d")
"""
VIP = """
segment: vip
where: profile.tier == "gold"
"""
SEND = "steps: [{send: email, template: hello}]"


def watching(segment: str, on: str = "enter") -> str:
    trigger = f"{{segment: {segment}, on: {on}}}"
    return f"journey: {segment}-{on}\ntrigger: {trigger}\n{SEND}\n"


class Shop(House):
    """A house with segments, and the sweeps in the test's hand."""

    def __init__(self, pool: Pool, wakeups: Wakeups) -> None:
        super().__init__(pool, wakeups)
        self.segments: dict[str, str] = {"lapsed": LAPSED, "vip": VIP}

    async def publish(self, **journeys: str) -> None:
        files: Mapping[str, bytes] = workspace(**journeys)
        segments = {f"segments/{n}.yaml": t.encode() for n, t in self.segments.items()}
        applied = await apply(self.pool, {**files, **segments}, "test", REAL)
        await self.after(applied.active_from)

    def sweeps(self) -> Sweeps:
        log = PostgresLog(self.pool, PARTITIONS)
        return Sweeps(self.pool, Library(self.pool), Store(self.pool), log, REAL, PARTITIONS)

    async def sweep(self) -> Swept:
        """One sweep, and everything that it leads to."""
        async with self.relayed():
            swept = await self.sweeps().once()
        await self.caught_up()
        return swept

    @asynccontextmanager
    async def relayed(self) -> AsyncIterator[None]:
        """What is in the outbox goes on, all of it by the end."""
        stopping, news = asyncio.Event(), asyncio.Event()
        relay = asyncio.create_task(Relay(self.pool, self.log, news).run(stopping))
        try:
            yield
            while await self.pool.fetchval("SELECT EXISTS (SELECT FROM log_outbox)"):
                news.set()
                await asyncio.sleep(0.01)
        finally:
            stopping.set()
            news.set()
            await relay

    async def after(self, at: datetime) -> None:
        await self.until("SELECT clock_timestamp() > $1", at)

    async def buy(self, *customers: str, left: float = 1.5) -> datetime:
        """Everybody has bought, and 3 days are over in `left` seconds: at the instant returned."""
        lapses = wall_clock() + timedelta(seconds=left)
        await self.log.append(
            [
                msgspec.structs.replace(track("Bought", each), timestamp=lapses - 3 * DAY)
                for each in customers
            ]
        )
        await self.caught_up()
        return lapses

    async def told(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch(
            "SELECT customer, journey FROM messages ORDER BY created_at, customer, journey"
        )
        return [(row["customer"], row["journey"]) for row in rows]


@pytest.fixture
async def shop(pool: Pool, dsn: str) -> AsyncIterator[Shop]:
    wakeups = Wakeups(dsn, [CHANNEL, workspace_store.CHANNEL])
    stopping = asyncio.Event()
    listening = asyncio.create_task(wakeups.run(stopping))
    yield Shop(pool, wakeups)
    stopping.set()
    await listening


def identify(customer: str, **traits: Any) -> Event:
    now = wall_clock()
    return Event(
        id=f"i-{customer}-{now.isoformat()}",
        kind="identify",
        timestamp=now,
        user_id=customer,
        traits=traits,
    )


async def test_events_enter_and_leave(shop: Shop) -> None:
    await shop.publish(enter=watching("vip"), leave=watching("vip", "exit"))
    async with shop.running():
        for tier in ("silver", "gold", "bronze"):
            await shop.log.append([identify("u1", tier=tier)])
        await shop.caught_up()
    assert await shop.told() == [("u1", "vip-enter"), ("u1", "vip-exit")]
    members = await shop.pool.fetchval("SELECT members FROM customers")
    assert {journey: inside for journey, (_since, inside) in members.items()} == {
        "vip-enter": False,
        "vip-exit": False,
    }


async def test_a_sweep_finds_what_time_has_changed_once(shop: Shop) -> None:
    await shop.publish(enter=watching("lapsed"))
    async with shop.running():
        lapses = await shop.buy("u1", "u2", left=2.0)
        assert (await shop.sweep()).changed == 0
        await shop.after(lapses)
        assert (await shop.sweep()).changed == 2
        assert await shop.told() == [("u1", "lapsed-enter"), ("u2", "lapsed-enter")]
        assert (await shop.sweep()).changed == 0
    assert len(await shop.told()) == 2


async def test_a_sweep_finds_who_has_left(shop: Shop) -> None:
    shop.segments["fresh"] = 'segment: fresh\nwhere: did("Bought", within="3d")\n'
    await shop.publish(leave=watching("fresh", "exit"))
    async with shop.running():
        await shop.after(await shop.buy("u1"))
        assert (await shop.sweep()).changed == 1
    assert await shop.told() == [("u1", "fresh-exit")]


async def test_who_is_inside_at_the_publish_enters_nothing_and_who_lapses_later_does(
    shop: Shop,
) -> None:
    await shop.publish()
    async with shop.running():
        await shop.after(await shop.buy("lapsed-before", "back-again"))
        lapses = await shop.buy("lapses-later", left=3.0)
        await shop.publish(enter=watching("lapsed"), leave=watching("lapsed", "exit"))
        assert (await shop.sweep()).changed == 0
        assert await shop.pool.fetchval("SELECT bool_and(members = '{}') FROM customers")
        await shop.after(lapses)
        assert (await shop.sweep()).changed == 1
        await shop.buy("back-again", left=60.0)
    assert await shop.told() == [
        ("lapses-later", "lapsed-enter"),
        ("back-again", "lapsed-exit"),
    ]


async def test_a_change_of_the_segment_is_a_new_baseline(shop: Shop) -> None:
    await shop.publish(enter=watching("lapsed"))
    async with shop.running():
        lapses = await shop.buy("u1", left=3.0)
        shop.segments["lapsed"] = LAPSED.replace("3d", "2d")
        await shop.publish(enter=watching("lapsed"))
        await shop.after(lapses)
        assert (await shop.sweep()).changed == 0
    assert await shop.told() == []


async def test_a_journey_back_from_the_archive_begins_with_who_is_there(shop: Shop) -> None:
    await shop.publish(enter=watching("lapsed"))
    async with shop.running():
        await shop.buy("u1", left=2.0)
        statuses: list[Status] = ["archived", "active"]
        for status in statuses:
            await set_status(shop.pool, "lapsed-enter", status)
            await shop.until("SELECT max(at) < clock_timestamp() FROM journey_changes")
        lapses = await shop.buy("u2", left=2.0)
        await shop.after(lapses)
        assert (await shop.sweep()).changed == 1
    assert await shop.told() == [("u2", "lapsed-enter")]


async def test_a_sweep_that_dies_half_way_is_followed_by_one_that_finds_the_rest(
    shop: Shop,
) -> None:
    await shop.publish(enter=watching("lapsed"))
    everybody = [f"u{n}" for n in range(1_200)]
    async with shop.running():
        lapses = await shop.buy(*everybody, left=3.0)
        await shop.after(lapses)
        dying = asyncio.create_task(shop.sweeps().once())  # nobody relays: it waits for room
        await shop.until("SELECT count(*) >= 500 FROM log_outbox")
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying
        assert await shop.pool.fetchval("SELECT count(*) < 1200 FROM log_outbox")
        # Some looks are still on their way when the next sweep finds the same customers again.
        await shop.sweep()
        assert (await shop.sweep()).changed == 0
    assert sorted(await shop.told()) == sorted((each, "lapsed-enter") for each in everybody)


async def test_where_sql_cannot_be_exact_the_conditions_tell(shop: Shop) -> None:
    """Deeper than SQL is made of: it finds too many, and only those who changed get a look."""
    deep = "not " * 30
    shop.segments["deep"] = f'segment: deep\nwhere: {deep}did("Bought", within="3d")\n'
    await shop.publish(leave=watching("deep", "exit"))
    async with shop.running():
        lapses = await shop.buy("u1", left=2.0)
        assert (await shop.sweep()).changed == 0
        await shop.after(lapses)
        await shop.buy("u2", left=60.0)
        assert (await shop.sweep()).changed == 1
    assert await shop.told() == [("u1", "deep-exit")]
