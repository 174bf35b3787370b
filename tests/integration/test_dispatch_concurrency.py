"""A connection's calls at a time: kept by all dispatchers together, and in nobody else's way."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from tests.integration.dispatching import NOON, House, until

SHOP = "Shop <hello@shop.example>"
LINE = "sms:concurrency/slow"


@dataclass
class Slow:
    """A provider that answers when it is told to, and knows how many calls it had at a time."""

    name: str = "slow"
    deduplicates: bool = False
    otherwise: Outcome = Outcome.ACCEPTED
    answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    under_way: int = 0
    most: int = 0
    sent: list[str] = field(default_factory=list)

    async def send(self, message: Outgoing) -> Result:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.sent.append(message.message_id)
        try:
            await self.answers.acquire()
        finally:
            self.under_way -= 1
        return Result(self.otherwise)

    def answer(self, calls: int) -> None:
        for _ in range(calls):
            self.answers.release()

    async def close(self) -> None:
        pass


@dataclass
class SlowHouse(House):
    slow: Slow = field(default_factory=Slow)
    setups: dict[str, Setup] = field(default_factory=dict)

    def create(self, setup: Setup) -> Adapter:
        self.setups[setup.settings.adapter] = setup
        return self.slow if setup.settings.adapter == "slow" else self.provider

    async def limited(self, concurrency: int | None, **more: object) -> None:
        sms = {"adapter": "slow", "concurrency": concurrency, **more}
        await self.publish(channels={"sms": sms, "email": {"adapter": "fake", "from": SHOP}})

    async def campaign(self, count: int, channel: str = "sms") -> list[str]:
        """One marketing message each to so many customers, decidable one after the other."""
        names = [f"{channel}{n:03}" for n in range(count)]
        for n, name in enumerate(names):
            await self.customer(name)
            at = NOON - timedelta(seconds=600 - n)
            await self.message(name, customer=name, channels=(channel,), at=at)
        return names

    async def waiting(self, count: int, line: str = LINE) -> None:
        async def so_many() -> bool:
            found = await self.pool.fetchval(
                "SELECT count(*) FROM messages WHERE status = 'queued' AND waits_for = $1", line
            )
            return bool(found == count)

        await until(so_many)

    async def says(self, dispatcher: str, calls: int) -> None:
        """Another dispatcher, of how many calls it has under way."""
        await self.pool.execute(
            "INSERT INTO send_calls VALUES ($1, $2, $3, now() + interval '1h')"
            " ON CONFLICT (line, dispatcher) DO UPDATE SET calls = excluded.calls",
            *(LINE, dispatcher, calls),
        )

    async def called(self, count: int) -> None:
        async def so_many() -> bool:
            return len(self.slow.sent) == count

        await until(so_many)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[SlowHouse]:
    async with SlowHouse.open(dsn) as house:
        assert isinstance(house, SlowHouse)
        yield house


async def test_a_slow_connection_is_not_in_the_way_of_the_others(house: SlowHouse) -> None:
    await house.limited(2)
    texts = await house.campaign(20)
    mails = await house.campaign(5, "email")  # due after all of the texts
    async with house.dispatching(concurrency=4, create=house.create):
        assert await house.decided(*mails) == [("sent", None, "email")] * 5
        await house.waiting(18)
        assert house.slow.under_way == house.slow.most == 2
        labels = {"channel": "sms", "adapter": "slow"}
        assert REGISTRY.get_sample_value("dangol_dispatch_connection_calls", labels) == 2
        house.slow.answer(20)
        assert await house.decided(*texts) == [("sent", None, "sms")] * 20
        assert REGISTRY.get_sample_value("dangol_dispatch_connection_calls", labels) == 0
    assert house.slow.most == 2
    assert sorted(house.slow.sent) == texts
    assert house.setups["slow"].concurrency == 2
    assert house.setups["fake"].concurrency == 4


async def test_dispatchers_keep_one_limit_together(house: SlowHouse) -> None:
    await house.limited(3)
    texts = await house.campaign(30)
    first, second = (house.dispatcher(create=house.create) for _ in range(2))
    async with house.dispatching(first, second):
        await house.waiting(27)
        assert house.slow.under_way == 3
        for done in range(1, 28):  # whichever of both had the call, one of them makes the next
            house.slow.answer(1)
            await house.called(3 + done)
        house.slow.answer(3)
        await house.decided(*texts)
    assert house.slow.most == 3
    assert sorted(house.slow.sent) == texts


async def test_the_calls_of_a_dead_dispatcher_count_as_long_as_its_lease(house: SlowHouse) -> None:
    await house.limited(2)
    await house.says("dead", 2)
    await house.campaign(1)
    async with house.dispatching(create=house.create):
        await house.waiting(1)
        await house.pool.execute("UPDATE send_calls SET said_until = now() WHERE line = $1", LINE)
        house.slow.answer(1)
        await house.called(1)


async def test_calls_are_given_back_whatever_came_of_them(house: SlowHouse) -> None:
    house.slow.otherwise = Outcome.REJECTED_MESSAGE
    await house.limited(1)
    texts = await house.campaign(4)
    house.slow.answer(4)
    async with house.dispatching(create=house.create):
        assert await house.decided(*texts) == [("failed", "rejected", "sms")] * 4
    said = await house.pool.fetch("SELECT calls FROM send_calls")
    assert [row["calls"] for row in said] == [0]


async def test_a_limit_that_is_taken_out_lets_all_go(house: SlowHouse) -> None:
    await house.limited(1)
    await house.campaign(6)
    async with house.dispatching(create=house.create):
        await house.waiting(5)
        await house.limited(None)
        house.wakeups.ring("dangol_workspace")
        house.ring()
        await house.called(6)
        house.slow.answer(6)


async def test_a_lower_limit_waits_until_enough_calls_have_ended(house: SlowHouse) -> None:
    """Three were begun while that was allowed; now it is two."""
    await house.limited(2)
    await house.says("other", 3)
    await house.campaign(2)
    async with house.dispatching(create=house.create):
        await house.waiting(2)
        await house.says("other", 1)
        await house.called(1)
        await house.waiting(1)
        await house.says("other", 0)
        await house.called(2)
        house.slow.answer(2)


async def test_a_connection_may_have_a_limit_and_a_rate_of_its_own(house: SlowHouse) -> None:
    """The first provider refuses all; the second is the slow one, and has its own group."""
    house.provider.otherwise = Outcome.REJECTED_MESSAGE
    own = {"concurrency": 2, "rate": "10/s"}
    await house.limited(None, adapter="fake", failover=["slow"], slow=own)
    texts = await house.campaign(6)
    async with house.dispatching(create=house.create):
        await house.waiting(4)
        assert len(house.provider.sent) == 6
        house.move(timedelta(hours=1))  # the rate has places now, the calls have not
        await house.waiting(4)
        house.slow.answer(6)
        await house.called(4)  # a fifth of a second's worth, after the hour
        for step in range(1, 3):
            await house.waiting(3 - step)
            house.move(timedelta(seconds=0.1))
            await house.called(4 + step)
        assert await house.decided(*texts) == [("sent", None, "sms")] * 6
