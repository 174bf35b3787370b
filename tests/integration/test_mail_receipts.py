"""Reports of mail providers: signed as they sign, forged, late, repeated; and what they change."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from services.dispatch import store
from services.dispatch.receipts.api import Desk, receipt_routes
from services.dispatch.receipts.store import Receipts
from shared.address import address_hash
from shared.event import decode_unstamped
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, House

SECRET = b"a secret of the tests, 32 bytes!"
SENDGRID = ec.generate_private_key(ec.SECP256R1())
AMAZON = rsa.generate_private_key(65537, 2048)
TOPIC = "arn:aws:sns:ap-northeast-2:1:mail"
CERT_URL = "https://sns.ap-northeast-2.amazonaws.com/cert.pem"
ANN = "ann@shop.example"


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)  # noqa: TID251
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(AMAZON.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return made.sign(AMAZON, SHA256()).public_bytes(Encoding.PEM)


fetched: list[str] = []


async def fetch(url: str) -> bytes:
    fetched.append(url)
    return certificate()


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        fields: dict[str, Any] = {"decision": "sent", "channel": "email", "decided_at": NOON}
        await house.message("m1", status="decided", **fields)
        yield house


@pytest.fixture
async def web(house: House) -> AsyncIterator[httpx.AsyncClient]:
    fetched.clear()
    public = SENDGRID.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    environment = {
        "DANGOL_RESEND_WEBHOOK_SECRET": "whsec_" + base64.b64encode(SECRET).decode(),
        "DANGOL_SENDGRID_WEBHOOK_KEY": base64.b64encode(public).decode(),
        "DANGOL_SES_TOPIC_ARN": TOPIC,
    }
    app = FastAPI()
    receipts = Receipts(house.pool, PARTITIONS)
    app.include_router(receipt_routes(receipts, Desk(environment, fetch), house.clock))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://x.example") as client:
        yield client


def by_resend(kind: str, stamp: int | None = None, **data: Any) -> tuple[bytes, dict[str, str]]:
    tags = [{"name": "message_id", "value": "m1"}]
    body = json.dumps({"type": kind, "data": {"to": [ANN], "tags": tags, **data}}).encode()
    second = int(time.time()) if stamp is None else stamp  # noqa: TID251
    digest = hmac.new(SECRET, f"id.{second}.".encode() + body, sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return body, {
        "svix-id": "id",
        "svix-timestamp": str(second),
        "svix-signature": f"v1,bogus {signature}",
    }


def by_sendgrid(*events: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    body = json.dumps([{"message_id": "m1", "email": ANN, **event} for event in events]).encode()
    stamp = str(int(time.time()))  # noqa: TID251
    signature = SENDGRID.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    prefix = "x-twilio-email-event-webhook"
    return body, {
        f"{prefix}-timestamp": stamp,
        f"{prefix}-signature": base64.b64encode(signature).decode(),
    }


def by_amazon(
    event: dict[str, Any], kind: str = "Notification", **changes: str
) -> tuple[bytes, dict[str, str]]:
    message = {"mail": {"tags": {"message_id": ["m1"]}}, **event}
    envelope = {
        "Type": kind,
        "MessageId": "1",
        "TopicArn": TOPIC,
        "Message": json.dumps(message),
        "Timestamp": datetime.now(UTC).isoformat(),  # noqa: TID251
        "SignatureVersion": "2",
        "SigningCertURL": CERT_URL,
        **({"SubscribeURL": CERT_URL, "Token": "t"} if kind != "Notification" else {}),
    }
    names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    signature = AMAZON.sign(signed.encode(), padding.PKCS1v15(), SHA256())
    envelope["Signature"] = base64.b64encode(signature).decode()
    return json.dumps(envelope | changes).encode(), {"x-amz-sns-message-type": kind}


async def post(web: httpx.AsyncClient, request: tuple[bytes, dict[str, str]]) -> int:
    body, headers = request
    return (await web.post("/receipts/email", content=body, headers=headers)).status_code


async def told(house: House) -> list[str]:
    rows = await house.pool.fetch("SELECT payload FROM log_outbox ORDER BY place")
    return [decode_unstamped(row["payload"]).properties["outcome"] for row in rows]


async def closed(house: House) -> list[tuple[str, str]]:
    key = await store.address_key(house.pool)
    rows = await house.pool.fetch("SELECT address_hash, scope, reason FROM suppressions")
    assert {row["address_hash"] for row in rows} <= {address_hash("email", ANN, key)}
    return [(row["scope"], row["reason"]) for row in rows]


def bounce(kind: str) -> dict[str, Any]:
    people = [{"emailAddress": ANN}]
    return {"eventType": "Bounce", "bounce": {"bounceType": kind, "bouncedRecipients": people}}


HARD, FULL = bounce("Permanent"), bounce("Transient")
SAID = bounce("Permanent")
SAID["bounce"] |= {"bounceSubType": "NoEmail"}
SAID["bounce"]["bouncedRecipients"][0]["diagnosticCode"] = (
    f"smtp; 550 5.1.1 <{ANN}>: unknown; call +82 10-1234-5678"
)
PEOPLE = {"complainedRecipients": [{"emailAddress": ANN}]}
COMPLAINT = {"eventType": "Complaint", "complaint": PEOPLE}
DROPPED = {"event": "dropped"}
NOT_SPAM = {
    "eventType": "Complaint",
    "complaint": {**PEOPLE, "complaintFeedbackType": "not-spam"},
}
TO_ALL = [("all", "undeliverable")]
TO_ADS = [("marketing", "complained")]


@pytest.mark.parametrize(
    ("request_", "outcome", "closes"),
    [
        (lambda: by_resend("email.delivered"), "delivered", []),
        (lambda: by_resend("email.bounced", bounce={"type": "Permanent"}), "bounced", TO_ALL),
        (lambda: by_resend("email.bounced", bounce={"type": "Transient"}), "bounced", []),
        (lambda: by_resend("email.complained"), "complained", TO_ADS),
        (lambda: by_sendgrid({"event": "delivered"}), "delivered", []),
        (lambda: by_sendgrid({"event": "bounce", "type": "bounce"}), "bounced", TO_ALL),
        (lambda: by_sendgrid({"event": "bounce", "type": "blocked"}), "bounced", []),
        (lambda: by_sendgrid({"event": "spamreport"}), "complained", TO_ADS),
        (lambda: by_resend("email.suppressed"), "bounced", TO_ADS),
        (lambda: by_sendgrid(DROPPED | {"reason": "Bounced Address"}), "bounced", TO_ALL),
        (lambda: by_sendgrid(DROPPED | {"reason": "Invalid"}), "bounced", TO_ALL),
        (lambda: by_sendgrid(DROPPED | {"reason": "Unsubscribed Address"}), "bounced", TO_ADS),
        (lambda: by_sendgrid(DROPPED | {"reason": "Spam Reporting Address"}), "bounced", TO_ADS),
        (lambda: by_sendgrid(DROPPED | {"reason": "Spam Content"}), "bounced", []),
        (lambda: by_sendgrid({"event": "group_unsubscribe"}), "complained", TO_ADS),
        (lambda: by_amazon({"eventType": "Delivery"}), "delivered", []),
        (lambda: by_amazon(HARD), "bounced", TO_ALL),
        (lambda: by_amazon(FULL), "bounced", []),
        (lambda: by_amazon(COMPLAINT), "complained", TO_ADS),
    ],
)
async def test_a_report_closes_what_it_must_and_is_told_once(
    house: House, web: httpx.AsyncClient, request_: Any, outcome: str, closes: list[tuple[str, str]]
) -> None:
    request = request_()
    assert await post(web, request) == 204
    assert await post(web, request) == 204
    assert await told(house) == [outcome]
    assert await closed(house) == closes


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        (
            lambda: by_resend(
                "email.bounced",
                bounce={"type": "Permanent", "subType": "General", "message": f"no {ANN} here"},
            ),
            "report: bounced Permanent General no … here",
        ),
        (
            lambda: by_amazon(SAID),
            "report: bounced Permanent NoEmail smtp, 550 5.1.1 <…>: unknown, call …",
        ),
        (
            lambda: by_sendgrid({"event": "bounce", "type": "bounce", "reason": f"550 <{ANN}>"}),
            "report: bounced 550 <…>",
        ),
        (
            lambda: by_amazon(
                {"eventType": "Complaint", "complaint": PEOPLE | {"complaintFeedbackType": "abuse"}}
            ),
            "report: complained abuse",
        ),
    ],
)
async def test_why_it_came_back_is_kept_with_the_attempt_once_and_names_nobody(
    house: House, web: httpx.AsyncClient, request_: Any, kept: str
) -> None:
    await house.pool.execute(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at, outcome, detail) SELECT partition, id, 1, 'email', 'ses', 'd', $1,"
        " 'accepted', '' FROM messages",
        NOON,
    )
    for _ in range(2):
        assert await post(web, request_()) == 204
    assert (await house.attempts())[0]["detail"] == kept
    (row,) = await house.pool.fetch("SELECT payload FROM log_outbox")
    detail = decode_unstamped(row["payload"]).properties["detail"]
    assert kept.endswith(detail)


@pytest.mark.parametrize(
    "forge",
    [
        lambda: (by_resend("email.complained")[0] + b" ", by_resend("email.complained")[1]),
        lambda: by_resend("email.complained", stamp=1_700_000_000),
        lambda: (by_sendgrid({"event": "spamreport"})[0] + b" ", by_sendgrid({"event": "x"})[1]),
        lambda: by_amazon(COMPLAINT, TopicArn="arn:aws:sns:us-east-1:2:others"),
        lambda: by_amazon(COMPLAINT, SigningCertURL="https://sns.evil.example/cert.pem"),
        lambda: by_amazon(COMPLAINT, SigningCertURL="https://sns.x.amazonaws.com.evil.example/c"),
        lambda: by_amazon(COMPLAINT, SigningCertURL="http://sns.us-east-1.amazonaws.com/c"),
        lambda: by_amazon(COMPLAINT, Message="{}"),
        lambda: (b"{}", {"x-amz-sns-message-type": "Notification"}),
        lambda: (b"{}", {}),
    ],
)
async def test_what_is_forged_changes_nothing(
    house: House, web: httpx.AsyncClient, forge: Any
) -> None:
    assert await post(web, forge()) == 401
    assert await told(house) == []
    assert await closed(house) == []
    assert all(url == CERT_URL for url in fetched)


@pytest.mark.parametrize(
    "request_",
    [
        lambda: by_amazon(NOT_SPAM),
        lambda: by_resend("email.delivery_delayed"),
        lambda: by_sendgrid({"event": "deferred"}, {"event": "processed"}),
        lambda: by_amazon({"eventType": "DeliveryDelay"}),
    ],
)
async def test_what_changes_nothing_is_taken(
    house: House, web: httpx.AsyncClient, request_: Any
) -> None:
    assert await post(web, request_()) == 204
    assert await told(house) == []
    assert await closed(house) == []


async def test_reports_may_come_in_any_order(house: House, web: httpx.AsyncClient) -> None:
    """A complaint may overtake the delivery; each is told, and the address stays closed."""
    for request in (by_amazon(COMPLAINT), by_amazon({"eventType": "Delivery"})):
        assert await post(web, request) == 204
    assert await told(house) == ["complained", "delivered"]
    assert await closed(house) == TO_ADS


async def test_a_subscription_of_ours_is_confirmed(web: httpx.AsyncClient) -> None:
    assert await post(web, by_amazon({}, "SubscriptionConfirmation")) == 204
    assert fetched == [CERT_URL, CERT_URL]


async def test_a_report_that_cannot_be_checked_is_to_come_again(house: House) -> None:
    app = FastAPI()
    app.include_router(receipt_routes(Receipts(house.pool, PARTITIONS), Desk({}), house.clock))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://x.example") as web:
        assert await post(web, by_resend("email.complained")) == 503


async def test_a_message_that_is_gone_still_closes_its_address(
    house: House, web: httpx.AsyncClient
) -> None:
    await house.pool.execute("DELETE FROM messages")
    assert await post(web, by_amazon(HARD)) == 204
    assert await told(house) == []
    assert await closed(house) == TO_ALL
