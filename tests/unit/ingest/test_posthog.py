"""PostHog's events, as its SDKs write them, and what becomes of them here."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import posthog
from services.ingest.normalise import Scene
from services.ingest.protocol import Reading, open_posthog, read
from services.ingest.refused import Reason
from shared.errors import BadInput
from shared.event import Event, decode_unstamped, encode
from tests.unit.ingest.doubles import RecordingAside, RecordingLog
from tests.unit.ingest.sending import NOW

UUID = "0190d9c6-6e5e-7b4d-9d0a-000000000001"


def item(event: str, properties: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    own = {"uuid": UUID, "distinct_id": "u1", "timestamp": "2026-11-22T11:59:59+00:00"}
    return {**own, "event": event, "properties": properties or {}, **fields}


def taken(*items: object, **batch: Any) -> Reading:
    body = json.dumps({"api_key": "wk", "batch": items, **batch}).encode()
    parcel = open_posthog(body)
    return read(parcel, Scene(NOW, "shop", None, parcel.sent))


def event(*args: Any, **fields: Any) -> Event:
    (only,) = events(*args, **fields)
    return only


def events(*args: Any, **fields: Any) -> list[Event]:
    reading = taken(item(*args, **fields))
    assert reading.refused == []
    return reading.events


def reason(document: object) -> Reason:
    reading = taken(document)
    assert reading.events == []
    return reading.refused[0].reason


class TestKinds:
    def test_an_event_of_ones_own_is_a_track(self) -> None:
        properties = {"price": 12, "$lib": "posthog-python", "$lib_version": "7.91.1", "token": "k"}
        said = event("Product Added", properties)
        assert (said.id, said.kind, said.name, said.user_id) == (
            UUID,
            "track",
            "Product Added",
            "u1",
        )
        assert said.properties == {
            "price": 12, "$lib": "posthog-python", "$lib_version": "7.91.1"
        }  # fmt: skip
        assert said.context == {"library": {"name": "posthog-python", "version": "7.91.1"}}

    def test_identify_binds_the_anonymous_id_and_states_traits(self) -> None:
        said = event(
            "$identify",
            {"$anon_distinct_id": "a1", "$set": {"email": "u1@shop.example"}},
            **{"$set": {"plan": "pro"}, "$set_once": {"first": "ad"}},
        )
        assert (said.kind, said.user_id, said.anonymous_id) == ("identify", "u1", "a1")
        assert said.traits == {"email": "u1@shop.example", "plan": "pro"}
        assert said.traits_once == {"first": "ad"}
        assert said.extra == {}

    @pytest.mark.parametrize("name", ["$set", "$set_once", "$unset"])
    def test_traits_alone_are_an_identify(self, name: str) -> None:
        said = event(name, {"$set": {"a": 1}, "$set_once": {"b": 2}, "$unset": ["c"]})
        assert (said.kind, said.user_id) == ("identify", "u1")
        assert (said.traits, said.traits_once) == ({"a": 1, "c": None}, {"b": 2})

    def test_traits_beside_another_event_are_an_identify_of_their_own(self) -> None:
        track, identify = events("Signed Up", {"n": 1, "$set": {"plan": "pro"}})
        assert (track.kind, track.properties, track.traits) == ("track", {"n": 1}, {})
        assert (identify.kind, identify.id, identify.traits) == (
            "identify", f"{UUID}:set", {"plan": "pro"}
        )  # fmt: skip
        assert track.timestamp == identify.timestamp

    @pytest.mark.parametrize(
        ("name", "previous", "user"),
        [("$create_alias", "u1", "new"), ("$merge_dangerously", "new", "u1")],
    )
    def test_an_alias(self, name: str, previous: str, user: str) -> None:
        said = event(name, {"distinct_id": "u1", "alias": "new"})
        assert (said.kind, said.previous_id, said.user_id) == ("alias", previous, user)

    def test_a_pageview_is_a_page(self) -> None:
        said = event("$pageview", {
            "$current_url": "https://shop.example/a?b", "$pathname": "/a", "title": "A",
            "$referrer": "$direct", "$lib": "web", "$raw_user_agent": "Mozilla",
        })  # fmt: skip
        assert (said.kind, said.name) == ("page", "")
        assert said.properties["url"] == "https://shop.example/a?b"
        assert said.properties["path"] == "/a"
        assert said.context["page"]["title"] == "A"
        assert said.context["library"]["name"] == "posthog-js"
        assert said.context["userAgent"] == "Mozilla"

    def test_a_screen(self) -> None:
        said = event("$screen", {"$screen_name": "Start"})
        assert (said.kind, said.name) == ("screen", "Start")

    def test_a_group_that_a_customer_joins(self) -> None:
        properties = {"$group_type": "company", "$group_key": "acme", "$group_set": {"size": 3}}
        said = event("$groupidentify", {**properties, "$lib": "web"})
        assert (said.kind, said.user_id, said.group_id) == ("group", "u1", "acme")
        assert said.traits == {"size": 3}

    @pytest.mark.parametrize("distinct", [UUID, "$company_acme", "company_acme"])
    def test_a_group_that_nobody_joined_is_set_aside(self, distinct: str) -> None:
        properties = {"$group_type": "company", "$group_key": "acme", "$lib": "posthog-node"}
        assert reason(item("$groupidentify", properties, distinct_id=distinct)) == "no_identity"

    @pytest.mark.parametrize("name", ["$snapshot", "$web_vitals", "$exception", "$never_heard_of"])
    def test_what_means_nothing_here_is_set_aside_with_its_reason(self, name: str) -> None:
        assert reason(item(name)) == Reason.UNKNOWN_TYPE

    @pytest.mark.parametrize("name", ["$autocapture", "$pageleave", "$feature_flag_called"])
    def test_what_a_page_asked_for_is_a_track_under_its_name(self, name: str) -> None:
        assert (event(name).kind, event(name).name) == ("track", name)

    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            (7, Reason.NOT_AN_OBJECT),
            ({"distinct_id": "u1"}, Reason.NO_NAME),
            ({"event": "E"}, Reason.NO_IDENTITY),
            ({"event": "E", "distinct_id": "u" * 300}, Reason.ID_TOO_LONG),
            (item("E", {"x": "x" * 70_000}), Reason.TOO_LARGE),
        ],
    )  # fmt: skip
    def test_one_that_cannot_be_used_does_not_cost_the_others(
        self, document: object, expected: Reason
    ) -> None:
        reading = taken(item("Before"), document, item("After"))
        assert [said.name for said in reading.events] == ["Before", "After"]
        assert [refused.reason for refused in reading.refused] == [expected]


class TestWho:
    @pytest.mark.parametrize(
        ("properties", "fields"),
        [
            ({"$is_identified": False}, {}),
            ({"$device_id": "u1"}, {}),
            ({"$process_person_profile": False}, {}),
            ({}, {"options": {"process_person_profile": False}}),
        ],
    )
    def test_an_id_that_is_no_customers_is_anonymous(
        self, properties: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        said = event("E", properties, **fields)
        assert (said.user_id, said.anonymous_id) == (None, "u1")

    def test_numbers_are_ids_too(self) -> None:
        assert event("E", distinct_id=7).user_id == "7"


class TestTime:
    def test_a_browsers_clock_is_corrected_by_the_batch(self) -> None:
        sent = (NOW - timedelta(hours=1)).isoformat()
        reading = taken(item("E", {"$lib": "web"}, timestamp="2026-11-22T10:59:58Z"), sent_at=sent)
        assert reading.events[0].timestamp == NOW - timedelta(seconds=2)

    def test_an_offset_counts_back_from_the_receipt(self) -> None:
        said = event("E", timestamp=None, offset=1500)
        assert said.timestamp == NOW - timedelta(milliseconds=1500)

    def test_a_client_may_ask_not_to_be_corrected(self) -> None:
        happened = datetime(2020, 1, 1, tzinfo=UTC)
        document = item("E", timestamp=happened.isoformat(), options={"disable_skew_correction": 1})
        reading = taken(document, sent_at="2020-01-02T00:00:00Z")
        assert reading.events[0].timestamp == happened


BATCH = {"api_key": "wk", "batch": [item("E")], "sent_at": "2026-11-22T12:00:00Z"}
TEXT = json.dumps(BATCH)
FORM = "data=" + quote(base64.b64encode(TEXT.encode()).decode(), safe="")


class TestHttp:
    @pytest.mark.parametrize(
        "path", ["/batch/", "/batch", "/capture/", "/e/?compression=base64&ver=1", "/i/v0/e/?ip=0"]
    )
    @pytest.mark.parametrize(
        "content",
        [
            TEXT, gzip.compress(TEXT.encode()), FORM, "data=" + quote(TEXT), FORM + "&ip=1",
            json.dumps({**item("E"), "api_key": "wk"}),
            json.dumps([item("E", {"token": "wk"})]),
        ],
        ids=["plain", "gzip", "base64", "form", "two fields", "one event", "list"],
    )  # fmt: skip
    async def test_each_path_reads_each_form(
        self, client: httpx.AsyncClient, log: RecordingLog, path: str, content: str | bytes
    ) -> None:
        response = await client.post(path, content=content)
        assert (response.status_code, response.json()["status"]) == (200, 1)
        assert [(said.id, said.source) for said in log.events] == [(UUID, "shop")]

    @pytest.mark.parametrize("content", ["data=!", "data=", "{}", "[]", "null", "{'a'}"])
    async def test_what_is_no_batch_or_has_no_key_is_refused(
        self, client: httpx.AsyncClient, content: str
    ) -> None:
        response = await client.post("/batch/", content=content)
        assert response.status_code in (400, 401)
        assert isinstance(response.json()["message"], str)

    async def test_the_newer_protocol_hears_of_each_event(
        self, client: httpx.AsyncClient, log: RecordingLog, aside: RecordingAside
    ) -> None:
        other = item("$snapshot", uuid="other")
        only_traits = item("$set", {"$set": {"a": 1}}, uuid="traits")
        response = await client.post(
            "/i/v1/analytics/events",
            json={"created_at": "2026-11-22T12:00:00Z", "batch": [item("E"), other, only_traits]},
            headers={"Authorization": "Bearer wk", "PostHog-Sdk-Info": "posthog-python/7.91.1"},
        )
        results = {ident: told["result"] for ident, told in response.json()["results"].items()}
        assert results == {UUID: "ok", "other": "warning", "traits": "ok"}
        assert log.events[0].context["library"] == {"name": "posthog-python", "version": "7.91.1"}
        assert len(aside.items) == 1

    async def test_the_newer_protocol_without_a_key_is_unauthorized(
        self, client: httpx.AsyncClient
    ) -> None:
        response = await client.post(
            "/i/v1/analytics/events", json=BATCH | {"api_key": None, "batch": [item("E")]}
        )
        assert response.status_code == 401


words = st.sampled_from(
    [
        *("event", "distinct_id", "uuid", "timestamp", "offset", "options", "properties", "batch"),
        *("$set", "$set_once", "$unset", "$anon_distinct_id", "$lib", "$group_key", "$group_set"),
        *("alias", "token", "api_key", "sent_at", "$identify", "$create_alias", "$groupidentify"),
        *("$pageview", "$screen", "$device_id", "process_person_profile", "E", "u1", "\0", ""),
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=8),
    max_leaves=25,
)
odd_items = st.fixed_dictionaries(
    {"event": words, "distinct_id": words | st.integers()},
    optional={"properties": anything, "$set": anything, "offset": st.floats(), "uuid": anything},
)


@settings(deadline=None, max_examples=60)
@given(st.lists(odd_items | anything, max_size=3), anything)
def test_whatever_comes_is_an_event_or_set_aside(items: list[Any], sent: Any) -> None:
    reading = taken(*items, sent_at=sent)
    assert len(reading.refused) <= len(items)
    assert len(reading.events) + len(reading.refused) >= len(items)
    posthog.results(items, frozenset(event.id for event in reading.events))
    for event in reading.events:
        assert decode_unstamped(encode(event)) == event


@pytest.mark.parametrize("body", [b'{"batch":[' * 400, b"[" * 400, b'{"properties":' * 400])
def test_a_body_that_nests_deeply_is_refused_or_read(body: bytes) -> None:
    closing = {b"[": b"]", b"{": b"}"}
    tail = b"".join(closing[bytes([byte])] for byte in reversed(body) if bytes([byte]) in closing)
    try:
        parcel = open_posthog(body + b"1" + tail)
    except BadInput:
        return
    parcel.key()
    assert read(parcel, Scene(NOW, "shop")).events == []
