"""What one message is in SOLAPI's words: a text, an AlimTalk, a Brand Message."""

from collections.abc import Callable
from typing import Any

from services.dispatch.channels.port import Outgoing, Result, Setup
from services.dispatch.channels.texts import (
    is_ad,
    number_of,
    option,
    registered_of,
    sender_of,
    text_of,
    whole_text,
)
from shared.errors import ConfigurationError

Written = dict[str, Any] | Result
Write = Callable[[Outgoing], Written]
"""What one message is in SOLAPI's words, or why it is none."""


def writer(setup: Setup) -> Write:
    """Raises ConfigurationError."""
    match setup.channel:
        case "sms":
            sender = sender_of(setup)
            return lambda message: _text(message, sender)
        case "alimtalk":
            profile = option(setup, "profile", "the Kakao channel's id at SOLAPI, `KA01PF…`")
            return lambda message: _alimtalk(message, profile)
        case "brand_message":
            profile = option(setup, "profile", "the Kakao channel's id at SOLAPI, `KA01PF…`")
            return lambda message: _brand_message(message, profile)
        case _:
            raise ConfigurationError(f"SOLAPI does not carry the channel {setup.channel}")


def _addressed(message: Outgoing) -> dict[str, Any]:
    number = number_of(message.address)
    fields = {"message_id": message.message_id}
    return {"to": number.national, "country": number.country, "customFields": fields}


def _text(message: Outgoing, sender: str) -> Written:
    text = text_of(message.content)
    if isinstance(text, Result):
        return text
    longer = {"subject": text.title} if text.title and text.kind != "SMS" else {}
    image = {"imageId": text.image} if text.image else {}
    written = {"from": sender, "text": text.body, "type": text.kind, **longer, **image}
    return {**_addressed(message), **written}


def _alimtalk(message: Outgoing, profile: str) -> Written:
    approved = registered_of(message)
    if isinstance(approved, Result):
        return approved
    code, variables = approved
    # The engine knows what may be sent instead, so SOLAPI must not.
    kakao = {"pfId": profile, "templateId": code, "disableSms": True}
    whole = (
        {"kakaoOptions": {**kakao, "variables": variables}}
        if variables
        else {"text": whole_text(message.content, {}), "kakaoOptions": kakao}
    )
    return {**_addressed(message), "type": "ATA", **whole}


def _brand_message(message: Outgoing, profile: str) -> Written:
    bubble = {"targeting": "I", "chatBubbleType": "TEXT", "adult": False}
    kakao = {"pfId": profile, "disableSms": True, "adFlag": is_ad(message), "bms": bubble}
    text = message.content.text.strip()
    return {**_addressed(message), "type": "BMS_FREE", "text": text, "kakaoOptions": kakao}
