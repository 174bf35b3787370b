"""Resend's webhooks, signed by Svix: https://resend.com/docs/webhooks/event-types

The signature is that of Standard Webhooks under other header names, over the raw body.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from services.dispatch.receipts.report import NotTheirs, Outcome, Report
from shared.standard_webhooks import is_signed

_OLDEST = 300
_OUTCOMES: Mapping[str, Outcome] = {
    "email.delivered": "delivered",
    "email.bounced": "bounced",
    "email.complained": "complained",
    # Resend has not tried, since the address had bounced or complained before.
    "email.suppressed": "bounced",
}


def read(
    headers: Mapping[str, str], body: bytes, secrets: tuple[bytes, ...], now: int
) -> list[Report]:
    """Raises NotTheirs. `now` in seconds of real time."""
    _check(headers, body, secrets, now)
    try:
        event: Any = msgspec.json.decode(body)
        data = event["data"]
        outcome = _OUTCOMES.get(event["type"])
        message_id = _tag(data.get("tags"))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise NotTheirs("the body is no event of Resend's") from error
    if outcome is None or message_id is None:
        return []
    to = data.get("to")
    address = to[0] if isinstance(to, list) and to and isinstance(to[0], str) else None
    closes: Literal["all", "marketing"] | None = None
    if outcome == "complained":
        closes = "marketing"
    elif outcome == "bounced":
        bounce = data.get("bounce")
        kind = bounce.get("type") if isinstance(bounce, dict) else None
        closes = "all" if kind in (None, "Permanent") else None
        if event["type"] == "email.suppressed":
            closes = "marketing"
    return [Report(message_id, outcome, address, closes, _said(data))]


def _said(data: dict[str, Any]) -> str:
    """The kind of a bounce, and what the other server has said."""
    for name in ("bounce", "suppressed"):
        told = data.get(name)
        if isinstance(told, dict):
            return " ".join(str(told[n]) for n in ("type", "subType", "message") if told.get(n))
    return ""


def _tag(tags: object) -> str | None:
    """Events carry the tags of the mail, as a list or as a mapping."""
    if isinstance(tags, dict):
        found = tags.get("message_id")
        return found if isinstance(found, str) else None
    if isinstance(tags, list):
        for tag in tags:
            if isinstance(tag, dict) and tag.get("name") == "message_id":
                value = tag.get("value")
                return value if isinstance(value, str) else None
    return None


def _check(headers: Mapping[str, str], body: bytes, secrets: tuple[bytes, ...], now: int) -> None:
    stamp, name = headers.get("svix-timestamp", ""), headers.get("svix-id", "")
    if not stamp.isdecimal() or abs(now - int(stamp[:15])) > _OLDEST:
        raise NotTheirs("the request is not of these minutes")
    given = headers.get("svix-signature", "").encode()
    if not is_signed(secrets, name.encode(), stamp.encode(), body, given):
        raise NotTheirs("the signature does not fit")
