"""Whether a report is from whom it says, judged on the bytes as they came.

SOLAPI signs nothing, so its address holds a secret. NHN Cloud sends a fixed header that is agreed
on in its console. Twilio signs its URL and the form (HMAC-SHA1 with the account's token):
https://www.twilio.com/docs/usage/security#validating-requests
"""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha1

SECRETS: Mapping[str, str] = {
    "nhn": "DANGOL_NHN_WEBHOOK_SIGNATURE",
    "solapi": "DANGOL_SOLAPI_RECEIPTS_TOKEN",
    "twilio": "DANGOL_TWILIO_AUTH_TOKEN",
}
"""Provider → the setting without which its reports are not taken."""


def is_genuine(
    provider: str,
    secret: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    form: Mapping[str, str],
    url: str,
) -> bool:
    """`url` is the public one, with its query, as the provider was told it."""
    match provider:
        case "solapi":
            return _same(query.get("token", ""), secret)
        case "nhn":
            return _same(headers.get("x-toast-webhook-signature", ""), secret)
        case _:
            return _same(headers.get("x-twilio-signature", ""), twilio_signature(secret, url, form))


def twilio_signature(token: str, url: str, form: Mapping[str, str]) -> str:
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), sha1).digest()).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
