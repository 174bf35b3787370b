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
from services.dispatch.receipts.texts.readings import Refusal
from services.dispatch.receipts.texts.refusals import RefusalSync
from services.dispatch.receipts.texts.store import Reports
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
