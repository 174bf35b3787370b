"""The adapter `web_push`: messages to browsers, encrypted.

RFC 8030 is the request, RFC 8291 the encryption, RFC 8292 (VAPID) says whose it is. The address is
the browser's subscription as JSON. Its endpoint has been named by somebody's browser, so the
request goes out like a webhook: to public addresses only. Changing the VAPID key makes all
subscriptions void. `Topic` lets a push service replace a message that is still waiting.
"""

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import http_ece
import httpx
import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import Answer, meaning_of_status, required
from services.dispatch.outbound.client import OutboundClient, Refused, Unreachable, private_hosts
from shared.errors import ConfigurationError
from shared.ids import derived_id

_SECRET = "DANGOL_VAPID_PRIVATE_KEY"  # noqa: S105 - its name
_LIFE = 12 * 3600
_TTL = timedelta(days=1)
_MOST_PLAIN = 3993
"""Of the 4,096 bytes that push services take, encryption and padding need the rest."""
_MOST = 4096


class Keys(msgspec.Struct, frozen=True):
    p256dh: str
    auth: str


class Subscription(msgspec.Struct, frozen=True):
    endpoint: str
    keys: Keys


@dataclass(frozen=True, slots=True)
class Vapid:
    key: ec.EllipticCurvePrivateKey
    subject: str

    @property
    def public(self) -> str:
        """As `applicationServerKey` in a browser."""
        raw = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return _encoded(raw)

    def header(self, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time()) + _LIFE,  # noqa: TID251 - push services check by real time
            "sub": self.subject,
        }
        return f"vapid t={jwt.encode(claims, self.key, algorithm='ES256')}, k={self.public}"


class WebPushAdapter:
    name = "web_push"
    deduplicates = False

    def __init__(self, client: OutboundClient, vapid: Vapid, timeout: float) -> None:
        self._client = client
        self._vapid = vapid
        self._timeout = timeout

    async def send(self, message: Outgoing) -> Result:
        payload = _payload(message)
        if len(payload) > _MOST_PLAIN:
            return Result(Outcome.REJECTED_MESSAGE, detail=f"{len(payload)} bytes are too many")
        try:
            subscription = msgspec.json.decode(message.address, type=Subscription)
            body = _encrypted(payload, subscription.keys)
            headers = {
                "authorization": self._vapid.header(subscription.endpoint),
                "content-encoding": "aes128gcm",
                "content-type": "application/octet-stream",
                "ttl": str(int(_TTL.total_seconds())),
                "topic": derived_id("topic", message.message_id),
                "urgency": "high" if message.category == "transactional" else "normal",
            }
        except (msgspec.MsgspecError, ValueError, UnsupportedAlgorithm, http_ece.ECEException):
            return Result(Outcome.UNDELIVERABLE_ADDRESS, detail="this is no subscription")
        try:
            reply = await self._client.post(
                subscription.endpoint, headers, body, timeout=self._timeout, most=_MOST
            )
        except Refused as error:
            return Result(Outcome.UNDELIVERABLE_ADDRESS, detail=str(error))
        except Unreachable as error:
            # One browser's endpoint says nothing about the others': the channel is not broken.
            outcome = Outcome.UNKNOWN if error.sent else Outcome.RETRYABLE
            return Result(outcome, detail=str(error))
        return meaning_of(Answer(reply.status, httpx.Headers(reply.headers), reply.body), message)

    async def close(self) -> None:
        await self._client.close()


def _payload(message: Outgoing) -> bytes:
    parts = message.content.parts
    content: dict[str, Any] = {
        "title": parts.get("title", ""),
        "body": message.content.text.strip(),
        "message_id": message.message_id,
    }
    for name in ("link", "icon", "image"):
        if parts.get(name):
            content[name] = parts[name]
    return msgspec.json.encode(content)


def _encrypted(payload: bytes, keys: Keys) -> bytes:
    own = ec.generate_private_key(ec.SECP256R1())
    body: bytes = http_ece.encrypt(
        payload,
        salt=os.urandom(16),
        private_key=own,
        dh=_decoded(keys.p256dh),
        auth_secret=_decoded(keys.auth),
        version="aes128gcm",
    )
    return body


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=answer.headers.get("location"))
    if answer.status in (404, 410):  # RFC 8030 section 7.3: the subscription has gone
        return Result(Outcome.UNDELIVERABLE_ADDRESS, detail=str(answer.status))
    if answer.status == 413:
        return Result(Outcome.REJECTED_MESSAGE, detail="413: too large for this push service")
    if answer.status in (400, 401, 403):
        return Result(
            Outcome.BROKEN_CONNECTION, detail=f"{answer.status}: the VAPID key is refused"
        )
    return meaning_of_status(answer, message.at)


def public_key(environment: Mapping[str, str]) -> str | None:
    """What browsers subscribe with; None where no key is set, or none that can be read."""
    text = environment.get(_SECRET)
    try:
        return vapid_of(text, "mailto:").public if text else None
    except ConfigurationError:
        return None


def vapid_of(text: str, subject: object) -> Vapid:
    """Raises ConfigurationError; `text` is the private key as web-push tools print it."""
    if not isinstance(subject, str) or not subject.startswith(("mailto:", "https://")):
        raise ConfigurationError(
            "the channel web_push says nobody whom push services may write to",
            hint="write `subject: mailto:you@shop.example` under channels: web_push:",
        )
    try:
        number = int.from_bytes(_decoded(text), "big")
        return Vapid(ec.derive_private_key(number, ec.SECP256R1()), subject)
    except ValueError:
        raise ConfigurationError(
            f"{_SECRET} is no private key",
            hint="32 bytes in base64url, as `npx web-push generate-vapid-keys` prints them",
        ) from None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    (text,) = required(setup, "web_push", _SECRET)
    vapid = vapid_of(text, setup.settings.options.get("subject"))
    private = private_hosts(setup.environment)
    client = OutboundClient(private, connections=setup.concurrency)
    return WebPushAdapter(client, vapid, setup.timeout)
