"""The shape of what SDKs send, as the strict and fast decoder takes it.

`Json` bounds depth and integers while decoding, at no measurable cost: a type that is nested as
deep as real events are (each level doubles the decoder's tables, hence not deeper). Whatever does
not fit, however lightly, is no error: the lenient path reads it again and decides.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from services.ingest.limits import MAX_EVENTS, MAX_ID, MAX_MESSAGE_ID, MAX_NAME

_FAST_DEPTH = 6

WireKind = Literal["track", "identify", "page", "screen", "group", "alias"]

if TYPE_CHECKING:
    Json = Any
else:

    def _json(depth: int) -> Any:
        scalar = bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str | None
        shape = scalar
        for _ in range(depth):
            shape = scalar | list[shape] | dict[str, shape]
        return shape

    Json = _json(_FAST_DEPTH)

Fields = dict[str, Json]
Id = Annotated[str, Meta(max_length=MAX_ID)]
Name = Annotated[str, Meta(max_length=MAX_NAME)]


class Wire(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One event. Both paths end here, and `normalise` takes it on."""

    type: WireKind | None = None
    message_id: Annotated[str, Meta(max_length=MAX_MESSAGE_ID)] | None = None
    user_id: Id | None = None
    anonymous_id: Id | None = None
    previous_id: Id | None = None
    group_id: Id | None = None
    event: Name | None = None
    name: Name | None = None
    category: Json = None
    properties: Fields | None = None
    traits: Fields | None = None
    context: Fields | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    # Known, and dropped: the server's own business, and a credential.
    received_at: Json = None
    write_key: Json = None
    # Known, without a meaning to us, and kept in `extra` under their names.
    integrations: Json = None
    channel: Json = None
    options: Json = None
    metadata: Json = msgspec.field(default=None, name="_metadata")


class Envelope(msgspec.Struct, rename="camel", gc=False):
    """A batch. Fields that are not named here (`timestamp` of two SDKs) mean nothing."""

    batch: Annotated[list[Wire], Meta(max_length=MAX_EVENTS)]
    sent_at: datetime | None = None
    write_key: str | None = None
    context: Fields | None = None
    integrations: Fields | None = None


class LooseEnvelope(msgspec.Struct, rename="camel", gc=False):
    """A batch whose events are looked at one by one."""

    batch: list[Raw]
    sent_at: Json = None
    write_key: Json = None
    context: Json = None
    integrations: Json = None


decode_event = msgspec.json.Decoder(Wire).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_loose_envelope = msgspec.json.Decoder(LooseEnvelope).decode
