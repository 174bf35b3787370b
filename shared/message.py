"""What the engine hands to dispatch with a message, beside the columns of `messages`.

`context` holds what its template may read; the profile is not in it, since it is read at the
moment of sending. Packed with msgspec, bounded by the event's own size limit.
"""

from typing import Any

import msgspec

CHANNEL = "dangol_messages"
"""The wake-up that tells dispatchers of messages they may claim."""


class MessageContext(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    trigger: dict[str, Any] = {}
    """The trigger's properties."""
    event: dict[str, Any] = {}
    """The properties of the event that moved the run here, with `name` and `context`."""
    steps: dict[str, dict[str, Any]] = {}
    """Step id → outcome, reason, … of the steps behind it."""
    values: dict[str, Any] = {}
    """`with:` of the send step, evaluated when the run reached it."""
    title: str = ""
    """The journey's title."""
    trace: str = ""
    """The W3C traceparent that it goes on in, while tracing is on: see shared/tracing.py."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MessageContext)


def pack(context: MessageContext) -> bytes:
    return _encoder.encode(context)


def unpack(raw: bytes) -> MessageContext:
    return _decoder.decode(raw)
