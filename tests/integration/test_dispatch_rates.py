"""Channel rates: shared by all dispatchers, in deciding order, transactional messages first."""

from bisect import bisect_left
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from services.dispatch.channels.port import Outcome
from services.dispatch.worker import Dispatcher
from shared.clock import Clock, wall_clock
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, House, until

TENTH = timedelta(seconds=0.1)
SHOP = "Shop <hello@shop.example>"
PHONE = "+821012345678"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


async def campaign(house: House, count: int, prefix: str = "m", domain: str = "a.example") -> None:
    """One marketing message each to so many customers, decidable one after the other."""
    for n in range(count):
        name = f"{prefix}{n:03}"
        await house.customer(name, traits={"email": f"{name}@{domain}", "phone": PHONE})
        await house.message(name, customer=name, at=NOON - timedelta(seconds=600 - n))


async def rated(house: House, rate: str = "10/s", **more: object) -> None:
    email = {"adapter": "fake", "from": SHOP, "rate": rate, **more}
    await house.publish(channels={"email": email})


async def gone(house: House, count: int) -> None:
    """Wait until so many were sent: a single one more would stay, and be seen at the next wait."""

    async def so_many() -> bool:
        assert len(house.provider.sent) <= count, house.provider.ids
        return len(house.provider.sent) == count

    await until(so_many)


async def waiting(house: House, count: int, line: str = "email") -> None:
    async def so_many() -> bool:
        found = await house.pool.fetchval(
            "SELECT count(*) FROM messages WHERE status = 'queued' AND waits_for = $1", line
        )
        return bool(found == count)

    await until(so_many)


async def test_two_dispatchers_keep_one_rate(house: House) -> None:
    await rated(house)
    await campaign(house, 40)
    async with house.dispatching(house.dispatcher(), house.dispatcher()):
        await gone(house, 2)  # a fifth of a second's worth at once
        await waiting(house, 38)
        for step in range(1, 31):
            house.move(TENTH)
            await gone(house, 2 + step)
    # In deciding order, but for neighbours that two of the four lanes had in their hands at once.
    places = {name: place for place, name in enumerate(house.provider.ids)}
    assert all(abs(place - int(name[1:])) <= 8 for name, place in places.items())


async def test_nothing_about_a_message_changes_while_it_waits(house: House) -> None:
    await rated(house, "1/s")
    await campaign(house, 3)
    before = await house.row("m002")
    async with house.dispatching():
        await waiting(house, 2)
    after = await house.row("m002")
    assert dict(before) | {"waits_for": "email"} == dict(after)
    assert [place[0] for place in await house.places()] == ["m000"]


async def test_after_a_pause_no_more_than_a_fifth_of_a_second_goes_at_once(house: House) -> None:
    await rated(house)
    await campaign(house, 9)
    async with house.dispatching():
        await gone(house, 2)
        await waiting(house, 7)
        house.move(timedelta(hours=1))
        await gone(house, 4)
        house.move(TENTH)
        await gone(house, 5)


async def test_a_transactional_message_goes_before_all_that_wait(house: House) -> None:
    await rated(house)
    await campaign(house, 20)
    async with house.dispatching():
        await waiting(house, 18)
        await house.customer("zoe")
        await house.message("receipt", customer="zoe", category="transactional")
        house.ring()
        await waiting(house, 19)
        house.move(TENTH)
        await gone(house, 3)
    assert house.provider.ids[-1] == "receipt"


async def test_a_transactional_message_does_not_wait_for_the_customers_own_marketing(
    house: House,
) -> None:
    await rated(house, "1/s")
    await campaign(house, 5)
    async with house.dispatching():
        await waiting(house, 4)
        await house.message("code", customer="m004", category="transactional", channels=("sms",))
        house.ring()
        await gone(house, 2)
    assert house.provider.ids[-1] == "code"


async def test_a_later_message_of_the_customer_waits_behind_an_earlier_one(house: House) -> None:
    """On a channel without a rate, too: the earlier one may take the last place under the cap."""
    await house.publish(
        channels={"email": {"adapter": "fake", "from": SHOP, "rate": "1/s"}},
        policies={"frequency_caps": [{"limit": 1, "per": "24h"}]},
    )
    await campaign(house, 2)
    await house.pool.execute(
        'UPDATE customers SET traits = traits || \'{"phone": "+821012345678"}\''
    )
    async with house.dispatching():
        await waiting(house, 1)
        await house.message("text", customer="m001", channels=("sms",))
        house.ring()
        await waiting(house, 2)
        house.move(timedelta(seconds=1))
        assert await house.decided("m001", "text") == [
            ("sent", None, "email"),
            ("dropped", "frequency_cap", "sms"),
        ]


async def test_a_domain_has_a_rate_of_its_own_and_is_in_nobodys_way(house: House) -> None:
    await rated(house, "50/s", domain_rates={"big.example": "5/s"})
    await campaign(house, 6, "big", "BIG.example")
    await campaign(house, 6, "small", "a.example")
    async with house.dispatching():
        await gone(house, 7)
        await waiting(house, 5, "email:big.example")
        assert sum(name.startswith("small") for name in house.provider.ids) == 6
        for step in range(1, 6):
            house.move(2 * TENTH)
            await gone(house, 7 + step)


async def test_the_policies_are_asked_again_at_the_end_of_the_wait(house: House) -> None:
    await rated(house, "1/s")
    await campaign(house, 3)
    async with house.dispatching():
        await waiting(house, 2)
        await house.customer("m001", consents={"email": False})
        house.move(timedelta(seconds=1))
        assert await house.decided("m001", "m002") == [
            ("dropped", "unsubscribed", "email"),
            ("sent", None, "email"),
        ]


async def test_waiting_for_a_rate_does_not_expire_a_message(house: House) -> None:
    await house.publish(
        channels={"email": {"adapter": "fake", "from": SHOP, "rate": "1/h"}},
        policies={"expire_after": "1h"},
    )
    await campaign(house, 2)
    await house.pool.execute(
        "UPDATE messages SET held_reason = 'quiet_hours', created_at = $1",
        NOON - timedelta(minutes=50),
    )
    async with house.dispatching():
        await waiting(house, 1)
        house.move(timedelta(hours=1))
        assert await house.decided("m001") == [("sent", None, "email")]


async def test_a_rate_that_is_taken_out_lets_all_go(house: House) -> None:
    await rated(house, "1/h")
    await campaign(house, 20)
    async with house.dispatching():
        await waiting(house, 19)
        await house.publish()
        house.wakeups.ring("dangol_workspace")
        house.ring()
        await gone(house, 20)


async def test_a_higher_rate_is_in_force_at_once(house: House) -> None:
    await rated(house, "1/h")
    await campaign(house, 4)
    async with house.dispatching():
        await waiting(house, 3)
    await rated(house, "10/s")
    async with house.dispatching():
        await gone(house, 2)  # the first, and one by the new rate
        house.move(TENTH)
        await gone(house, 3)


async def test_a_message_whose_template_fails_gives_its_place_back(house: House) -> None:
    await rated(house, "1/h")
    await campaign(house, 3)
    await house.pool.execute("UPDATE messages SET template = 'none' WHERE id <> 'm002'")
    async with house.dispatching():
        assert (await house.decided("m000", "m001", "m002"))[2] == ("sent", None, "email")


async def test_a_line_stands_still_while_its_channel_is_paused(house: House) -> None:
    await rated(house, "5/s")
    await campaign(house, 6)
    async with house.dispatching():
        await waiting(house, 5)
        house.provider.otherwise = Outcome.BROKEN_CONNECTION
        house.move(2 * TENTH)
        await house.held("m001")
        house.provider.otherwise = Outcome.ACCEPTED
        house.move(5 * TENTH)
        # The next one may have been in the other lane's hands as the pause began: it is held, too.
        held = await house.pool.fetchval("SELECT count(*) FROM messages WHERE held_reason <> ''")
        assert held in (1, 2)
        await waiting(house, 5 - held)
        for step in range(5):
            house.move(10 * TENTH if step == 0 else 2 * TENTH)
            await gone(house, 3 + step)
    assert sorted(house.provider.ids) == sorted([*(f"m{n:03}" for n in range(6)), "m001"])


WINDOW = timedelta(seconds=10)
RATE = 100
SHARE = 0.02


async def stock(house: House, count: int) -> None:
    """So many marketing messages in one go, each of a customer of her own."""
    await house.pool.execute(
        "INSERT INTO customers SELECT 0, 'c' || i, jsonb_build_object('email', 'c' || i ||"
        " '@a.example', 'name', 'c'), '' FROM generate_series(1, $1::int) i",
        count,
    )
    await house.message("first")
    await house.pool.execute(
        "INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category,"
        " priority, channels, template, context, created_at, decidable_at, not_before, status)"
        " SELECT 0, 's' || i, 'c' || i, run_id, journey, version, step, category, priority,"
        " channels, template, context, created_at, decidable_at, not_before, status"
        " FROM messages, generate_series(1, $1::int - 1) i WHERE id = 'first'",
        count,
    )


async def instants(house: House) -> list[datetime]:
    """When each call was let through, as the database has it."""
    rows = await house.pool.fetch("SELECT started_at FROM attempts ORDER BY started_at")
    return [row["started_at"] for row in rows]


def windows(instants: list[datetime]) -> list[int]:
    """How many were let through in the ten seconds from each of them on, as far as these have
    passed."""
    last = instants[-1]
    return [
        bisect_left(instants, at + WINDOW) - bisect_left(instants, at)
        for at in sorted(set(instants))
        if at + WINDOW <= last
    ]


async def test_three_dispatchers_keep_a_rate_within_two_percent_either_way(house: House) -> None:
    """Time stands still until all is sent that may be: what is counted is the rate, whatever the
    machine takes for it."""
    seconds, step, at_once = 11, 0.2, RATE // 5
    await rated(house, f"{RATE}/s")
    await stock(house, RATE * (seconds + 1))
    async with house.dispatching(*(house.dispatcher(concurrency=32) for _ in range(3))):
        await gone(house, at_once)
        for number in range(1, int(seconds / step) + 1):
            house.move(timedelta(seconds=step))
            await gone(house, at_once + round(number * step * RATE))
    found = windows(await instants(house))
    assert len(found) > 5
    assert max(found) <= RATE * 10 * (1 + SHARE)
    assert min(found) >= RATE * 10 * (1 - SHARE)
    by = await house.pool.fetch("SELECT count(*) FROM attempts GROUP BY dispatcher")
    assert len(by) > 1, "they took turns"


async def test_a_running_clock_lets_no_more_through_than_two_percent(house: House) -> None:
    """Their instants differ, they overtake each other and wait for each other's locks."""
    await rated(house, f"{RATE}/s")
    await stock(house, RATE * 13)
    now = wall_clock()
    clock = Clock(real_start=now, virtual_start=NOON, speed=5.0)
    dispatchers = [
        Dispatcher(
            house.pool,
            clock,
            house.wakeups,
            partitions=PARTITIONS,
            environment={},
            create=house.provider.create,
        )
        for _ in range(3)
    ]
    async with house.dispatching(*dispatchers):

        async def long_enough() -> bool:
            found = await instants(house)
            return bool(found) and found[-1] - found[0] > WINDOW * 1.1

        await until(long_enough)
    assert max(windows(await instants(house))) <= RATE * 10 * (1 + SHARE)
