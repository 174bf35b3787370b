"""One event from a JSON object of any shape: what the strict decoder would not take.

A field whose value is of no use in its place (a list as `context`, a time that is none) is kept in
`rest` under its own name, and the event goes on without it.
"""

from typing import Any, get_args

from services.ingest.lenient import clean, clean_text
from services.ingest.limits import MAX_DEPTH, MAX_ID, MAX_MESSAGE_ID, MAX_NAME
from services.ingest.refused import Reason, Unusable
from services.ingest.times import parse_time
from services.ingest.wire import Wire, WireKind

_KINDS: dict[str, WireKind] = {kind: kind for kind in get_args(WireKind)}

_IDS = {
    "messageId": ("message_id", MAX_MESSAGE_ID),
    "userId": ("user_id", MAX_ID),
    "anonymousId": ("anonymous_id", MAX_ID),
    "previousId": ("previous_id", MAX_ID),
    "groupId": ("group_id", MAX_ID),
}
_NAMES = {"event": "event", "name": "name"}
_OBJECTS = {"properties": "properties", "traits": "traits", "context": "context"}
_TIMES = {
    "timestamp": "timestamp",
    "originalTimestamp": "original_timestamp",
    "sentAt": "sent_at",
}
_ANY = {
    "category": "category",
    "integrations": "integrations",
    "channel": "channel",
    "options": "options",
    "_metadata": "metadata",
}
_DROPPED = frozenset({"receivedAt", "writeKey"})


def wire_of(document: Any) -> tuple[Wire, dict[str, Any]]:
    """The event, and the fields that have no place in it. Raises Unusable."""
    if not isinstance(document, dict):
        raise Unusable(Reason.NOT_AN_OBJECT)
    wire = Wire()
    rest: dict[str, Any] = {}
    for raw_key, value in document.items():
        key = clean_text(raw_key)
        if value is None or key in _DROPPED:
            continue
        if key == "type":
            wire.type = _kind(value)
        elif not _placed(wire, key, value):
            rest[key] = clean(value, MAX_DEPTH - 1)
    return wire, rest


def as_object(value: Any) -> dict[str, Any] | None:
    """The object, cleaned; None for what is none. PHP writes an empty object as `[]`."""
    if isinstance(value, dict):
        fields: dict[str, Any] = clean(value, MAX_DEPTH - 1)
        return fields
    return {} if value == [] else None


def as_text(value: Any) -> str | None:
    """A text or number as text: 7, 7.0 and "7" are one customer. None for what is neither."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    return str(value) if isinstance(value, int | float) else None


def _kind(value: Any) -> WireKind | None:
    text = as_text(value)
    if not text:
        return None
    kind = _KINDS.get(text.strip().lower())
    if kind is None:
        raise Unusable(Reason.UNKNOWN_TYPE)
    return kind


def _placed(wire: Wire, key: str, value: Any) -> bool:
    """Put the value into its field; False if it belongs to none."""
    if key in _IDS:
        field, longest = _IDS[key]
        return _put_text(wire, field, value, longest, Reason.ID_TOO_LONG)
    if key in _NAMES:
        return _put_text(wire, _NAMES[key], value, MAX_NAME, Reason.NAME_TOO_LONG)
    if key in _OBJECTS:
        fields = as_object(value)
        setattr(wire, _OBJECTS[key], fields)
        return fields is not None
    if key in _TIMES:
        instant = parse_time(value)
        setattr(wire, _TIMES[key], instant)
        return instant is not None or value == ""
    if key in _ANY:
        setattr(wire, _ANY[key], clean(value, MAX_DEPTH - 1))
        return True
    return False


def _put_text(wire: Wire, field: str, value: Any, longest: int, too_long: Reason) -> bool:
    text = as_text(value)
    if text is None:
        return False
    if len(text) > longest:
        raise Unusable(too_long)
    setattr(wire, field, text)
    return True
