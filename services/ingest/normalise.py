"""From a wire event to the record of the log: one dialect, one clock, one place for each thing.

The dialects and the rule for `timestamp` are those of the SDKs; docs/ingest.md tells them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from services.ingest.limits import MAX_NAME
from services.ingest.refused import Reason, Unusable
from services.ingest.times import as_utc
from services.ingest.wire import Wire, WireKind
from shared.event import Event

NOISE = timedelta(seconds=5)
"""Below it, a server library's skew is the network's latency, and imported times stay exact."""
_NEGATIVE_NOISE = -NOISE

CLIENT_LIBRARIES = frozenset(
    {
        "analytics.js",
        "RudderLabs JavaScript SDK",
        "@jitsu/js",
        "posthog-js",
        "posthog-android",
        "posthog-ios",
        "posthog-flutter",
        "posthog-react-native",
        "analytics-android",
        "analytics-ios",
        "analytics-kotlin",
        "analytics-swift",
        "analytics-react-native",
        "@segment/analytics-react-native",
        "analytics_flutter",
        "com.rudderstack.android.sdk.core",
        "rudder-ios-library",
        "rudder-react-native",
    }
)
"""Libraries that run on customers' devices, whose clocks are corrected however little they err."""


class Scene(msgspec.Struct, frozen=True, gc=False):
    """What holds for every event of one request. A Struct: one is made for each request."""

    received: datetime
    source: str
    kind: WireKind | None = None
    """The kind that the path names, for events that name none."""
    sent: datetime | None = None
    """When the batch was sent by the client's clock."""
    context: Mapping[str, Any] | None = None
    integrations: Mapping[str, Any] | None = None
    ip: str | None = None
    """The address that sent it, and the browser: of use only if it is the customer's own device."""
    user_agent: str | None = None
    locale: str | None = None


def event_of(wire: Wire, scene: Scene, rest: Mapping[str, Any] | None = None) -> Event:
    """The event meant; `rest` are fields that `Wire` does not know. Raises Unusable."""
    kind = wire.type or scene.kind
    if kind is None:
        raise Unusable(Reason.NO_TYPE)
    user = wire.user_id or None
    anonymous = wire.anonymous_id or None
    if user is None and anonymous is None:
        raise Unusable(Reason.NO_IDENTITY)
    properties = wire.properties or {}
    context = wire.context or {}
    if scene.context:
        context = {**scene.context, **context}
    on_a_device = _on_a_device(context)
    if on_a_device or "direct" in context:
        context = _with_peer(context, scene, on_a_device=on_a_device)
    traits: dict[str, Any] = {}
    name = ""
    if kind == "track":
        name = wire.event or ""
        if not name:
            raise Unusable(Reason.NO_NAME)
    elif kind == "page" or kind == "screen":
        name, properties = _view(wire, properties)
    else:
        traits = _traits(wire, kind, user, context)
    sent, original = _client_times(wire, scene)
    return Event(
        id=wire.message_id or str(uuid4()),
        kind=kind,
        timestamp=_timestamp(original, sent, scene.received, on_a_device),
        name=name,
        user_id=user,
        anonymous_id=anonymous,
        previous_id=wire.previous_id or None,
        group_id=wire.group_id or None,
        properties=properties,
        traits=traits,
        context=context,
        source=scene.source,
        sent_at=sent,
        original_timestamp=original,
        extra=_extra(wire, kind, scene, rest),
    )


def _view(wire: Wire, properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and properties of a page or screen; `category` is a property, as some SDKs have it."""
    name = wire.name or properties.get("name")
    if not isinstance(name, str):
        name = ""
    if len(name) > MAX_NAME:
        raise Unusable(Reason.NAME_TOO_LONG)
    if wire.category is not None and properties.get("category") is None:
        properties = {**properties, "category": wire.category}
    return name, properties


def _traits(
    wire: Wire, kind: WireKind, user: str | None, context: Mapping[str, Any]
) -> dict[str, Any]:
    if kind == "identify":
        # Rudder's SDKs send an identify's traits nowhere but in the context.
        traits = wire.traits if wire.traits is not None else context.get("traits")
        return traits if isinstance(traits, dict) else {}
    if kind == "group":
        if not wire.group_id:
            raise Unusable(Reason.NO_GROUP_ID)
        return wire.traits or {}
    if user is None:
        raise Unusable(Reason.NO_IDENTITY)
    if not wire.previous_id:
        raise Unusable(Reason.NO_PREVIOUS_ID)
    return {}


def _client_times(wire: Wire, scene: Scene) -> tuple[datetime | None, datetime | None]:
    """When it was sent and when it happened, both by the client's clock, if it says."""
    sent = wire.sent_at
    if sent is None:
        sent = scene.sent
    elif sent.tzinfo is not UTC:
        sent = as_utc(sent)
    original = wire.original_timestamp or wire.timestamp
    if original is not None and original.tzinfo is not UTC:
        original = as_utc(original)
    return sent, original


def _timestamp(
    original: datetime | None,
    sent: datetime | None,
    received: datetime,
    on_a_device: bool,
) -> datetime:
    """When it happened, by our clock; nothing has happened in the future."""
    if original is None:
        return received
    if sent is not None:
        original = _corrected(original, received - sent, on_a_device)
    return min(original, received)


def _corrected(original: datetime, skew: timedelta, on_a_device: bool) -> datetime:
    if _NEGATIVE_NOISE < skew < NOISE and not on_a_device:
        return original
    try:
        return original + skew
    except OverflowError:
        return original


def _with_peer(context: dict[str, Any], scene: Scene, *, on_a_device: bool) -> dict[str, Any]:
    """Address, browser and language from the request, where the event does not tell them itself.

    From a server only if it asks with `direct`: its own address says nothing of the customer.
    """
    if not on_a_device and context.get("direct") is not True:
        return context
    told = {"ip": scene.ip, "userAgent": scene.user_agent, "locale": scene.locale}
    gaps = {k: v for k, v in told.items() if v is not None and context.get(k) is None}
    return {**context, **gaps} if gaps else context


def _on_a_device(context: Mapping[str, Any]) -> bool:
    library = context.get("library")
    if not isinstance(library, dict):
        return False
    name = library.get("name")
    if not isinstance(name, str) or name not in CLIENT_LIBRARIES:
        return False
    return name != "@jitsu/js" or library.get("env") != "node"


def _extra(
    wire: Wire, kind: WireKind, scene: Scene, rest: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The fields without a place of their own. Nulls and empty `integrations` say nothing."""
    extra = dict(rest) if rest else {}
    integrations = wire.integrations
    if scene.integrations and (integrations is None or isinstance(integrations, dict)):
        integrations = {**scene.integrations, **(integrations or {})}
    if integrations:
        extra["integrations"] = integrations
    if wire.channel is not None:
        extra["channel"] = wire.channel
    if wire.options is not None:
        extra["options"] = wire.options
    if wire.metadata is not None:
        extra["_metadata"] = wire.metadata
    _misplaced(wire, kind, extra)
    return extra


def _misplaced(wire: Wire, kind: WireKind, extra: dict[str, Any]) -> None:
    """Fields that mean something in other kinds: Rudder repeats traits, and they are no update."""
    if wire.traits and kind != "identify" and kind != "group":
        extra["traits"] = wire.traits
    if wire.event and kind != "track":
        extra["event"] = wire.event
    if wire.name and kind != "page" and kind != "screen":
        extra["name"] = wire.name
    if wire.category is not None and kind != "page" and kind != "screen":
        extra["category"] = wire.category
