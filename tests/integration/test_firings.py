"""Schedules, dates and catalogue events on a real log and database, from the plan to the runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.console.publish import apply, set_status
from services.journey.core.state import State, pack, unpack
from services.journey.firings import fanout
from services.journey.firings.fanout import Fanout
from services.journey.firings.planner import Planner
from services.journey.library import Library
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.worker import Worker
from shared import workspace_store
from shared.clock import Clock, wall_clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import Event, catalog_event, partition_of
from shared.log import outbox
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader
from tests.conftest import PARTITIONS
from tests.patience import SOON

SETTINGS = "timezone: Asia/Seoul\nchannels:\n  email: {adapter: log}\n"
VIP = "segment: vip\nwhere: profile.tier == 'vip'\n"
MONDAY = datetime(2026, 3, 2, 1, tzinfo=UTC)
"""Ten o'clock in Seoul."""
PUBLISHED = MONDAY - timedelta(days=1)


def journey(trigger: str, rest: str = "") -> str:
    return f"journey: j\ntrigger: {trigger}\n{rest}\nsteps: [{{wait: 30d}}]\n"


class House:
    """A worker, a relay and a leader's jobs on a clock that a test sets."""

    def __init__(self, pool: Pool, wakeups: Wakeups) -> None:
        self.pool = pool
        self.wakeups = wakeups
        self.at(PUBLISHED)

    def at(self, moment: datetime) -> None:
        """It is this moment now, and goes on from here."""
        self.clock = Clock(wall_clock(), moment)
        self.log = PostgresLog(self.pool, PARTITIONS, self.clock)
        self.library = Library(self.pool)
        self.planner = Planner(self.pool, self.library, self.clock)
        self.fanout = self.another_fanout()

    def another_fanout(self) -> Fanout:
        return Fanout(self.pool, self.library, self.log, self.clock, PARTITIONS)

    async def publish(self, source: str, **segments: str) -> None:
        files = {"dangol.yaml": SETTINGS, "journeys/j.yaml": source}
        files |= {f"segments/{name}.yaml": text for name, text in ({"vip": VIP} | segments).items()}
        await apply(
            self.pool, {name: text.encode() for name, text in files.items()}, "test", self.clock
        )

    async def people(self, **traits: dict[str, Any]) -> None:
        await self.pool.executemany(
            "INSERT INTO customers (partition, id, traits, state) VALUES ($1, $2, $3, $4)",
            [
                (partition_of(n, PARTITIONS), n, t, pack(State(seen={1: 0})))
                for n, t in traits.items()
            ],
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        reader = PostgresLogReader(self.pool, self.wakeups, PARTITIONS, "w", self.clock)
        store = Store(self.pool)
        engine = Engine("w", reader, store, self.library, self.clock, PARTITIONS, 500, 10_000)
        worker = Worker(engine, self.wakeups.listen(workspace_store.CHANNEL))
        relay = outbox.Relay(self.pool, self.log, self.wakeups.listen(outbox.CHANNEL))
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(run(stopping)) for run in (worker.run, relay.run)]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)

    async def fire(self) -> None:
        """Plan, stream, and let the worker take everything in."""
        await self.library.refresh()
        await self.planner.turn()
        await self.fanout.turn()
        await self.caught_up()

    async def caught_up(self) -> None:
        async with asyncio.timeout(SOON):
            while not await self.pool.fetchval(
                "SELECT bool_and(p.log_offset = h.next_offset - 1)"
                " AND NOT EXISTS (SELECT FROM log_outbox)"
                " FROM partitions p JOIN log_heads h ON h.partition = p.id"
            ):
                await asyncio.sleep(0.02)

    async def entered(self) -> list[str]:
        rows = await self.pool.fetch("SELECT id, state FROM customers ORDER BY id")
        return [row["id"] for row in rows if unpack(row["state"]).runs]

    async def firings(self) -> list[tuple[str, int, str | None]]:
        """Label, customers reached, and why it was skipped."""
        rows = await self.pool.fetch(
            "SELECT label, skipped, coalesce((SELECT sum(put)::int FROM firing_cursors c"
            " WHERE c.firing = f.id), 0) AS put FROM firings f ORDER BY at, label"
        )
        return [(row["label"], row["put"], row["skipped"]) for row in rows]

    async def counted(self, what: str) -> int:
        n: int = await self.pool.fetchval(
            "SELECT coalesce(sum(n), 0)::int FROM counts WHERE what = $1", what
        )
        return n


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    wakeups = Wakeups(dsn, [CHANNEL, workspace_store.CHANNEL, outbox.CHANNEL])
    stopping = asyncio.Event()
    listening = asyncio.create_task(wakeups.run(stopping))
    yield House(pool, wakeups)
    stopping.set()
    await listening


SCHEDULE = '{schedule: "0 10 * * mon", segment: vip}'


async def test_a_schedule_starts_the_members_of_its_segment(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    await house.people(a={"tier": "vip"}, b={"tier": "none"}, c={"tier": "vip"}, d={})
    house.at(MONDAY)
    async with house.running():
        await house.fire()
        await house.fire()
    assert await house.entered() == ["a", "c"]
    assert await house.firings() == [("2026-03-02T10:00", 2, None)]
    assert await house.counted("entered") == 2
    assert await house.pool.fetchval("SELECT bool_and(done_at IS NOT NULL) FROM firings")


async def test_the_planner_waits_for_the_moment_and_does_not_fire_before(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    house.at(MONDAY - timedelta(milliseconds=300))
    await house.library.refresh()
    await house.planner.turn()
    (row,) = await house.pool.fetch("SELECT at, fired_at FROM firings")
    assert row["at"] == MONDAY
    assert timedelta(0) <= row["fired_at"] - MONDAY < timedelta(seconds=5)


async def test_a_missed_firing_fires_once_late_and_two_leaders_make_one(house: House) -> None:
    await house.publish(journey(SCHEDULE, "entry: {max_age: 5w}"))
    await house.people(a={"tier": "vip"})
    house.at(MONDAY + timedelta(days=15))
    async with house.running():
        await house.library.refresh()
        other = Planner(house.pool, house.library, house.clock)
        await asyncio.gather(house.planner.turn(), other.turn())
        await house.fire()
    (row,) = await house.pool.fetch("SELECT label, missed, fired_at - at AS late FROM firings")
    assert (row["label"], row["missed"]) == ("2026-03-16T10:00", 2)
    assert row["late"] > timedelta(hours=23)
    state = unpack(await house.pool.fetchval("SELECT state FROM customers WHERE id = 'a'"))
    assert state.runs[0].trigger.properties["late"] >= 24 * 3600


async def test_a_firing_later_than_max_age_is_kept_as_skipped(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    await house.people(a={"tier": "vip"})
    house.at(MONDAY + timedelta(days=2))
    async with house.running():
        await house.fire()
    assert await house.firings() == [("2026-03-02T10:00", 0, "too_old")]
    assert await house.entered() == []


async def test_paused_journeys_do_not_fire_and_withdrawn_ones_stop(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    await house.people(a={"tier": "vip"})
    await set_status(house.pool, "j", "paused", house.clock)
    house.at(MONDAY + timedelta(minutes=1))
    async with house.running():
        await house.fire()
        assert await house.firings() == []
        house.at(MONDAY + timedelta(days=7))
        await set_status(house.pool, "j", "active", house.clock)
        house.at(MONDAY + timedelta(days=14))
    async with house.running():
        await house.library.refresh()
        await house.planner.turn()
        await set_status(house.pool, "j", "archived", house.clock)
        house.at(MONDAY + timedelta(days=14, minutes=1))
        await house.fire()
    assert await house.firings() == [("2026-03-16T10:00", 0, "withdrawn")]
    assert await house.entered() == []


async def test_members_are_found_by_their_history_and_other_segments(house: House) -> None:
    await house.publish(
        journey('{schedule: "0 10 * * mon", segment: keen}'),
        keen='segment: keen\nwhere: in_segment("vip") and count("Viewed", within="7d") >= 2\n',
    )
    house.at(MONDAY - timedelta(hours=1))
    await house.people(a={"tier": "vip"}, b={"tier": "vip"}, c={})
    async with house.running():
        await house.log.append(
            [
                Event(
                    id=f"{who}{n}",
                    kind="track",
                    name="Viewed",
                    user_id=who,
                    timestamp=house.clock.now(),
                )
                for who, times in (("a", 2), ("b", 1), ("c", 3))
                for n in range(times)
            ]
        )
        await house.caught_up()
    house.at(MONDAY)
    async with house.running():
        await house.fire()
    assert await house.entered() == ["a"]
    assert await house.firings() == [("2026-03-02T10:00", 1, None)]


async def test_each_customer_s_own_time_and_those_without_a_zone(house: House) -> None:
    await house.publish(journey('{schedule: "0 10 * * mon", timezone: customer, segment: vip}'))
    await house.people(
        seoul={"tier": "vip", "timezone": "Asia/Seoul"},
        berlin={"tier": "vip", "timezone": "Europe/Berlin"},
        unknown={"tier": "vip", "timezone": "Mars/Olympus"},
        odd={"tier": "vip", "timezone": ["Europe/Berlin"]},
        none={"tier": "vip"},
        other={"timezone": "Asia/Seoul"},
    )
    house.at(MONDAY)
    async with house.running():
        await house.fire()
    assert await house.entered() == ["none", "odd", "seoul", "unknown"]
    house.at(MONDAY + timedelta(hours=8))  # Berlin's ten o'clock
    async with house.running():
        await house.fire()
    assert await house.entered() == ["berlin", "none", "odd", "seoul", "unknown"]
    assert await house.counted("entered") == 5


async def test_birthdays_with_leap_days_and_instants(house: House) -> None:
    house.at(datetime(2026, 2, 1, tzinfo=UTC))
    await house.publish(journey('{date: profile.birthday, time: "10:00", every: year}'))
    await house.people(
        on_28={"birthday": "1990-02-28"},
        leap={"birthday": "2000-02-29"},
        instant={"birthday": "1990-02-27T20:00:00Z"},  # the 28th in Seoul
        not_yet={"birthday": "1990-03-01"},
        odd={"birthday": "some day"},
        number={"birthday": 228},
        berlin={"birthday": "1990-02-28", "timezone": "Europe/Berlin"},
    )
    house.at(datetime(2026, 2, 28, 1, tzinfo=UTC))
    async with house.running():
        await house.fire()
    assert await house.entered() == ["instant", "leap", "on_28"]


async def test_instants_fire_within_a_minute_and_once(house: House) -> None:
    await house.publish(journey("{date: profile.ends_at, offset: -1h}"))
    await house.people(
        soon={"ends_at": "2026-03-02T02:00:30Z"},
        later={"ends_at": "2026-03-02T02:01:30Z"},
        day={"ends_at": "2026-03-05"},
    )
    entered: list[list[str]] = []
    for minutes in range(3):
        house.at(MONDAY + timedelta(minutes=minutes))
        async with house.running():
            await house.fire()
        entered.append(await house.entered())
    assert entered == [[], ["soon"], ["later", "soon"]]
    assert [put for _label, put, _why in await house.firings() if put] == [1, 1]
    kept = await house.pool.fetch("SELECT label FROM firings WHERE label LIKE '%/%'")
    assert len(kept) == 2, "stretches that held nobody are forgotten"
    assert await house.counted("entered") == 2


RESTOCK = (
    "{event: Restocked, where: event.stock > 0,"
    ' audience: \'did("Viewed", within="30d", where=e.sku == trigger.sku)\'}'
)


def restocked(stock: int, message_id: str = "m1") -> Event:
    return catalog_event(
        message_id=message_id,
        name="Restocked",
        properties={"sku": "A", "stock": stock},
        at=wall_clock(),
        source="erp",
    )


async def test_a_catalogue_event_starts_its_audience_once(house: House) -> None:
    house.clock = Clock()
    house.log = PostgresLog(house.pool, PARTITIONS)
    house.fanout = house.another_fanout()
    await house.publish(journey(RESTOCK))
    async with house.running():
        await house.caught_up()
        for who, sku in (("a", "A"), ("b", "B"), ("c", "A")):
            viewed = Event(
                id=f"v{who}", kind="track", name="Viewed", user_id=who,
                timestamp=wall_clock(), properties={"sku": sku},
            )  # fmt: skip
            await house.log.append([viewed])
        await house.log.append([restocked(0, "m0"), restocked(5), restocked(5)])
        await house.caught_up()
        await house.fire()
        assert await house.entered() == ["a", "c"]
        await house.log.append([restocked(5)])
        await house.caught_up()
        await house.fire()
    assert await house.counted("entered") == 2
    assert not await house.pool.fetchval("SELECT EXISTS (SELECT FROM customers WHERE id LIKE '$%')")
    row = await house.pool.fetchrow("SELECT state FROM customers WHERE id = 'a'")
    assert row is not None
    (run,) = unpack(row["state"]).runs
    assert (run.trigger.name, run.trigger.properties) == ("Restocked", {"sku": "A", "stock": 5})


async def test_a_fan_out_resumes_where_it_was_cut_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "CHUNK", 7)
    monkeypatch.setattr(fanout, "SCANNED", 20)
    monkeypatch.setattr(fanout, "IN_FLIGHT", 30)
    await house.publish(journey(SCHEDULE))
    await house.people(**{f"c{n:03}": {"tier": "vip" if n % 3 else "none"} for n in range(600)})
    house.at(MONDAY)
    async with house.running():
        await house.library.refresh()
        await house.planner.turn()
        for _ in range(6):  # cut off at any moment, six times
            cut = asyncio.create_task(house.another_fanout().turn())
            await asyncio.sleep(0.05)
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
        # And two leaders at once, for a moment.
        await asyncio.gather(house.another_fanout().turn(), house.fanout.turn())
        await house.caught_up()
    assert await house.entered() == [f"c{n:03}" for n in range(600) if n % 3]
    assert await house.counted("entered") == 400
    assert await house.firings() == [("2026-03-02T10:00", 400, None)]
    assert await house.pool.fetchval("SELECT count(*) FROM history WHERE kind = 'enter'") == 400


async def test_no_more_is_under_way_than_a_partition_has_room_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads: the fan-out stops, and other customers' events would be next but a few."""
    monkeypatch.setattr(fanout, "CHUNK", 10)
    monkeypatch.setattr(fanout, "IN_FLIGHT", 25)
    await house.publish(journey(SCHEDULE))
    await house.people(**{f"c{n:03}": {"tier": "vip"} for n in range(400)})
    house.at(MONDAY)
    await house.library.refresh()
    await house.planner.turn()
    stuck = asyncio.create_task(house.fanout.turn())
    under_way = "SELECT partition, count(*) AS n FROM log_outbox GROUP BY 1"
    async with asyncio.timeout(SOON):
        while sum(row["n"] for row in await house.pool.fetch(under_way)) < 30 * PARTITIONS:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # were there room, more would come
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    rows = await house.pool.fetch(under_way)
    assert {row["partition"]: row["n"] for row in rows} == dict.fromkeys(range(PARTITIONS), 30)


async def test_ids_that_belong_to_others_are_left_out(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    await house.people(a={"tier": "vip"}, gone={"tier": "vip"})
    await house.pool.execute("UPDATE customers SET forwarded_to = 'a' WHERE id = 'gone'")
    house.at(MONDAY)
    async with house.running():
        await house.fire()
    assert await house.firings() == [("2026-03-02T10:00", 1, None)]


async def test_a_leader_that_has_just_begun_knows_the_workspace(house: House) -> None:
    await house.publish(journey(SCHEDULE))
    await house.people(a={"tier": "vip"})
    house.at(MONDAY)
    await house.library.refresh()
    await house.planner.turn()
    house.at(MONDAY)  # nothing has been loaded
    async with house.running():
        await house.fanout.turn()
        await house.caught_up()
    assert await house.firings() == [("2026-03-02T10:00", 1, None)]
    assert await house.entered() == ["a"]
