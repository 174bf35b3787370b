"""What arrives, and the events made of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.ingest import lenient
from services.ingest.protocol import Reading
from services.ingest.wire import WireKind
from shared.errors import BadInput
from shared.event import Event
from tests.unit.ingest.sending import NOW, TRACK, event, taken

SERVER = {"library": {"name": "analytics-python", "version": "2.4.0"}}
BROWSER = {"library": {"name": "analytics.js", "version": "npm:next-1.84.3"}}


def test_a_track_event_as_segments_python_sdk_sends_it() -> None:
    reading = taken(
        {
            "batch": [
                {
                    "integrations": {},
                    "anonymousId": None,
                    "properties": {"price": 12.5, "tags": ["a"]},
                    "timestamp": "2026-11-22T11:59:00.199+00:00",
                    "context": SERVER,
                    "type": "track",
                    "userId": "u1",
                    "event": "Product Added",
                    "messageId": "m1",
                }
            ],
            "sentAt": "2026-11-22T11:59:59.5+00:00",
            "writeKey": "wk",
        }
    )
    happened = datetime(2026, 11, 22, 11, 59, 0, 199000, tzinfo=UTC)
    assert reading == Reading(
        [
            Event(
                id="m1",
                kind="track",
                timestamp=happened,
                name="Product Added",
                user_id="u1",
                properties={"price": 12.5, "tags": ["a"]},
                context=SERVER,
                source="shop",
                sent_at=datetime(2026, 11, 22, 11, 59, 59, 500000, tzinfo=UTC),
                original_timestamp=happened,
            )
        ]
    )


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_the_path_names_the_kind_of_an_event_that_does_not(kind: WireKind) -> None:
    document = {"userId": "u1", "event": "e", "groupId": "g", "previousId": "p"}
    assert taken(document, kind).events[0].kind == kind
    assert taken({"batch": [document]}, kind).events[0].kind == kind
    assert taken({**document, "type": "Page "}, kind).events[0].kind == "page"


class TestIds:
    def test_numbers_become_text_and_keep_their_digits(self) -> None:
        made = event(userId=7, anonymousId=7.0, messageId=2**70, groupId=1.5)
        assert (made.user_id, made.anonymous_id, made.group_id) == ("7", "7", "1.5")
        assert made.id == str(2**70)

    def test_null_and_empty_mean_absent(self) -> None:
        made = event(userId="", anonymousId="a1", groupId="", previousId="")
        assert (made.user_id, made.anonymous_id) == (None, "a1")
        assert (made.group_id, made.previous_id) == (None, None)
        assert made.customer == "a1"

    @pytest.mark.parametrize("missing", [None, ""])
    def test_a_missing_message_id_is_made(self, missing: str | None) -> None:
        one, other = (
            taken({**TRACK, "messageId": missing}, "track").events[0].id for _ in range(2)
        )
        assert UUID(one).version == 4
        assert one != other

    def test_what_can_be_no_id_is_kept_aside_and_means_absent(self) -> None:
        made = event(userId=["u1"], anonymousId="a1", groupId=True)
        assert (made.user_id, made.group_id) == (None, None)
        assert made.extra == {"userId": ["u1"], "groupId": True}


class TestDialects:
    def test_identify_takes_traits_from_the_context_only_if_there_are_none(self) -> None:
        context = {"traits": {"plan": "pro"}}
        assert event(type="identify", context=context).traits == {"plan": "pro"}
        assert event(type="identify", context=context, traits={"a": 1}).traits == {"a": 1}
        assert event(type="identify", context=context, traits={}).traits == {}
        assert event(type="identify", context={"traits": "x"}).traits == {}

    @pytest.mark.parametrize("kind", ["track", "page", "screen"])
    def test_traits_of_other_kinds_never_update_a_profile(self, kind: str) -> None:
        made = event(type=kind, context={"traits": {"a": 1}}, traits={"b": 2})
        assert made.traits == {}
        assert made.context == {"traits": {"a": 1}}
        assert made.extra["traits"] == {"b": 2}

    def test_a_group_has_its_own_traits(self) -> None:
        made = event(type="group", groupId="g1", traits={"size": 3}, context={"traits": {"a": 1}})
        assert (made.group_id, made.traits) == ("g1", {"size": 3})

    @pytest.mark.parametrize("kind", ["page", "screen"])
    def test_a_view_is_named_at_the_top_or_in_its_properties(self, kind: str) -> None:
        assert event(type=kind, event=None, name="Home").name == "Home"
        assert event(type=kind, event=None, properties={"name": "Home"}).name == "Home"
        assert event(type=kind, event=None, name="A", properties={"name": "B"}).name == "A"
        assert event(type=kind, event=None, properties={"name": 3}).name == ""
        assert event(type=kind, event=None).name == ""

    def test_a_views_category_is_a_property(self) -> None:
        made = event(type="page", event=None, category="Docs", properties={"a": 1})
        assert made.properties == {"a": 1, "category": "Docs"}
        made = event(type="page", event=None, category="Docs", properties={"category": "x"})
        assert made.properties == {"category": "x"}
        assert event(category="Docs", name="x").extra == {"category": "Docs", "name": "x"}
        assert event(type="page").extra == {"event": "Added"}

    def test_an_alias_names_both_ids(self) -> None:
        made = event(type="alias", previousId="a1", anonymousId=None, event=None)
        assert (made.previous_id, made.user_id) == ("a1", "u1")

    def test_context_and_integrations_of_a_batch_lie_under_each_events_own(self) -> None:
        reading = taken(
            {
                "batch": [
                    {**TRACK, "context": {"a": 1}, "integrations": {"All": False}},
                    TRACK,
                    {**TRACK, "integrations": "odd"},
                ],
                "context": {"a": 2, "b": 2},
                "integrations": {"All": True, "X": True},
                "timestamp": "2001-01-01T00:00:00Z",
            }
        )
        first, second, third = reading.events
        assert first.context == {"a": 1, "b": 2}
        assert first.extra == {"integrations": {"All": False, "X": True}}
        assert second.context == {"a": 2, "b": 2}
        assert second.extra == {"integrations": {"All": True, "X": True}}
        assert third.extra == {"integrations": "odd"}
        assert second.timestamp == NOW

    def test_unknown_fields_are_kept_and_keys_and_nulls_are_not(self) -> None:
        made = event(
            channel="web", _metadata={"a": 1}, options={"b": 2}, version=3, writeKey="wk",
            receivedAt="2001-01-01T00:00:00Z", integrations={},
        )  # fmt: skip
        assert made.extra == {
            "channel": "web",
            "_metadata": {"a": 1},
            "options": {"b": 2},
            "version": 3,
        }
        assert taken({**TRACK, "version": None}).events[0].extra == {}

    def test_a_field_of_the_wrong_shape_is_kept_aside(self) -> None:
        made = event(properties="x", context=[1], traits=3, timestamp="soon", sentAt={})
        assert made.extra == {
            "properties": "x", "context": [1], "traits": 3, "timestamp": "soon", "sentAt": {},
        }  # fmt: skip
        assert (made.properties, made.context, made.timestamp) == ({}, {}, NOW)

    def test_phps_empty_list_is_an_empty_object(self) -> None:
        made = event(properties=[], context=[])
        assert (made.properties, made.context, made.extra) == ({}, {}, {})


class TestTime:
    def times(self, **fields: Any) -> Event:
        return event(**fields)

    def test_without_any_time_it_is_the_receipt(self) -> None:
        made = event()
        assert (made.timestamp, made.original_timestamp, made.sent_at) == (NOW, None, None)
        assert made.received_at is None

    def test_the_original_timestamp_wins(self) -> None:
        made = event(timestamp="2026-11-22T09:00:00Z", originalTimestamp="2026-11-22T10:00:00Z")
        assert made.timestamp == made.original_timestamp == NOW - timedelta(hours=2)

    def test_the_error_of_the_clients_clock_is_taken_out(self) -> None:
        made = event(timestamp="2026-11-20T10:00:00Z", sentAt="2026-11-20T10:05:00Z")
        assert made.timestamp == NOW - timedelta(minutes=5)
        assert made.original_timestamp == datetime(2026, 11, 20, 10, tzinfo=UTC)
        assert made.sent_at == datetime(2026, 11, 20, 10, 5, tzinfo=UTC)
        ahead = event(timestamp="2026-11-25T10:00:00Z", sentAt="2026-11-25T10:05:00Z")
        assert ahead.timestamp == NOW - timedelta(minutes=5)

    @pytest.mark.parametrize("off", [-4.9, 4.9])
    def test_a_servers_small_error_is_noise_and_a_devices_is_not(self, off: float) -> None:
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        sent = (NOW + timedelta(seconds=off)).isoformat()

        def stamp(context: dict[str, Any]) -> datetime:
            return event(timestamp=long_ago.isoformat(), sentAt=sent, context=context).timestamp

        corrected = long_ago - timedelta(seconds=off)
        assert stamp(SERVER) == stamp({}) == stamp({"library": "odd"}) == long_ago
        assert stamp(BROWSER) == corrected
        assert stamp({"library": {"name": "@jitsu/js", "env": "browser"}}) == corrected
        assert stamp({"library": {"name": "@jitsu/js", "env": "node"}}) == long_ago

    def test_a_servers_error_of_five_seconds_is_taken_out(self) -> None:
        made = event(
            timestamp="2026-11-22T11:00:00Z", sentAt="2026-11-22T11:59:55Z", context=SERVER
        )
        assert made.timestamp == datetime(2026, 11, 22, 11, 0, 5, tzinfo=UTC)

    def test_the_future_is_now(self) -> None:
        assert event(timestamp="2026-11-22T13:00:00Z").timestamp == NOW
        assert event(timestamp="9999-12-31T23:00:00Z", sentAt="2026-11-20T00:00:00Z").timestamp == (
            NOW
        )

    def test_the_events_own_sending_wins_over_the_batchs(self) -> None:
        reading = taken(
            {
                "batch": [
                    {**TRACK, "timestamp": "2026-11-22T10:00:00Z"},
                    {
                        **TRACK,
                        "timestamp": "2026-11-22T10:00:00Z",
                        "sentAt": "2026-11-22T11:59:00",
                    },
                ],
                "sentAt": "2026-11-22T12:30:00+01:00",
            }
        )
        assert [made.timestamp.minute for made in reading.events] == [30, 1]

    def test_times_at_the_ends_of_the_calendar_do_no_harm(self) -> None:
        first = "0001-01-01T00:00:00+05:00"
        assert event(timestamp=first, sentAt=first).timestamp == NOW
        made = event(timestamp="0001-01-01T00:00:00Z", sentAt="2030-01-01T00:00:00Z")
        assert made.timestamp == datetime(1, 1, 1, tzinfo=UTC)


class TestLenientJson:
    def test_what_python_writes_and_json_does_not_know(self) -> None:
        body = (
            b'{"batch":[{"type":"track","event":"E","userId":"u1","messageId":"m1","properties":'
            b'{"a":NaN,"b":Infinity,"c":-Infinity,"d":1e400,"e":1180591620717411303424,'
            b'"f":"x\\ud83dy","g":"a\\u0000b","h\\u0000":"\\ud83d\\ude00","i":"' + b"\xff" + b'",'
            b'"j":9223372036854775807,"k":9223372036854775808,"l":' + b"9" * 400 + b","
            b'"m":"tab\there"}}]}'
        )
        (made,) = taken(body).events
        assert made.properties == {
            "a": None, "b": None, "c": None, "d": None, "e": float(2**70), "f": "x\ufffdy",
            "g": "ab", "h": "😀", "i": "\ufffd", "j": 2**63 - 1, "k": float(2**63), "l": None,
            "m": "tab\there",
        }  # fmt: skip
        assert isinstance(made.properties["e"], float)
        assert isinstance(made.properties["k"], float)

    @pytest.mark.parametrize("field", ["event", "userId", "messageId"])
    def test_nul_and_surrogates_are_taken_from_names_and_ids_too(self, field: str) -> None:
        body = json.dumps({**TRACK, field: "a\0b\ud83d"}).encode()
        (made,) = taken({"batch": [json.loads(body)]}).events
        assert "ab\ufffd" in (made.name, made.user_id, made.id)

    @pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**30])
    def test_integers_beyond_64_bits_are_doubles_without_any_other_oddity(
        self, number: int
    ) -> None:
        (kept,) = event(properties={"n": [number]}).properties["n"]
        assert isinstance(kept, float)
        assert kept == float(number)

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
    def test_integers_of_64_bits_stay_as_they_are(self, number: int) -> None:
        (kept,) = event(properties={"n": [number]}).properties["n"]
        assert isinstance(kept, int)
        assert kept == number

    def test_a_number_that_no_double_holds_is_null(self) -> None:
        assert event(properties={"n": 10**350}).properties == {"n": None}

    def test_a_batchs_context_has_the_depth_of_an_events(self) -> None:
        context: dict[str, Any] = {}
        for _ in range(40):
            context = {"a": context}
        with pytest.raises(BadInput):
            taken({"batch": [TRACK], "context": context})

    def test_what_is_too_deep_to_be_written_is_written_as_nothing(self) -> None:
        value: list[Any] = []
        for _ in range(5_000):
            value = [value]
        assert lenient.write(value) == b""

    def test_a_byte_order_mark_is_skipped(self) -> None:
        assert len(taken(b"\xef\xbb\xbf" + json.dumps(TRACK).encode()).events) == 1

    def test_a_bare_list_is_a_batch(self) -> None:
        assert len(taken([TRACK, TRACK]).events) == 2

    @pytest.mark.parametrize(
        "body",
        [b"", b"hello", b"{", b"7", b"null", b'"x"', b'{"batch":{}}', b'{"batch":7}'],
    )
    def test_what_is_no_event_and_no_batch_is_the_clients_mistake(self, body: bytes) -> None:
        with pytest.raises(BadInput):
            taken(body)

    @pytest.mark.parametrize("key", ["zzz", "batch", "context"])
    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_bottomless_json_is_refused_without_a_crash(self, key: str, opening: bytes) -> None:
        with pytest.raises(BadInput):
            taken(b'{"%s":' % key.encode() + opening * 100_000)
        closing = b"]" if opening == b"[" else b"}"
        whole = b'{"%s":' % key.encode() + opening * 100_000 + b"1" + closing * 100_000 + b"}"
        with pytest.raises(BadInput):
            taken(whole)
