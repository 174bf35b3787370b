"""The adapter `aligo`: texts through Aligo's HTTP API.

A form is posted; the answer is HTTP 200 with `result_code`, 1 where the message was taken. There is
no idempotency key: a lost answer leaves the outcome unknown. Aligo takes requests from registered
IP addresses alone, and sends no reports: they are asked for. https://smartsms.aligo.in/admin/api/spec.html
"""

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)
from services.dispatch.channels.texts import KOREA, number_of, sender_of, text_of
from services.dispatch.channels.uploads import sendable
from shared.images import MOST_BYTES, Image, is_file

# -101 wrong key or IP address, -102 sender number missing, -103 not registered, -201 no points.
_BROKEN = frozenset({-101, -102, -103, -201})
TAKEN = 1


class AligoAdapter:
    name = "aligo"
    deduplicates = False

    def __init__(self, provider: Provider, key: str, user: str, sender: str) -> None:
        self._provider = provider
        self._account = {"key": key, "user_id": user, "sender": sender}

    async def send(self, message: Outgoing) -> Result:
        text = text_of(message.content)
        if isinstance(text, Result):
            return text
        picture = _picture(message, text.image) if text.image else None
        if isinstance(picture, Result):
            return picture
        number = number_of(message.address)
        if number.country != KOREA:
            why = f"Aligo sends within Korea alone, not to +{number.country}"
            return Result(Outcome.REJECTED_MESSAGE, detail=why)
        form = {
            **self._account,
            "receiver": number.national,
            "msg": text.body,
            "msg_type": text.kind,
            **({"title": text.title} if text.title and text.kind != "SMS" else {}),
        }
        files = None
        if picture is not None:
            files = {"image1": (f"{picture.digest[:16]}.jpg", picture.content, "image/jpeg")}
        answer = await self._provider.post("/send/", data=form, files=files)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()


def _picture(message: Outgoing, named: str) -> Image | Result:
    """Aligo gets a picture with each message, and knows none by an id."""
    if not is_file(named):
        why = "Aligo gets pictures of the workspace alone: name a .jpg of it"
        return Result(Outcome.REJECTED_MESSAGE, detail=why)
    return sendable(message, MOST_BYTES["aligo"])


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    try:
        code = int(str(fields.get("result_code")))
    except ValueError:
        if answer.ok:
            return Result(Outcome.UNKNOWN, detail="an answer without a result_code")
        return meaning_of_status(answer, message.at, address=message.address)
    detail = f"{code} {words(fields.get('message'), message.address)}".strip()
    if code in _BROKEN:
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if code != TAKEN or str(fields.get("success_cnt", "1")) == "0":
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    taken = words(fields.get("msg_id")) or None
    return Result(Outcome.ACCEPTED, provider_id=taken, polled=taken is not None)


def create(setup: Setup) -> Adapter:
    key, user = required(setup, "aligo", "DANGOL_ALIGO_API_KEY", "DANGOL_ALIGO_USER_ID")
    provider = Provider(setup, base_url(setup, "aligo", "https://apis.aligo.in"))
    return AligoAdapter(provider, key, user, sender_of(setup))
