"""The adapter `webhook`: the message as a signed request to a system of the shop's own.

The request is a Standard Webhook (`shared/standard_webhooks.py`): `webhook-id` is the message's id
on every try, so a receiver that heeds it acts once, and what may have been taken is sent again. A
template that is a JSON object is the body as it stands; any other text is wrapped in one. The URL
is the channel's `url:` in dangol.yaml; private addresses are refused.
"""

import time
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import Answer, meaning_of_status, required
from services.dispatch.outbound.client import OutboundClient, Refused, Unreachable, private_hosts
from shared.errors import ConfigurationError
from shared.standard_webhooks import headers, read_secrets

_SECRET = "DANGOL_WEBHOOK_SECRET"  # noqa: S105 - its name
_MOST = 4096


class WebhookAdapter:
    name = "webhook"
    deduplicates = True

    def __init__(
        self, client: OutboundClient, url: str, secrets: Iterable[bytes], timeout: float
    ) -> None:
        self._client = client
        self._url = url
        self._secrets = tuple(secrets)
        self._timeout = timeout

    async def send(self, message: Outgoing) -> Result:
        body = _body(message)
        second = int(time.time())  # noqa: TID251 - receivers check the stamp by real time
        signed = headers(self._secrets, message.message_id, second, body)
        try:
            reply = await self._client.post(
                self._url, signed, body, timeout=self._timeout, most=_MOST
            )
        except Refused as error:
            return Result(Outcome.BROKEN_CONNECTION, detail=str(error))
        except Unreachable as error:
            outcome = Outcome.UNKNOWN if error.sent else Outcome.BROKEN_CONNECTION
            return Result(outcome, detail=str(error))
        return meaning_of(Answer(reply.status, httpx.Headers(reply.headers), reply.body), message)

    async def close(self) -> None:
        await self._client.close()


def _body(message: Outgoing) -> bytes:
    text = message.content.text
    try:
        fields: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict):
        fields = {
            "type": "message.sent",
            "timestamp": message.at,
            "data": {"customer": message.address, "text": text, **message.content.parts},
        }
    return msgspec.json.encode(fields)


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    if answer.ok:
        return Result(Outcome.ACCEPTED)
    if answer.status == 410:  # the standard: the endpoint wants no more of them
        return Result(Outcome.BROKEN_CONNECTION, detail="410: the endpoint is gone")
    if answer.status in (502, 504):
        return Result(Outcome.THROTTLED, detail=str(answer.status))
    return meaning_of_status(answer, message.at)


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    url = setup.settings.options.get("url")
    if not isinstance(url, str) or not url:
        raise ConfigurationError(
            "the channel webhook has no address",
            hint="write `url: https://…` under channels: webhook: in dangol.yaml",
        )
    (secret,) = required(setup, "webhook", _SECRET)
    private = private_hosts(setup.environment)
    client = OutboundClient(private, connections=setup.concurrency)
    return WebhookAdapter(client, url, read_secrets(secret, _SECRET), setup.timeout)
