"""The adapter `apns`: push messages to Apple's devices, over HTTP/2.

The token that signs requests is used for 40 minutes: Apple refuses one older than an hour, and one
that is renewed more often than every 20 minutes. `apns-id` is derived from the message's id; Apple
drops nothing that comes twice. https://developer.apple.com/documentation/usernotifications/
(sending notification requests to APNs; handling notification responses from APNs)
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import jwt

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)
from shared.errors import ConfigurationError
from shared.ids import derived_id

_NAMES = ("DANGOL_APNS_KEY", "DANGOL_APNS_KEY_ID", "DANGOL_APNS_TEAM_ID")
_HOST = "https://api.push.apple.com"
_SANDBOX = "https://api.sandbox.push.apple.com"
_RENEW = 2400.0
_GONE = frozenset({"Unregistered", "ExpiredToken", "BadDeviceToken", "DeviceTokenNotForTopic"})
_TOO_FAST = frozenset({"TooManyRequests"})
_LATER = frozenset({"InternalServerError", "ServiceUnavailable", "Shutdown"})


class ApnsAdapter:
    name = "apns"
    deduplicates = False

    def __init__(self, provider: Provider, key: str, key_id: str, team: str, topic: str) -> None:
        self._provider = provider
        self._key = key
        self._key_id = key_id
        self._team = team
        self._topic = topic
        self._token = ""
        self._until = float("-inf")

    async def send(self, message: Outgoing) -> Result:
        urgent = message.category == "transactional"
        parts = message.content.parts
        payload = {
            "aps": {
                "alert": {"title": parts.get("title", ""), "body": message.content.text.strip()},
                "sound": "default",
            },
            "message_id": message.message_id,
            **({"link": parts["link"]} if parts.get("link") else {}),
        }
        headers = {
            "authorization": f"bearer {self._bearer()}",
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-id": str(UUID(derived_id("apns", message.message_id))),
            "apns-priority": "10" if urgent else "5",
            "apns-collapse-id": derived_id("collapse", message.message_id),
        }
        path = f"/3/device/{message.address}"
        answer = await self._provider.post(path, json=payload, headers=headers)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()

    def _bearer(self) -> str:
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            claims = {"iss": self._team, "iat": int(time.time())}  # noqa: TID251 - Apple's clock
            key_id = {"kid": self._key_id}
            self._token = jwt.encode(claims, self._key, algorithm="ES256", headers=key_id)
            self._until = now + _RENEW
        return self._token


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=words(answer.headers.get("apns-id")) or None)
    reason = str(answer.fields().get("reason") or "")
    detail = f"{answer.status} {words(reason)}"
    if reason in _GONE:
        since = _instant(answer.fields().get("timestamp"))
        return Result(Outcome.UNDELIVERABLE_ADDRESS, detail=detail, gone_since=since)
    if reason in _TOO_FAST:
        return Result(Outcome.THROTTLED, detail=detail, retry_after=answer.retry_after(message.at))
    if reason in _LATER:
        return Result(Outcome.RETRYABLE, detail=detail)
    if answer.status == 403 or reason == "TooManyProviderTokenUpdates":
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if answer.status in (400, 413):
        # Apple's 400 without a device's fault is ours: a missing topic, a bad priority.
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    return meaning_of_status(answer, message.at, said=reason)


def _instant(milliseconds: object) -> datetime | None:
    """Of a 410: when Apple last found the token gone."""
    if not isinstance(milliseconds, int | float) or not 0 < milliseconds < 1e14:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    key, key_id, team = required(setup, "apns", *_NAMES)
    topic = setup.settings.options.get("topic")
    if not isinstance(topic, str) or not topic:
        raise ConfigurationError(
            "the adapter apns needs your app's bundle id",
            hint="write `topic: com.example.shop` under channels: push: in dangol.yaml",
        )
    text = _key(key)
    host = _SANDBOX if setup.settings.options.get("sandbox") is True else _HOST
    provider = Provider(setup, base_url(setup, "apns", host), http2=True, only_http2=True)
    return ApnsAdapter(provider, text, key_id, team, topic)


def _key(text: str) -> str:
    try:
        found = text if "BEGIN PRIVATE KEY" in text else Path(text).read_text(encoding="utf-8")
        jwt.encode({}, found, algorithm="ES256")
    except (OSError, ValueError, jwt.PyJWTError) as error:
        raise ConfigurationError(
            f"DANGOL_APNS_KEY leads to no signing key: {type(error).__name__}",
            hint="it is the .p8 file that Apple's developer account makes, or its text",
        ) from None
    return found
