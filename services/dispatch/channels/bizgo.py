"""The adapter `bizgo`: texts, AlimTalk and Brand Messages through Bizgo (Infobank), API v1.

All of them are one request, with an idempotency key that Bizgo knows for a day: an attempt whose
answer was lost is repeated under its key, and A301 for the recipient says that it was taken. What
became of a message Bizgo tells by webhook, or when it is asked (`bizgo_reports.py`).
https://developers.bizgo.io/api-sdk/api-reference (as OpenAPI: github.com/icomm-api/bizgo-api-spec)
"""

from dataclasses import replace
from datetime import timedelta

from services.dispatch.channels.bizgo_codes import FINE, THROTTLED, meaning_of_code, said_in
from services.dispatch.channels.bizgo_messages import Write, request_of, writer
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
from services.dispatch.channels.uploads import Uploads
from shared.images import Image

KEYS = ("DANGOL_BIZGO_API_KEY",)
_WEBHOOK = "DANGOL_BIZGO_WEBHOOK_SECRET"
_KEY_KNOWN = timedelta(hours=23)
"""Bizgo is asked to know a key for 24 hours; the rest is for a repetition that takes its time."""


def connected(setup: Setup) -> Provider:
    """Raises ConfigurationError."""
    (key,) = required(setup, "bizgo", *KEYS)
    url = base_url(setup, "bizgo", "https://mars.ibapi.kr")
    return Provider(setup, url, headers={"authorization": key})


class BizgoAdapter:
    name = "bizgo"
    deduplicates = True
    deduplicates_for = _KEY_KNOWN

    def __init__(self, provider: Provider, write: Write, *, waits: bool, polled: bool) -> None:
        """`waits`: only the report tells whether it can arrive; `polled`: nobody sends it."""
        self._provider = provider
        self._write = write
        self._waits = waits
        self._polled = polled
        self._uploads = Uploads(self.name, self._upload)

    async def _upload(self, image: Image, message: Outgoing) -> str | Result:
        file = {"file": (f"{image.digest[:16]}.jpg", image.content, "image/jpeg")}
        answer = await self._provider.post("/api/comm/v1/file/mms", files=file)
        if isinstance(answer, Result):
            return answer
        made = said_in(answer.fields()).data.get("fileKey")
        if isinstance(made, str) and made:
            return made
        return meaning_of(answer, message)

    async def send(self, message: Outgoing) -> Result:
        shown = await self._uploads.with_image(message)
        written = shown if isinstance(shown, Result) else self._write(shown)
        if isinstance(written, Result):
            return written
        body = request_of(message, written)
        answer = await self._provider.post("/api/comm/v1/send/omni", json=body)
        result = answer if isinstance(answer, Result) else meaning_of(answer, message)
        if result.outcome is not Outcome.ACCEPTED:
            return result
        return replace(result, awaits_report=self._waits, polled=self._polled)

    async def close(self) -> None:
        await self._provider.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    """The gateway speaks first, then the service, then the service of the one recipient."""
    said = said_in(answer.fields())
    if said.gateway != FINE:
        return _by_the_gateway(answer, said.gateway, said.words, message)
    if not said.code:
        return Result(Outcome.UNKNOWN, detail="an answer without a code")
    if meaning_of_code(said.code) is not Outcome.ACCEPTED:
        return _by_the_service(answer, said.code, said.words, message)
    each = next(iter(dicts(said.data.get("destinations"))), {})
    code = str(each.get("code") or said.code)
    if meaning_of_code(code) is not Outcome.ACCEPTED:
        return _by_the_service(answer, code, f"{code} {each.get('result', '')}", message)
    again = "" if code == FINE else words(f"{code} {each.get('result', '')}", message.address)
    reference = words(each.get("msgKey")) or None
    return Result(Outcome.ACCEPTED, provider_id=reference, detail=again)


def _by_the_gateway(answer: Answer, code: str, said: str, message: Outgoing) -> Result:
    """Its codes are HTTP statuses with a letter before them; A100 is any failure."""
    status = int(code[1:]) if code[1:].isdecimal() and len(code) == 4 else 0
    shown = replace(answer, status=status) if status > 200 else answer
    return meaning_of_status(shown, message.at, said=said, address=message.address)


def _by_the_service(answer: Answer, code: str, said: str, message: Outgoing) -> Result:
    detail = words(said, message.address)
    wish = answer.retry_after(message.at) if code == THROTTLED else None
    return Result(meaning_of_code(code), detail=detail, retry_after=wish)


def create(setup: Setup) -> Adapter:
    provider, write = connected(setup), writer(setup)
    polled = not setup.environment.get(_WEBHOOK)
    return BizgoAdapter(provider, write, waits=setup.channel != "sms", polled=polled)
