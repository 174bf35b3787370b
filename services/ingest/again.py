"""Reading again what was set aside. Pure: the console replays with it what somebody has mended."""

import msgspec

from services.ingest import lenient
from services.ingest.normalise import Scene
from services.ingest.protocol import Reading, open_parcel, open_posthog, read
from shared.event import Event, decode_unstamped
from shared.tracking import Judge


class Circumstances(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the request said of an event that was set aside; without it the event reads differently.

    Stored as JSON: fields may be added, with defaults.
    """

    scene: Scene
    posthog: bool = False
    historical: bool = False


def read_again(
    payload: bytes, circumstances: Circumstances, number: int, judge: Judge | None = None
) -> Reading:
    """The event as it is understood, and held to the plan, now. Raises BadInput for no JSON.

    An event without an id gets one of its record's number: replayed twice, it still counts once.
    """
    opened = open_posthog if circumstances.posthog else open_parcel
    reading = read(opened(payload), circumstances.scene, judge)
    named = _has_id(payload)
    reading.events = [
        msgspec.structs.replace(
            event,
            id=event.id if named else f"set-aside:{number}:{place}",
            historical=circumstances.historical,
        )
        for place, event in enumerate(reading.events)
    ]
    return reading


def _has_id(payload: bytes) -> bool:
    document = lenient.parse(payload)
    return isinstance(document, dict) and any(document.get(name) for name in ("messageId", "uuid"))


def record_again(payload: bytes) -> Event:
    """A record of the log that the engine set aside. Raises msgspec.MsgspecError if it is none."""
    return decode_unstamped(payload)
