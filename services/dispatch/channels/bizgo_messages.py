"""What one message is in Bizgo's words, and the reference by which its report is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.dispatch.channels.port import Outcome, Outgoing, Result, Setup
from services.dispatch.channels.texts import (
    KOREA,
    bare_names,
    is_ad,
    key_of,
    korean_number,
    number_of,
    option,
    registered_of,
    sender_of,
    text_of,
    whole_text,
)
from shared.errors import ConfigurationError

KEY_SECONDS = 86_400
"""For which Bizgo shall know an idempotency key: the most that it takes."""


@dataclass(frozen=True, slots=True)
class Written:
    to: str
    flow: dict[str, Any]
    """The one item of `messageFlow`: what is sent instead is the engine's to say."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The values of a template's variables."""


Write = Callable[[Outgoing], Written | Result]


def request_of(message: Outgoing, written: Written) -> dict[str, Any]:
    replaced = {"replaceWords": dict(written.words)} if written.words else {}
    return {
        "destinations": [{"to": written.to, "ref": reference_of(message), **replaced}],
        "messageFlow": [written.flow],
        "idempotencyKey": key_of(message),
        "idempotencyTtl": KEY_SECONDS,
    }


@dataclass(frozen=True, slots=True)
class Reference:
    """What a report gives back: Bizgo reports on all channels at one address, and names nobody."""

    channel: str
    message_id: str
    number: str
    """E.164."""


def reference_of(message: Outgoing) -> str:
    return f"{message.channel}/{message.message_id}/{message.address}"


def read_reference(given: object) -> Reference | None:
    channel, _, rest = str(given or "").partition("/")
    message_id, _, number = rest.rpartition("/")
    return Reference(channel, message_id, number) if message_id and number else None


def writer(setup: Setup) -> Write:
    """Raises ConfigurationError."""
    if setup.channel == "sms":
        sender = sender_of(setup)
        return lambda message: text(message, sender)
    writes = {"alimtalk": alimtalk, "brand_message": brand_message}
    if setup.channel not in writes:
        raise ConfigurationError(f"Bizgo does not carry the channel {setup.channel}")
    profile = option(setup, "profile", "the sender key (발신프로필 키) of the Kakao channel")
    write = writes[setup.channel]
    return lambda message: write(message, profile)


def text(message: Outgoing, sender: str) -> Written | Result:
    made = text_of(message.content)
    if isinstance(made, Result):
        return made
    number = number_of(message.address)
    if number.country != KOREA:
        if made.kind != "SMS":
            why = f"to +{number.country} Bizgo sends short texts alone"
            return Result(Outcome.REJECTED_MESSAGE, detail=why)
        abroad = {"international": {"from": sender, "text": made.body}}
        return Written(f"{number.country}{number.national}", abroad)
    if made.kind == "SMS":
        return Written(number.national, {"sms": {"from": sender, "text": made.body}})
    title = {"title": made.title} if made.title else {}
    file = {"fileKey": [made.image]} if made.image else {}
    return Written(number.national, {"mms": {"from": sender, "text": made.body, **title, **file}})


def alimtalk(message: Outgoing, profile: str) -> Written | Result:
    approved = registered_of(message)
    number = korean_number(message)
    if isinstance(approved, Result):
        return approved
    if isinstance(number, Result):
        return number
    code, variables = approved
    named = {"senderKey": profile, "templateCode": code}
    if variables:  # Bizgo makes the whole of it, buttons included
        bare = bare_names(variables)
        return Written(number, {"alimtalk": {**named, "sendType": "template"}}, bare)
    whole = {"msgType": "AT", "text": whole_text(message.content, {})}
    return Written(number, {"alimtalk": {**named, **whole}})


def brand_message(message: Outgoing, profile: str) -> Written | Result:
    number = korean_number(message)
    if isinstance(number, Result):
        return number
    free = {
        "sendType": "free",
        "msgType": "FT",
        "senderKey": profile,
        "targeting": "I",
        "text": message.content.text.strip(),
        "adFlag": "Y" if is_ad(message) else "N",
    }
    return Written(number, {"brandmessage": free})
