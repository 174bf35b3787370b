"""The adapters of mail providers, Slack and webhooks, each against a server that plays its API."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer

from services.cli.fakes.base import Fake
from services.cli.fakes.mailers import FakeResend, FakeSendGrid
from services.cli.fakes.serving import serving
from services.dispatch.channels import registry
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Setup
from services.dispatch.channels.provider import Answer
from services.dispatch.channels.ses import meaning_of as meaning_for_ses
from shared.errors import ConfigurationError
from shared.templates import Rendered
from shared.workspace import ChannelSettings
from tests.patience import SOON, stretched
from tests.receiving import answer, hang, receiver

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTENT = Rendered({"subject": "안녕하세요, 고객님", "preheader": "곧"}, "<p>본문</p>", html=True)
FROM = '"Example, Shop" <hello@shop.example>'
UNSUBSCRIBE = {"List-Unsubscribe": "<https://shop.example/u/x>"}
ALL = [
    ("ok", Outcome.ACCEPTED),
    ("refused", Outcome.REJECTED_MESSAGE),
    ("throttled", Outcome.THROTTLED),
    ("unavailable", Outcome.RETRYABLE),
    ("error", Outcome.UNKNOWN),
    ("hang", Outcome.UNKNOWN),
    ("taken-then-silent", Outcome.UNKNOWN),
]


def outgoing(
    address: str = "a@example.com", message_id: str = "m1", content: Rendered = CONTENT
) -> Outgoing:
    return Outgoing(message_id, 1, "email", address, "marketing", content, NOON, UNSUBSCRIBE)


def made(
    adapter: str, environment: dict[str, str], channel: str = "email", **options: Any
) -> Adapter:
    settings = ChannelSettings.model_validate({"adapter": adapter, "from": FROM, **options})
    return registry.create(Setup(channel, settings, environment, 4, stretched(1)))


@asynccontextmanager
async def resend() -> AsyncIterator[tuple[FakeResend, Adapter]]:
    fake = FakeResend("re_test")
    async with serving(fake, fake.asgi()) as url:
        adapter = made(
            "resend", {"DANGOL_RESEND_API_KEY": "re_test", "DANGOL_RESEND_BASE_URL": url}
        )
        yield fake, adapter
        await adapter.close()


@asynccontextmanager
async def sendgrid() -> AsyncIterator[tuple[FakeSendGrid, Adapter]]:
    fake = FakeSendGrid("SG.test")
    async with serving(fake, fake.asgi()) as url:
        adapter = made(
            "sendgrid", {"DANGOL_SENDGRID_API_KEY": "SG.test", "DANGOL_SENDGRID_BASE_URL": url}
        )
        yield fake, adapter
        await adapter.close()


MAILERS: dict[str, Any] = {"resend": resend, "sendgrid": sendgrid}


@pytest.mark.parametrize("mailer", MAILERS)
@pytest.mark.parametrize(("condition", "outcome"), ALL)
async def test_each_answer_has_its_outcome(mailer: str, condition: str, outcome: Outcome) -> None:
    async with MAILERS[mailer]() as (fake, adapter):
        result = await adapter.send(outgoing(f"{condition}@example.com"))
    assert result.outcome is outcome
    assert "example.com" not in result.detail
    assert len(fake.taken) == (condition in ("ok", "taken-then-silent"))


@pytest.mark.parametrize("mailer", MAILERS)
async def test_the_mail_arrives_whole(mailer: str) -> None:
    async with MAILERS[mailer]() as (fake, adapter):
        result = await adapter.send(outgoing())
    (taken,) = fake.taken
    assert taken.text == "본문"
    sent = json.dumps(taken.fields, ensure_ascii=False)
    for part in ("안녕하세요, 고객님", "<p>본문</p>", "곧", "List-Unsubscribe", "Example, Shop"):
        assert part in sent
    assert result.provider_id == taken.id


@pytest.mark.parametrize("mailer", ["resend", "sendgrid"])
async def test_a_wrong_key_breaks_the_connection(mailer: str) -> None:
    fake: Fake = FakeResend("right") if mailer == "resend" else FakeSendGrid("right")
    name = mailer.upper()
    async with serving(fake, fake.asgi()) as url:  # type: ignore[attr-defined]
        adapter = made(
            mailer, {f"DANGOL_{name}_API_KEY": "wrong-secret", f"DANGOL_{name}_BASE_URL": url}
        )
        result = await adapter.send(outgoing())
        await adapter.close()
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert "wrong-secret" not in result.detail
    assert fake.refused


async def test_resend_takes_a_message_once_whatever_became_of_the_answer() -> None:
    async with resend() as (fake, adapter):
        fake.plan.append("taken-then-silent")
        assert (await adapter.send(outgoing())).outcome is Outcome.UNKNOWN
        again = await adapter.send(outgoing())
        assert again.outcome is Outcome.ACCEPTED
        assert again.provider_id == fake.taken[0].id
        changed = Rendered({"subject": "another"}, "<p>x</p>", html=True)
        assert (await adapter.send(outgoing(content=changed))).outcome is Outcome.ACCEPTED
        assert len(fake.taken) == 1
        assert adapter.deduplicates


@pytest.mark.parametrize("adapter", ["resend", "sendgrid", "ses", "slack", "webhook"])
def test_what_is_missing_is_named(adapter: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(adapter, {}, url="https://shop.example/hook")
    assert "not set" in str(caught.value)
    assert caught.value.hint


# Amazon SES: moto keeps what was sent ---------------------------------------------------------


@pytest.fixture(scope="module")
def amazon() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def ses_environment(url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_REGION": "ap-northeast-2",
        "DANGOL_SES_BASE_URL": url,
    }


async def test_ses_takes_a_signed_mail(amazon: str) -> None:
    async with httpx.AsyncClient(base_url=amazon, timeout=SOON) as client:
        signed = {"authorization": "AWS4-HMAC-SHA256 Credential=A/20260302/ap-northeast-2/ses/x"}
        identity = {"EmailIdentity": "hello@shop.example"}
        (
            await client.post("/v2/email/identities", json=identity, headers=signed)
        ).raise_for_status()
        adapter = made("ses", ses_environment(amazon))
        result = await adapter.send(outgoing())
        await adapter.close()
        kept = (await client.get("/moto-api/data.json")).json()
    assert result.outcome is Outcome.ACCEPTED
    assert result.provider_id
    assert "안녕하세요, 고객님" in json.dumps(kept, ensure_ascii=False)


async def test_ses_signs_what_it_sends() -> None:
    """As SES would check it: botocore's own signer over the request that has arrived."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    async with receiver() as there:
        there.otherwise = answer(body=b'{"MessageId": "0100"}')
        adapter = made("ses", ses_environment(f"http://{there.host}"))
        result = await adapter.send(outgoing())
        await adapter.close()
    assert result.provider_id == "0100"
    (request,) = there.requests
    assert request.path == "/v2/email/outbound-emails"
    url = f"http://{there.host}{request.path}"
    check = AWSRequest("POST", url, {"content-type": "application/json"}, request.body)
    check.context["timestamp"] = request.headers["x-amz-date"]
    check.headers["X-Amz-Date"] = request.headers["x-amz-date"]
    auth = SigV4Auth(Credentials("AKIATEST", "secret-of-the-test"), "ses", "ap-northeast-2")
    expected = auth.signature(auth.string_to_sign(check, auth.canonical_request(check)), check)
    assert f"Signature={expected}" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (429, "TooManyRequestsException", Outcome.THROTTLED),
        (400, "LimitExceededException:http://internal", Outcome.THROTTLED),
        (400, "SendingPausedException", Outcome.BROKEN_CONNECTION),
        (400, "AccountSuspendedException", Outcome.BROKEN_CONNECTION),
        (400, "MailFromDomainNotVerifiedException", Outcome.BROKEN_CONNECTION),
        (404, "NotFoundException", Outcome.BROKEN_CONNECTION),
        (400, "MessageRejected", Outcome.REJECTED_MESSAGE),
        (400, "BadRequestException", Outcome.REJECTED_MESSAGE),
        (403, "SignatureDoesNotMatch", Outcome.BROKEN_CONNECTION),
        (500, "InternalServiceErrorException", Outcome.UNKNOWN),
    ],
)
def test_ses_says(status: int, kind: str, outcome: Outcome) -> None:
    reply = Answer(status, httpx.Headers({"x-amzn-errortype": kind}), b"{}")
    assert meaning_for_ses(reply, outgoing()).outcome is outcome


# Slack and webhooks -----------------------------------------------------------------------------

LINE = Rendered({}, "a new order", html=False)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer(body=b'{"ok": true, "ts": "1.2"}'), Outcome.ACCEPTED),
        (answer(body=b'{"ok": false, "error": "channel_not_found"}'), Outcome.REJECTED_MESSAGE),
        (answer(body=b'{"ok": false, "error": "invalid_auth"}'), Outcome.BROKEN_CONNECTION),
        (answer("429 Slow", b'{"ok": false, "error": "ratelimited"}'), Outcome.THROTTLED),
        (answer("500 No", b"{}"), Outcome.UNKNOWN),
        (hang, Outcome.UNKNOWN),
    ],
)
async def test_slack_says(reply: Any, outcome: Outcome) -> None:
    async with receiver() as there:
        there.otherwise = reply
        environment = {
            "DANGOL_SLACK_BOT_TOKEN": "xoxb-test",
            "DANGOL_SLACK_BASE_URL": f"http://{there.host}",
        }
        adapter = made("slack", environment, "slack", to="#crm")
        result = await adapter.send(outgoing("u1", content=LINE))
        await adapter.close()
    assert result.outcome is outcome
    assert there.requests[0].headers["authorization"] == "Bearer xoxb-test"
    assert json.loads(there.requests[0].body)["channel"] == "#crm"


async def test_an_incoming_webhook_of_slack_is_called_as_it_was_given() -> None:
    async with receiver() as there:
        there.otherwise = answer(body=b"ok", kind="text/plain")
        adapter = made("slack", {"DANGOL_SLACK_WEBHOOK_URL": there.url("/services/T/B/x")}, "slack")
        result = await adapter.send(outgoing("u1", content=LINE))
        await adapter.close()
    assert result.outcome is Outcome.ACCEPTED
    assert there.requests[0].path == "/services/T/B/x"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer("204 No Content", b""), Outcome.ACCEPTED),
        (answer("302 Found", b"", location="http://169.254.169.254/"), Outcome.BROKEN_CONNECTION),
        (answer("400 Bad", b""), Outcome.REJECTED_MESSAGE),
        (answer("410 Gone", b""), Outcome.BROKEN_CONNECTION),
        (answer("429 Slow", b"", retry_after="9"), Outcome.THROTTLED),
        (answer("502 Bad gateway", b""), Outcome.THROTTLED),
        (answer("500 No", b""), Outcome.UNKNOWN),
        (hang, Outcome.UNKNOWN),
    ],
)
async def test_a_webhook_is_signed_and_its_answer_understood(reply: Any, outcome: Outcome) -> None:
    from tests.receiving import SECRET

    async with receiver() as there:
        there.otherwise = reply
        environment = {"DANGOL_WEBHOOK_SECRET": SECRET, "DANGOL_PRIVATE_HOSTS": there.host}
        adapter = made("webhook", environment, "webhook", url=there.url())
        result = await adapter.send(outgoing("u1", content=LINE))
        await adapter.close()
    assert result.outcome is outcome
    (request,) = there.requests
    assert request.is_signed()
    assert request.headers["webhook-id"] == "m1"
    assert json.loads(request.body)["data"] == {"customer": "u1", "text": "a new order"}


async def test_a_webhook_does_not_go_to_a_private_address() -> None:
    from tests.receiving import SECRET

    async with receiver() as there:
        adapter = made("webhook", {"DANGOL_WEBHOOK_SECRET": SECRET}, "webhook", url=there.url())
        result = await adapter.send(outgoing("u1", content=LINE))
        await adapter.close()
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert there.requests == []
