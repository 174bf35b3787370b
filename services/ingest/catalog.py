"""Catalogue events: stock, prices, whatever belongs to no customer and comes from a server.

Unlike the SDKs' events they are read strictly, and a body is taken whole or not at all: whoever
sends them can mend them, and is told what is wrong.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from services.ingest.coerce import as_object
from services.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS, MAX_NAME
from services.ingest.protocol import TooMuch
from services.ingest.refused import Unusable
from services.ingest.times import as_utc, parse_time
from shared.errors import BadInput
from shared.event import Event, catalog_event
from shared.tracking import Judge, Violation, first_harm

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class _Item(msgspec.Struct, rename="camel"):
    event: _Name
    properties: dict[str, Any] = {}
    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)] | None = None
    timestamp: str | None = None


class _Envelope(msgspec.Struct):
    batch: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


_envelope = msgspec.json.Decoder(_Envelope)
_item = msgspec.json.Decoder(_Item)


def read_catalog(body: bytes, source: str, received: datetime) -> list[Event]:
    """One event, or `{"batch": [event, …]}`. Raises BadInput, or TooMuch."""
    try:
        batch = _envelope.decode(body).batch
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [_event(body, source, received, "")]
    if len(batch) > MAX_EVENTS:
        raise TooMuch(f"One request may carry {MAX_EVENTS} events.")
    return [
        _event(bytes(raw), source, received, f"batch[{place}]: ") for place, raw in enumerate(batch)
    ]


def held_to_plan(events: Sequence[Event], judge: Judge) -> list[tuple[str, Violation]]:
    """What they break of the tracking plan. Raises BadInput if it is enforced."""
    broken = [
        (event.name, violation)
        for event in events
        for violation in judge.violations(event.name, event.properties)
    ]
    if judge.enforces:
        for name, violation in broken:
            if first_harm([violation]) is not None:
                of = f", property `{violation.property[:60]}`" if violation.property else ""
                raise BadInput(
                    f"event `{name[:60]}`{of} breaks the tracking plan: {violation.breach}",
                    hint="mend the event, or events.yaml",
                )
    return broken


def _event(text: bytes, source: str, received: datetime, where: str) -> Event:
    if len(text) > MAX_EVENT_BYTES:
        raise TooMuch(f"{where}One event may have {MAX_EVENT_BYTES} bytes.")
    if b"\\u0000" in text:
        raise BadInput(f"{where}a text contains U+0000, which the database cannot keep")
    try:
        item = _item.decode(text)
        properties = as_object(item.properties) or {}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{where}{error}",
            hint='a catalogue event is {"event": NAME, "properties": {…}}, optionally with'
            " `messageId` and `timestamp`",
        ) from error
    except (RecursionError, Unusable) as error:
        raise BadInput(f"{where}`properties` nests too deeply") from error
    return catalog_event(
        message_id=item.message_id or str(uuid4()),
        name=item.event,
        properties=properties,
        at=_time(item.timestamp, received, where),
        source=source,
    )


def _time(text: str | None, received: datetime, where: str) -> datetime:
    """What has not happened yet is taken as happening now."""
    if text is None:
        return received
    stated = parse_time(text)
    instant = None if stated is None else as_utc(stated)
    if instant is None:
        raise BadInput(f"{where}`timestamp` is no time in ISO 8601: {text[:40]!r}")
    return min(instant, received)
