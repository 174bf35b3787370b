"""What may have been taken: repeated where the provider knows a repetition, never twice, and never
by another provider or channel. With the real adapters, and fakes that take and hang up (…0998)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.cli.fakes.bizgo import FakeBizgo
from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.sens import FakeSens
from services.cli.fakes.serving import serving
from services.cli.fakes.solapi import FakeSolapi
from services.cli.fakes.texters import FakeAligo, FakeTwilio
from services.dispatch.channels import registry
from services.dispatch.channels.port import Outcome, Result
from services.dispatch.policy.retry import LADDER
from services.dispatch.receipts.texts.readings import Report
from services.dispatch.receipts.texts.store import Reports
from shared.event import partition_of
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, House, until

ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
KEYS = {
    "DANGOL_SOLAPI_API_KEY": "NCSFAKE",
    "DANGOL_SOLAPI_API_SECRET": "fake-secret",
    "DANGOL_NHN_SMS_APP_KEY": "fake-app",
    "DANGOL_NHN_SMS_SECRET_KEY": "fake-secret",
    "DANGOL_NHN_KAKAO_APP_KEY": "fake-app",
    "DANGOL_NHN_KAKAO_SECRET_KEY": "fake-secret",
    "DANGOL_BIZGO_API_KEY": "fake-key",
    "DANGOL_SENS_ACCESS_KEY": "fake-key",
    "DANGOL_SENS_SECRET_KEY": "fake-secret",
    "DANGOL_SENS_SMS_SERVICE_ID": "sms-1",
    "DANGOL_SENS_BIZ_SERVICE_ID": "biz-1",
    "DANGOL_ALIGO_API_KEY": "fake-key",
    "DANGOL_ALIGO_USER_ID": "shop",
    "DANGOL_TWILIO_ACCOUNT_SID": "ACfake",
    "DANGOL_TWILIO_AUTH_TOKEN": "fake-token",
}
TEMPLATE = b"---\ntemplate_code: T1\n---\nwelcome"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


def fake_of(name: str) -> Any:
    match name:
        case "solapi":
            return FakeSolapi("NCSFAKE", "fake-secret")
        case "nhn":
            return FakeNhn("fake-app", "fake-secret")
        case "bizgo":
            return FakeBizgo("fake-key")
        case "sens":
            return FakeSens("fake-key", "fake-secret", "sms-1", "biz-1")
        case "aligo":
            return FakeAligo("fake-key", "shop")
    return FakeTwilio("ACfake", "fake-token")


@asynccontextmanager
async def sending(house: House, name: str, channel: str) -> AsyncIterator[Any]:
    """One message to …0998, with a second provider and an e-mail behind it."""
    fake, other = fake_of(name), fake_of("solapi" if name != "solapi" else "nhn")
    own = {"adapter": name, "from": "02-1", "profile": "PF", "failover": [other.name]}
    await house.publish(
        channels={channel: own, "email": {"adapter": "log"}},
        templates={"templates/hello/alimtalk.liquid": TEMPLATE},
    )
    await house.customer(ANN, traits={"phone": "+821000000998", "email": "ann@shop.example"})
    await house.message(customer=ANN, channels=(channel, "email"), category="transactional")
    async with (
        serving(fake, fake.asgi()) as url,
        serving(other, other.asgi()) as elsewhere,
    ):
        environment = {
            **KEYS,
            f"DANGOL_{name.upper()}_BASE_URL": url,
            f"DANGOL_{other.name.upper()}_BASE_URL": elsewhere,
        }
        async with house.dispatching(environment=environment, create=registry.create):
            yield fake
    assert not other.taken, "no other provider is asked"


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        *(("solapi", "sms"), ("solapi", "alimtalk"), ("nhn", "alimtalk")),
        ("bizgo", "sms"),  # an AlimTalk of theirs waits for its report
    ],
)
async def test_provider_timeout_after_accept_is_one_message_where_a_repetition_is_known(
    house: House, name: str, channel: str
) -> None:
    async with sending(house, name, channel) as fake:
        await house.held()
        house.move(LADDER[0] * 2)
        assert await house.decided() == [("sent", None, channel)]
    assert len(fake.taken) == 1
    assert [a["outcome"] for a in await house.attempts()] == ["unknown", "accepted"]


@pytest.mark.parametrize("name", ["nhn", "sens", "aligo", "twilio"])
async def test_provider_timeout_after_accept_stays_unknown_elsewhere_and_is_never_doubled(
    house: House, name: str
) -> None:
    async with sending(house, name, "sms") as fake:
        assert await house.decided() == [("unknown", None, "sms")]
        house.move(timedelta(days=1))
    assert len(fake.taken) == 1
    assert len(await house.attempts()) == 1


async def test_what_stayed_unknown_is_reconciled_by_the_provider_s_report(house: House) -> None:
    async with sending(house, "twilio", "sms") as fake:
        assert await house.decided() == [("unknown", None, "sms")]
        reports = Reports(house.pool, PARTITIONS)
        arrived = Report("m1", Outcome.DELIVERED, "delivered")
        for _ in range(2):
            await reports.take(arrived, "sms", "twilio", house.clock.now())
    assert await house.decision() == ("unknown", None, "sms")  # what journeys have seen stays
    names = [event.name for event in await house.events() if event.kind == "receipt"]
    assert names == ["Message Delivered"]
    assert len(fake.taken) == 1


# Kakao that falls back late in the evening -------------------------------------------------


async def test_brand_message_that_fails_at_2055_falls_back_within_the_window_and_counts_once(
    house: House,
) -> None:
    """Section D, item 4: 3019 comes at 20:55 in Seoul; the text behind it waits for 08:00."""
    evening = NOON.replace(hour=11, minute=49)  # 20:49 in Seoul
    house.clock.move_to(evening)
    await house.publish(
        timezone="Asia/Seoul",
        policies={
            "quiet_hours": [{"category": "marketing", "from": "20:50", "to": "08:00"}],
            "frequency_caps": [{"category": "marketing", "limit": 1, "per": "1d"}],
        },
        channels={"brand_message": {"adapter": "fake"}},
        templates={"templates/hello/brand_message.liquid": b"Hi"},
    )
    await house.customer(ANN, traits={"phone": "+821000000019", "name": "Ann"})
    house.provider.answers["m1"] = [Result(Outcome.ACCEPTED, "p1", awaits_report=True)]
    await house.message(customer=ANN, channels=("brand_message", "sms"))

    async def waits() -> bool:
        return bool((await house.row())["claimed_by"] == "report")

    async with house.dispatching():
        await until(waits)
        house.clock.move_to(evening.replace(minute=55))
        failed = Report("m1", Outcome.REJECTED_MESSAGE, "3019")
        await Reports(house.pool, PARTITIONS).take(
            failed, "brand_message", "fake", house.clock.now()
        )
        house.ring()
        row = await house.held()
        assert row["held_reason"] == "quiet_hours"
        assert row["not_before"] == NOON.replace(hour=23)  # 08:00 in Seoul
        house.move_to(NOON.replace(hour=23))
        assert await house.decided() == [("sent", None, "sms")]
    assert len(await house.places()) == 1
    assert [o.channel for o in house.provider.sent] == ["brand_message", "sms"]


# Tokens that Apple calls gone --------------------------------------------------------------


@pytest.mark.parametrize("registered_again", [False, True])
async def test_apns_410_older_than_a_registration_does_not_close_the_token(
    house: House, registered_again: bool
) -> None:
    token = "a1b2" * 16
    await house.customer(ANN, traits={"push_token": token, "name": "Ann"})
    if registered_again:
        event = {"type": "identify", "traits": {"push_token": token}}
        await house.pool.execute(
            "INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at,"
            " event) VALUES (0, $1, $2, 'e1', 'identify', '', $2, $3)",
            *(ANN, NOON - timedelta(hours=1), event),
        )
    gone = Result(Outcome.UNDELIVERABLE_ADDRESS, gone_since=NOON - timedelta(hours=2))
    house.provider.answers["m1"] = [gone]
    await house.message(customer=ANN, channels=("push",))
    async with house.dispatching():
        assert await house.decided() == [("failed", "undeliverable", "push")]
    closed = await house.pool.fetchval("SELECT count(*) FROM suppressions")
    assert closed == (0 if registered_again else 1)
