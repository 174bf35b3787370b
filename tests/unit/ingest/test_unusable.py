"""What cannot be made an event, and whose key it came with."""

import json
from typing import Any

import pytest

from services.ingest.limits import MAX_DEPTH, MAX_EVENT_BYTES, MAX_EVENTS
from services.ingest.protocol import TooMuch, open_parcel
from services.ingest.refused import Reason
from tests.unit.ingest.sending import TRACK, event, reason, taken


class TestUnusable:
    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"type": None}, Reason.NO_TYPE),
            ({"type": ""}, Reason.NO_TYPE),
            ({"type": ["track"]}, Reason.NO_TYPE),
            ({"type": "trakc"}, Reason.UNKNOWN_TYPE),
            ({"type": "outcome"}, Reason.UNKNOWN_TYPE),
            ({"userId": None}, Reason.NO_IDENTITY),
            ({"userId": ""}, Reason.NO_IDENTITY),
            ({"userId": "\0"}, Reason.NO_IDENTITY),
            ({"userId": "u" * 257}, Reason.ID_TOO_LONG),
            ({"anonymousId": "u" * 257}, Reason.ID_TOO_LONG),
            ({"messageId": "m" * 101}, Reason.ID_TOO_LONG),
            ({"event": None}, Reason.NO_NAME),
            ({"event": ""}, Reason.NO_NAME),
            ({"event": {"name": "x"}}, Reason.NO_NAME),
            ({"event": "e" * 513}, Reason.NAME_TOO_LONG),
            ({"type": "page", "properties": {"name": "e" * 513}}, Reason.NAME_TOO_LONG),
            ({"type": "group"}, Reason.NO_GROUP_ID),
            ({"type": "alias"}, Reason.NO_PREVIOUS_ID),
            ({"type": "alias", "userId": None, "anonymousId": "a"}, Reason.NO_IDENTITY),
            ({"properties": {"x": "x" * MAX_EVENT_BYTES}}, Reason.TOO_LARGE),
        ],
    )
    def test_an_unusable_event_says_why(self, fields: dict[str, Any], why: Reason) -> None:
        assert reason(**fields) is why

    @pytest.mark.parametrize("item", [1, "x", None, [TRACK]])
    def test_an_item_that_is_no_object_is_unusable(self, item: object) -> None:
        assert taken({"batch": [item]}).refused[0].reason is Reason.NOT_AN_OBJECT

    def test_the_deepest_event_allowed(self) -> None:
        def nested(depth: int) -> Any:
            return [nested(depth - 1)] if depth else 1

        in_properties = MAX_DEPTH - 2  # the event and its properties are two
        properties = {"x": nested(in_properties)}
        assert event(properties=properties).properties == properties
        assert reason(properties={"x": nested(in_properties + 1)}) is Reason.TOO_DEEP
        assert reason(properties={"x": nested(900)}) is Reason.TOO_DEEP

    def test_the_others_of_a_batch_are_taken_and_the_event_is_kept_as_it_came(self) -> None:
        bad = {"type": "track", "event": "E", "properties": {"n": 1}}
        reading = taken({"batch": [TRACK, bad, {**TRACK, "messageId": "m2"}]})
        assert [made.id for made in reading.events] == ["m1", "m2"]
        (refused,) = reading.refused
        assert json.loads(refused.raw) == bad
        assert (refused.reason, refused.source) == (Reason.NO_IDENTITY, "shop")

    @pytest.mark.parametrize("pad", ["x", "\0"])
    def test_of_a_huge_event_the_beginning_is_kept(self, pad: str) -> None:
        huge = {**TRACK, "properties": {"x": pad * 3 * MAX_EVENT_BYTES}}
        reading = taken({"batch": [TRACK, huge]})
        assert len(reading.events) == 1
        assert len(reading.refused[0].raw) == MAX_EVENT_BYTES
        assert reading.refused[0].raw.startswith(b'{"type": "track"')

    def test_among_nan_too_a_huge_event_is_unusable(self) -> None:
        huge = json.dumps({**TRACK, "properties": {"x": "x" * MAX_EVENT_BYTES}}).encode()
        reading = taken(b'{"batch":[%s,%s],"n":NaN}' % (json.dumps(TRACK).encode(), huge))
        assert len(reading.events) == 1
        assert [refused.reason for refused in reading.refused] == [Reason.TOO_LARGE]

    def test_among_nan_too_the_event_is_kept(self) -> None:
        reading = taken(b'{"batch":[{"type":"track","event":"E","n":NaN}]}')
        assert json.loads(reading.refused[0].raw) == {"type": "track", "event": "E", "n": None}

    def test_events_above_the_limit_of_a_request_are_too_much(self) -> None:
        assert len(taken({"batch": [{}] * MAX_EVENTS}).refused) == MAX_EVENTS
        with pytest.raises(TooMuch):
            taken({"batch": [{}] * (MAX_EVENTS + 1)})


class TestKey:
    @pytest.mark.parametrize(
        ("body", "key"),
        [
            ({"batch": [TRACK], "writeKey": "wk"}, "wk"),
            ({"batch": [{**TRACK, "writeKey": "wk"}]}, "wk"),
            ({"batch": [{**TRACK, "writeKey": "no"}], "writeKey": "wk"}, "wk"),
            ({"batch": [{**TRACK, "writeKey": "wk", "zzz": 1}]}, "wk"),
            ({"batch": [{**TRACK, "writeKey": "wk"}], "sentAt": "soon"}, "wk"),
            ({**TRACK, "writeKey": "wk"}, "wk"),
            ({**TRACK, "writeKey": "wk", "zzz": 1}, "wk"),
            ([{**TRACK, "writeKey": "wk"}], "wk"),
            ({"batch": [TRACK], "writeKey": 7}, "7"),
            ({"batch": [TRACK], "writeKey": {}}, None),
            ({"batch": []}, None),
            ({"batch": [1]}, None),
        ],
    )
    def test_the_key_of_a_body(self, body: object, key: str | None) -> None:
        assert open_parcel(json.dumps(body).encode()).key() == key

    def test_the_key_is_found_among_nan(self) -> None:
        assert open_parcel(b'{"batch":[{"writeKey":"wk","n":NaN}]}').key() == "wk"
