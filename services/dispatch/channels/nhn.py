"""The adapter `nhn`: texts, AlimTalk and Brand Messages through NHN Cloud.

HTTP is 200 also where nothing was taken: `header.resultCode` speaks for the request, and a code of
its own for the recipient. AlimTalk takes an idempotency key for ten minutes: within them an attempt
whose answer was lost is repeated under its key, and -1005 says that it was taken; behind them it
stays unknown. A try after a refusal bears a new key, since a refused one is remembered as well. The
others have no key, and a lost answer leaves the outcome unknown.
https://docs.nhncloud.com/en/Notification/SMS/en/api-guide/ (v3.0) and
https://docs.nhncloud.com/en/Notification/KakaoTalk%20Bizmessage/en/alimtalk-api-guide/ (v2.3)
"""

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.dispatch.channels.nhn_codes import OPTED_OUT, header_of, meaning_of_api_code
from services.dispatch.channels.nhn_messages import Write, alimtalk, brand_message, text
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)
from services.dispatch.channels.texts import option, sender_of
from services.dispatch.channels.uploads import Uploads
from shared.errors import ConfigurationError
from shared.images import Image

_KEY_KNOWN = timedelta(minutes=9)
"""NHN Cloud knows a key for ten minutes; the rest is for a repetition that takes its time."""
_TEXTS = "https://sms.api.nhncloudservice.com"
_KAKAO = "https://kakaotalk-bizmessage.api.nhncloudservice.com"


class NhnAdapter:
    name = "nhn"

    def __init__(
        self, provider: Provider, prefix: str, write: Write, *, reports: bool, keyed: bool = False
    ) -> None:
        """`keyed`: the provider knows a repetition by its key, for a while."""
        self.deduplicates = keyed
        self.deduplicates_for = _KEY_KNOWN if keyed else None
        self._reports = reports
        self._provider = provider
        self._prefix = prefix
        self._write = write
        self._uploads = Uploads(self.name, self._upload)

    async def _upload(self, image: Image, message: Outgoing) -> str | Result:
        file = {
            "fileName": f"{image.digest[:16]}.jpg",
            "fileBody": base64.b64encode(image.content).decode(),
            "createUser": "dangol",
        }
        answer = await self._provider.post(f"{self._prefix}/attachfile/binaryUpload", json=file)
        if isinstance(answer, Result):
            return answer
        body = answer.fields().get("body")
        data = body.get("data") if isinstance(body, dict) else None
        made = data.get("fileId") if isinstance(data, dict) else None
        if isinstance(made, int):
            return str(made)
        return meaning_of(answer, message)

    async def send(self, message: Outgoing) -> Result:
        shown = await self._uploads.with_image(message)
        written = shown if isinstance(shown, Result) else self._write(shown)
        if isinstance(written, Result):
            return written
        answer = await self._provider.post(
            f"{self._prefix}/{written.path}", json=written.body, headers=written.headers
        )
        result = answer if isinstance(answer, Result) else meaning_of(answer, message)
        # Whether somebody has Kakao only a report tells.
        awaits = self._reports and result.outcome is Outcome.ACCEPTED
        return replace(result, awaits_report=True) if awaits else result

    async def close(self) -> None:
        await self._provider.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    code, said = header_of(fields)
    if code is None:
        if answer.ok:
            return Result(Outcome.UNKNOWN, detail="an answer without a resultCode")
        return meaning_of_status(answer, message.at, address=message.address)
    if code == 0:
        reference, each = _sent(fields)
        code = each.get("resultCode", 0)
        said = f"{code} {each.get('resultMessage', '')}"
        if code == 0:
            return Result(Outcome.ACCEPTED, provider_id=reference)
    detail = words(said, message.address)
    if not isinstance(code, int):
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    if not answer.ok and answer.status in (429, 503):
        return meaning_of_status(answer, message.at, said=said, address=message.address)
    return Result(meaning_of_api_code(code), detail=detail, opted_out=code == OPTED_OUT)


def _sent(fields: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The request's id and what is said of its one recipient, as texts and Kakao answer it."""
    outer = fields.get("body")
    inner = outer.get("data") if isinstance(outer, dict) else fields.get("message")
    if not isinstance(inner, dict):
        return None, {}
    results = inner.get("sendResultList") or inner.get("sendResults")
    first = results[0] if isinstance(results, list) and results else {}
    return words(inner.get("requestId")) or None, first if isinstance(first, dict) else {}


def create(setup: Setup) -> Adapter:
    if setup.channel == "sms":
        sender = sender_of(setup)
        return _made(
            setup,
            ("DANGOL_NHN_SMS_APP_KEY", "DANGOL_NHN_SMS_SECRET_KEY"),
            (_TEXTS, "/sms/v3.0/appKeys"),
            lambda message: text(message, sender),
        )
    versions = {
        "alimtalk": "/alimtalk/v2.3/appkeys",
        "brand_message": "/brand-message/v1.0/appkeys",
    }
    if setup.channel not in versions:
        raise ConfigurationError(f"NHN Cloud does not carry the channel {setup.channel}")
    write = alimtalk if setup.channel == "alimtalk" else brand_message
    profile = option(setup, "profile", "the sender key (발신 키) of the Kakao channel")
    return _made(
        setup,
        ("DANGOL_NHN_KAKAO_APP_KEY", "DANGOL_NHN_KAKAO_SECRET_KEY"),
        (_KAKAO, versions[setup.channel]),
        lambda message: write(message, profile),
    )


def _made(setup: Setup, names: tuple[str, str], there: tuple[str, str], write: Write) -> Adapter:
    key, secret = required(setup, "nhn", *names)
    own, prefix = there
    provider = Provider(setup, base_url(setup, "nhn", own), headers={"x-secret-key": secret})
    reports = setup.channel != "sms" and "DANGOL_NHN_WEBHOOK_SIGNATURE" in setup.environment
    keyed = setup.channel == "alimtalk"
    return NhnAdapter(provider, f"{prefix}/{key}", write, reports=reports, keyed=keyed)
