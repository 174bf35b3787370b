"""The adapter `fcm`: push messages through Firebase Cloud Messaging, HTTP v1.

`DANGOL_FCM_CREDENTIALS` is the path of a service account's JSON file, or that JSON itself. A token
for the API is asked for with a signed assertion (RFC 7523) and kept until it is about to expire.
FCM drops nothing that comes twice; the tag lets a device show it once.
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import jwt
import msgspec

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    dicts,
    meaning_of_status,
    required,
    words,
)
from shared.errors import ConfigurationError

_CREDENTIALS = "DANGOL_FCM_CREDENTIALS"
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_LIFE = 3600
_MARGIN = 120.0
_ERRORS = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class Account(msgspec.Struct, frozen=True):
    project_id: str
    client_email: str
    private_key: str
    token_uri: str


class FcmAdapter:
    name = "fcm"
    deduplicates = False

    def __init__(self, provider: Provider, tokens: Provider, account: Account) -> None:
        self._provider = provider
        self._tokens = tokens
        self._account = account
        self._token = ""
        self._until = float("-inf")
        self._asking = asyncio.Lock()

    async def send(self, message: Outgoing) -> Result:
        token = await self._bearer()
        if isinstance(token, Result):
            return token
        answer = await self._provider.post(
            f"/v1/projects/{self._account.project_id}/messages:send",
            json={"message": _content(message)},
            headers={"authorization": f"Bearer {token}"},
        )
        if isinstance(answer, Result):
            return answer
        if answer.status == 401:
            self._until = float("-inf")  # revoked before its time: ask for another one
        return meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()
        await self._tokens.close()

    async def _bearer(self) -> str | Result:
        """The token, or why there is none: then nothing has been sent."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now < self._until:
                return self._token
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": self._assertion(),
            }
            answer = await self._tokens.post(self._account.token_uri, data=form)
            if isinstance(answer, Result):
                return Result(Outcome.BROKEN_CONNECTION, detail=f"no token: {answer.detail}")
            fields = answer.fields()
            token = fields.get("access_token")
            if not answer.ok or not isinstance(token, str):
                said = words(fields.get("error_description") or fields.get("error"))
                return Result(Outcome.BROKEN_CONNECTION, detail=f"no token: {answer.status} {said}")
            life = fields.get("expires_in")
            seconds = float(life) if isinstance(life, int | float) else float(_LIFE)
            self._token, self._until = token, now + seconds - _MARGIN
            return token

    def _assertion(self) -> str:
        now = int(time.time())  # noqa: TID251 - Google checks it by real time
        claims = {
            "iss": self._account.client_email,
            "scope": _SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + _LIFE,
        }
        return jwt.encode(claims, self._account.private_key, algorithm="RS256")


def _content(message: Outgoing) -> dict[str, Any]:
    parts = message.content.parts
    data = {"message_id": message.message_id}
    if parts.get("link"):
        data["link"] = parts["link"]
    urgent = message.category == "transactional"
    return {
        "token": message.address,
        "notification": {"title": parts.get("title", ""), "body": message.content.text.strip()},
        "data": data,
        "android": {
            "priority": "HIGH" if urgent else "NORMAL",
            "notification": {"tag": message.message_id},
        },
        "apns": {"headers": {"apns-priority": "10" if urgent else "5"}},
    }


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=words(fields.get("name")) or None)
    error = fields.get("error")
    error = error if isinstance(error, dict) else {}
    details = dicts(error.get("details"))
    code = next((d.get("errorCode") for d in details if d.get("@type") == _ERRORS), None)
    said = f"{code or error.get('status')}: {error.get('message')}"
    detail = f"{answer.status} {words(said, message.address)}"
    match code:
        case "UNREGISTERED" | "SENDER_ID_MISMATCH":
            return Result(Outcome.UNDELIVERABLE_ADDRESS, detail=detail)
        case "INVALID_ARGUMENT" if _names_the_token(details):
            return Result(Outcome.UNDELIVERABLE_ADDRESS, detail=detail)
        case "INVALID_ARGUMENT":
            return Result(Outcome.REJECTED_MESSAGE, detail=detail)
        case "THIRD_PARTY_AUTH_ERROR":
            return Result(Outcome.BROKEN_CONNECTION, detail=detail)
        case "QUOTA_EXCEEDED":
            wish = answer.retry_after(message.at)
            return Result(Outcome.THROTTLED, detail=detail, retry_after=wish)
        case "UNAVAILABLE":
            wish = answer.retry_after(message.at)
            return Result(Outcome.RETRYABLE, detail=detail, retry_after=wish)
    return meaning_of_status(answer, message.at, said=said, address=message.address)


def _names_the_token(details: list[dict[str, Any]]) -> bool:
    """Only then is it the token that is wrong, and not what we sent with it."""
    violations = (v for d in details for v in d.get("fieldViolations") or () if isinstance(v, dict))
    return any(violation.get("field") == "message.token" for violation in violations)


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    (text,) = required(setup, "fcm", _CREDENTIALS)
    account = _account(text)
    provider = Provider(setup, base_url(setup, "fcm", "https://fcm.googleapis.com"), http2=True)
    return FcmAdapter(provider, Provider(setup, account.token_uri), account)


def _account(text: str) -> Account:
    hint = "download a service account's key in the Firebase console; the file is JSON"
    try:
        raw = text.encode() if text.lstrip().startswith("{") else Path(text).read_bytes()
        account = msgspec.json.decode(raw, type=Account)
        jwt.encode({}, account.private_key, algorithm="RS256")
    except (OSError, msgspec.MsgspecError, ValueError, jwt.PyJWTError) as error:
        raise ConfigurationError(
            f"{_CREDENTIALS} leads to no service account: {type(error).__name__}", hint=hint
        ) from None
    return account
