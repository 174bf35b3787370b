"""Webhooks of other houses, read as events: is it theirs, and what does it say. Pure.

The workspace names each sender under `sources:` in dangol.yaml: how it signs, and where in its JSON
the event's name, the customer, the time and the properties stand. A delivery's id becomes the
event's, so that what is sent again counts once.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from services.ingest.coerce import as_text
from services.ingest.limits import MAX_MESSAGE_ID
from shared import standard_webhooks
from shared.errors import ConfigurationError, Unauthorized
from shared.workspace import WebhookSource

MOST_BODY = 1024 * 1024
"""Bytes of a delivery. Shop platforms send some kilobytes, an order of a thousand lines less."""

_NO_SIGNATURE = "The signature is missing, does not fit, or is too old."


def secret_name(source: str) -> str:
    """The environment's name for a source's secret."""
    return f"DANGOL_WEBHOOK_{re.sub('[^A-Z0-9]', '_', source.upper())}_SECRET"


def secrets_of(source: str, settings: WebhookSource, environment: Mapping[str, str]) -> list[bytes]:
    """One or, while a secret is changed, several. Raises ConfigurationError, without the secret."""
    name = secret_name(source)
    text = environment.get(name, "").strip()
    if not text:
        raise ConfigurationError(f"{name} is not set", hint=f"it is the secret of `{source}`")
    if settings.signature == "standard":
        return list(standard_webhooks.read_secrets(text, name))
    return [part.encode() for part in re.split(r"[,\s]+", text) if part]


def verify(
    settings: WebhookSource,
    secrets: Iterable[bytes],
    headers: Mapping[bytes, bytes],
    body: bytes,
    now: datetime,
) -> None:
    """`now` is real time. Raises Unauthorized."""
    if settings.signature == "standard":
        told = (headers.get(name, b"") for name in (b"webhook-id", b"webhook-timestamp"))
        ident, stamp = told
        if not ident or not _is_recent(stamp, now, settings.tolerance):
            raise Unauthorized(_NO_SIGNATURE)
        signatures = headers.get(b"webhook-signature", b"").split()
        given = [s.removeprefix(b"v1,") for s in signatures if s.startswith(b"v1,")]
        signed = ident + b"." + stamp + b"." + body
        encoding = "base64"
    else:
        assert settings.header is not None, "the workspace was validated"
        value = headers.get(settings.header.lower().encode(), b"").strip()
        given, signed = [value.removeprefix(settings.prefix.encode())], body
        encoding = settings.encoding
    found = [raw for text in given if (raw := _decoded(text, encoding)) is not None]
    for secret in secrets:
        wanted = hmac.digest(secret, signed, sha256)
        if any(hmac.compare_digest(wanted, raw) for raw in found):
            return
    raise Unauthorized(_NO_SIGNATURE)


def document_of(
    source: str,
    settings: WebhookSource,
    headers: Mapping[bytes, bytes],
    body: bytes,
    content: Any,
) -> dict[str, Any] | None:
    """The event as an SDK would send it; None for a delivery that the workspace does not list."""
    name = settings.event.name
    if settings.event.source is not None:
        told = as_text(_at(settings.event.source, headers, content)) or ""
        name = settings.event.names.get(told) if settings.event.names else told
        if name is None:
            return None
    document: dict[str, Any] = {
        "type": "track",
        "messageId": _ident(source, settings, headers, body, content),
        "event": name,
        "properties": {
            field: _at(path, headers, content) for field, path in settings.properties.items()
        },
    }
    for field, path in (
        ("userId", settings.customer),
        ("anonymousId", settings.anonymous),
        ("timestamp", settings.time),
    ):
        if path is not None:
            document[field] = _at(path, headers, content)
    return document


def _ident(
    source: str,
    settings: WebhookSource,
    headers: Mapping[bytes, bytes],
    body: bytes,
    content: Any,
) -> str:
    told: str | None = None
    if settings.id is not None:
        told = as_text(_at(settings.id, headers, content))
    elif settings.signature == "standard":
        told = headers[b"webhook-id"].decode("latin-1")
    ident = f"{source}:{told or sha256(body).hexdigest()}"
    return ident if len(ident) <= MAX_MESSAGE_ID else sha256(ident.encode()).hexdigest()


def _at(path: str, headers: Mapping[bytes, bytes], content: Any) -> Any:
    """What stands at `a.b.0` in the JSON, or in a header (`header:X-Topic`); None for nothing."""
    if path.startswith("header:"):
        value = headers.get(path.removeprefix("header:").lower().encode())
        return None if value is None else value.decode("latin-1")
    for part in path.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def _is_recent(stamp: bytes, now: datetime, tolerance: timedelta) -> bool:
    if not stamp.isdigit() or len(stamp) > 12:
        return False
    return abs(now.timestamp() - int(stamp)) <= tolerance.total_seconds()


def _decoded(text: bytes, encoding: str) -> bytes | None:
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
