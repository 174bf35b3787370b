"""Push messages by FCM, APNs and to browsers, against servers that check like the real ones."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from hypercorn.asyncio import serve as serve_http2
from hypercorn.config import Config

from services.cli import web
from services.cli.fakes.base import Fake
from services.cli.fakes.pushes import FakeApns, FakeFcm, FakePushService
from services.cli.fakes.serving import serving
from services.dispatch.channels import registry
from services.dispatch.channels.apns import meaning_of as meaning_by_apns
from services.dispatch.channels.fcm import meaning_of as meaning_by_fcm
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Setup
from services.dispatch.channels.provider import Answer
from services.dispatch.channels.web_push import public_key, vapid_of
from services.dispatch.doors.web_push import web_push_routes
from shared.address import address_of
from shared.decisions import Category
from shared.errors import ConfigurationError
from shared.templates import Rendered
from shared.workspace import ChannelSettings
from tests.integration.dispatching import House
from tests.patience import SOON, stretched

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTENT = Rendered(
    {"title": "(광고) 예시상점", "link": "https://shop.example/"}, "담은 상품", html=False
)
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
VAPID = "QwertyuiopAsdfghjklZxcvbnm1234567890qwerty0"
OUTCOMES = [
    ("ok", Outcome.ACCEPTED),
    ("nobody", Outcome.UNDELIVERABLE_ADDRESS),
    ("refused", Outcome.REJECTED_MESSAGE),
    ("throttled", Outcome.THROTTLED),
    ("unavailable", Outcome.RETRYABLE),
    ("hang", Outcome.UNKNOWN),
    ("taken-then-silent", Outcome.UNKNOWN),
]


def pem(key: Any) -> str:
    raw: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return raw.decode()


def outgoing(address: str, category: Category = "marketing") -> Outgoing:
    return Outgoing("m1", 1, "push", address, category, CONTENT, NOON)


def made(adapter: str, environment: dict[str, str], **options: Any) -> Adapter:
    settings = ChannelSettings.model_validate({"adapter": adapter, **options})
    channel = "web_push" if adapter == "web_push" else "push"
    return registry.create(Setup(channel, settings, environment, 4, stretched(1)))


@asynccontextmanager
async def fcm() -> AsyncIterator[tuple[FakeFcm, Adapter]]:
    fake = FakeFcm("shop", RSA.public_key())
    async with serving(fake, fake.asgi()) as url:
        fake.url = url
        account = {
            "project_id": "shop",
            "client_email": "dangol@shop.example",
            "private_key": pem(RSA),
            "token_uri": f"{url}/token",
        }
        environment = {
            "DANGOL_FCM_CREDENTIALS": json.dumps(account),
            "DANGOL_FCM_BASE_URL": url,
        }
        adapter = made("fcm", environment)
        yield fake, adapter
        await adapter.close()


@asynccontextmanager
async def http2(fake: Fake, app: Any) -> AsyncIterator[str]:
    """A server that speaks HTTP/2 without TLS, by prior knowledge."""
    sock = web.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    sock.close()
    config, over = Config(), asyncio.Event()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 0.1
    config.loglevel = "CRITICAL"
    task = asyncio.create_task(serve_http2(app, config, shutdown_trigger=over.wait))
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        fake.silence.set()
        over.set()
        await task


def apple(key: Any) -> dict[str, str]:
    return {
        "DANGOL_APNS_KEY": pem(key),
        "DANGOL_APNS_KEY_ID": "KEY",
        "DANGOL_APNS_TEAM_ID": "TEAM",
    }


@asynccontextmanager
async def apns(key: Any = P256) -> AsyncIterator[tuple[FakeApns, Adapter]]:
    fake = FakeApns(P256.public_key(), "TEAM", "com.example.shop")
    async with http2(fake, fake.asgi()) as url:
        environment = {**apple(key), "DANGOL_APNS_BASE_URL": url}
        adapter = made("apns", environment, topic="com.example.shop")
        yield fake, adapter
        await adapter.close()


@asynccontextmanager
async def browsers(key: str = VAPID) -> AsyncIterator[tuple[FakePushService, Adapter]]:
    fake = FakePushService(vapid_of(VAPID, "mailto:a@shop.example").public)
    async with serving(fake, fake.asgi()) as url:
        fake.url = url
        environment = {
            "DANGOL_VAPID_PRIVATE_KEY": key,
            "DANGOL_PRIVATE_HOSTS": url.removeprefix("http://"),
        }
        adapter = made("web_push", environment, subject="mailto:a@shop.example")
        yield fake, adapter
        await adapter.close()


def subscription(fake: FakePushService, name: str) -> str:
    found = address_of("web_push", "u1", {"web_push": fake.subscribe(name)}, None)
    assert found is not None
    return found


@pytest.mark.parametrize(("condition", "outcome"), [*OUTCOMES, ("error", Outcome.UNKNOWN)])
async def test_fcm(condition: str, outcome: Outcome) -> None:
    async with fcm() as (fake, adapter):
        result = await adapter.send(outgoing(f"fake-{condition}"))
        assert result.outcome is outcome
        assert len(fake.taken) == (condition in ("ok", "taken-then-silent"))
        assert f"fake-{condition}" not in result.detail


async def test_fcm_carries_title_body_and_link_and_asks_for_one_token() -> None:
    async with fcm() as (fake, adapter):
        for _ in range(3):
            assert (await adapter.send(outgoing("t"))).outcome is Outcome.ACCEPTED
        message = fake.taken[0].fields
    assert message["notification"] == {"title": "(광고) 예시상점", "body": "담은 상품"}
    assert message["data"] == {"message_id": "m1", "link": "https://shop.example/"}
    assert fake.requests == 3


async def test_a_revoked_token_of_fcm_is_asked_for_anew() -> None:
    async with fcm() as (fake, adapter):
        await adapter.send(outgoing("t"))
        fake.revoke()
        assert (await adapter.send(outgoing("t"))).outcome is Outcome.BROKEN_CONNECTION
        assert (await adapter.send(outgoing("t"))).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(("condition", "outcome"), [*OUTCOMES, ("error", Outcome.RETRYABLE)])
async def test_apns(condition: str, outcome: Outcome) -> None:
    async with apns() as (fake, adapter):
        result = await adapter.send(outgoing(f"fake-{condition}"))
        assert result.outcome is outcome
        assert fake.versions == {"2"}
        assert not fake.refused


async def test_apns_says_since_when_a_token_is_gone() -> None:
    async with apns() as (_fake, adapter):
        result = await adapter.send(outgoing("fake-nobody"))
    assert result.outcome is Outcome.UNDELIVERABLE_ADDRESS
    assert result.gone_since == datetime(2026, 3, 2, 12, tzinfo=UTC)


def argument(*fields: str) -> Answer:
    """FCM's 400: what of the request it blames."""
    violations = [{"field": field, "description": "…"} for field in fields]
    details = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError"}
        | {"errorCode": "INVALID_ARGUMENT"},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations},
    ]
    error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "…", "details": details}
    return Answer(400, httpx.Headers(), json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        (("message.token",), Outcome.UNDELIVERABLE_ADDRESS),
        (("message.data[0].value",), Outcome.REJECTED_MESSAGE),
        (("message.android.ttl", "message.notification"), Outcome.REJECTED_MESSAGE),
        ((), Outcome.REJECTED_MESSAGE),
    ],
)
def test_a_payload_that_fcm_refuses_costs_nobody_the_token(
    fields: tuple[str, ...], outcome: Outcome
) -> None:
    assert meaning_by_fcm(argument(*fields), outgoing("t")).outcome is outcome


@pytest.mark.parametrize(
    ("stamp", "since"),
    [
        (1_772_452_800_000, NOON),
        (None, None),
        ("1772452800000", None),
        (-1, None),
        (1 << 60, None),
    ],
)
def test_apple_says_since_when_a_token_is_nobodys(stamp: object, since: datetime | None) -> None:
    body = json.dumps({"reason": "Unregistered", "timestamp": stamp}).encode()
    result = meaning_by_apns(Answer(410, httpx.Headers(), body), outgoing("t"))
    assert (result.outcome, result.gone_since) == (Outcome.UNDELIVERABLE_ADDRESS, since)


REGISTERS: list[tuple[dict[str, Any], timedelta, bool]] = [
    ({"context": {"device": {"token": "fake-nobody"}}}, timedelta(minutes=1), False),
    ({"traits": {"push_token": "fake-nobody"}}, timedelta(minutes=1), False),
    ({"context": {"device": {"token": "fake-nobody"}}}, timedelta(minutes=-1), True),
    ({"context": {"device": {"token": "another"}}}, timedelta(minutes=1), True),
    ({}, timedelta(minutes=1), True),
]


@pytest.mark.parametrize(("event", "after", "closes"), REGISTERS)
async def test_a_token_that_was_registered_again_is_not_closed(
    dsn: str, event: dict[str, Any], after: timedelta, closes: bool
) -> None:
    """Apple's 410 tells when the app was gone; the app may have come back since."""
    fake = FakeApns(P256.public_key(), "TEAM", "com.example.shop")
    async with House.open(dsn) as house, http2(fake, fake.asgi()) as url:
        gone = house.clock.now() - timedelta(hours=1)
        fake.gone_since = int(gone.timestamp() * 1000)
        await house.pool.execute(
            "INSERT INTO history VALUES (0, 'ann', $1, 'e1', 'track', 'Opened', $1, $2)",
            *(gone + after, event),
        )
        await house.publish(channels={"push": {"adapter": "apns", "topic": "com.example.shop"}})
        await house.customer(traits={"push_token": "fake-nobody"})
        await house.message(channels=("push",))
        environment = {**apple(P256), "DANGOL_APNS_BASE_URL": url}
        async with house.dispatching(environment=environment, create=registry.create):
            assert await house.decided() == [("failed", "undeliverable", "push")]
        count = await house.pool.fetchval("SELECT count(*) FROM suppressions")
    assert count == closes


async def test_a_wrong_key_for_apns_breaks_the_connection() -> None:
    async with apns(ec.generate_private_key(ec.SECP256R1())) as (fake, adapter):
        assert (await adapter.send(outgoing("t"))).outcome is Outcome.BROKEN_CONNECTION
        assert fake.refused == ["InvalidProviderToken"]


@pytest.mark.parametrize(("condition", "outcome"), [*OUTCOMES, ("error", Outcome.UNKNOWN)])
async def test_a_browsers_push_service(condition: str, outcome: Outcome) -> None:
    async with browsers() as (fake, adapter):
        result = await adapter.send(outgoing(subscription(fake, condition)))
        assert result.outcome is outcome
        assert not fake.refused


async def test_only_the_browser_can_read_the_message() -> None:
    async with browsers() as (fake, adapter):
        result = await adapter.send(outgoing(subscription(fake, "kim")))
        (taken,) = fake.taken
    assert taken.text == "(광고) 예시상점\n담은 상품"
    assert taken.fields["link"] == "https://shop.example/"
    assert result.provider_id == taken.id


async def test_another_vapid_key_breaks_the_connection() -> None:
    async with browsers("A" * 41 + "BA") as (fake, adapter):
        result = await adapter.send(outgoing(subscription(fake, "kim")))
        assert result.outcome is Outcome.BROKEN_CONNECTION
        assert fake.refused


@pytest.mark.parametrize(
    "traits",
    [
        {},
        {"web_push": "x"},
        {"web_push": {"endpoint": "ftp://x", "keys": {"p256dh": "a", "auth": "b"}}},
        {"web_push": {"endpoint": "https://x"}},
        {"web_push": []},
    ],
)
def test_what_is_no_subscription_is_no_address(traits: dict[str, Any]) -> None:
    assert address_of("web_push", "u1", traits, None) is None


async def test_a_subscription_that_leads_inside_is_not_called() -> None:
    async with browsers() as (_fake, adapter):
        inside = {"endpoint": "http://169.254.169.254/x", "keys": {"p256dh": "BA", "auth": "AA"}}
        found = address_of("web_push", "u1", {"web_push": inside}, None)
        assert found is not None
        result = await adapter.send(outgoing(found))
        assert result.outcome is Outcome.UNDELIVERABLE_ADDRESS


@pytest.mark.parametrize(
    ("adapter", "environment", "options", "said"),
    [
        ("fcm", {}, {}, "DANGOL_FCM_CREDENTIALS is not set"),
        ("fcm", {"DANGOL_FCM_CREDENTIALS": "/nowhere.json"}, {}, "no service account"),
        ("fcm", {"DANGOL_FCM_CREDENTIALS": '{"project_id": "x"}'}, {}, "no service account"),
        ("apns", {}, {"topic": "x"}, "are not set"),
        ("web_push", {}, {}, "DANGOL_VAPID_PRIVATE_KEY is not set"),
        ("web_push", {"DANGOL_VAPID_PRIVATE_KEY": VAPID}, {}, "says nobody"),
        (
            "web_push",
            {"DANGOL_VAPID_PRIVATE_KEY": "x"},
            {"subject": "mailto:a@b.c"},
            "no private key",
        ),
    ],
)
def test_what_is_missing_is_named(
    adapter: str, environment: dict[str, str], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(adapter, environment, **options)
    assert said in str(caught.value)
    assert caught.value.hint


async def test_a_shops_page_finds_what_it_needs() -> None:
    app = FastAPI()
    app.include_router(web_push_routes(str(public_key({"DANGOL_VAPID_PRIVATE_KEY": VAPID}))))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://x.example") as client:
        key = (await client.get("/web-push/key")).json()["key"]
        assert key == vapid_of(VAPID, "mailto:a@shop.example").public
        for name in ("subscribe.js", "worker.js"):
            answer = await client.get(f"/web-push/{name}")
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "addEventListener" in answer.text or "pushManager" in answer.text
    assert public_key({}) is None
