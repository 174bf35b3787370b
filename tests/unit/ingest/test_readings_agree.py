"""However a body is read, strictly at once, cut up, or leniently, the same events come out."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import protocol
from services.ingest.normalise import CLIENT_LIBRARIES, Scene
from services.ingest.protocol import Parcel, Reading, open_parcel, read
from services.ingest.wire import WireKind
from shared.errors import BadInput

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
).filter(lambda value: _depth(value) <= 5)
objects = st.dictionaries(texts | st.just("name") | st.just("category"), values, max_size=4)
instants = st.datetimes(timezones=st.just(UTC) | st.none()).map(datetime.isoformat)
libraries = st.sampled_from([*sorted(CLIENT_LIBRARIES), "analytics-python"])
contexts = objects | st.builds(
    lambda name, traits: {"library": {"name": name, "env": "node"}, "traits": traits},
    libraries | values,
    values,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(get_args(WireKind)),
    "event": maybe(texts),
    "name": maybe(texts),
    "category": values,
    "userId": maybe(texts),
    "anonymousId": maybe(texts),
    "previousId": maybe(texts),
    "groupId": maybe(texts),
    "properties": maybe(objects),
    "traits": maybe(objects),
    "context": maybe(contexts),
    "timestamp": maybe(instants),
    "originalTimestamp": maybe(instants),
    "sentAt": maybe(instants),
    "receivedAt": values,
    "integrations": values,
    "writeKey": values,
    "channel": values,
    "options": values,
    "_metadata": values,
}
message_ids = st.text("abc-123", min_size=1, max_size=40)
events = st.fixed_dictionaries({"messageId": message_ids}, optional=FIELDS)
batches = st.fixed_dictionaries(
    {"batch": st.lists(events, max_size=4)},
    optional={
        "sentAt": maybe(instants),
        "context": maybe(contexts),
        "integrations": maybe(objects),
        "writeKey": maybe(texts),
        "timestamp": values,
    },
)
odd_events = st.dictionaries(
    st.sampled_from(sorted(FIELDS)) | texts, values | instants | st.integers(), max_size=8
).map(lambda document: {**document, "messageId": "m1"})


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def reading(parcel: Parcel) -> Reading:
    scene = Scene(NOW, "shop", None, parcel.sent, parcel.context, parcel.integrations)
    return read(parcel, scene)


def same(one: Reading, other: Reading) -> None:
    assert repr(one.events) == repr(other.events)  # tells 1 from 1.0 and from True
    refused = [replace(item, raw=b"") for item in one.refused]
    assert refused == [replace(item, raw=b"") for item in other.refused]


@settings(deadline=None)
@given(batches, st.booleans())
def test_the_strict_reading_makes_the_events_of_the_others(batch: Any, ascii_only: bool) -> None:
    body = json.dumps(batch, ensure_ascii=ascii_only).encode()
    strict = open_parcel(body)
    assert strict.wires is not None
    cut, lenient = protocol._loose(body), protocol._lenient(body[:-1] + b', "n": NaN}')
    assert strict.key() == cut.key() == lenient.key()
    same(reading(strict), reading(cut))
    same(reading(strict), reading(lenient))


@settings(deadline=None)
@given(st.lists(odd_events | values, max_size=3))
def test_odd_events_come_out_the_same_cut_up_or_leniently(items: Any) -> None:
    body = json.dumps({"batch": items}).encode()
    lenient = protocol._lenient(body[:-1] + b', "n": NaN}')
    same(reading(protocol._loose(body)), reading(lenient))


@settings(deadline=None)
@given(events)
def test_one_event_comes_out_as_it_would_of_a_batch(document: Any) -> None:
    alone = open_parcel(json.dumps(document).encode(), single=True)
    assert alone.wires is not None
    same(reading(alone), reading(open_parcel(json.dumps({"batch": [document]}).encode())))


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text("{}[]\",:tueNa0-.\\ \0\ud83d").map(
    lambda text: text.encode("utf-8", "surrogatepass")))  # fmt: skip
def test_no_body_at_all_does_more_than_be_refused(body: bytes) -> None:
    try:
        parcel = open_parcel(body)
    except BadInput:
        return
    reading(parcel)
