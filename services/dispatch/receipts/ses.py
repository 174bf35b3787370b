"""Amazon SES events through SNS: signed by a certificate that the message names.

Only a certificate of SNS's own hosts is fetched, and kept. A subscription is confirmed by itself,
at SNS's own hosts only. https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from services.dispatch.receipts.report import NotTheirs, Outcome, Report

Fetch = Callable[[str], Awaitable[bytes]]
"""A URL's content; raises NotTheirs."""

_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_OLDEST = 3600
_OUTCOMES: Mapping[str, Outcome] = {
    "Delivery": "delivered",
    "Bounce": "bounced",
    "Complaint": "complained",
}


class Reader:
    def __init__(self, topic: str, fetch: Fetch) -> None:
        """`topic`: the ARN that is believed; anybody may sign for a topic of their own."""
        self._topic = topic
        self._fetch = fetch
        self._keys: dict[str, rsa.RSAPublicKey] = {}

    async def read(self, body: bytes, now: int) -> list[Report]:
        """Raises NotTheirs. `now` in seconds of real time."""
        try:
            envelope: Any = msgspec.json.decode(body)
            kind = envelope["Type"]
            fields = _SIGNED[kind]
            signed = "".join(f"{name}\n{envelope[name]}\n" for name in fields if name in envelope)
            stamp = datetime.fromisoformat(envelope["Timestamp"]).timestamp()
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise NotTheirs("the body is no message of SNS's") from error
        if envelope["TopicArn"] != self._topic:
            raise NotTheirs("this is another topic")
        if abs(now - stamp) > _OLDEST:
            raise NotTheirs("the request is not of this hour")
        await self._check(envelope, signed.encode())
        if kind == "SubscriptionConfirmation":
            await self._fetch(_sns(envelope["SubscribeURL"]))
            return []
        return _reports(envelope["Message"])

    async def _check(self, envelope: Mapping[str, Any], signed: bytes) -> None:
        url = _sns(envelope.get("SigningCertURL"))
        if url not in self._keys:
            try:
                key = x509.load_pem_x509_certificate(await self._fetch(url)).public_key()
            except ValueError as error:
                raise NotTheirs("the certificate cannot be read") from error
            if not isinstance(key, rsa.RSAPublicKey):
                raise NotTheirs("the certificate is of another kind")
            self._keys[url] = key
        algorithm = SHA256() if envelope.get("SignatureVersion") == "2" else SHA1()  # noqa: S303
        try:
            signature = base64.b64decode(str(envelope.get("Signature")))
            self._keys[url].verify(signature, signed, padding.PKCS1v15(), algorithm)
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise NotTheirs("the signature does not fit") from error


def _sns(url: object) -> str:
    parts = urlsplit(url if isinstance(url, str) else "")
    if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc):
        raise NotTheirs("the address is not one of SNS's")
    return str(url)


def _reports(text: str) -> list[Report]:
    try:
        event: Any = msgspec.json.decode(text)
        kind = event.get("eventType") or event.get("notificationType")
        outcome = _OUTCOMES.get(str(kind))
        tags = event["mail"].get("tags") or {}
        message_id = (tags.get("message_id") or [None])[0]
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return []
    if outcome is None or not isinstance(message_id, str):
        return []
    if outcome == "bounced":
        bounce = event.get("bounce") or {}
        first: dict[str, Any] = next(iter(bounce.get("bouncedRecipients") or ()), {})
        hard = bounce.get("bounceType") == "Permanent"
        told = (bounce.get("bounceType"), bounce.get("bounceSubType"), first.get("diagnosticCode"))
        said = " ".join(str(each) for each in told if each)
        address = first.get("emailAddress")
        return [Report(message_id, outcome, address, "all" if hard else None, said)]
    if outcome == "complained":
        complaint = event.get("complaint") or {}
        if complaint.get("complaintFeedbackType") == "not-spam":
            return []  # somebody has taken it out of the spam folder again
        found = [r.get("emailAddress") for r in complaint.get("complainedRecipients") or ()]
        said = str(complaint.get("complaintFeedbackType") or "")
        return [Report(message_id, outcome, next(iter(found), None), "marketing", said)]
    return [Report(message_id, outcome)]
