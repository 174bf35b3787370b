"""The adapter `sendgrid`: mail through SendGrid's API v3.

There is no idempotency key: an answer that was lost leaves the outcome unknown. `custom_args` carry
our message id into the event webhook. https://www.twilio.com/docs/sendgrid/api-reference/mail-send
"""

from services.dispatch.channels.mail import address_of, html_of, subject_of
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)


class SendGridAdapter:
    name = "sendgrid"
    deduplicates = False

    def __init__(self, provider: Provider, sender: dict[str, str]) -> None:
        self._provider = provider
        self._sender = sender

    async def send(self, message: Outgoing) -> Result:
        mail = {
            "from": self._sender,
            "personalizations": [{"to": [{"email": message.address}]}],
            "subject": subject_of(message.content),
            "content": [
                {"type": "text/plain", "value": message.content.text or " "},
                {"type": "text/html", "value": html_of(message.content) or " "},
            ],
            "custom_args": {"message_id": message.message_id},
            # Ours are the links that are tracked, and ours is the way to unsubscribe.
            "tracking_settings": {
                "click_tracking": {"enable": False},
                "open_tracking": {"enable": False},
            },
            **({"headers": dict(message.headers)} if message.headers else {}),
        }
        answer = await self._provider.post("/v3/mail/send", json=mail)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    if answer.ok:
        return Result(
            Outcome.ACCEPTED, provider_id=words(answer.headers.get("x-message-id")) or None
        )
    errors = answer.fields().get("errors")
    said = (
        "; ".join(str(each.get("message")) for each in errors if isinstance(each, dict))
        if isinstance(errors, list)
        else ""
    )
    return meaning_of_status(answer, message.at, said=said, address=message.address)


def create(setup: Setup) -> Adapter:
    (key,) = required(setup, "sendgrid", "DANGOL_SENDGRID_API_KEY")
    provider = Provider(
        setup,
        base_url(setup, "sendgrid", "https://api.sendgrid.com"),
        headers={"authorization": f"Bearer {key}"},
    )
    name, address = address_of(setup.settings.sender)
    return SendGridAdapter(provider, {"email": address, **({"name": name} if name else {})})
