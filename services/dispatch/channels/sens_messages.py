"""What one message is in SENS's words: a text, an AlimTalk."""

from collections.abc import Callable
from typing import Any

from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.channels.texts import (
    KOREA,
    is_ad,
    korean_number,
    number_of,
    registered_of,
    text_of,
    whole_text,
)

Written = dict[str, Any] | Result
Write = Callable[[Outgoing], Written]


def text(message: Outgoing, sender: str) -> Written:
    made = text_of(message.content)
    if isinstance(made, Result):
        return made
    number = number_of(message.address)
    if number.country != KOREA and made.kind != "SMS":
        why = f"to +{number.country} SENS sends short texts alone"
        return Result(Outcome.REJECTED_MESSAGE, detail=why)
    longer = {"subject": made.title} if made.title and made.kind != "SMS" else {}
    image = {"files": [{"fileId": made.image}]} if made.image else {}
    return {
        "type": made.kind,
        "contentType": "AD" if is_ad(message) else "COMM",
        "countryCode": number.country,
        "from": sender,
        "content": made.body,
        "messages": [{"to": number.national}],
        **longer,
        **image,
    }


def alimtalk(message: Outgoing, profile: str) -> Written:
    approved = registered_of(message)
    number = korean_number(message)
    if isinstance(approved, Result):
        return approved
    if isinstance(number, Result):
        return number
    code, variables = approved
    if message.approved is not None and message.approved.buttons:
        why = "SENS asks for a template's buttons with each message: use a template without any"
        return Result(Outcome.REJECTED_MESSAGE, detail=why)
    content = whole_text(message.content, variables)
    # The engine knows what may be sent instead, so SENS must not.
    recipient = {"to": number, "content": content, "useSmsFailover": False}
    return {"plusFriendId": profile, "templateCode": code, "messages": [recipient]}
