"""The adapter `sens`: texts and AlimTalk through Naver Cloud's Simple & Easy Notification Service.

There is no idempotency key: a lost answer leaves the outcome unknown. Every request is signed, and
one whose time is 5 minutes apart is refused by 401, as one with a wrong key is. SENS calls nobody
back: what became of a message is asked for (`sens_reports.py`).
https://api.ncloud-docs.com/docs/sens-sms-send, https://api.ncloud-docs.com/docs/sens-alimtalk-send;
refusals: https://api.ncloud-docs.com/docs/sens-overview, and those of the gateway before it:
https://api-gov.ncloud-docs.com/docs/api-call-lgc-errorhandling
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
from services.dispatch.channels.sens_messages import Write, alimtalk, text
from services.dispatch.channels.signatures import ncloud_headers
from services.dispatch.channels.texts import option, sender_of
from services.dispatch.channels.uploads import Uploads
from shared.errors import ConfigurationError
from shared.images import Image

KEYS = ("DANGOL_SENS_ACCESS_KEY", "DANGOL_SENS_SECRET_KEY")
SERVICES: Mapping[str, tuple[str, str]] = {
    "sms": ("/sms/v2/services", "DANGOL_SENS_SMS_SERVICE_ID"),
    "alimtalk": ("/alimtalk/v2/services", "DANGOL_SENS_BIZ_SERVICE_ID"),
}
"""Channel → where its services are, and the setting that names ours."""
_TAKEN = "A000"
_HINT = "check the keys, and this machine's clock: SENS refuses what is 5 minutes off its own"


class Sens:
    """The API: each request is signed."""

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        self._key, self._secret = required(setup, "sens", *KEYS)
        self._provider = Provider(setup, base_url(setup, "sens", "https://sens.apigw.ntruss.com"))

    async def call(self, method: str, path: str, **request: Any) -> Answer | Result:
        headers = ncloud_headers(method, path, self._key, self._secret)
        return await self._provider.call(method, path, headers=headers, **request)

    async def close(self) -> None:
        await self._provider.close()


class SensAdapter:
    name = "sens"
    deduplicates = False

    def __init__(self, api: Sens, service: str, write: Write, *, waits: bool) -> None:
        """`waits`: only the report tells whether it can arrive."""
        self._api = api
        self._service = service
        self._write = write
        self._waits = waits
        self._uploads = Uploads(self.name, self._upload)

    async def _upload(self, image: Image, message: Outgoing) -> str | Result:
        """https://api.ncloud-docs.com/docs/sens-sms-attachment-create"""
        body = base64.b64encode(image.content).decode()
        file = {"fileName": f"{image.digest[:16]}.jpg", "fileBody": body}
        answer = await self._api.call("POST", f"{self._service}/files", json=file)
        if isinstance(answer, Result):
            return answer
        made = answer.fields().get("fileId")
        if answer.ok and isinstance(made, str) and made:
            return made
        return meaning_of_refusal(answer, message) if not answer.ok else Result(Outcome.RETRYABLE)

    async def send(self, message: Outgoing) -> Result:
        shown = await self._uploads.with_image(message)
        written = shown if isinstance(shown, Result) else self._write(shown)
        if isinstance(written, Result):
            return written
        answer = await self._api.call("POST", f"{self._service}/messages", json=written)
        result = answer if isinstance(answer, Result) else meaning_of(answer, message)
        if result.outcome is not Outcome.ACCEPTED:
            return result
        return replace(result, polled=True, awaits_report=self._waits)

    async def close(self) -> None:
        await self._api.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    """A request is taken by 202; of an AlimTalk, `messages` says so of each recipient."""
    if not answer.ok:
        return meaning_of_refusal(answer, message)
    fields = answer.fields()
    each = next(iter(dicts(fields.get("messages"))), {})
    code = str(each.get("requestStatusCode", _TAKEN))
    if code != _TAKEN or "fail" in (fields.get("statusName"), each.get("requestStatusName")):
        said = f"{code} {each.get('requestStatusDesc') or fields.get('statusCode', '')}"
        return Result(Outcome.REJECTED_MESSAGE, detail=words(said, message.address))
    taken = words(each.get("messageId") or fields.get("requestId"))
    if not taken:
        return Result(Outcome.UNKNOWN, detail="an answer that names no request")
    return Result(Outcome.ACCEPTED, provider_id=taken)


def meaning_of_refusal(answer: Answer, message: Outgoing) -> Result:
    """The status speaks; the gateway's words stand in `error`, those of SENS beside it."""
    result = meaning_of_status(
        answer, message.at, said=said_in(answer.fields()), address=message.address
    )
    return replace(result, detail=f"{result.detail}; {_HINT}") if answer.status == 401 else result


def said_in(fields: Mapping[str, Any]) -> str:
    inner = fields.get("error")
    found = inner if isinstance(inner, dict) else fields
    names = ("errorCode", "status", "message", "errors", "errorMessage", "details")
    return " ".join(str(found[name]) for name in names if found.get(name))


def service_of(setup: Setup) -> str:
    """Raises ConfigurationError."""
    if setup.channel not in SERVICES:
        raise ConfigurationError(f"SENS does not carry the channel {setup.channel}")
    path, name = SERVICES[setup.channel]
    (service,) = required(setup, "sens", name)
    return f"{path}/{service}"


def create(setup: Setup) -> Adapter:
    service, api = service_of(setup), Sens(setup)
    if setup.channel == "sms":
        sender = sender_of(setup)
        return SensAdapter(api, service, lambda message: text(message, sender), waits=False)
    profile = option(setup, "profile", "the Kakao channel's id at SENS, `@…`")
    return SensAdapter(api, service, lambda message: alimtalk(message, profile), waits=True)
