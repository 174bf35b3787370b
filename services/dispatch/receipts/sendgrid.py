"""SendGrid's event webhook: ECDSA over the timestamp and the raw body.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from services.dispatch.receipts.report import NotTheirs, Outcome, Report
from shared.errors import ConfigurationError

_OLDEST = 600
_OUTCOMES: Mapping[str, Outcome] = {
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "bounced",
    "spamreport": "complained",
    "unsubscribe": "complained",
    "group_unsubscribe": "complained",
}
_NO_FAULT_OF_THE_ADDRESS = frozenset({"blocked", "expired"})


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """As SendGrid's settings show it. Raises ConfigurationError."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError(
            "DANGOL_SENDGRID_WEBHOOK_KEY is no public key",
            hint="copy the verification key of SendGrid's event webhook settings",
        )
    return key


def read(
    headers: Mapping[str, str], body: bytes, key: ec.EllipticCurvePublicKey, now: int
) -> list[Report]:
    """Raises NotTheirs. `now` in seconds of real time."""
    stamp = headers.get("x-twilio-email-event-webhook-timestamp", "")
    if not stamp.isdecimal() or abs(now - int(stamp[:15])) > _OLDEST:
        raise NotTheirs("the request is not of these minutes")
    try:
        signature = base64.b64decode(headers.get("x-twilio-email-event-webhook-signature", ""))
        key.verify(signature, stamp.encode() + body, ec.ECDSA(SHA256()))
        events: Any = msgspec.json.decode(body)
    except (InvalidSignature, binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise NotTheirs("the signature does not fit") from error
    if not isinstance(events, list):
        raise NotTheirs("the body is no list of events")
    return [report for event in events if (report := _report(event)) is not None]


def _report(event: Any) -> Report | None:
    if not isinstance(event, dict):
        return None
    outcome = _OUTCOMES.get(str(event.get("event")))
    message_id = event.get("message_id")
    if outcome is None or not isinstance(message_id, str):
        return None
    address = event.get("email")
    address = address if isinstance(address, str) else None
    reason = str(event.get("reason", ""))
    if outcome == "complained":
        is_spam = event.get("event") == "spamreport"
        return Report(message_id, outcome, address, "marketing", is_spam=is_spam)
    if outcome == "bounced":
        return Report(message_id, outcome, address, _closed_by(event, reason.lower()), reason[:200])
    return Report(message_id, outcome)


def _closed_by(event: Mapping[str, Any], reason: str) -> Literal["all", "marketing"] | None:
    """`dropped`: SendGrid has not even tried, for a reason that it knew before."""
    if event.get("event") != "dropped":
        return None if event.get("type") in _NO_FAULT_OF_THE_ADDRESS else "all"
    if "bounced" in reason or reason == "invalid":
        return "all"
    return "marketing" if "unsubscribed" in reason or "spam reporting" in reason else None
