"""Whether a report is from whom it says, judged on the bytes as they came.

SOLAPI signs nothing, so its address holds a secret. NHN Cloud sends a fixed header that is agreed
on in its console. Twilio signs its URL and the form (HMAC-SHA1 with the account's token):
https://www.twilio.com/docs/usage/security#validating-requests. Bizgo signs nothing but the time of
its request (`stamps.py`), and its documents leave open whether in hex or in base64: both are taken.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1, sha256

SECRETS: Mapping[str, str] = {
    "bizgo": "DANGOL_BIZGO_WEBHOOK_SECRET",
    "nhn": "DANGOL_NHN_WEBHOOK_SIGNATURE",
    "solapi": "DANGOL_SOLAPI_RECEIPTS_TOKEN",
    "twilio": "DANGOL_TWILIO_AUTH_TOKEN",
}
"""Provider → the setting without which its reports are not taken."""


BIZGO_STAMP = "x-ib-timestamp"
_OLDEST = 300
"""Seconds for which Bizgo's signature is believed, as Bizgo advises."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request, as far as signatures go."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    url: str
    """The public one, with its query, as the provider was told it."""
    now: float
    """Seconds of real time."""


def is_genuine(provider: str, secret: str, seen: Seen) -> bool:
    match provider:
        case "solapi":
            return _same(seen.query.get("token", ""), secret)
        case "nhn":
            return _same(seen.headers.get("x-toast-webhook-signature", ""), secret)
        case "bizgo":
            stamp = seen.headers.get(BIZGO_STAMP, "")
            fits = _is_bizgo_s(secret, stamp, seen.headers.get("x-ib-signature", "").strip())
            return fits and abs(seen.now - _seconds(stamp)) <= _OLDEST
        case _:
            return _same(
                seen.headers.get("x-twilio-signature", ""),
                twilio_signature(secret, seen.url, seen.form),
            )


def twilio_signature(token: str, url: str, form: Mapping[str, str]) -> str:
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), sha1).digest()).decode()


def _is_bizgo_s(secret: str, stamp: str, given: str) -> bool:
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 16):
        return False
    digest = hmac.new(secret.encode(), stamp.encode(), sha256).digest()
    in_hex = _same(given.lower(), digest.hex())
    return _same(given, base64.b64encode(digest).decode()) or in_hex


def _seconds(stamp: str) -> float:
    """Milliseconds as Bizgo writes them, or seconds."""
    return int(stamp) / (1000 if len(stamp) >= 13 else 1)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
