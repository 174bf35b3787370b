"""PostHog's events, said in Segment's words, which the rest of ingest understands.

PostHog knows one id, `distinct_id`, for customers with and without a name, and one kind of event;
what the others do, names that begin with `$` do there: docs/ingest.md has the table. `translate`
is pure; what it returns is read as leniently, and bounded, as any other event.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes

from services.ingest import lenient
from services.ingest.coerce import as_text
from services.ingest.limits import MAX_MESSAGE_ID
from services.ingest.refused import Reason, Unusable
from shared.errors import BadInput

Document = dict[str, Any]

_AS_TRACK = frozenset(
    {"$autocapture", "$rageclick", "$pageleave", "$feature_flag_called", "$opt_in"}
)
"""Of PostHog's own names, those that tell what a customer did; a page must ask for most of them."""
_PERSON = ("$set", "$set_once", "$unset")
_SERVERS = ("posthog-python", "posthog-node", "posthog-go", "posthog-ruby", "posthog-php")
_MADE_UP = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SET_SUFFIX = ":set"


def unwrap(body: bytes) -> bytes:
    """The JSON of a body: of a form's field `data`, where it may stand in Base64, or as it is."""
    if not body.startswith(b"data="):
        return body
    text = unquote_to_bytes(body[5:].partition(b"&")[0]).strip()
    if text[:1] in (b"{", b"["):
        return text
    try:
        return base64.b64decode(text.replace(b" ", b"+") + b"==", altchars=None)
    except (binascii.Error, ValueError) as error:
        raise BadInput("The form's field `data` is neither JSON nor Base64.") from error


def key_of(document: Any) -> str | None:
    """The project key: the batch's, else the first event's."""
    batch = document.get("batch") if isinstance(document, dict) else document
    first = batch[0] if isinstance(batch, list) and batch else None
    for place in (document, first):
        if not isinstance(place, dict):
            continue
        for value in (place.get("api_key"), place.get("token"), _token(place)):
            if key := as_text(value):
                return key
    return None


def _token(event: Document) -> Any:
    return _object(event.get("properties")).get("token")


def bearer(authorization: bytes) -> tuple[str, ...]:
    scheme, _, key = authorization.decode("latin-1").partition(" ")
    return (key.strip(),) if scheme.lower() == "bearer" and key.strip() else ()


def library_of(headers: Mapping[bytes, bytes]) -> Document | None:
    """The context that `PostHog-Sdk-Info: name/version` gives to events that name no library."""
    name, _, version = headers.get(b"posthog-sdk-info", b"").decode("latin-1").partition("/")
    return {"library": {"name": name, "version": version}} if name else None


def results(items: Sequence[Any], stored: frozenset[str]) -> dict[str, dict[str, str]]:
    """What the newer protocol is answered: for each event, by its uuid, what became of it.

    An event that was set aside is a `warning`: it is kept, and sending it again would not help.
    """
    told: dict[str, dict[str, str]] = {}
    for item in items:
        uuid = as_text(item.get("uuid")) if isinstance(item, dict) else None
        if uuid and (uuid in stored or f"{uuid}{_SET_SUFFIX}" in stored):
            told[uuid] = {"result": "ok"}
        elif uuid:
            told[uuid] = {"result": "warning", "details": "The event cannot be used: set aside."}
    return told


def translate(item: Any, received: datetime) -> list[Document]:
    """One event as Segment's SDKs would have written it: one, or two if it also states traits.

    Raises Unusable.
    """
    if not isinstance(item, dict):
        raise Unusable(Reason.NOT_AN_OBJECT)
    name = as_text(item.get("event"))
    if not name:
        raise Unusable(Reason.NO_NAME)
    properties = _object(item.get("properties"))
    distinct = as_text(item.get("distinct_id")) or as_text(properties.get("distinct_id"))
    if not distinct:
        raise Unusable(Reason.NO_IDENTITY)
    common = _common(item, properties, received)
    person = _person(item, properties)
    rest = {k: v for k, v in properties.items() if k not in _PERSON and k not in _DROPPED}
    who = _who(distinct, properties, _object(item.get("options")))
    if name in ("$identify", *_PERSON):
        if name == "$identify":
            who = {"userId": distinct, "anonymousId": properties.get("$anon_distinct_id")}
        return [{**common, **who, **person, "type": "identify"}]
    said = {**common, **who, **_said(name, distinct, rest)}
    if not person:
        return [said]
    ident = as_text(common["messageId"]) or ""
    own = ident + _SET_SUFFIX if ident and len(ident) + 4 <= MAX_MESSAGE_ID else None
    return [said, {**common, **who, **person, "type": "identify", "messageId": own}]


_DROPPED = frozenset({"token", "api_key", "distinct_id"})
"""A credential, and what has a place of its own."""


def _said(name: str, distinct: str, properties: Document) -> Document:
    """Kind and content of an event, and its ids where they differ from the common ones."""
    if name in ("$create_alias", "$merge_dangerously"):
        ids = (distinct, properties.get("alias"))
        old, new = reversed(ids) if name == "$merge_dangerously" else ids
        return {"type": "alias", "previousId": old, "userId": new, "anonymousId": None}
    if name == "$groupidentify":
        return _group(distinct, properties)
    if name == "$pageview":
        return {"type": "page", "properties": {**_page(properties), **properties}}
    if name == "$screen":
        return {
            "type": "screen", "name": properties.get("$screen_name"), "properties": properties
        }  # fmt: skip
    if name.startswith("$") and name not in _AS_TRACK:
        raise Unusable(Reason.UNKNOWN_TYPE)
    return {"type": "track", "event": name, "properties": properties}


def _group(distinct: str, properties: Document) -> Document:
    """A server's SDK that is told no customer makes an id up: that one joined no group."""
    kind, key = properties.get("$group_type"), properties.get("$group_key")
    if properties.get("$lib") in (*_SERVERS, None) and (
        _MADE_UP.fullmatch(distinct) or distinct.lstrip("$") == f"{kind}_{key}"
    ):
        raise Unusable(Reason.NO_IDENTITY)
    rest = {name: value for name, value in properties.items() if name != "$group_set"}
    return {
        "type": "group",
        "groupId": key,
        "traits": properties.get("$group_set"),
        "properties": rest,
    }


def _who(distinct: str, properties: Document, options: Document) -> Document:
    """The id in its place: PostHog's libraries say in three ways that it is not a customer's."""
    anonymous = (
        properties.get("$is_identified") is False
        or properties.get("$device_id") == distinct
        or properties.get("$process_person_profile") is False
        or options.get("process_person_profile") is False
    )
    return {"anonymousId": distinct} if anonymous else {"userId": distinct}


def _person(item: Document, properties: Document) -> Document:
    """`traits` that replace, and those that only fill gaps, where an event states any."""
    found: dict[str, Document] = {}
    for field in ("$set", "$set_once"):
        found[field] = {**_object(properties.get(field)), **_object(item.get(field))}
    for source in (properties.get("$unset"), item.get("$unset")):
        if isinstance(source, list):
            found["$set"].update({name: None for name in source if isinstance(name, str)})
    person: Document = {}
    if found["$set"]:
        person["traits"] = found["$set"]
    if found["$set_once"]:
        person["$set_once"] = found["$set_once"]
    return person


def _common(item: Document, properties: Document, received: datetime) -> Document:
    common: Document = {
        "messageId": item.get("uuid") or properties.get("$insert_id"),
        "timestamp": item.get("timestamp"),
        "context": _context(properties),
    }
    offset = item.get("offset")
    if common["timestamp"] is None and isinstance(offset, int | float):
        common["timestamp"] = _before(received, offset)
        common["sentAt"] = received.isoformat()
    options = _object(item.get("options"))
    if options.get("disable_skew_correction") or properties.get("$ignore_sent_at") is True:
        common["sentAt"] = received.isoformat()
    return common


def _before(received: datetime, milliseconds: float) -> str | None:
    try:
        return (received - timedelta(milliseconds=milliseconds)).isoformat()
    except (OverflowError, ValueError):
        return None


def _context(properties: Document) -> Document:
    """What Segment's SDKs tell of the surroundings; only what is there."""
    library = properties.get("$lib")
    context: Document = {
        "ip": properties.get("$ip"),
        "userAgent": properties.get("$raw_user_agent") or properties.get("$user_agent"),
        "locale": properties.get("$browser_language") or properties.get("$locale"),
        "timezone": properties.get("$timezone"),
    }
    if library is not None:
        name = "posthog-js" if library == "web" else library
        context["library"] = {"name": name, "version": properties.get("$lib_version")}
    if page := _page(properties):
        context["page"] = page
    return {name: value for name, value in context.items() if value is not None}


def _page(properties: Document) -> Document:
    page = {
        "url": properties.get("$current_url"),
        "path": properties.get("$pathname"),
        "referrer": properties.get("$referrer"),
        "title": properties.get("title"),
    }
    return {name: value for name, value in page.items() if value is not None}


def _object(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def parse(body: bytes) -> Any:
    """The body's JSON value. Raises BadInput."""
    return lenient.parse(unwrap(body))
