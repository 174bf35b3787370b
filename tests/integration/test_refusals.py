"""Refusals by 080 and STOP: vendors' lists read by one leader, numbers closed, the ledger kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.cli.checkup import check_database
from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.serving import serving
from services.cli.fakes.solapi import FakeSolapi
from services.dispatch import store
from services.dispatch.doors.links import Leave
from services.dispatch.doors.store import Doors, Statement
from services.dispatch.receipts import store as receipts_store
from services.dispatch.receipts.texts.readings import Refusal, Return
from services.dispatch.receipts.texts.refusals import RefusalSync
from services.dispatch.receipts.texts.store import Reports
from shared.address import address_hash
from shared.event import partition_of
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, House

ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
BOB = next(f"bob-{n}" for n in range(100) if partition_of(f"bob-{n}", PARTITIONS) == 0)
KEYS = {
    "DANGOL_SOLAPI_API_KEY": "NCSFAKE",
    "DANGOL_SOLAPI_API_SECRET": "fake-secret",
    "DANGOL_NHN_SMS_APP_KEY": "fake-app",
    "DANGOL_NHN_SMS_SECRET_KEY": "fake-secret",
}
YESTERDAY = NOON - timedelta(days=1)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.customer(
            ANN, traits={"phone": "+821000000001"}, consents={"sms": True, "email": True}
        )
        await house.customer(BOB, traits={"phone": "+821000000002"}, consents={"sms": True})
        await house.pool.execute("UPDATE consents SET stated_at = $1", NOON - timedelta(days=30))
        yield house


@asynccontextmanager
async def vendor(house: House, name: str) -> AsyncIterator[tuple[Any, RefusalSync]]:
    fake: Any = (
        FakeSolapi("NCSFAKE", "fake-secret")
        if name == "solapi"
        else FakeNhn("fake-app", "fake-secret")
    )
    sms = {"adapter": name, "from": "02-123-4567", "unsubscribe_number": "080-123-4567"}
    await house.publish(channels={"sms": sms})
    async with serving(fake, fake.asgi()) as url:
        environment = {**KEYS, f"DANGOL_{name.upper()}_BASE_URL": url}
        yield fake, RefusalSync(house.pool, house.clock, PARTITIONS, environment)


def refuses(fake: Any, number: str, at: datetime = YESTERDAY) -> None:
    if isinstance(fake, FakeSolapi):
        when = at.astimezone(UTC).isoformat()
        fake.refusals.append({"recipientNumber": number, "dateCreated": when})
    else:
        korean = (at + timedelta(hours=9)).strftime("%Y-%m-%d %H:%M:%S")
        fake.refusals.append({"recipientNo": number, "createDate": korean})


async def consents(house: House, customer: str) -> dict[str, bool]:
    rows = await house.pool.fetch(
        "SELECT channel, granted FROM consents WHERE customer = $1", customer
    )
    return {row["channel"]: row["granted"] for row in rows}


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_080_sync_closes_the_number_and_enters_the_ledger(house: House, name: str) -> None:
    async with vendor(house, name) as (fake, sync):
        refuses(fake, "010-0000-0001")
        refuses(fake, "01099999999")  # nobody we know
        await sync.turn()
        await sync.turn()
    assert await consents(house, ANN) == {"sms": False, "email": True}
    assert await consents(house, BOB) == {"sms": True}
    (entry,) = await house.pool.fetch("SELECT * FROM consent_ledger")
    assert (entry["customer"], entry["channel"], entry["granted"]) == (ANN, "sms", False)
    assert (entry["source"], entry["stated_at"]) == (f"{name} 080", YESTERDAY)
    assert entry["recorded_at"] == NOON
    rows = await house.pool.fetch("SELECT scope, reason FROM suppressions")
    assert [tuple(row) for row in rows] == [("marketing", "unsubscribed")] * 2
    (told,) = await house.events()
    assert (told.kind, told.traits) == ("identify", {"consent": {"sms": False}})
    assert await house.pool.fetchval("SELECT count(phone) FROM refusals") == 0, "kept no longer"


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_080_sync_reads_long_lists_whole_and_then_what_is_new(
    house: House, name: str
) -> None:
    async with vendor(house, name) as (fake, sync):
        for n in range(1203):
            refuses(fake, f"0101111{n:04d}", NOON - timedelta(days=40))
        await sync.turn()
        assert await house.pool.fetchval("SELECT count(*) FROM refusals") == 1203
        refuses(fake, "01000000001", NOON)
        await sync.turn()
        assert (await consents(house, ANN))["sms"], "not before an hour has passed"
        house.clock.move(timedelta(hours=1))
        before = fake.requests
        await sync.turn()
        assert not (await consents(house, ANN))["sms"]
        assert fake.requests - before <= 1, "what was known is not read again"


async def test_080_sync_leaves_a_later_consent_and_a_new_refusal_counts_again(
    house: House,
) -> None:
    async with vendor(house, "solapi") as (fake, sync):
        await house.pool.execute("UPDATE consents SET stated_at = $1", NOON - timedelta(hours=1))
        refuses(fake, "01000000001")
        await sync.turn()
        assert (await consents(house, ANN))["sms"]
        fake.refusals.clear()
        house.clock.move(timedelta(hours=2))
        refuses(fake, "01000000001", house.clock.now() - timedelta(hours=1))
        await sync.turn()
    assert not (await consents(house, ANN))["sms"]


async def test_080_sync_that_fails_is_said_by_the_doctor_and_tried_again(
    house: House, dsn: str
) -> None:
    async with vendor(house, "nhn") as (fake, sync):
        refuses(fake, "01000000001")
        fake._secret = "changed"
        await sync.turn()
        said = [f async for f in check_database(dsn, {}) if f.check == "080 nhn"]
        assert [finding.verdict for finding in said] == ["fail"]
        assert "-1001" in said[0].message
        assert "fake-secret" not in said[0].message
        fake._secret = "fake-secret"
        await sync.turn()
        said = [f async for f in check_database(dsn, {}) if f.check == "080 nhn"]
    assert [finding.verdict for finding in said] == ["ok"]
    assert not (await consents(house, ANN))["sms"]


async def test_nhn_s_list_is_read_where_our_080_number_is_named(house: House) -> None:
    async with vendor(house, "nhn") as (fake, sync):
        await house.publish(channels={"sms": {"adapter": "nhn", "from": "02-123-4567"}})
        refuses(fake, "01000000001")
        await sync.turn()
    assert fake.requests == 0


async def test_a_refusal_by_webhook_is_entered_by_the_same_leader(house: House) -> None:
    reports = Reports(house.pool, PARTITIONS)
    await reports.take(Refusal("+821000000002"), "sms", "twilio", house.clock.now())
    assert await house.pool.fetchval("SELECT count(*) FROM suppressions") == 1
    await RefusalSync(house.pool, house.clock, PARTITIONS, {}).turn()
    (entry,) = await house.pool.fetch("SELECT * FROM consent_ledger")
    assert (entry["customer"], entry["source"]) == (BOB, "twilio STOP")
    assert await consents(house, BOB) == {"sms": False}


# START -----------------------------------------------------------------------------------------

NUMBER = "+821000000002"


async def says(house: House, word: Refusal | Return, *, enter: bool = True) -> bool:
    house.clock.move(timedelta(minutes=1))
    taken = await Reports(house.pool, PARTITIONS).take(word, "sms", "twilio", house.clock.now())
    if enter:
        await RefusalSync(house.pool, house.clock, PARTITIONS, {}).turn()
    return taken


async def agreed(house: House) -> None:
    await house.pool.execute(
        "INSERT INTO consent_ledger (partition, customer, channel, granted, stated_at, source,"
        " recorded_at, event_id) SELECT partition, customer, channel, granted, stated_at, 'api',"
        " stated_at, 'before' FROM consents"
    )


async def closed(house: House) -> list[tuple[str, str]]:
    rows = await house.pool.fetch("SELECT scope, reason FROM suppressions ORDER BY 1, 2")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("entered", [True, False])
async def test_start_takes_back_the_stop_and_the_consent_is_as_before(
    house: House, entered: bool
) -> None:
    """Also before the leader has entered the STOP."""
    await agreed(house)
    assert await says(house, Refusal(NUMBER), enter=entered)
    assert await closed(house) == [("marketing", "stop")]
    assert await says(house, Return(NUMBER))
    assert await closed(house) == []
    assert await consents(house, BOB) == {"sms": True}
    ledger = await house.pool.fetch(
        "SELECT granted, source FROM consent_ledger WHERE customer = $1 ORDER BY stated_at", BOB
    )
    back = [(False, "twilio STOP"), (True, "twilio START")] if entered else []
    assert [tuple(row) for row in ledger] == [(True, "api"), *back]
    assert not await says(house, Return(NUMBER)), "there is no STOP any more"
    await says(house, Refusal(NUMBER))
    assert await closed(house) == [("marketing", "stop")], "it may be said again"
    assert await consents(house, BOB) == {"sms": False}


@pytest.mark.parametrize(
    ("scope", "reason"),
    [("marketing", "complained"), ("marketing", "unsubscribed"), ("all", "undeliverable")],
)
@pytest.mark.parametrize("first", [True, False])
async def test_start_lifts_nothing_but_a_stop(
    house: House, scope: str, reason: str, first: bool
) -> None:
    """Whatever else has closed the number, before the STOP or behind it."""
    await agreed(house)
    hashed = address_hash("phone", NUMBER, await store.address_key(house.pool))
    doors = Doors(house.pool, PARTITIONS)

    async def close() -> None:
        if reason == "unsubscribed":  # the door of a customer who has been erased
            leave = Leave("nobody", "sms", "m", hashed)
            said = [Statement("sms", False, "x")]
            await doors.state(leave, said, "unsubscribe", house.clock.now())
            return
        await house.pool.execute(receipts_store._CLOSE, hashed, scope, reason, NOON)

    if first:
        await close()
    await says(house, Refusal(NUMBER))
    if not first:
        await close()
    await says(house, Return(NUMBER))
    assert await closed(house) == [(scope, reason)]


async def test_start_gives_no_consent_that_was_not_there(house: House) -> None:
    await agreed(house)
    await house.pool.execute("DELETE FROM consents WHERE customer = $1", BOB)
    await house.pool.execute("DELETE FROM consent_ledger WHERE customer = $1", BOB)
    await says(house, Refusal(NUMBER))
    await says(house, Return(NUMBER))
    assert (await consents(house, BOB)).get("sms") is not True


async def test_start_does_not_undo_a_later_refusal_elsewhere(house: House) -> None:
    await agreed(house)
    await says(house, Refusal(NUMBER))
    house.clock.move(timedelta(minutes=1))
    said = [Statement("sms", False, "Unsubscribe from everything")]
    leave = Leave(BOB, "sms", "m", "")
    await Doors(house.pool, PARTITIONS).state(leave, said, "preferences", house.clock.now())
    await says(house, Return(NUMBER))
    assert await consents(house, BOB) == {"sms": False}


async def test_start_without_a_stop_and_behind_an_080_changes_nothing(house: House) -> None:
    await agreed(house)
    assert not await says(house, Return(NUMBER))
    await Reports(house.pool, PARTITIONS).take(Refusal(NUMBER), "sms", "nhn", house.clock.now())
    await RefusalSync(house.pool, house.clock, PARTITIONS, {}).turn()
    await says(house, Refusal(NUMBER))
    await says(house, Return(NUMBER))
    assert await closed(house) == [("marketing", "unsubscribed")]
    assert await consents(house, BOB) == {"sms": False}
