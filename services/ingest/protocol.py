"""From a request's body to events, and to what could not be made an event.

Three readings, each tried only where the one before it would not do:

1. the whole batch by the strict decoder: what the known SDKs send, some microseconds an event;
2. the batch cut into events, each by the strict decoder or else leniently: a batch above the size
   of one event, or with one odd event among good ones;
3. everything by the lenient parser: NaN, lone surrogates, broken UTF-8.

All end in the same `normalise.event_of`, and a property test holds them to the same events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from services.ingest import lenient, posthog
from services.ingest.coerce import as_object, as_text, wire_of
from services.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS
from services.ingest.normalise import Scene, event_of
from services.ingest.refused import Reason, Refused, Unusable
from services.ingest.times import as_utc, parse_time
from services.ingest.wire import Wire, decode_envelope, decode_event, decode_loose_envelope
from shared.errors import BadInput
from shared.event import Event
from shared.tracking import Judge, Violation, first_harm

_NOT_STRICT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the strict decoder raises for bodies that the lenient parser may yet read."""


class TooMuch(BadInput):
    """The request is too large; send it in parts."""

    code = "too_large"
    status = 413


class Reading(msgspec.Struct):
    events: list[Event] = []
    refused: list[Refused] = []
    broken: list[tuple[str, Violation]] = []
    """Names of events, and what each breaks of the tracking plan."""


class Parcel(msgspec.Struct, frozen=True):
    """A decoded body: its events, by the reading that took them, and what the batch says of all."""

    body: bytes
    wires: Sequence[Wire] | None = None
    """The events, if the strict decoder took all of them."""
    items: Sequence[Any] = ()
    """Else: each as JSON text (`Raw`) or as a JSON value."""
    sent: datetime | None = None
    write_key: str | None = None
    context: Mapping[str, Any] | None = None
    integrations: Mapping[str, Any] | None = None
    of_posthog: bool = False
    """The items are PostHog's events, and JSON values."""

    def key(self) -> str | None:
        """The write key in the body: the batch's own, else the first event's."""
        if self.write_key:
            return self.write_key
        if self.wires:
            return as_text(self.wires[0].write_key)
        first = self.items[0] if self.items else None
        if isinstance(first, Raw):
            first = lenient.parse(bytes(first))
        return as_text(first.get("writeKey")) if isinstance(first, dict) else None


def open_parcel(body: bytes, *, single: bool = False) -> Parcel:
    """Decode a body; `single` says that it is likely one event, and is only a hint.

    Raises BadInput, or TooMuch, if nothing at all can be done with it.
    """
    if len(body) <= MAX_EVENT_BYTES and not _has_nul(body):
        try:
            return Parcel(body, (decode_event(body),)) if single else _strict_batch(body)
        except _NOT_STRICT:
            pass
    return _loose(body)


def open_posthog(body: bytes) -> Parcel:
    """Decode a body of PostHog's SDKs: an event, a list of them, or a batch. Raises BadInput."""
    document = posthog.parse(body)
    items, sent = document, None
    if isinstance(document, dict):
        items, sent = document.get("batch", [document]), document.get("sent_at")
    if not isinstance(items, list):
        raise BadInput("The body is neither an event nor a batch of events.")
    fields = {"sent_at": sent, "write_key": posthog.key_of(document)}
    return msgspec.structs.replace(_batch(body, items, fields), of_posthog=True)


def read(parcel: Parcel, scene: Scene, judge: Judge | None = None) -> Reading:
    """The events of a parcel, held to the tracking plan if there is one.

    Never raises for a single event: it is put aside with its reason.
    """
    if parcel.wires is not None:
        try:
            reading = Reading([event_of(wire, scene) for wire in parcel.wires])
            if judge is not None:
                _hold(reading.events, judge, reading)
            return reading
        except Unusable:
            parcel = _loose(parcel.body)
    reading = Reading()
    for item in parcel.items:
        try:
            events = _posthog_events(item, scene) if parcel.of_posthog else [_event(item, scene)]
            if judge is not None:
                _hold(events, judge, reading)
            reading.events += events
        except Unusable as unusable:
            raw = _raw(item)[:MAX_EVENT_BYTES]
            reading.refused.append(Refused(raw, unusable.reason, scene.source))
    return reading


def _hold(events: Sequence[Event], judge: Judge, reading: Reading) -> None:
    """Note what the events break of the plan. Raises Unusable if one may not pass."""
    for event in events:
        if event.kind != "track":
            continue
        violations = judge.violations(event.name, event.properties)
        reading.broken += [(event.name, violation) for violation in violations]
        refused = first_harm(violations) if judge.enforces else None
        if refused is not None:
            raise Unusable(Reason(f"plan_{refused.breach}"))


def _has_nul(text: bytes) -> bool:
    return b"\\" in text and b"\\u0000" in text  # one byte is found much faster than six


def _strict_batch(body: bytes) -> Parcel:
    envelope = decode_envelope(body)
    return Parcel(
        body,
        envelope.batch,
        sent=as_utc(envelope.sent_at) if envelope.sent_at else None,
        write_key=envelope.write_key,
        context=envelope.context,
        integrations=envelope.integrations,
    )


def _loose(body: bytes) -> Parcel:
    try:
        envelope = decode_loose_envelope(body)
    except _NOT_STRICT:
        return _lenient(body)
    return _batch(body, envelope.batch, msgspec.structs.asdict(envelope))


def _lenient(body: bytes) -> Parcel:
    document = lenient.parse(body)
    if isinstance(document, list):
        return _batch(body, document, {})
    if not isinstance(document, dict):
        raise BadInput("The body is neither an event nor a batch of events.")
    batch = document.get("batch")
    if batch is None:
        return Parcel(body, items=(Raw(body),))
    if not isinstance(batch, list):
        raise BadInput("`batch` is not a list of events.")
    named = {
        "sent_at": document.get("sentAt"),
        "write_key": document.get("writeKey"),
        "context": document.get("context"),
        "integrations": document.get("integrations"),
    }
    return _batch(body, batch, named)


def _batch(body: bytes, items: Sequence[Any], fields: Mapping[str, Any]) -> Parcel:
    if len(items) > MAX_EVENTS:
        raise TooMuch(f"One request may carry {MAX_EVENTS} events.")
    sent = parse_time(fields.get("sent_at"))
    try:
        context = as_object(fields.get("context"))
        integrations = as_object(fields.get("integrations"))
    except Unusable as error:
        raise BadInput("The batch's `context` or `integrations` nests too deeply.") from error
    return Parcel(
        body,
        items=items,
        sent=as_utc(sent) if sent else None,
        write_key=as_text(fields.get("write_key")),
        context=context,
        integrations=integrations,
    )


def _event(item: Any, scene: Scene) -> Event:
    if isinstance(item, Raw):
        text = bytes(item)
        if len(text) > MAX_EVENT_BYTES:
            raise Unusable(Reason.TOO_LARGE)
        if not _has_nul(text):
            try:
                return event_of(decode_event(text), scene)
            except _NOT_STRICT:
                pass
        try:
            item = lenient.parse(text)
        except BadInput as error:  # it is JSON, or the batch could not have been cut up
            raise Unusable(Reason.TOO_DEEP) from error
    elif len(_raw(item)) > MAX_EVENT_BYTES:
        raise Unusable(Reason.TOO_LARGE)
    wire, rest = wire_of(item)
    return event_of(wire, scene, rest)


def _posthog_events(item: Any, scene: Scene) -> list[Event]:
    if len(_raw(item)) > MAX_EVENT_BYTES:
        raise Unusable(Reason.TOO_LARGE)
    events = []
    for document in posthog.translate(item, scene.received):
        once = as_object(document.pop("$set_once", None))
        wire, rest = wire_of(document)
        event = event_of(wire, scene, rest)
        events.append(msgspec.structs.replace(event, traits_once=once) if once else event)
    return events


def _raw(item: Any) -> bytes:
    """The event's JSON as it came, or as near to it as the lenient parser left it."""
    if isinstance(item, Raw):
        return bytes(item)
    return lenient.write(item)
