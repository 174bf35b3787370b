"""What one message is in NHN Cloud's words: a text, an AlimTalk, a Brand Message."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.channels.texts import (
    KOREA,
    bare_names,
    first_line,
    is_ad,
    key_of,
    korean_number,
    number_of,
    registered_of,
    text_of,
    whole_text,
)


@dataclass(frozen=True, slots=True)
class Written:
    """One message as a request."""

    path: str
    """Behind the app key."""
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


Write = Callable[[Outgoing], Written | Result]


def text(message: Outgoing, sender: str) -> Written | Result:
    made = text_of(message.content)
    if isinstance(made, Result):
        return made
    number = number_of(message.address)
    if number.country != KOREA and made.kind != "SMS":
        why = f"to +{number.country} NHN Cloud sends short texts alone"
        return Result(Outcome.REJECTED_MESSAGE, detail=why)
    if made.image and not made.image.isdecimal():
        why = "`image` is a picture of the workspace, or the number of a file at NHN Cloud"
        return Result(Outcome.REJECTED_MESSAGE, detail=why)
    recipient = {
        "recipientNo": number.national,
        "countryCode": number.country,
        "recipientGroupingKey": message.message_id,
    }
    body: dict[str, Any] = {"body": made.body, "sendNo": sender, "recipientList": [recipient]}
    if made.kind != "SMS":
        body["title"] = first_line(made)
    if made.image:
        body["attachFileIdList"] = [int(made.image)]
    path = "sms" if made.kind == "SMS" else "mms"
    return Written(f"sender/{'ad-' if is_ad(message) else ''}{path}", body)


def alimtalk(message: Outgoing, profile: str) -> Written | Result:
    approved = registered_of(message)
    if isinstance(approved, Result):
        return approved
    code, variables = approved
    recipient = _recipient(message)
    if isinstance(recipient, Result):
        return recipient
    if variables:
        bare = bare_names(variables)
        recipient["templateParameter"] = bare
    else:
        recipient["content"] = whole_text(message.content, {})
    body = {"senderKey": profile, "templateCode": code, "recipientList": [recipient]}
    key = {"x-nc-api-idempotency-key": key_of(message)}
    return Written("messages" if variables else "raw-messages", body, key)


def brand_message(message: Outgoing, profile: str) -> Written | Result:
    recipient = _recipient(message)
    if isinstance(recipient, Result):
        return recipient
    body = {
        "senderKey": profile,
        "chatBubbleType": "TEXT",
        "pushAlarm": True,
        "adult": False,
        "content": message.content.text.strip(),
        "recipientList": [{**recipient, "targeting": "I"}],
    }
    return Written("freestyle-messages", body)


def _recipient(message: Outgoing) -> dict[str, Any] | Result:
    number = korean_number(message)
    if isinstance(number, Result):
        return number
    return {
        "recipientNo": number,
        "recipientGroupingKey": message.message_id,
        # The engine knows what may be sent instead, so NHN Cloud must not.
        "resendParameter": {"isResend": False},
    }
