"""A file of events, one a line, as the log would hold them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.ingest.normalise import Scene
from services.ingest.protocol import open_parcel, read
from services.ingest.times import as_utc, parse_time
from shared.channels import CHANNELS
from shared.clock import EPOCH
from shared.errors import BadInput
from shared.event import RECEIPTS, Event, catalog_event, receipt_event
from shared.tracking import Judge, first_harm

_NO_LATER = datetime(3000, 1, 1, tzinfo=UTC)
"""Whatever is added to a receipt stays within the calendar."""
_OPTED_OUT = "unsubscribed"
"""A receipt that states a consent, as an opt-out at the carrier does."""


@dataclass(slots=True)
class Gate:
    """What ingest does by the tracking plan: where it is enforced, not every event passes."""

    judge: Judge | None = None
    kept_out: list[tuple[int, str]] = field(default_factory=list)
    """Lines whose event would be set aside, and why."""

    def lets_in(self, number: int, event: Event) -> bool:
        if self.judge is None or not self.judge.enforces or event.kind not in ("track", "catalog"):
            return True
        harm = first_harm(self.judge.violations(event.name, event.properties))
        if harm is not None:
            self.kept_out.append((number, str(harm)))
        return harm is None


def read_events(lines: Iterable[bytes], gate: Gate | None = None) -> list[Event]:
    """Events in the SDK wire format and receipts, one a line, ordered by receipt.

    `timestamp` is the receipt, unless the line has `receivedAt`: then it is what the client's clock
    said. Raises BadInput naming the line.
    """
    gate = gate or Gate()
    events = []
    for number, line in enumerate(lines, 1):
        if line.strip() and gate.lets_in(number, event := _event(number, line)):
            events.append(event)
    return sorted(events, key=lambda event: event.received_at or EPOCH)


def _event(number: int, line: bytes) -> Event:
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"line {number}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput(f"line {number}: not a JSON object")
    received = _received(number, fields)
    if fields.get("receivedAt") is None and fields.get("originalTimestamp") is None:
        fields.pop("sentAt", None)  # the clock of a receipt is our own: there is no skew
    fields.setdefault("messageId", f"line-{number}")
    if fields.get("type") == "catalog":
        return _catalog(number, fields, received)
    if fields.get("type") == "receipt":
        return _receipt(number, fields, received)
    scene = Scene(received=received, source="simulate")
    reading = read(open_parcel(msgspec.json.encode(fields)), scene)
    if reading.refused:
        raise BadInput(f"line {number}: unusable event: {reading.refused[0].reason}")
    return msgspec.structs.replace(reading.events[0], received_at=received)


def _received(number: int, fields: dict[str, Any]) -> datetime:
    stamp = fields.get("timestamp") if (at := fields.get("receivedAt")) is None else at
    stated = parse_time(stamp)
    received = None if stated is None else as_utc(stated)
    if received is None:
        raise BadInput(
            f"line {number}: no time of receipt", hint="give each event a `timestamp` in ISO 8601"
        )
    if not EPOCH <= received < _NO_LATER:
        raise BadInput(
            f"line {number}: a receipt in the year {received.year}",
            hint="a log is stamped by its own clock: write a year from 1970 to 2999",
        )
    return received


def _catalog(number: int, fields: dict[str, Any], received: datetime) -> Event:
    name, properties = fields.get("event"), fields.get("properties", {})
    if not isinstance(name, str) or not name or not isinstance(properties, dict):
        raise BadInput(
            f"line {number}: unusable catalogue event",
            hint="a catalogue event has an `event`, its name, and may have `properties`",
        )
    event = catalog_event(
        message_id=str(fields["messageId"]),
        name=name,
        properties=properties,
        at=received,
        source="simulate",
    )
    return msgspec.structs.replace(event, received_at=received)


def _receipt(number: int, fields: dict[str, Any], received: datetime) -> Event:
    """`{"type": "receipt", "channel": …, "customer": …, "outcome": "opened"}`."""
    channel, customer, outcome = (fields.get(n) for n in ("channel", "customer", "outcome"))
    if not isinstance(customer, str) or not customer:
        raise BadInput(f"line {number}: a receipt without a `customer`")
    outcomes = (*RECEIPTS, _OPTED_OUT)
    for name, value, known in (("channel", channel, CHANNELS), ("outcome", outcome, outcomes)):
        if not isinstance(value, str) or value not in known:
            raise BadInput(
                f"line {number}: a receipt's `{name}` is none of those there are",
                hint=f"write one of {', '.join(known)}",
            )
    if outcome == _OPTED_OUT:
        return Event(
            id=str(fields["messageId"]),
            kind="identify",
            timestamp=received,
            user_id=customer,
            traits={"consent": {str(channel): False}},
            source=f"receipt:{channel}",
            received_at=received,
        )
    told = receipt_event(
        receipt_id=str(fields["messageId"]),
        customer=customer,
        at=received,
        outcome=str(outcome),
        channel=str(channel),
    )
    return msgspec.structs.replace(told, received_at=received)
