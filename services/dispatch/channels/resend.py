"""The adapter `resend`: mail through Resend's API.

Resend keeps an `Idempotency-Key` for 24 hours and answers a repetition with the first answer, so a
message whose answer was lost is sent again with its key. https://resend.com/docs/api-reference
(errors: /errors, idempotency: /dashboard/emails/idempotency-keys)
"""

from services.dispatch.channels.mail import html_of, plain_sender, subject_of
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)

_QUOTA = frozenset({"daily_quota_exceeded", "monthly_quota_exceeded"})
_UNDER_WAY = "concurrent_idempotent_requests"


class ResendAdapter:
    name = "resend"
    deduplicates = True

    def __init__(self, provider: Provider, sender: str) -> None:
        self._provider = provider
        self._sender = sender

    async def send(self, message: Outgoing) -> Result:
        mail = {
            "from": self._sender,
            "to": [message.address],
            "subject": subject_of(message.content),
            "html": html_of(message.content),
            "text": message.content.text,
            "tags": [{"name": "message_id", "value": message.message_id}],
            **({"headers": dict(message.headers)} if message.headers else {}),
        }
        key = {"idempotency-key": message.message_id}
        answer = await self._provider.post("/emails", json=mail, headers=key)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=words(fields.get("id")) or None)
    name, said = str(fields.get("name", "")), f"{fields.get('name')}: {fields.get('message')}"
    detail = f"{answer.status} {words(said, message.address)}"
    if answer.status == 409 and name == _UNDER_WAY:
        return Result(Outcome.UNKNOWN, detail=detail)  # the same message is on its way: ask again
    if name in _QUOTA:
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if answer.status == 409:
        # The key was used for another body: an attempt of the same message was taken, whose
        # template has changed since. It has been sent once, and that is enough.
        return Result(Outcome.ACCEPTED, detail=detail)
    return meaning_of_status(answer, message.at, said=said, address=message.address)


def create(setup: Setup) -> Adapter:
    (key,) = required(setup, "resend", "DANGOL_RESEND_API_KEY")
    provider = Provider(
        setup,
        base_url(setup, "resend", "https://api.resend.com"),
        headers={"authorization": f"Bearer {key}"},
    )
    return ResendAdapter(provider, plain_sender(setup.settings.sender))
