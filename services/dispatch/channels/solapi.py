"""The adapter `solapi`: texts, AlimTalk and Brand Messages through SOLAPI (CoolSMS), API v4.

SOLAPI knows no idempotency key, so a message goes as a group of one: the group is made and its id
recorded, the message is put into it, and the group is sent. Nothing goes out before the last step,
and a group goes out once: sending it again is answered with `AlreadySent`. So an answer that was
lost is asked for again, and nobody gets two. https://developers.solapi.com/references/messages
(authentication: /references/authentication/api-key; codes: `solapi_codes`)
"""

import base64
from dataclasses import replace
from typing import Any

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)
from services.dispatch.channels.signatures import solapi_authorization
from services.dispatch.channels.solapi_codes import OPTED_OUT, OUTSIDE_HOURS, meaning_of_code
from services.dispatch.channels.solapi_messages import Write, Written, writer
from services.dispatch.channels.texts import until_morning
from services.dispatch.channels.uploads import Uploads
from shared.images import Image

_CALLS = 5
"""At most so many requests make one `send`."""
_SENT_ALREADY = frozenset({"AlreadySent", "GroupInProcessing", "InvalidStatus"})
_GROUPS = "/messages/v4/groups"


class SolapiAdapter:
    name = "solapi"
    deduplicates = True

    def __init__(
        self, provider: Provider, key: str, secret: str, write: Write, *, reports: bool
    ) -> None:
        self._provider = provider
        self._reports = reports
        self._key = key
        self._secret = secret
        self._write = write
        self._uploads = Uploads(self.name, self._upload)

    async def _written(self, message: Outgoing) -> Written:
        shown = await self._uploads.with_image(message)
        return shown if isinstance(shown, Result) else self._write(shown)

    async def _upload(self, image: Image, message: Outgoing) -> str | Result:
        """https://developers.solapi.com/references/storage"""
        name = f"{image.digest[:16]}.jpg"
        content = base64.b64encode(image.content).decode()
        file = {"file": content, "type": "MMS", "name": name}
        answer = await self._call("POST", "/storage/v1/files", json=file)
        if isinstance(answer, Result):
            return answer
        made = answer.fields().get("fileId")
        if answer.ok and isinstance(made, str) and made:
            return made
        return _nothing_sent(meaning_of(answer, message))

    async def prepare(self, message: Outgoing) -> str | Result:
        """Make the group. As long as it is not sent nothing can go out."""
        written = await self._written(message)
        if isinstance(written, Result):
            return written
        answer = await self._call("POST", f"{_GROUPS}/", json={"allowDuplicates": False})
        if isinstance(answer, Result):
            return _nothing_sent(answer)
        if not answer.ok:
            return _nothing_sent(meaning_of(answer, message))
        group = answer.fields().get("groupId")
        if not isinstance(group, str) or not group.isalnum():
            return Result(Outcome.RETRYABLE, detail="the answer names no group")
        return group

    async def send(self, message: Outgoing) -> Result:
        written = await self._written(message)
        if isinstance(written, Result):
            return written
        group = message.token
        if group is None:
            made = await self.prepare(message)
            if isinstance(made, Result):
                return made
            group = made
        found = await self._found(group, message) if message.resumes else None
        if isinstance(found, Result):
            return self._until_told(found)
        if found is None:
            found = await self._put(group, written, message)
            if isinstance(found, Result):
                return found
        answer = await self._call("POST", f"{_GROUPS}/{group}/send")
        if isinstance(answer, Result):
            return answer
        return self._until_told(meaning_of_sending(answer, message, found or group))

    def _until_told(self, result: Result) -> Result:
        """Whether somebody has Kakao only a report tells."""
        awaits = self._reports and result.outcome is Outcome.ACCEPTED
        return replace(result, awaits_report=True) if awaits else result

    async def close(self) -> None:
        await self._provider.close()

    async def _put(self, group: str, written: dict[str, Any], message: Outgoing) -> str | Result:
        """Returns the message's id."""
        answer = await self._call(
            "PUT", f"{_GROUPS}/{group}/messages", json={"messages": [written]}
        )
        if isinstance(answer, Result):
            return _nothing_sent(answer)
        if not answer.ok:
            return _nothing_sent(meaning_of(answer, message))
        results = answer.fields().get("resultList")
        first = results[0] if isinstance(results, list) and results else {}
        return _registered(first, message)

    async def _found(self, group: str, message: Outgoing) -> str | Result | None:
        """What became of an earlier attempt: sent, in the group (its id), or not yet in it."""
        answer = await self._call("GET", f"{_GROUPS}/{group}")
        if isinstance(answer, Result):
            # An earlier attempt may have sent it.
            return replace(answer, outcome=Outcome.UNKNOWN)
        if not answer.ok:
            return replace(meaning_of(answer, message), outcome=Outcome.UNKNOWN)
        if answer.fields().get("status") != "PENDING":
            return Result(Outcome.ACCEPTED, provider_id=group, detail="sent by an earlier attempt")
        answer = await self._call("GET", f"{_GROUPS}/{group}/messages")
        if isinstance(answer, Result):
            return _nothing_sent(answer)
        if not answer.ok:
            return _nothing_sent(meaning_of(answer, message))
        listed = answer.fields().get("messageList")
        each = list(listed.values() if isinstance(listed, dict) else listed or [])
        return _registered(each[0], message) if each else None

    async def _call(self, method: str, path: str, **request: Any) -> Answer | Result:
        headers = {"authorization": solapi_authorization(self._key, self._secret)}
        return await self._provider.call(method, path, headers=headers, **request)


def _nothing_sent(result: Result) -> Result:
    """Before the group is sent, a lost answer is no unknown."""
    lost = result.outcome is Outcome.UNKNOWN
    return replace(result, outcome=Outcome.RETRYABLE) if lost else result


def _registered(registered: object, message: Outgoing) -> str | Result:
    """The id of a message that the group has taken, or what its status code means."""
    fields = registered if isinstance(registered, dict) else {}
    code = str(fields.get("statusCode", ""))
    outcome = meaning_of_code(code)
    if outcome in (Outcome.ACCEPTED, Outcome.DELIVERED):
        return words(fields.get("messageId"))
    said = words(f"{code} {fields.get('statusMessage', '')}", message.address)
    wish = until_morning(message.at) if code == OUTSIDE_HOURS else None
    return Result(outcome, detail=said, retry_after=wish, opted_out=code == OPTED_OUT)


def meaning_of_sending(answer: Answer, message: Outgoing, reference: str) -> Result:
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=reference)
    code = str(answer.fields().get("errorCode", ""))
    if code in _SENT_ALREADY:
        return Result(Outcome.ACCEPTED, provider_id=reference, detail=words(code))
    return meaning_of(answer, message)


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    """Of an answer that is no success."""
    fields = answer.fields()
    code = str(fields.get("errorCode", ""))
    said = f"{code}: {fields.get('errorMessage', '')}" if code else ""
    detail = f"{answer.status} {words(said, message.address)}".strip()
    if code == "DuplicatedSignature":
        return Result(Outcome.RETRYABLE, detail=detail)
    if code == "RequestTimeTooSkewed":
        hint = "set this machine's clock: it differs from SOLAPI's by more than 15 minutes"
        return Result(Outcome.BROKEN_CONNECTION, detail=f"{detail}; {hint}")
    if code == "ResourceNotFound":
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    return meaning_of_status(answer, message.at, said=said, address=message.address)


def create(setup: Setup) -> Adapter:
    key, secret = required(setup, "solapi", "DANGOL_SOLAPI_API_KEY", "DANGOL_SOLAPI_API_SECRET")
    write = writer(setup)
    each = replace(setup, timeout=setup.timeout / _CALLS)
    provider = Provider(each, base_url(setup, "solapi", "https://api.solapi.com"))
    reports = setup.channel != "sms" and "DANGOL_SOLAPI_RECEIPTS_TOKEN" in setup.environment
    return SolapiAdapter(provider, key, secret, write, reports=reports)
