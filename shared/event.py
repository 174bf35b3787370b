"""The event record: what ingest appends to the log and everybody reads from it.

One JSON object per record. `received_at` is not in the payload of a fresh event: the log stamps it,
and the reader puts it in (`decode`). A forwarded event carries its stamp with it, so that waits
and order keep counting from the first receipt.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from shared.ids import derived_id
from shared.rfm import Score

Kind = Literal[
    "track",
    "identify",
    "page",
    "screen",
    "group",
    "alias",
    "outcome",
    "enter",
    "look",
    "link",
    "merge",
    "catalog",
    "receipt",
    "erase",
    "scored",
]

INTERNAL_KINDS = frozenset(
    {"outcome", "enter", "look", "link", "merge", "catalog", "receipt", "erase", "scored"}
)
"""Kinds that only Dangol's own services append; ingest refuses them."""


HAPPENINGS = frozenset({"track", "receipt"})
"""Kinds that conditions look at by name: what a customer did, and what became of a message."""

RECEIPTS: Mapping[str, str] = {
    "delivered": "Message Delivered",
    "opened": "Message Opened",
    "clicked": "Message Clicked",
    "bounced": "Message Bounced",
    "complained": "Message Complained",
}
"""What a provider reports about a message → the name by which conditions see it."""

CONSENT_CHANGED = "Consent Changed"
"""The event by which journeys hear of a consent that was given, refused or withdrawn."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing a customer did, or one thing that became of a message.

    `id` is the SDK's messageId (any text), `name` the event's name for `track` ("Product Added"),
    the page's or screen's name for `page`/`screen`, empty otherwise. `timestamp` is the client's
    time corrected for skew; it decides `max_age`, history and which statement of a trait is the
    newest, never the order. All instants are aware UTC.
    """

    id: str
    kind: Kind
    timestamp: datetime
    name: str = ""
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    traits_once: dict[str, Any] = {}
    """Of an identify: traits that only fill gaps, and never replace what is known."""
    context: dict[str, Any] = {}
    source: str = ""
    """The name of the write key, or the service that appended it."""
    sent_at: datetime | None = None
    original_timestamp: datetime | None = None
    received_at: datetime | None = None
    extra: dict[str, Any] = {}
    """Unknown top-level fields, kept."""
    forwarded_to: str | None = None
    """The customer to whom it was forwarded, since the one that the ids name belongs to them."""
    passed: tuple[str, ...] = ()
    """The customers that have forwarded it, in order; a bounded number of them."""
    historical: bool = False
    """Imported: part of profile and history, but no run starts, moves, ends or converts by it."""
    trace: str = ""
    """The W3C traceparent that it came with, while tracing is on: see shared/tracing.py."""

    @property
    def customer(self) -> str:
        """The key that decides the partition: the user id if it has one, else the anonymous id."""
        return self.forwarded_to or self.user_id or self.anonymous_id or ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_unstamped(payload: bytes) -> Event:
    """What `encode` made; raises msgspec.MsgspecError for a payload that is no event."""
    return _decoder.decode(payload)


def decode(payload: bytes, received_at: datetime) -> Event:
    """The event in a log record, with its stamp; raises msgspec.MsgspecError."""
    event = decode_unstamped(payload)
    if event.received_at is None:
        # It was made a moment ago and nobody else has it: no copy is needed.
        msgspec.structs.force_setattr(event, "received_at", received_at)
    return event


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """An event as the log keeps it, and where."""

    partition: int
    payload: bytes
    kind: Kind


def encoded(event: Event, partitions: int) -> Encoded:
    return Encoded(partition_of(event.customer, partitions), _encoder.encode(event), event.kind)


_new_digest = blake2b(digest_size=8).copy
"""Cheaper than making one by its arguments each time."""


def partition_of(customer: str, partitions: int) -> int:
    """The partition of a customer: stable across processes, releases and machines."""
    digest = _new_digest()
    digest.update(customer.encode())
    return int.from_bytes(digest.digest(), "big") % partitions


def enter_event(
    *, call: str, journey: str, customer: str, properties: dict[str, Any], at: datetime, by: str
) -> Event:
    """A call to the API that names a customer for a journey; repeating the call is harmless."""
    return Event(
        id=f"{call}:{journey}:{customer}",
        kind="enter",
        timestamp=at,
        name="$entered",
        user_id=customer,
        properties={"journey": journey, "properties": properties},
        source=by,
    )


def erase_event(
    *, request: str, customer: str, at: datetime, of: str | None = None, by: str = "journey"
) -> Event:
    """Erase everything of the customer that was received before it; `of` names whose remains a
    linked id holds."""
    return Event(
        id=request,
        kind="erase",
        timestamp=at,
        name="$erased",
        user_id=customer,
        properties={} if of is None else {"of": of},
        source=by,
    )


def link_event(*, anonymous_id: str, user_id: str, alias: bool, at: datetime) -> Event:
    """Tells the owner of `anonymous_id` whose it is; the first of them in its log counts.

    `alias` says that an `alias` call named the two: then the first may be a user's id as well.
    """
    return Event(
        id=derived_id("link", anonymous_id, user_id),
        kind="link",
        timestamp=at,
        name="$linked",
        anonymous_id=anonymous_id,
        properties={"to": user_id, "alias": alias},
        source="journey",
    )


def carry_event(*, anonymous_id: str, user_id: str, base: str, part: int, at: datetime) -> Event:
    """Reminds the owner of a linked id that more of its history is to be carried over."""
    return Event(
        id=derived_id("carry", base, str(part)),
        kind="link",
        timestamp=at,
        name="$carry",
        anonymous_id=anonymous_id,
        properties={"to": user_id, "base": base, "part": part},
        source="journey",
    )


def merge_event(
    *, source: str, user_id: str, part: str, content: Mapping[str, Any], at: datetime
) -> Event:
    """A part of what `source` was, for the customer it belongs to; `part` names it uniquely."""
    return Event(
        id=derived_id("merge", source, part),
        kind="merge",
        timestamp=at,
        name="$merged",
        user_id=user_id,
        previous_id=source,
        properties=dict(content),
        source="journey",
    )


def forwarded(event: Event, by: str, to: str) -> Event:
    """The same event (same id, same receipt) for the customer whom `by` belongs to."""
    return msgspec.structs.replace(event, forwarded_to=to, passed=(*event.passed, by))


def answer_event(
    *,
    call_id: str,
    customer: str,
    at: datetime,
    step: str,
    run_id: str,
    outcome: str,
    reason: str | None,
    response: Any,
) -> Event:
    """What dispatch tells the run that waits for a call; `at` is the instant of the answer."""
    return Event(
        id=f"{call_id}:answered",
        kind="outcome",
        timestamp=at,
        name="$call_answered",
        user_id=customer,
        properties={
            "call_id": call_id,
            "run_id": run_id,
            "step": step,
            "outcome": outcome,
            "reason": reason,
            "response": response,
        },
        source="dispatch",
    )


def catalog_key(name: str) -> str:
    """What keeps the catalogue events of one name in one partition, and in their order."""
    return f"$catalog:{name}"


def catalog_event(
    *,
    message_id: str,
    name: str,
    properties: dict[str, Any],
    at: datetime,
    source: str,
) -> Event:
    """An event that belongs to no customer (stock, a price); those of one name keep their order.

    Its key begins with `$catalog:`. A customer of such a name is another thing: the kind tells.
    """
    return Event(
        id=message_id,
        kind="catalog",
        timestamp=at,
        name=name,
        anonymous_id=catalog_key(name),
        properties=properties,
        source=source,
    )


def receipt_event(
    *,
    receipt_id: str,
    customer: str,
    at: datetime,
    outcome: str,
    channel: str,
    message: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Event:
    """What a provider reports, or a customer's click, about a message that was sent.

    `outcome` is one of `RECEIPTS`. `message` holds `message_id`, `run_id`, `journey` and `step`;
    without it (a line of a simulation) it is the newest that was sent on this channel. Repeating
    `receipt_id` is harmless: `<message id>:opened` counts a message's first opening.

    Suppression is not the engine's: the door by which a bounce or a complaint comes in closes the
    address before it tells the log.
    """
    return Event(
        id=receipt_id,
        kind="receipt",
        timestamp=at,
        name=RECEIPTS[outcome],
        user_id=customer,
        properties={**(details or {}), "outcome": outcome, "channel": channel, **(message or {})},
        source="dispatch",
    )


def scored_event(*, customer: str, score: Score | None, at: datetime) -> Event:
    """Tells a customer's owner the new score; None: no purchase is left in the window."""
    return Event(
        id=derived_id("scored", customer, at.isoformat()),
        kind="scored",
        timestamp=at,
        name="$scored",
        user_id=customer,
        properties={} if score is None else score.bands,
        source="journey",
    )


def outcome_event(
    *,
    message_id: str,
    customer: str,
    at: datetime,
    step: str,
    run_id: str,
    decision: str,
    reason: str | None,
    channel: str,
) -> Event:
    """What dispatch tells the waiting run; `at` is the instant of the decision.

    The id derives from the message, so that telling it twice is harmless.
    """
    properties: Mapping[str, Any] = {
        "message_id": message_id,
        "run_id": run_id,
        "step": step,
        "decision": decision,
        "reason": reason,
        "channel": channel,
    }
    return Event(
        id=f"{message_id}:decided",
        kind="outcome",
        timestamp=at,
        name="$message_decided",
        user_id=customer,
        properties=dict(properties),
        source="dispatch",
    )


def look_event(*, customer: str, at: datetime) -> Event:
    """A sweep has found at `at` that time has changed a membership: decide it exactly."""
    return Event(
        id=f"look:{customer}:{at.isoformat()}",
        kind="look",
        name="$look",
        timestamp=at,
        user_id=customer,
        source="sweep",
    )
