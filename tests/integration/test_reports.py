"""Providers' reports: what decides, what only changes the record, and who may report."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.numbers import NumberFake
from services.cli.fakes.serving import serving
from services.cli.fakes.solapi import FakeSolapi
from services.dispatch.channels import registry
from services.dispatch.channels.port import Outcome
from services.dispatch.receipts.texts.api import report_routes
from services.dispatch.receipts.texts.readings import (
    Refusal,
    Return,
    read_nhn,
    read_solapi,
    read_twilio,
)
from services.dispatch.receipts.texts.store import Reports
from services.dispatch.receipts.texts.verify import twilio_signature
from shared import message
from shared.event import partition_of
from tests.conftest import PARTITIONS
from tests.integration.dispatching import House, until

URL = "https://shop.example"
ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
ENVIRONMENT = {
    "DANGOL_SOLAPI_API_KEY": "NCSFAKE",
    "DANGOL_SOLAPI_API_SECRET": "fake-secret",
    "DANGOL_SOLAPI_RECEIPTS_TOKEN": "fake-token",
    "DANGOL_NHN_SMS_APP_KEY": "fake-app",
    "DANGOL_NHN_SMS_SECRET_KEY": "fake-secret",
    "DANGOL_NHN_KAKAO_APP_KEY": "fake-app",
    "DANGOL_NHN_KAKAO_SECRET_KEY": "fake-secret",
    "DANGOL_NHN_WEBHOOK_SIGNATURE": "fake-signature",
    "DANGOL_TWILIO_AUTH_TOKEN": "fake-token",
}
ALIMTALK = b'---\ntemplate_code: T1\n"#{name}": "{{ profile.name }}"\n---\n#{name}, welcome'
SOLAPI = "/receipts/sms?by=solapi&token=fake-token"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


def app_of(house: House, environment: Mapping[str, str] = ENVIRONMENT) -> FastAPI:
    app = FastAPI()
    reports = Reports(house.pool, PARTITIONS)
    app.include_router(report_routes(reports, house.clock, environment, URL))
    return app


@asynccontextmanager
async def client(
    house: House, environment: Mapping[str, str] = ENVIRONMENT
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_of(house, environment))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as there:
        yield there


def told(code: str) -> list[dict[str, Any]]:
    data = {"statusCode": code, "to": "01012345678", "customFields": {"message_id": "m1"}}
    return [{"eventDataId": "e", "retryCount": 0, "data": data}]


async def sent(house: House, adapter: str = "solapi", **fields: Any) -> None:
    """A text of ANN has been sent."""
    row = {"status": "decided", "decision": "sent", "decided_at": house.clock.now(), **fields}
    await house.customer(ANN, consents={"sms": True})
    await house.message("m1", customer=ANN, channels=("sms",), channel="sms", attempts=1, **row)
    await house.pool.execute(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at, outcome) VALUES (0, 'm1', 1, 'sms', $1, 'd', $2, 'accepted')",
        *(adapter, house.clock.now()),
    )


async def suppressed(house: House) -> list[tuple[str, str]]:
    rows = await house.pool.fetch("SELECT scope, reason FROM suppressions")
    return [(row["scope"], row["reason"]) for row in rows]


# With the real adapter and a provider that reports ------------------------------------------


def fake_of(name: str) -> Any:
    if name == "solapi":
        return FakeSolapi("NCSFAKE", "fake-secret", "fake-token")
    return FakeNhn("fake-app", "fake-secret", "fake-signature")


@asynccontextmanager
async def whole(house: House, name: str, phone: str) -> AsyncIterator[Any]:
    """Dispatch with the provider's fake, which reports to the doors over real HTTP."""
    fake = fake_of(name)
    fake.delay = 0.05
    await house.publish(
        channels={
            "alimtalk": {"adapter": name, "profile": "KA01PF"},
            "sms": {"adapter": name, "from": "02-123-4567"},
        },
        templates={"templates/hello/alimtalk.liquid": ALIMTALK},
    )
    await house.customer(ANN, traits={"phone": phone, "name": "Ann"})
    await house.message(customer=ANN, channels=("alimtalk", "sms"), category="transactional")
    async with (
        serving(fake, fake.asgi()) as url,
        serving(NumberFake("doors"), app_of(house)) as doors,
    ):
        fake.dangol = doors
        environment = {**ENVIRONMENT, f"DANGOL_{name.upper()}_BASE_URL": url}
        async with house.dispatching(environment=environment, create=registry.create):
            yield fake


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_who_has_no_kakao_gets_a_text_instead(house: House, name: str) -> None:
    rung: list[object] = []

    def ring(*heard: object) -> None:
        rung.append(heard)
        house.ring()

    async with house.pool.acquire() as connection:
        await connection.add_listener(message.CHANNEL, ring)
        async with whole(house, name, "+821000000019") as fake:
            assert await house.decided() == [("sent", None, "sms")]
        await connection.remove_listener(message.CHANNEL, ring)
    assert rung
    kinds = ["ATA", "SMS"] if name == "solapi" else ["alimtalk", "sms-sms"]
    assert [taken.kind for taken in fake.taken] == kinds
    row = await house.row()
    assert row["passed_over"] == [{"channel": "alimtalk", "reason": "rejected"}]
    first, second = await house.attempts()
    assert first["outcome"] == "rejected_message"
    assert ("3104" if name == "solapi" else "3019") in first["detail"]
    assert (second["channel"], second["outcome"]) == ("sms", "accepted")
    assert not await suppressed(house)


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_an_alimtalk_that_has_arrived_is_sent_and_journeys_hear_of_it(
    house: House, name: str
) -> None:
    async with whole(house, name, "+821000000000") as fake:
        assert await house.decided() == [("sent", None, "alimtalk")]
        await until(lambda: _quiet(fake))
    assert len(fake.taken) == 1
    assert (await house.attempts())[0]["outcome"] == "delivered"
    names = [event.name for event in await house.events()]
    assert names.count("Message Delivered") == 1  # though it was told twice


async def _quiet(fake: NumberFake) -> bool:
    return not fake.reporting


# By themselves --------------------------------------------------------------------------------


async def test_a_late_report_changes_the_record_alone_and_closes_a_dead_number(
    house: House,
) -> None:
    await sent(house)
    async with client(house) as there:
        answer = await there.post(SOLAPI, json=told("3032"))
        again = await there.post(SOLAPI, json=told("3032"))
    assert answer.json() == {"reports": 1, "changed": 1}
    assert again.json() == {"reports": 1, "changed": 0}
    assert await house.decision() == ("sent", None, "sms")
    assert "report: 3032" in (await house.attempts())[0]["detail"]
    assert await suppressed(house) == [("all", "undeliverable")]
    assert [e.name for e in await house.events()] == ["Message Bounced"]


async def test_a_report_s_own_words_are_kept_once_and_told_to_journeys(house: House) -> None:
    await sent(house)
    (whole,) = told("3032")
    whole["data"]["statusMessage"] = "가입자 없음; 01012345678"
    async with client(house) as there:
        for _ in range(2):
            await there.post(SOLAPI, json=[whole])
    assert (await house.attempts())[0]["detail"] == "report: 3032 가입자 없음, …"
    (event,) = await house.events()
    assert event.properties["detail"] == "3032 가입자 없음, …"


async def test_a_refusal_at_the_provider_is_a_withdrawal(house: House) -> None:
    await sent(house)
    async with client(house) as there:
        await there.post(SOLAPI, json=told("1061"))
        await there.post(SOLAPI, json=told("1061"))
    assert not await house.pool.fetchval("SELECT granted FROM consents WHERE customer = $1", ANN)
    (row,) = await house.pool.fetch("SELECT * FROM consent_ledger")
    assert (row["granted"], row["source"]) == (False, "provider")
    assert "1061" in row["wording"]


async def test_a_refusal_when_sending_is_a_withdrawal_too(house: House) -> None:
    from services.dispatch.channels.port import Result

    await house.customer(ANN, consents={"sms": True})
    house.provider.otherwise = Result(Outcome.REJECTED_MESSAGE, opted_out=True)
    await house.message(customer=ANN, channels=("sms",))
    async with house.dispatching():
        assert await house.decided() == [("failed", "rejected", "sms")]
    assert not await house.pool.fetchval("SELECT granted FROM consents WHERE customer = $1", ANN)


async def test_a_number_that_refuses_by_080_or_stop_is_closed_to_advertising(
    house: House,
) -> None:
    hook = {"recipientNo": "01012345678", "unsubscribeNo": "0801234567"}
    form = {"From": "+12025550123", "Body": "STOP", "OptOutType": "STOP"}
    path = "/receipts/sms?by=twilio"
    signature = twilio_signature("fake-token", f"{URL}{path}", form)
    async with client(house) as there:
        nhn = await there.post(
            "/receipts/sms?by=nhn",
            json={"event": "UNSUBSCRIBE", "hooks": [hook]},
            headers={"x-toast-webhook-signature": "fake-signature"},
        )
        twilio = await there.post(path, data=form, headers={"x-twilio-signature": signature})
    assert (nhn.status_code, twilio.status_code) == (200, 200)
    assert sorted(await suppressed(house)) == [("marketing", "stop"), ("marketing", "unsubscribed")]


@pytest.mark.parametrize(
    ("said", "refuses"),
    [
        *((word, True) for word in ("그만", "수신거부", " 수신 거부. ", "거부", "해지", "Stop!")),
        *((word, True) for word in ("STOPALL", "unsubscribe", "OPT-OUT", "ARRET", "remove")),
        *((word, False) for word in ("그만하고 싶은데 어떻게 하죠?", "please stop by", "네", "")),
    ],
)
def test_stop_variants_refuse_and_sentences_with_them_do_not(said: str, refuses: bool) -> None:
    read = list(read_twilio({"From": "+821000000001", "Body": said}, "sms", {}))
    assert bool(read) is refuses
    status = {"From": "+15005550006", "Body": said, "MessageStatus": "delivered"}
    assert not [r for r in read_twilio(status, "sms", {"message": "m1"}) if isinstance(r, Refusal)]


@pytest.mark.parametrize(
    ("form", "takes_back"),
    [
        ({"OptOutType": "START", "Body": "yes"}, True),
        ({"Body": "Start"}, True),
        ({"Body": " UNSTOP. "}, True),
        ({"Body": "다시 받기"}, True),
        ({"Body": "yes"}, False),
        ({"Body": "when do you start?"}, False),
        ({"Body": "start", "MessageStatus": "delivered"}, False),
        ({"OptOutType": "HELP", "Body": "help"}, False),
    ],
)
def test_start_takes_a_stop_back(form: dict[str, str], takes_back: bool) -> None:
    read = read_twilio({"From": "+12025550123", **form}, "sms", {})
    assert (Return("+12025550123") in list(read)) is takes_back


async def test_twilio_reports_by_the_address_that_its_message_named(house: House) -> None:
    await sent(house, "twilio")
    path = "/receipts/sms?by=twilio&message=m1"
    form = {"MessageStatus": "undelivered", "ErrorCode": "30005", "To": "+821012345678"}
    signature = twilio_signature("fake-token", f"{URL}{path}", form)
    async with client(house) as there:
        answer = await there.post(path, data=form, headers={"x-twilio-signature": signature})
    assert answer.json()["changed"] == 1
    assert await suppressed(house) == [("all", "undeliverable")]


async def test_a_report_that_overtakes_its_own_answer_is_asked_for_again(house: House) -> None:
    await sent(house, status="attempting", claimed_by="d", decision=None, decided_at=None)
    async with client(house) as there:
        answer = await there.post(SOLAPI, json=told("4000"))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/receipts/sms?by=solapi", {}, 401),
        ("/receipts/sms?by=solapi&token=guess", {}, 401),
        ("/receipts/sms?by=nhn", {}, 401),
        ("/receipts/sms?by=nhn", {"x-toast-webhook-signature": "guess"}, 401),
        ("/receipts/sms?by=twilio&message=m1", {"x-twilio-signature": "guess"}, 401),
        ("/receipts/sms?by=aligo", {}, 404),
        ("/receipts/pigeon?by=solapi&token=fake-token", {}, 404),
    ],
)
async def test_nobody_else_may_report(
    house: House, path: str, headers: dict[str, str], status: int
) -> None:
    await sent(house)
    async with client(house) as there:
        answer = await there.post(path, json=told("3032"), headers=headers)
    assert answer.status_code == status
    assert answer.json().keys() >= {"code", "message"} or status == 404
    assert not await suppressed(house)


async def test_without_its_secret_a_provider_is_not_listened_to(house: House) -> None:
    await sent(house)
    async with client(house, {}) as there:
        answer = await there.post("/receipts/sms?by=solapi&token=", json=told("3032"))
    assert answer.status_code == 503  # it comes again once the secret is set
    assert answer.json()["code"] == "not_configured"
    assert "DANGOL_SOLAPI_RECEIPTS_TOKEN" in answer.text


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "hooks", "event", "customFields", "statusCode", "to", "resultCode"]
            ),
            inner | st.just("MESSAGE_RESULT_UPDATE"),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(body=ANYTHING, raw=st.binary(max_size=20))
def test_whatever_is_reported_is_read_or_left_out(body: Any, raw: bytes) -> None:
    import msgspec

    for read in (read_solapi, read_nhn):
        list(read(msgspec.json.encode(body), "sms", {}))
        list(read(raw, "alimtalk", {}))
    list(read_twilio({"MessageStatus": "failed", "ErrorCode": str(body)}, "sms", {"message": "m"}))
