"""Standard Webhooks 1.0: how a receiver knows that a request is the sender's.

Our own are signed so, and so are those that we take in (`services/ingest/webhook.py`).

`webhook-id` is the same on every try, so a receiver that remembers it acts once;
`webhook-timestamp` bounds replays; `webhook-signature` holds one `v1,<base64>` for each secret, so
that a secret can be changed without a gap. https://www.standardwebhooks.com/
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from hashlib import sha256

from shared.errors import ConfigurationError

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64


def read_secrets(text: str, name: str) -> tuple[bytes, ...]:
    """One or several secrets, separated by commas or spaces; all of them sign.

    `name` is the setting's. Raises ConfigurationError, which does not show what was written.
    """
    return tuple(_secret(part, name) for part in re.split(r"[,\s]+", text) if part)


def _secret(text: str, name: str) -> bytes:
    hint = 'make one with `printf "whsec_%s" "$(openssl rand -base64 32)"`'
    if not text.startswith(PREFIX):
        raise ConfigurationError(f"a secret in {name} does not begin with {PREFIX}", hint=hint)
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"a secret in {name} is no base64", hint=hint) from None
    if not _SHORTEST <= len(secret) <= _LONGEST:
        raise ConfigurationError(
            f"a secret in {name} has {len(secret)} bytes; {_SHORTEST} to {_LONGEST} are needed",
            hint=hint,
        )
    return secret


def is_signed(
    secrets: Iterable[bytes], message_id: bytes, stamp: bytes, body: bytes, given: bytes
) -> bool:
    """Whether one of the signatures given (`v1,… v1,…`) is made with one of the secrets.

    How old `stamp` may be is for the caller to say.
    """
    signed = b".".join((message_id, stamp, body))
    found = [s for s in given.split() if s.startswith(b"v1,")]
    return any(
        hmac.compare_digest(b"v1," + base64.b64encode(hmac.digest(secret, signed, sha256)), each)
        for secret in secrets
        for each in found
    )


def headers(secrets: Iterable[bytes], message_id: str, second: int, body: bytes) -> dict[str, str]:
    """The three headers; `second` is real time, in seconds since 1970."""
    signed = f"{message_id}.{second}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(secret, signed, sha256)).decode() for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(second),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
