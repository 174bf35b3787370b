"""A draft over the stored history, beside what is live: on what a real engine has stored."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.console.backtesting import reading, running
from services.console.backtesting.reading import Found, backtest
from services.console.publish import set_status
from services.journey.language.workspace import load_workspace
from shared.clock import REAL, wall_clock
from shared.event import Event, catalog_event
from tests.integration.test_explain import CART
from tests.integration.test_identity import elsewhere, guest, identify, relaying, settled
from tests.integration.test_journey_worker import House, house, track, workspace

__all__ = ["house"]

DAY = timedelta(days=1)
TABLES = ("messages", "customers", "counts", "history", "log_outbox", "conversions", "timers")


async def tried(house: House, span: timedelta = DAY, **journeys: str) -> Found:
    loaded = load_workspace(workspace(**journeys))
    assert loaded.problems == ()
    # What still waits is decided by then.
    later = wall_clock() + timedelta(hours=3)
    return await backtest(house.pool, loaded, span, later, lambda _met, _all: None)


def of(found: Found, name: str) -> Any:
    return next(each for each in found.report["journeys"] if each["journey"] == name)


async def test_who_would_get_more_and_who_fewer(house: House) -> None:
    await house.publish(cart=CART)
    pool = house.pool
    async with house.running():
        for user, price in (("u1", 8000), ("u2", 20000), ("u3", 90000)):
            await house.log.append([identify(user, None, email=f"{user}@shop.example")])
            await house.log.append([track("Added", user, cart="c", price=price)])
        await house.log.append([track("Viewed", "u4")])
        await house.caught_up()
    before = {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    draft = CART.replace("event.price >= 10000", "event.price >= 5000 and event.price < 50000")
    found = await tried(house, cart=draft)
    cart = of(found, "cart")
    # Two messages each: the nudge, and again after an hour.
    assert (cart["live"]["entered"], cart["live"]["sent"]) == (2, 4)
    assert (cart["draft"]["entered"], cart["draft"]["sent"]) == (2, 4)
    assert found.report["people"] == {
        "more": 1,
        "fewer": 1,
        "same": 1,
        "examples_more": ["u1"],
        "examples_fewer": ["u3"],
    }
    assert found.report["total"]["draft"]["sent"] == 4
    assert (found.events, found.replayed) == (7, 6), "a view matters to neither"
    after = {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    assert after == before


async def test_what_is_live_would_have_entered_whom_the_engine_entered(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        for number in range(40):
            user = f"u{number % 11}"
            if number % 3 == 0:
                await house.log.append([identify(user, None, email=f"{user}@shop.example")])
            cart = {"cart": f"c{number % 4}", "price": 4000 * (number % 7)}
            await house.log.append([track("Bought" if number % 5 == 4 else "Added", user, **cart)])
        await house.caught_up()
    live = of(await tried(house, cart=CART), "cart")["live"]
    assert live["entered"] == await house.counted("entered")
    refused = await house.pool.fetch(
        "SELECT what, sum(n)::int AS n FROM counts WHERE what LIKE 'refused:%' GROUP BY what"
    )
    assert live["refused"] == {row["what"].removeprefix("refused:"): row["n"] for row in refused}


async def test_what_came_before_is_known_and_starts_nothing(house: House) -> None:
    counting = CART.replace(
        "profile.email != null", 'count("Added") == 2 and profile.email != null'
    )
    await house.publish(cart=counting)
    async with house.running():
        await house.log.append([identify("u1", None, email="a@shop.example")])
        await house.log.append([track("Added", "u1", cart="c", price=20000)])
        await house.caught_up()
        await house.pool.execute(
            "UPDATE history SET received_at = received_at - interval '10 days',"
            " happened_at = happened_at - interval '10 days', event = event"
            " || jsonb_build_object('timestamp', happened_at - interval '10 days')"
        )
        await house.log.append([track("Added", "u1", cart="c", price=20000)])
        await house.caught_up()
    within = of(await tried(house, cart=counting), "cart")["draft"]
    assert (within["entered"], within["refused"]) == (1, {})
    whole = of(await tried(house, timedelta(days=20), cart=counting), "cart")["draft"]
    assert (whole["entered"], whole["refused"]) == (1, {"entry_condition": 1})


async def test_a_guest_counts_as_the_customer_that_they_turned_out_to_be(house: House) -> None:
    await house.publish(cart=CART)
    anon = elsewhere("user-1")
    async with relaying(house), house.running(house.worker("w1"), house.worker("w2")):
        said = identify("user-1", None, email="a@shop.example")
        said = msgspec.structs.replace(said, user_id=None, anonymous_id=anon)
        await house.log.append([said, guest("Added", anon, cart="c1", price=20000)])
        await settled(house)
        await house.log.append([identify("user-1", anon, tier="gold")])
        await settled(house)
    found = await tried(house)
    assert of(found, "cart")["live"]["entered"] == 1
    assert of(found, "cart")["draft"] is None, "the draft does not have it"
    assert found.report["people"]["examples_fewer"] == ["user-1"]


async def test_a_paused_journey_is_left_out_of_both(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify("u1", None, email="a@shop.example")])
        await house.log.append([track("Added", "u1", cart="c", price=20000)])
        await house.caught_up()
    await set_status(house.pool, "cart", "paused", REAL)
    found = await tried(house, cart=CART)
    assert found.stopped == ("cart",)
    assert found.report["journeys"] == []


async def test_chunks_change_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.publish(cart=CART)
    async with house.running():
        for number in range(12):
            user = f"u{number}"
            await house.log.append([identify(user, None, email=f"{user}@shop.example")])
            await house.log.append([track("Added", user, cart="c", price=20000)])
        await house.caught_up()
    whole = await tried(house, cart=CART)
    monkeypatch.setattr(reading, "CHUNK_CUSTOMERS", 1)
    cut = await tried(house, cart=CART)
    assert of(cut, "cart") == of(whole, "cart")
    assert of(cut, "cart")["draft"]["entered"] == 12
    assert cut.report["customers"] == whole.report["customers"] == 12


RESTOCKED = """
journey: back
trigger:
  event: Restocked
  where: event.stock >= 5
  audience: did("Viewed", where=e.sku == trigger.sku)
steps: [{send: email, template: hello, id: back}]
"""


def restocked(name: str, sku: str, stock: int = 9) -> Event:
    return catalog_event(
        message_id=name,
        name="Restocked",
        properties={"sku": sku, "stock": stock},
        at=wall_clock(),
        source="server",
    )


async def test_catalogue_events_start_what_has_an_audience(house: House) -> None:
    """Also in a draft of a journey that was not there when they came."""
    await house.publish(cart=CART)
    async with house.running():
        for user, sku in (("u1", "A"), ("u2", "B"), ("u3", "A")):
            await house.log.append([identify(user, None, email=f"{user}@shop.example")])
            await house.log.append([track("Viewed", user, sku=sku)])
        await house.caught_up()
        again = restocked("r1", "A")
        await house.log.append([again, again, restocked("r2", "B", stock=1)])
        await house.caught_up()
        await house.log.append([track("Viewed", "u4", sku="A")])
        await house.caught_up()
    found = await tried(house, cart=CART, back=RESTOCKED)
    back = of(found, "back")
    assert (back["draft"]["entered"], back["draft"]["sent"]) == (2, 2), "who viewed it before"
    assert back["live"] is None
    assert found.report["catalogue"] == {"taken": 1, "left_out": 0}
    assert found.report["people"]["examples_more"] == ["u1", "u3"]
    assert (await tried(house, cart=CART)).report["catalogue"] is None


async def test_of_many_catalogue_events_the_newest_are_taken_and_it_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MOST_CATALOGUE", 2)
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify("u1", None, email="u1@shop.example")])
        await house.log.append([track("Viewed", "u1", sku="A")])
        await house.caught_up()
        await house.log.append([restocked(f"r{n}", "A") for n in range(5)])
        await house.caught_up()
    found = await tried(house, back=RESTOCKED)
    assert found.report["catalogue"] == {"taken": 2, "left_out": 3}
    draft = of(found, "back")["draft"]
    assert draft["entered"] + sum(draft["refused"].values()) == 2
