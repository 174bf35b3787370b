"""The adapters of texts and Kakao, each against a server that plays its provider."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.cli.fakes.bizgo import FakeBizgo
from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.numbers import NumberFake
from services.cli.fakes.sens import FakeSens
from services.cli.fakes.serving import serving
from services.cli.fakes.solapi import FakeSolapi
from services.cli.fakes.texters import FakeAligo, FakeTwilio
from services.dispatch.channels import registry
from services.dispatch.channels.port import (
    Adapter,
    Outcome,
    Outgoing,
    Preparing,
    Result,
    Setup,
)
from services.dispatch.channels.provider import Answer
from services.dispatch.channels.signatures import solapi_authorization
from services.dispatch.channels.solapi import meaning_of
from services.dispatch.channels.uploads import Uploads
from shared.decisions import Category
from shared.errors import ConfigurationError
from shared.images import Image
from shared.templates import Rendered
from shared.workspace import ChannelSettings
from tests.patience import stretched
from tests.unit.language.test_pictures import jpeg

NIGHT = datetime(2026, 3, 2, 14, tzinfo=UTC)
"""23:00 in Seoul."""
SHORT = Rendered({}, "주문이 접수되었습니다", html=False)
LONG = Rendered({"title": "주문 안내"}, "가" * 100, html=False)
AD = Rendered({}, "(광고)[단골상점] 02-000-0000\n새 원두\n무료수신거부 080-000-0000", html=False)

KEYS: dict[str, tuple[Callable[[], NumberFake], dict[str, str]]] = {
    "solapi": (
        lambda: FakeSolapi("NCSFAKE", "fake-secret"),
        {"DANGOL_SOLAPI_API_KEY": "NCSFAKE", "DANGOL_SOLAPI_API_SECRET": "fake-secret"},
    ),
    "nhn": (
        lambda: FakeNhn("fake-app", "fake-secret"),
        {
            "DANGOL_NHN_SMS_APP_KEY": "fake-app",
            "DANGOL_NHN_SMS_SECRET_KEY": "fake-secret",
            "DANGOL_NHN_KAKAO_APP_KEY": "fake-app",
            "DANGOL_NHN_KAKAO_SECRET_KEY": "fake-secret",
        },
    ),
    "sens": (
        lambda: FakeSens("fake-key", "fake-secret", "ncp:sms:kr:1:shop", "ncp:kkobizmsg:kr:1:shop"),
        {
            "DANGOL_SENS_ACCESS_KEY": "fake-key",
            "DANGOL_SENS_SECRET_KEY": "fake-secret",
            "DANGOL_SENS_SMS_SERVICE_ID": "ncp:sms:kr:1:shop",
            "DANGOL_SENS_BIZ_SERVICE_ID": "ncp:kkobizmsg:kr:1:shop",
        },
    ),
    "bizgo": (lambda: FakeBizgo("fake-key"), {"DANGOL_BIZGO_API_KEY": "fake-key"}),
    "aligo": (
        lambda: FakeAligo("fake-key", "shop"),
        {"DANGOL_ALIGO_API_KEY": "fake-key", "DANGOL_ALIGO_USER_ID": "shop"},
    ),
    "twilio": (
        lambda: FakeTwilio("ACfake", "fake-token"),
        {"DANGOL_TWILIO_ACCOUNT_SID": "ACfake", "DANGOL_TWILIO_AUTH_TOKEN": "fake-token"},
    ),
}
ALL = list(KEYS)
KOREAN = ["solapi", "nhn", "sens", "bizgo", "aligo"]
UPLOADING = ["solapi", "nhn", "sens", "bizgo"]


def outgoing(
    ending: str = "0000", content: Rendered = SHORT, *, country: str = "+82", **fields: Any
) -> Outgoing:
    number = f"{country}101234{ending}" if country == "+82" else f"{country}{ending}"
    category: Category = "marketing" if content is AD else "transactional"
    return replace(Outgoing("m1", 1, "sms", number, category, content, NIGHT), **fields)


def made(adapter: str, environment: dict[str, str], channel: str, **options: Any) -> Adapter:
    given = {"adapter": adapter, "from": "02-123-4567", "profile": "KA01PF", **options}
    settings = ChannelSettings.model_validate(given)
    return registry.create(Setup(channel, settings, environment, 4, stretched(2)))


@asynccontextmanager
async def provider(
    name: str, channel: str = "sms", **changed: str
) -> AsyncIterator[tuple[Any, Adapter]]:
    make, environment = KEYS[name]
    fake = make()
    async with serving(fake, fake.asgi()) as url:  # type: ignore[attr-defined]
        known = {**environment, f"DANGOL_{name.upper()}_BASE_URL": url, **changed}
        adapter = made(name, known, channel)
        yield fake, adapter
        await adapter.close()


@pytest.mark.parametrize("name", ALL)
async def test_a_text_arrives_whole(name: str) -> None:
    async with provider(name) as (fake, adapter):
        result = await adapter.send(outgoing())
    assert result.outcome is Outcome.ACCEPTED
    (taken,) = fake.taken
    assert taken.text == SHORT.body
    assert taken.to == ("+82101234" if name == "twilio" else "0101234") + "0000"
    # SENS names the request; the message gets its id later.
    assert result.provider_id == (taken.key if name == "sens" else taken.id)
    if name in ("solapi", "nhn"):
        assert taken.key == "m1"


@pytest.mark.parametrize("name", KOREAN)
async def test_a_longer_text_is_an_lms_with_its_title(name: str) -> None:
    async with provider(name) as (fake, adapter):
        assert (await adapter.send(outgoing(content=LONG))).outcome is Outcome.ACCEPTED
    (taken,) = fake.taken
    assert taken.kind.upper() in ("LMS", "SMS-MMS")
    assert "주문 안내" in str(taken.fields)


@pytest.mark.parametrize("name", UPLOADING)
async def test_an_image_makes_it_an_mms(name: str) -> None:
    content = Rendered({"image": "307917", "title": "새 원두"}, "새 원두", html=False)
    async with provider(name) as (fake, adapter):
        assert (await adapter.send(outgoing(content=content))).outcome is Outcome.ACCEPTED
    (taken,) = fake.taken
    assert taken.kind.upper() in ("MMS", "SMS-MMS")
    assert "307917" in str(taken.fields)


def pictured(content: bytes, **fields: Any) -> Outgoing:
    text = Rendered({"image": "sale.jpg", "title": "새 원두"}, "새 원두", html=False)
    image = Image("templates/new/sale.jpg", content)
    return outgoing(content=text, image=image, **fields)


@pytest.mark.parametrize("name", UPLOADING)
async def test_a_picture_is_uploaded_once_and_carried_by_its_id(name: str) -> None:
    async with provider(name) as (fake, adapter):
        first, second = pictured(jpeg()), pictured(jpeg(), message_id="m2")
        results = await asyncio.gather(adapter.send(first), adapter.send(second))
        other = await adapter.send(pictured(jpeg(320, 200), message_id="m3"))
    assert {result.outcome for result in (*results, other)} == {Outcome.ACCEPTED}
    assert list(fake.files.values()) == [jpeg(), jpeg(320, 200)]
    assert {taken.kind.upper() for taken in fake.taken} == {"SMS-MMS" if name == "nhn" else "MMS"}
    assert len(fake.taken) == 3
    ids = [str(each) for each in fake.files]
    carried = [next(i for i in ids if i in str(taken.fields)) for taken in fake.taken]
    assert carried == [ids[0], ids[0], ids[1]]


@pytest.mark.parametrize("name", UPLOADING)
@pytest.mark.parametrize(
    ("message", "said"),
    [
        (replace(pictured(b""), image=None), "no picture sale.jpg"),
        (pictured(b"\x89PNG"), "no JPEG"),
        (pictured(jpeg(size=400_000)), "400,000 bytes"),
        (pictured(jpeg(2000, 2000)), "2000 × 2000"),
    ],
)
async def test_a_picture_that_nobody_carries_is_refused_before_the_provider(
    name: str, message: Outgoing, said: str
) -> None:
    async with provider(name) as (fake, adapter):
        result = await adapter.send(message)
    assert result.outcome is Outcome.REJECTED_MESSAGE
    assert said in result.detail
    assert not fake.files
    assert fake.requests == 0


@pytest.mark.parametrize("name", UPLOADING)
async def test_an_upload_that_is_lost_sends_nothing_and_is_tried_again(name: str) -> None:
    changed = dict.fromkeys(list(KEYS[name][1])[:2][-1:], "wrong-secret")
    async with provider(name, **changed) as (fake, adapter):
        result = await adapter.send(pictured(jpeg()))
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert not fake.taken
    uploads = Uploads(name, lost)
    again = await uploads.with_image(pictured(jpeg()))
    assert isinstance(again, Result)
    assert again.outcome is Outcome.RETRYABLE


async def lost(_image: Image, _message: Outgoing) -> Result:
    return Result(Outcome.UNKNOWN)


async def test_nhn_sends_advertising_on_its_own_path_and_checks_its_label() -> None:
    async with provider("nhn") as (fake, adapter):
        assert (await adapter.send(outgoing(content=AD))).outcome is Outcome.ACCEPTED
        unlabelled = await adapter.send(outgoing(category="marketing"))
    assert [taken.kind for taken in fake.taken] == ["sms-ad-sms"]
    assert unlabelled.outcome is Outcome.REJECTED_MESSAGE
    assert "-6003" in unlabelled.detail


@pytest.mark.parametrize("name", ALL)
async def test_each_passing_failure_has_its_outcome_and_passes(name: str) -> None:
    async with provider(name) as (fake, adapter):
        throttled = await adapter.send(outgoing("0429"))
        assert throttled.outcome is Outcome.THROTTLED
        assert throttled.retry_after is not None
        assert throttled.retry_after.total_seconds() == 1
        # Before the last step of SOLAPI nothing can have been sent.
        failed = Outcome.RETRYABLE if name == "solapi" else Outcome.UNKNOWN
        assert [(await adapter.send(outgoing("0500"))).outcome for _ in range(2)] == [failed] * 2
        assert not fake.taken
        assert (await adapter.send(outgoing("0429"))).outcome is Outcome.ACCEPTED
        assert (await adapter.send(outgoing("0500"))).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("name", ALL)
async def test_a_lost_answer_leaves_the_outcome_unknown(name: str) -> None:
    async with provider(name) as (fake, adapter):
        result = await adapter.send(outgoing("0998"))
    assert result.outcome is Outcome.UNKNOWN
    assert len(fake.taken) == 1
    assert adapter.deduplicates is (name in ("solapi", "bizgo"))


@pytest.mark.parametrize("name", ALL)
async def test_a_provider_that_is_away_breaks_the_connection(name: str) -> None:
    async with provider(name, **{f"DANGOL_{name.upper()}_BASE_URL": "http://127.0.0.1:9"}) as (
        _fake,
        adapter,
    ):
        assert (await adapter.send(outgoing())).outcome is Outcome.BROKEN_CONNECTION


@pytest.mark.parametrize("name", ALL)
async def test_a_wrong_key_breaks_the_connection_and_is_told_to_nobody(name: str) -> None:
    changed = dict.fromkeys(list(KEYS[name][1])[:2][-1:], "wrong-secret")
    async with provider(name, **changed) as (fake, adapter):
        result = await adapter.send(outgoing())
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert "wrong-secret" not in result.detail
    assert fake.refused
    assert not fake.taken


@pytest.mark.parametrize(
    ("name", "ending", "content", "outcome", "said", "opted_out"),
    [
        ("twilio", "0404", SHORT, Outcome.UNDELIVERABLE_ADDRESS, "21614", False),
        ("twilio", "0080", SHORT, Outcome.REJECTED_MESSAGE, "21610", True),
        ("nhn", "0080", AD, Outcome.REJECTED_MESSAGE, "-6001", True),
        ("solapi", "0080", AD, Outcome.REJECTED_MESSAGE, "1061", True),
    ],
)
async def test_a_number_that_is_closed(
    name: str, ending: str, content: Rendered, outcome: Outcome, said: str, opted_out: bool
) -> None:
    async with provider(name) as (_fake, adapter):
        result = await adapter.send(outgoing(ending, content))
    assert (result.outcome, result.opted_out) == (outcome, opted_out)
    assert said in result.detail
    assert not re.search(rf"\d{{4,}}{ending}", result.detail)


@pytest.mark.parametrize("name", KOREAN)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Rendered({}, "감사합니다 — 단골", html=False), "—"),
        (Rendered({"title": "5% 🎉"}, "가" * 60, html=False), "🎉"),
        (Rendered({}, "가" * 1001, html=False), "2,002 bytes"),
        (Rendered({}, " \n ", html=False), "empty"),
        (Rendered({"title": "가" * 21}, "가" * 60, html=False), "42 bytes"),
    ],
)
async def test_what_no_korean_carrier_takes_is_refused_before_the_provider(
    name: str, content: Rendered, said: str
) -> None:
    async with provider(name) as (fake, adapter):
        result = await adapter.send(outgoing(content=content))
    assert result.outcome is Outcome.REJECTED_MESSAGE
    assert said in result.detail
    assert fake.requests == 0


@pytest.mark.parametrize("name", ["solapi", "nhn", "sens"])
async def test_other_countries_are_reached_by_their_code(name: str) -> None:
    async with provider(name) as (fake, adapter):
        result = await adapter.send(outgoing("2025550123", country="+1"))
    assert result.outcome is Outcome.ACCEPTED
    assert fake.taken[0].to == "2025550123"
    assert "'1'" in str(fake.taken[0].fields)


async def test_aligo_gets_a_picture_with_its_message() -> None:
    async with provider("aligo") as (fake, adapter):
        result = await adapter.send(pictured(jpeg()))
        large = await adapter.send(pictured(jpeg(size=300_001)))
    assert (result.outcome, result.polled) == (Outcome.ACCEPTED, True)
    assert fake.pictures == [jpeg()]
    assert [(taken.kind, taken.text) for taken in fake.taken] == [("MMS", "새 원두")]
    assert large.outcome is Outcome.REJECTED_MESSAGE


async def test_aligo_refuses_what_it_cannot_do() -> None:
    image = Rendered({"image": "1"}, "안녕하세요", html=False)
    async with provider("aligo") as (fake, adapter):
        abroad = await adapter.send(outgoing("2025550123", country="+1"))
        pictured = await adapter.send(outgoing(content=image))
    assert {abroad.outcome, pictured.outcome} == {Outcome.REJECTED_MESSAGE}
    assert fake.requests == 0


async def test_nhn_gives_a_try_after_a_refusal_a_new_key_and_a_repetition_its_old_one() -> None:
    content = Rendered({"template_code": "T1"}, "안내", html=False)
    async with provider("nhn", "alimtalk") as (fake, adapter):
        lost = await adapter.send(outgoing("0998", content, channel="alimtalk"))
        again = outgoing("0998", content, channel="alimtalk", attempt=2, repeats=1)
        told = await adapter.send(again)
        new = outgoing("0000", content, channel="alimtalk", attempt=3)
        fresh = await adapter.send(new)
    assert lost.outcome is Outcome.UNKNOWN
    assert (told.outcome, told.detail[:5]) == (Outcome.ACCEPTED, "-1005")
    assert fresh.outcome is Outcome.ACCEPTED
    assert len(fake.taken) == 2
    assert fake.keys == {"m1-1", "m1-3"}
    assert adapter.deduplicates


# SOLAPI: once, whatever became of the answers ------------------------------------------------


async def test_solapi_sends_a_group_once_whatever_became_of_the_answer() -> None:
    async with provider("solapi") as (fake, adapter):
        assert isinstance(adapter, Preparing)
        group = await adapter.prepare(outgoing("0998"))
        assert isinstance(group, str)
        first = outgoing("0998", token=group)
        assert (await adapter.send(first)).outcome is Outcome.UNKNOWN
        again = await adapter.send(replace(first, resumes=True, attempt=2))
        assert again.outcome is Outcome.ACCEPTED
        # Even one that does not know that it resumes cannot send the group twice.
        third = await adapter.send(replace(first, attempt=3))
    assert third.outcome is Outcome.ACCEPTED
    assert len(fake.taken) == 1


@pytest.mark.parametrize("apart", [16, -16])
async def test_solapi_clock_skew_of_16_minutes_breaks_the_connection_and_says_so(
    apart: int,
) -> None:
    async with provider("solapi") as (fake, adapter):
        fake.skew = timedelta(minutes=apart)
        skewed = await adapter.send(outgoing())
        fake.skew = timedelta(minutes=apart) * 14 / 16
        within = await adapter.send(outgoing())
    assert skewed.outcome is Outcome.BROKEN_CONNECTION
    assert "set this machine's clock" in skewed.detail
    assert within.outcome is Outcome.ACCEPTED


async def test_solapi_replayed_salt_is_refused_and_ours_is_new_with_each_request() -> None:
    async with provider("solapi") as (fake, adapter):
        headers = {"authorization": solapi_authorization("NCSFAKE", "fake-secret")}
        transport = httpx.ASGITransport(fake.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://solapi") as client:
            first = await client.post("/messages/v4/groups/", headers=headers)
            again = await client.post("/messages/v4/groups/", headers=headers)
        assert (first.status_code, again.json()["errorCode"]) == (200, "DuplicatedSignature")
        body = Answer(again.status_code, again.headers, again.content)
        assert meaning_of(body, outgoing()).outcome is Outcome.RETRYABLE
        fake.refused.clear()
        for number in range(3):
            assert (await adapter.send(outgoing(message_id=f"m{number}"))).provider_id
    assert not fake.refused


async def test_solapi_takes_a_message_up_where_the_last_attempt_has_left_it() -> None:
    async with provider("solapi") as (fake, adapter):
        assert isinstance(adapter, Preparing)
        group = await adapter.prepare(outgoing())
        assert isinstance(group, str)
        fake.balance = 0
        first = outgoing(token=group)
        assert (await adapter.send(first)).outcome is Outcome.BROKEN_CONNECTION
        fake.balance = 1
        again = await adapter.send(replace(first, resumes=True))
        assert again.outcome is Outcome.ACCEPTED
        assert len(fake.groups[group].messages) == 1
        assert again.provider_id == fake.taken[0].id


async def test_solapi_does_not_take_a_request_for_sent_whose_group_it_cannot_see() -> None:
    async with provider("solapi") as (fake, adapter):
        result = await adapter.send(outgoing(token="G4VGONE", resumes=True))
    assert result.outcome is Outcome.UNKNOWN
    assert not fake.taken


# Kakao -----------------------------------------------------------------------------------------

PLAIN = Rendered({"template_code": "T1"}, "김단골님, 주문이 접수되었습니다", html=False)
REGISTERED = Rendered(
    {"template_code": "T1", "#{이름}": "김단골", "#{주문}": "A-1"},
    "#{이름}님, 주문 #{주문}이 접수되었습니다",
    html=False,
)


@pytest.mark.parametrize("name", UPLOADING)
async def test_an_alimtalk_is_its_template_with_its_variables(name: str) -> None:
    async with provider(name, "alimtalk") as (fake, adapter):
        assert (await adapter.send(outgoing(content=REGISTERED))).outcome is Outcome.ACCEPTED
        other = outgoing(content=PLAIN, message_id="m2")
        assert (await adapter.send(other)).outcome is Outcome.ACCEPTED
    registered, plain = fake.taken
    assert "김단골" in registered.text
    assert "A-1" in registered.text
    assert plain.text == PLAIN.body
    assert "T1" in str(plain.fields)
    # What is sent instead is the engine's to decide: Bizgo has one item in its flow.
    assert name == "bizgo" or re.search(
        r"'(disableSms': True|(isResend|useSmsFailover)': False)", str(plain.fields)
    )


@pytest.mark.parametrize("name", UPLOADING)
@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "template_code"),
        ({"template_code": "T1", "#{이름}": "김단골"}, "#{주문}"),
        ({"template_code": "T1", "#{이름}": "", "#{주문}": "A-1"}, "#{이름} is empty"),
    ],
)
async def test_an_alimtalk_that_kakao_would_refuse_is_refused_here(
    name: str, parts: dict[str, str], said: str
) -> None:
    async with provider(name, "alimtalk") as (fake, adapter):
        result = await adapter.send(outgoing(content=replace(REGISTERED, parts=parts)))
    assert result.outcome is Outcome.REJECTED_MESSAGE
    assert said in result.detail
    assert fake.requests == 0


async def test_nhn_takes_an_alimtalk_once_in_ten_minutes() -> None:
    async with provider("nhn", "alimtalk") as (fake, adapter):
        assert (await adapter.send(outgoing("0998", PLAIN))).outcome is Outcome.UNKNOWN
        assert (await adapter.send(outgoing("0998", PLAIN))).outcome is Outcome.ACCEPTED
    assert len(fake.taken) == 1


@pytest.mark.parametrize("name", ["solapi", "nhn", "bizgo"])
async def test_a_brand_message_goes_to_friends_of_the_channel(name: str) -> None:
    async with provider(name, "brand_message") as (fake, adapter):
        assert (await adapter.send(outgoing(content=AD))).outcome is Outcome.ACCEPTED
    (taken,) = fake.taken
    assert taken.text == AD.body
    assert "'targeting': 'I'" in str(taken.fields)


async def test_a_brand_message_outside_kakaos_hours_waits_for_the_morning() -> None:
    async with provider("solapi", "brand_message") as (fake, adapter):
        result = await adapter.send(outgoing("2050", AD))
    assert result.outcome is Outcome.RETRYABLE
    assert result.retry_after is not None
    assert result.retry_after.total_seconds() == 9 * 3600
    assert not fake.taken


@pytest.mark.parametrize("name", ALL)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not set"):
        made(name, {}, "sms")
    environment = KEYS[name][1]
    with pytest.raises(ConfigurationError, match="from"):
        made(name, environment, "sms", **{"from": ""})
    if name in UPLOADING:
        with pytest.raises(ConfigurationError, match="profile"):
            made(name, environment, "alimtalk", profile="")
