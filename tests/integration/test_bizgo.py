"""Bizgo: a key for repetitions, codes in two layers, and webhooks that sign the time alone."""

import base64
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest

from services.cli.fakes.bizgo import FakeBizgo
from services.cli.fakes.numbers import NumberFake
from services.cli.fakes.serving import serving
from services.dispatch.channels import bizgo, registry
from services.dispatch.channels.bizgo_messages import Reference, read_reference, reference_of
from services.dispatch.channels.port import Outcome
from services.dispatch.channels.provider import Answer
from services.dispatch.receipts.texts.polls import PAUSES, Polls, sources_of
from services.dispatch.receipts.texts.store import Reports
from shared.clock import Clock
from tests.conftest import PARTITIONS
from tests.integration.dispatching import House, until
from tests.integration.test_reports import ANN, app_of, client, sent, suppressed
from tests.integration.test_text_providers import AD, LONG, REGISTERED, outgoing, provider

SECRET = "fake-webhooks"
ENVIRONMENT = {"DANGOL_BIZGO_API_KEY": "fake-key", "DANGOL_BIZGO_WEBHOOK_SECRET": SECRET}
URL = "/receipts/sms?by=bizgo"
ALIMTALK = b'---\ntemplate_code: T1\n"#{name}": "{{ profile.name }}"\n---\n#{name}, welcome'


# Sending ---------------------------------------------------------------------------------------


async def test_a_lost_answer_and_its_repetition_are_one_message() -> None:
    async with provider("bizgo") as (fake, adapter):
        lost = await adapter.send(outgoing("0998"))
        told = await adapter.send(outgoing("0998", attempt=2, repeats=1))
        fresh = await adapter.send(outgoing("0000", attempt=3))
    assert lost.outcome is Outcome.UNKNOWN
    assert (told.outcome, told.detail[:4]) == (Outcome.ACCEPTED, "A301")
    assert told.provider_id == fake.taken[0].id
    assert fresh.outcome is Outcome.ACCEPTED
    assert set(fake.keys) == {"m1-1", "m1-3"}
    assert len(fake.taken) == 2
    assert all(taken.fields["idempotencyTtl"] == 86_400 for taken in fake.taken)


async def test_an_alimtalk_is_made_by_bizgo_from_its_variables() -> None:
    async with provider("bizgo", "alimtalk") as (fake, adapter):
        result = await adapter.send(outgoing(content=REGISTERED, channel="alimtalk"))
    assert (result.polled, result.awaits_report) == (True, True)
    (taken,) = fake.taken
    (to,) = taken.fields["destinations"]
    assert to["replaceWords"] == {"이름": "김단골", "주문": "A-1"}
    (flow,) = taken.fields["messageFlow"]
    assert flow["alimtalk"]["sendType"] == "template"


async def test_with_webhooks_nobody_asks() -> None:
    async with provider("bizgo", **ENVIRONMENT) as (_fake, adapter):
        text = await adapter.send(outgoing())
    assert (text.polled, text.awaits_report) == (False, False)


async def test_other_countries_get_an_international_text() -> None:
    async with provider("bizgo") as (fake, adapter):
        assert (await adapter.send(outgoing("2025550123", country="+1"))).provider_id
        long = await adapter.send(outgoing("2025550123", LONG, country="+1"))
    assert long.outcome is Outcome.REJECTED_MESSAGE
    (taken,) = fake.taken
    assert (taken.to, taken.kind) == ("12025550123", "international")


@pytest.mark.parametrize(
    ("status", "gateway", "service", "outcome"),
    [
        # The same letters mean something else at the gateway and behind it.
        (401, "A401", None, Outcome.BROKEN_CONNECTION),
        (400, "A000", "A401", Outcome.REJECTED_MESSAGE),
        (200, "A403", None, Outcome.BROKEN_CONNECTION),
        (200, "A400", None, Outcome.REJECTED_MESSAGE),
        (200, "A503", None, Outcome.RETRYABLE),
        (200, "A502", None, Outcome.UNKNOWN),
        (200, "A100", None, Outcome.UNKNOWN),
        (200, "A301", None, Outcome.BROKEN_CONNECTION),
        (400, "A000", "A301", Outcome.ACCEPTED),
        (200, "A000", "A327", Outcome.BROKEN_CONNECTION),
        (200, "A000", None, Outcome.UNKNOWN),
        (200, None, None, Outcome.UNKNOWN),
        (503, None, None, Outcome.RETRYABLE),
    ],
)
def test_each_layer_s_codes_have_its_meanings(
    status: int, gateway: str | None, service: str | None, outcome: Outcome
) -> None:
    body = {"common": {"authCode": gateway}, "data": {"code": service}}
    response = httpx.Response(status, json=body)
    answer = Answer(status, response.headers, response.content)
    assert bizgo.meaning_of(answer, outgoing()).outcome is outcome


def test_what_the_one_recipient_is_refused_for_is_told_without_the_number() -> None:
    said = {"code": "A306", "result": "Invalid 'to' +821012340000 (01012340000)"}
    service = {"code": "A000", "data": {"destinations": [said]}}
    response = httpx.Response(200, json={"common": {"authCode": "A000"}, "data": service})
    refused = bizgo.meaning_of(Answer(200, response.headers, response.content), outgoing())
    assert refused.outcome is Outcome.REJECTED_MESSAGE
    assert "A306" in refused.detail
    assert "1012340000" not in refused.detail


def test_a_reference_gives_back_what_a_report_leaves_out() -> None:
    message = outgoing(message_id="api:a/b", channel="alimtalk")
    given = reference_of(message)
    assert read_reference(given) == Reference("alimtalk", "api:a/b", message.address)
    assert [read_reference(other) for other in ("", None, "order-1", "sms/m1", 7)] == [None] * 5


# Webhooks --------------------------------------------------------------------------------------


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


def report(code: str = "23001", message_id: str = "m1", **fields: Any) -> dict[str, Any]:
    known = {"msgKey": f"key-{message_id}", "serviceType": "SMS", "reportType": "SMS"}
    told = {"reportCode": code, "reportText": "가입자 없음", "reportTime": ""}
    return {**known, **told, "ref": f"sms/{message_id}/+821012345678", **fields}


def signed(ahead: float = 0, secret: str = SECRET, *, ms: bool = True) -> dict[str, str]:
    """The headers of a webhook, `ahead` seconds from now."""
    now = Clock().now().timestamp() + ahead
    stamp = str(int(now * 1000)) if ms else str(int(now))
    signature = hmac.new(secret.encode(), stamp.encode(), sha256).hexdigest()
    return {"x-ib-timestamp": stamp, "x-ib-signature": signature}


async def test_a_report_closes_a_dead_number_and_is_acknowledged_with_bizgo_s_key(
    house: House,
) -> None:
    await sent(house, "bizgo")
    async with client(house, ENVIRONMENT) as there:
        answer = await there.post(URL, json=report(), headers=signed())
        later = await there.post(URL, json=report(), headers=signed(1))
    assert (answer.status_code, answer.json()) == (200, {"msgKey": "key-m1"})
    assert later.json() == {"msgKey": "key-m1"}
    assert await suppressed(house) == [("all", "undeliverable")]
    assert [e.name for e in await house.events()] == ["Message Bounced"]
    assert "report: 23001 가입자 없음" in (await house.attempts())[0]["detail"]


async def test_a_signature_that_covers_the_time_alone_is_good_for_one_report(house: House) -> None:
    """Whoever has seen one webhook cannot report anything else under its signature."""
    await sent(house, "bizgo")
    headers = signed()
    forged = report(ref="sms/m1/+821099999999")
    delivered = report("10000")
    async with client(house, ENVIRONMENT) as there:
        first = await there.post(URL, json=delivered, headers=headers)
        replayed = await there.post(URL, json=forged, headers=headers)
        again = await there.post(URL, json=delivered, headers=headers)
    async with client(house, ENVIRONMENT) as another_process:
        elsewhere = await another_process.post(URL, json=forged, headers=headers)
    assert [first.status_code, again.status_code] == [200, 200]
    assert [replayed.status_code, elsewhere.status_code] == [401, 401]
    assert replayed.json()["code"] == "replayed"
    assert not await suppressed(house)
    assert [e.name for e in await house.events()] == ["Message Delivered"]  # once


@pytest.mark.parametrize(
    "headers",
    [
        dict,
        lambda: {"x-ib-timestamp": str(int(Clock().now().timestamp()))},
        lambda: signed(secret="guess"),
        lambda: signed(-1e9),
        lambda: signed(-400),
        lambda: signed(900),
        lambda: {**signed(), "x-ib-timestamp": "1" * 17},
        lambda: {**signed(), "x-ib-timestamp": "now"},
    ],
)
async def test_what_is_not_signed_or_old_changes_nothing(
    house: House, headers: Callable[[], dict[str, str]]
) -> None:
    await sent(house, "bizgo")
    async with client(house, ENVIRONMENT) as there:
        answer = await there.post(URL, json=report(), headers=headers())
    assert answer.status_code == 401
    assert not await suppressed(house)
    assert not await house.pool.fetchval("SELECT count(*) FROM report_stamps")


async def test_hex_and_base64_milliseconds_and_seconds_are_understood(house: House) -> None:
    await sent(house, "bizgo")
    headers = signed(ms=False)
    digest = bytes.fromhex(headers["x-ib-signature"])
    in_base64 = {**signed(), "x-ib-signature": ""}
    digest = hmac.new(SECRET.encode(), in_base64["x-ib-timestamp"].encode(), sha256).digest()
    in_base64["x-ib-signature"] = base64.b64encode(digest).decode()
    async with client(house, ENVIRONMENT) as there:
        for each in (headers, in_base64):
            answer = await there.post(URL, json=report("10000"), headers=each)
            assert answer.status_code == 200


async def test_reports_of_others_on_the_same_account_are_acknowledged(house: House) -> None:
    async with client(house, ENVIRONMENT) as there:
        for n, ref in enumerate(("order-1", None, "sms/m1")):
            body, headers = report(ref=ref), signed(n)
            assert (await there.post(URL, json=body, headers=headers)).status_code == 200
    assert not await house.events()


async def test_old_stamps_are_swept_out(house: House) -> None:
    await house.pool.execute(
        "INSERT INTO report_stamps SELECT 'bizgo', n::text, '', now() - interval '1h'"
        " FROM generate_series(1, 5) n"
    )
    stamps = Reports(house.pool, PARTITIONS).stamps
    assert await stamps.belongs("bizgo", "9", b"report")
    assert await house.pool.fetchval("SELECT count(*) FROM report_stamps") == 1


# From one end to the other ---------------------------------------------------------------------


@asynccontextmanager
async def whole(house: House, phone: str, environment: dict[str, str]) -> AsyncIterator[Any]:
    fake = FakeBizgo("fake-key", environment.get("DANGOL_BIZGO_WEBHOOK_SECRET", ""))
    fake.delay = 0.05
    await house.publish(
        channels={
            "alimtalk": {"adapter": "bizgo", "profile": "PF"},
            "sms": {"adapter": "bizgo", "from": "02-123-4567"},
        },
        templates={"templates/hello/alimtalk.liquid": ALIMTALK},
    )
    await house.customer(ANN, traits={"phone": phone, "name": "Ann"})
    await house.message(customer=ANN, channels=("alimtalk", "sms"), category="transactional")
    async with (
        serving(fake, fake.asgi()) as url,
        serving(NumberFake("doors"), app_of(house, environment)) as doors,
    ):
        fake.dangol = doors
        known = {**environment, "DANGOL_BIZGO_BASE_URL": url}
        async with house.dispatching(environment=known, create=registry.create):
            yield fake, known


async def test_who_has_no_kakao_gets_a_text_when_bizgo_calls_back(house: House) -> None:
    async with whole(house, "+821000000019", ENVIRONMENT) as (fake, _):
        await until(lambda: _told(house))
        house.ring()
        assert await house.decided() == [("sent", None, "sms")]
    assert [taken.kind for taken in fake.taken] == ["alimtalk", "sms"]
    first, _second = await house.attempts()
    assert "63019" in first["detail"]
    assert not fake.asked_for


async def _told(house: House) -> bool:
    return bool((await house.row())["passed_over"] not in ("[]", [], None))


async def test_without_webhooks_bizgo_is_asked(house: House) -> None:
    environment = {"DANGOL_BIZGO_API_KEY": "fake-key"}
    async with whole(house, "+821000000000", environment) as (fake, known):
        await until(lambda: _remembered(house))
        sources = sources_of(known)
        reports = Reports(house.pool, PARTITIONS)
        polls = Polls(house.pool, house.clock, reports, sources, rate=100)
        for pause in PAUSES[:2]:
            house.clock.move(pause)
            await polls.turn()
        for source in sources:
            await source.close()
        assert await house.decided() == [("sent", None, "alimtalk")]
    assert list(fake.asked_for.values()) == [2]
    assert (await house.attempts())[0]["outcome"] == "delivered"


async def _remembered(house: House) -> bool:
    return bool(await house.pool.fetchval("SELECT count(*) FROM report_polls"))


async def test_advertising_is_a_brand_message_with_its_label_switched_on() -> None:
    async with provider("bizgo", "brand_message") as (fake, adapter):
        assert (await adapter.send(outgoing(content=AD))).awaits_report
    (flow,) = fake.taken[0].fields["messageFlow"]
    assert flow["brandmessage"]["adFlag"] == "Y"
