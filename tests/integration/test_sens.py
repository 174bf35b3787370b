"""SENS: its signature and its clock, what its answers mean, and reports that it is asked for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.cli.fakes.sens import FakeSens
from services.cli.fakes.serving import serving
from services.dispatch.channels import registry
from services.dispatch.channels.port import Outcome
from services.dispatch.channels.sens_reports import told_of_alimtalk, told_of_text
from services.dispatch.channels.signatures import ncloud_signature
from services.dispatch.receipts.texts.polls import PAUSES, Polls, sources_of
from services.dispatch.receipts.texts.store import Reports
from shared.errors import ConfigurationError
from shared.event import partition_of
from shared.kakao_templates import Approved, Button
from tests.conftest import PARTITIONS
from tests.integration.dispatching import House, until
from tests.integration.test_text_providers import (
    AD,
    KEYS,
    LONG,
    PLAIN,
    REGISTERED,
    made,
    outgoing,
    provider,
)

ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
ALIMTALK = b'---\ntemplate_code: T1\n"#{name}": "{{ profile.name }}"\n---\n#{name}, welcome'


def test_the_signature_is_the_one_that_naver_cloud_describes() -> None:
    """Method, path with its query, time in milliseconds and access key, as `common-ncpapi` lays
    them out; the value was computed apart from this code, with openssl."""
    path = "/photos/puppy.jpg?query1=&query2"
    assert (
        ncloud_signature("GET", path, "1505290625682", "access", "secret")
        == "+WOMrsCfL5C645KIvD6VHWxT2gARLGAroYqILR0LbDQ="
    )


@pytest.mark.parametrize("apart", [6, -6])
async def test_sens_clock_skew_of_more_than_5_minutes_breaks_the_connection_and_says_so(
    apart: int,
) -> None:
    async with provider("sens") as (fake, adapter):
        fake.skew = timedelta(minutes=apart)
        skewed = await adapter.send(outgoing())
        fake.skew = timedelta(minutes=apart) * 4 / 6
        within = await adapter.send(outgoing())
    assert skewed.outcome is Outcome.BROKEN_CONNECTION
    assert "this machine's clock" in skewed.detail
    assert fake.refused == ["Expired timestamp."]
    assert within.outcome is Outcome.ACCEPTED


async def test_advertising_is_declared_and_a_text_is_cut_by_nobody() -> None:
    async with provider("sens") as (fake, adapter):
        assert (await adapter.send(outgoing(content=AD))).polled
        assert (await adapter.send(outgoing(content=LONG, message_id="m2"))).polled
        abroad = await adapter.send(outgoing("2025550123", LONG, country="+1"))
    assert [taken.fields["contentType"] for taken in fake.taken] == ["AD", "COMM"]
    assert [taken.fields["type"] for taken in fake.taken] == ["SMS", "LMS"]
    assert abroad.outcome is Outcome.REJECTED_MESSAGE


async def test_an_alimtalk_goes_whole_and_waits_for_what_is_told_of_it() -> None:
    async with provider("sens", "alimtalk") as (fake, adapter):
        result = await adapter.send(outgoing(content=REGISTERED))
        buttons = Approved("T1", "", "approved", PLAIN.body, (Button("보기", "WL"),))
        refused = await adapter.send(outgoing(content=PLAIN, approved=buttons))
    assert (result.outcome, result.polled, result.awaits_report) == (Outcome.ACCEPTED, True, True)
    assert fake.taken[0].text == "김단골님, 주문 A-1이 접수되었습니다"
    assert refused.outcome is Outcome.REJECTED_MESSAGE
    assert "buttons" in refused.detail
    assert len(fake.taken) == 1


async def test_a_service_of_somebody_else_breaks_the_connection_with_the_gateway_s_words() -> None:
    async with provider("sens", DANGOL_SENS_SMS_SERVICE_ID="ncp:sms:kr:2:other") as (
        fake,
        adapter,
    ):
        elsewhere = await adapter.send(outgoing())
    assert elsewhere.outcome is Outcome.BROKEN_CONNECTION
    assert "404 300 Not Found Exception" in elsewhere.detail
    assert not fake.taken


def test_a_channel_that_sens_does_not_carry_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="brand_message"):
        made("sens", KEYS["sens"][1], "brand_message")


# Reports ---------------------------------------------------------------------------------------


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


@asynccontextmanager
async def sent(house: House, phone: str, *channels: str) -> AsyncIterator[tuple[FakeSens, Polls]]:
    """A message goes out through SENS; who asks for its report is there."""
    make, keys = KEYS["sens"]
    fake: Any = make()
    await house.publish(
        channels={
            "alimtalk": {"adapter": "sens", "profile": "@shop"},
            "sms": {"adapter": "sens", "from": "02-123-4567"},
        },
        templates={"templates/hello/alimtalk.liquid": ALIMTALK},
    )
    await house.customer(ANN, traits={"phone": phone, "name": "Ann"})
    await house.message(customer=ANN, channels=channels, category="transactional")
    async with serving(fake, fake.asgi()) as url:
        environment = {**keys, "DANGOL_SENS_BASE_URL": url}
        sources = sources_of(environment)
        polls = Polls(house.pool, house.clock, Reports(house.pool, PARTITIONS), sources, rate=100)
        async with house.dispatching(environment=environment, create=registry.create):
            await until(lambda: _remembered(house))
            yield fake, polls
        for source in sources:
            await source.close()


async def _remembered(house: House) -> bool:
    return bool(await house.pool.fetchval("SELECT count(*) FROM report_polls"))


async def test_a_text_is_asked_for_by_its_request_and_a_dead_number_is_closed(
    house: House,
) -> None:
    async with sent(house, "+821000000404", "sms") as (fake, polls):
        for pause in PAUSES[:2]:
            house.clock.move(pause)
            await polls.turn()
    assert await house.decided() == [("sent", None, "sms")]
    rows = await house.pool.fetch("SELECT scope, reason FROM suppressions")
    assert [tuple(row) for row in rows] == [("all", "undeliverable")]
    assert not await house.pool.fetch("SELECT * FROM report_polls")
    assert "report: 3001 가입자 없음(결번)" in (await house.attempts())[0]["detail"]
    (taken,) = fake.taken
    assert fake.asked_for[-1].endswith(f"/messages/{taken.id}")
    assert not fake.refused


async def test_who_has_no_kakao_gets_a_text_though_sens_calls_nobody_back(house: House) -> None:
    async with sent(house, "+821000000019", "alimtalk", "sms") as (fake, polls):
        for pause in PAUSES[:2]:
            house.clock.move(pause)
            await polls.turn()
        house.ring()
        assert await house.decided() == [("sent", None, "sms")]
    assert [taken.kind for taken in fake.taken] == ["alimtalk", "SMS"]
    first, second = await house.attempts()
    assert (first["outcome"], second["outcome"]) == ("rejected_message", "accepted")
    assert "3019" in first["detail"]
    assert not await house.pool.fetch("SELECT * FROM suppressions")


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"status": "READY"}, None),
        ({"status": "PROCESSING", "statusCode": "0"}, None),
        ({"status": "COMPLETED", "statusCode": "0"}, Outcome.DELIVERED),
        (
            {"status": "COMPLETED", "statusCode": "9", "statusMessage": "결번"},
            Outcome.UNDELIVERABLE_ADDRESS,
        ),
        (
            {"status": "COMPLETED", "statusCode": "9", "statusMessage": "음영지역"},
            Outcome.REJECTED_MESSAGE,
        ),
    ],
)
def test_what_sens_tells_of_a_text(fields: dict[str, str], outcome: Outcome | None) -> None:
    told = told_of_text({"to": "01012345678", **fields})
    assert (told.outcome if told else None) is outcome


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, None),
        ({"messageStatusName": "processing"}, None),
        ({"messageStatusName": "success", "messageStatusCode": "0000"}, Outcome.DELIVERED),
        ({"messageStatusName": "fail", "messageStatusCode": "3019"}, Outcome.REJECTED_MESSAGE),
        ({"messageStatusName": "fail", "messageStatusCode": "3005"}, Outcome.UNKNOWN),
        ({"requestStatusName": "fail", "requestStatusCode": "A001"}, Outcome.REJECTED_MESSAGE),
    ],
)
def test_what_sens_tells_of_an_alimtalk(fields: dict[str, str], outcome: Outcome | None) -> None:
    told = told_of_alimtalk({"to": "01012345678", **fields})
    assert (told.outcome if told else None) is outcome


def test_what_sens_tells_holds_no_number() -> None:
    said = {"status": "COMPLETED", "statusCode": "9", "statusMessage": "01012345678 번호 오류"}
    told = told_of_text({"to": "01012345678", **said})
    assert told is not None
    assert "12345678" not in told.detail
