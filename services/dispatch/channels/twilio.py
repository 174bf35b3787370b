"""The adapter `twilio`: texts through Twilio's Messages resource.

There is no idempotency key: a lost answer leaves the outcome unknown.
https://www.twilio.com/docs/messaging/api/message-resource (errors: /docs/api/errors)
"""

import base64
from typing import Any
from urllib.parse import urlencode

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

LONGEST = 1600
_CODES: dict[Outcome, tuple[int, ...]] = {
    # No valid number, no mobile number, unknown or a landline.
    Outcome.UNDELIVERABLE_ADDRESS: (21211, 21614, 30005, 30006),
    # No key, account inactive or suspended, the sender is no number of ours or may not text.
    Outcome.BROKEN_CONNECTION: (10001, 20003, 20005, 21212, 21606, 21659, 21660, 30002, 30034),
    Outcome.THROTTLED: (14107, 20429, 30001, 30022),
    Outcome.RETRYABLE: (30003,),
    # Of reports: Twilio does not know what became of it.
    Outcome.UNKNOWN: (30008,),
}
_MEANINGS = {code: outcome for outcome, codes in _CODES.items() for code in codes}
OPTED_OUT = 21610
"""The person has sent STOP to this sender."""


class TwilioAdapter:
    name = "twilio"
    deduplicates = False

    def __init__(
        self, provider: Provider, account: str, sender: dict[str, str], public_url: str
    ) -> None:
        self._public_url = public_url
        self._provider = provider
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        self._sender = sender

    async def send(self, message: Outgoing) -> Result:
        body = message.content.text.strip()
        if not body or len(body) > LONGEST:
            why = f"{len(body):,} characters: Twilio takes 1 to {LONGEST:,}"
            return Result(Outcome.REJECTED_MESSAGE, detail=why)
        image = message.content.parts.get("image")
        form: dict[str, Any] = {
            "To": message.address,
            "Body": body,
            **self._sender,
            **({"MediaUrl": image} if image else {}),
            **self._told_at(message),
        }
        answer = await self._provider.post(self._path, data=form)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    def _told_at(self, message: Outgoing) -> dict[str, str]:
        """Where Twilio reports to: it takes no other than public addresses."""
        if not self._public_url.startswith("https://"):
            return {}
        query = urlencode({"by": "twilio", "message": message.message_id})
        return {"StatusCallback": f"{self._public_url}/receipts/sms?{query}"}

    async def close(self) -> None:
        await self._provider.close()


def meaning_of_code(code: int) -> Outcome | None:
    """None: the code says no more than the answer's status does."""
    return _MEANINGS.get(code)


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=words(fields.get("sid")) or None)
    code = fields.get("code")
    said = f"{code}: {fields.get('message')}"
    if not isinstance(code, int):
        return meaning_of_status(answer, message.at, address=message.address)
    detail = f"{answer.status} {words(said, message.address)}"
    if code == OPTED_OUT:
        return Result(Outcome.REJECTED_MESSAGE, detail=detail, opted_out=True)
    outcome = meaning_of_code(code)
    if outcome is None:
        return meaning_of_status(answer, message.at, said=said, address=message.address)
    return Result(outcome, detail=detail, retry_after=answer.retry_after(message.at))


def create(setup: Setup) -> Adapter:
    account, token = required(
        setup, "twilio", "DANGOL_TWILIO_ACCOUNT_SID", "DANGOL_TWILIO_AUTH_TOKEN"
    )
    service = setup.settings.options.get("messaging_service")
    sender = setup.settings.sender
    if isinstance(service, str) and service:
        chosen = {"MessagingServiceSid": service}
    elif sender:
        chosen = {"From": sender}
    else:
        raise ConfigurationError(
            f"the channel {setup.channel} has no `from`: the Twilio number it sends from",
            hint='add `from: "+15005550006"` to the channel, or `messaging_service: MG…`',
        )
    basic = base64.b64encode(f"{account}:{token}".encode()).decode()
    provider = Provider(
        setup,
        base_url(setup, "twilio", "https://api.twilio.com"),
        headers={"authorization": f"Basic {basic}"},
    )
    public_url = setup.environment.get("DANGOL_PUBLIC_URL", "").rstrip("/")
    return TwilioAdapter(provider, account, chosen, public_url)
