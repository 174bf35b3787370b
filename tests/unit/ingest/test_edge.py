"""The HTTP edge as a client sees it."""

import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from services.ingest.app import IngestContext, create_app
from services.ingest.refused import Reason
from shared.errors import ConfigurationError, Unavailable
from shared.keys import Source
from shared.workspace import ClientContext, IngestSettings, WorkspaceSettings
from tests.unit.ingest.doubles import FixedKeys, RecordingAside, RecordingLog
from tests.unit.ingest.sending import TRACK, WK, basic, is_error

SUCCESS = b'{"success":true,"ok":true,"status":1}'
LONG = ("batch", "track", "identify", "page", "screen", "group", "alias")
SDK_PATHS = [
    *(f"/{name[0]}" for name in LONG),
    *(f"/api/public/apps/{name}" for name in LONG),
    *(f"/api/s/{s2s}{name}" for name in LONG for s2s in ("", "s2s/")),
    "/beacon/v1/batch",
]
PATHS = [f"/v1/{form}{slash}" for name in LONG for form in (name, name[0]) for slash in ("", "/")]


class TestRoutes:
    @pytest.mark.parametrize("path", PATHS)
    async def test_each_path_takes_a_batch_and_answers_the_one_success(
        self, client: httpx.AsyncClient, log: RecordingLog, path: str
    ) -> None:
        response = await client.post(path, json={"batch": [TRACK]}, headers=WK)
        assert (response.status_code, response.content) == (200, SUCCESS)
        assert response.headers["content-type"] == "application/json"
        assert [(event.id, event.source) for event in log.events] == [("m1", "shop")]

    @pytest.mark.parametrize("path", SDK_PATHS)
    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_the_paths_of_each_sdk_are_its_own_words_for_the_same(
        self, client: httpx.AsyncClient, log: RecordingLog, path: str, slash: str
    ) -> None:
        response = await client.post(f"{path}{slash}?writeKey=wk", json={"batch": [TRACK]})
        assert (response.status_code, response.content) == (200, SUCCESS)
        assert [event.id for event in log.events] == ["m1"]

    @pytest.mark.parametrize("name", LONG[1:])
    async def test_a_path_names_the_kind_of_its_event(
        self, client: httpx.AsyncClient, log: RecordingLog, name: str
    ) -> None:
        document = {"userId": "u1", "event": "e", "groupId": "g", "previousId": "p"}
        await client.post(f"/v1/{name}", json=document, headers=WK)
        await client.post(f"/v1/{name[0]}", json=document, headers=WK)
        assert [event.kind for event in log.events] == [name, name]

    @pytest.mark.parametrize(
        "content_type",
        [
            *("application/json", "application/json;charset=UTF-8", "text/plain", "nonsense"),
            *("application/x-www-form-urlencoded", "multipart/form-data", ""),
        ],
    )
    async def test_the_content_type_is_not_looked_at(
        self, client: httpx.AsyncClient, log: RecordingLog, content_type: str
    ) -> None:
        headers = {**WK, "Content-Type": content_type}
        response = await client.post("/v1/track", content=json.dumps(TRACK), headers=headers)
        assert response.status_code == 200
        assert len(log.events) == 1

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_another_method_is_refused(self, client: httpx.AsyncClient, method: str) -> None:
        response = await client.request(method, "/v1/batch")
        assert response.headers["allow"] == "POST, OPTIONS"
        is_error(response, 405, "method_not_allowed")

    @pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1/batch//", "/V1/batch"])
    async def test_another_path_is_not_found_and_not_redirected(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        is_error(await client.post(path, json=TRACK, headers=WK), 404, "not_found")

    async def test_below_a_root_path_too(self, context: IngestContext, log: RecordingLog) -> None:
        transport = httpx.ASGITransport(create_app(context), root_path="/in")
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            response = await client.post("/in/v1/track", json=TRACK, headers=WK)
        assert response.status_code == 200


class TestKeys:
    @pytest.mark.parametrize(
        ("headers", "query", "body", "source"),
        [
            (basic("wk:"), "", {}, "shop"),
            (basic("wk"), "", {}, "shop"),
            (basic("wk:ignored"), "", {}, "shop"),
            (basic("id:secret:"), "", {}, "pair"),
            (basic("adm:"), "", {}, "root"),
            ({"Authorization": WK["Authorization"].replace("Basic", "basic")}, "", {}, "shop"),
            ({"X-Write-Key": "wk"}, "", {"writeKey": "wk:***"}, "shop"),
            ({"X-Write-Key": "id:secret"}, "", {}, "pair"),
            ({}, "?writeKey=wk", {}, "shop"),
            ({}, "?writeKey=id%3Asecret", {"writeKey": "no"}, "pair"),
            ({}, "", {"writeKey": "wk"}, "shop"),
            ({"Authorization": "Bearer abc"}, "", {"writeKey": "wk"}, "shop"),
            ({"Authorization": "Basic !!!"}, "?writeKey=", {"writeKey": "wk"}, "shop"),
            (basic(":"), "", {"writeKey": "wk"}, "shop"),
            ({"Authorization": "wk"}, "", {}, "shop"),
            ({"Authorization": "Bearer"}, "", {"writeKey": "wk"}, "shop"),
        ],
    )
    async def test_a_key_is_found_where_sdks_put_it(
        self,
        client: httpx.AsyncClient,
        log: RecordingLog,
        headers: Mapping[str, str],
        query: str,
        body: dict[str, str],
        source: str,
    ) -> None:
        document = {"batch": [TRACK], **body}
        response = await client.post(f"/v1/batch{query}", json=document, headers=headers)
        assert response.status_code == 200
        assert log.events[0].source == source

    @pytest.mark.parametrize(
        ("headers", "query", "body"),
        [
            ({}, "", {}),
            (basic("no:"), "", {"writeKey": "wk"}),
            ({"X-Write-Key": "no"}, "?writeKey=wk", {}),
            ({}, "?writeKey=no", {"writeKey": "wk"}),
            ({}, "", {"writeKey": "no"}),
            ({}, "", {"writeKey": {"a": 1}}),
        ],
    )
    async def test_the_first_key_found_decides_and_a_bad_one_is_unauthorized(
        self,
        client: httpx.AsyncClient,
        log: RecordingLog,
        headers: Mapping[str, str],
        query: str,
        body: dict[str, str],
    ) -> None:
        document = {"batch": [TRACK], **body}
        response = await client.post(f"/v1/batch{query}", json=document, headers=headers)
        is_error(response, 401, "unauthorized")
        assert log.events == []

    async def test_a_key_without_the_right_to_write_is_forbidden(
        self, client: httpx.AsyncClient
    ) -> None:
        is_error(
            await client.post("/v1/track", json=TRACK, headers=basic("look:")), 403, "forbidden"
        )

    async def test_with_a_bad_key_in_a_header_the_body_is_not_read(
        self, client: httpx.AsyncClient
    ) -> None:
        pulled: list[bytes] = []

        async def body() -> AsyncIterator[bytes]:
            for piece in (b"{", b"}"):
                pulled.append(piece)
                yield piece

        response = await client.post("/v1/track", content=body(), headers=basic("no:"))
        is_error(response, 401, "unauthorized")
        assert pulled == []

    async def test_a_key_store_in_trouble_is_our_trouble(
        self, client: httpx.AsyncClient, keys: FixedKeys
    ) -> None:
        keys.failing = True
        response = await client.post("/v1/track", json=TRACK, headers=WK)
        is_error(response, 503, "unavailable")
        assert response.headers["retry-after"] == "1"


async def test_whoever_stands_in_front_may_add_a_header_to_each_answer(
    context: IngestContext,
) -> None:
    app = create_app(context)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-front", b"1"))
            await send(message)

        await app(scope, receive, add)

    transport = httpx.ASGITransport(front)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for _ in range(2):
            response = await client.post("/v1/track", json=TRACK, headers=WK)
            assert response.headers.get_list("x-front") == ["1"]


class TestTrouble:
    @pytest.mark.parametrize(
        "error", [Unavailable("db at 10.0.0.5"), ConfigurationError("x"), ValueError("u1")]
    )
    async def test_whatever_fails_behind_the_edge_is_503_and_says_nothing_of_it(
        self, client: httpx.AsyncClient, log: RecordingLog, error: Exception
    ) -> None:
        log.failures.append(error)
        response = await client.post("/v1/track", json=TRACK, headers=WK)
        is_error(response, 503, "unavailable")
        assert response.headers["retry-after"] == "1"
        assert response.json()["message"] == "Not available right now; try again."
        assert (await client.post("/v1/track", json=TRACK, headers=WK)).status_code == 200

    @pytest.mark.parametrize("path", ["/api/public/apps/batch", "/api/s/track"])
    async def test_sdks_that_send_nothing_twice_wait_while_the_log_is_away(
        self,
        client: httpx.AsyncClient,
        log: RecordingLog,
        aside: RecordingAside,
        registry: CollectorRegistry,
        path: str,
    ) -> None:
        log.failures += [Unavailable(), TimeoutError(), Unavailable()]
        batch = {"batch": [{"type": "track", "event": "E", "userId": "u1"}, 7]}
        response = await client.post(path, json=batch, headers=WK)
        assert (response.status_code, response.content) == (200, SUCCESS)
        assert len(log.events) == 1
        assert len(aside.items) == 1
        assert registry.get_sample_value("dangol_ingest_held") == 0

    async def test_they_do_not_wait_for_ever(
        self, tight_client: httpx.AsyncClient, keys: FixedKeys
    ) -> None:
        keys.failing = True
        response = await tight_client.post("/api/s/track", json=TRACK, headers=WK)
        is_error(response, 503, "unavailable")

    async def test_a_refused_event_is_put_aside_and_the_others_are_stored(
        self, client: httpx.AsyncClient, log: RecordingLog, aside: RecordingAside
    ) -> None:
        batch = [TRACK, {"type": "track", "event": "E"}]
        response = await client.post("/v1/batch", json={"batch": batch}, headers=WK)
        assert (response.status_code, response.content) == (200, SUCCESS)
        assert [event.id for event in log.events] == ["m1"]
        assert [(item.reason, item.source) for item in aside.items] == [
            (Reason.NO_IDENTITY, "shop")
        ]

    async def test_what_cannot_be_put_aside_is_asked_for_again_and_nothing_is_stored(
        self, client: httpx.AsyncClient, log: RecordingLog, aside: RecordingAside
    ) -> None:
        aside.failing = True
        batch = [TRACK, {"type": "track", "event": "E"}]
        is_error(
            await client.post("/v1/batch", json={"batch": batch}, headers=WK), 503, "unavailable"
        )
        assert log.events == []

    async def test_an_error_elsewhere_in_the_app_has_the_same_shape(
        self, context: IngestContext
    ) -> None:
        app = create_app(context)

        @app.get("/number/{number}")
        async def number(number: int) -> float:
            return 1 / number

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            is_error(await client.get("/number/x"), 400, "bad_request")
            is_error(await client.get("/number/0"), 503, "unavailable")
            is_error(await client.put("/number/1"), 405, "method_not_allowed")


class TestCors:
    @pytest.mark.parametrize("path", PATHS)
    async def test_a_preflight_is_granted_what_it_asks_for(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        asked = "authorization,rsa-retry-attempt,x-retry-count"
        response = await client.options(
            path,
            headers={
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert response.is_success
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-allow-headers"] == asked
        assert "POST" in response.headers["access-control-allow-methods"]
        assert response.headers["access-control-max-age"] == "7200"

    async def test_a_page_may_send_its_cookies_along(self, client: httpx.AsyncClient) -> None:
        headers = {**WK, "Origin": "https://shop.example", "Cookie": "a=b"}
        for document, status in ((TRACK, 200), (7, 400)):
            response = await client.post("/v1/t", json=document, headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "https://shop.example"
            assert response.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in response.headers["vary"]

    async def test_every_answer_may_be_read_by_every_page(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        log.failures.append(Unavailable())
        for status in (503, 200):
            response = await client.post("/v1/track", json=TRACK, headers=WK)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["access-control-expose-headers"] == "Retry-After"


async def test_the_header_tells_when_an_event_was_sent(
    client: httpx.AsyncClient, log: RecordingLog
) -> None:
    document = {**TRACK, "timestamp": "2026-11-20T10:00:00Z"}
    headers = {**WK, "SentAt": "2026-11-20T11:00:00Z"}
    await client.post("/v1/track", json=document, headers=headers)
    assert log.events[0].timestamp.isoformat() == "2026-11-22T11:00:00+00:00"


@pytest.mark.parametrize(
    ("surroundings", "told"),
    [
        ({"library": {"name": "analytics.js"}}, True),
        ({"library": {"name": "@jitsu/js", "env": "browser"}}, True),
        ({"library": {"name": "@jitsu/js", "env": "node"}}, False),
        ({"library": {"name": "analytics-python"}}, False),
        ({}, False),
        ({"direct": True}, True),
    ],
)
async def test_address_and_browser_are_taken_from_customers_devices_only(
    context: IngestContext, client: httpx.AsyncClient, log: RecordingLog,
    surroundings: dict[str, object], told: bool,
) -> None:  # fmt: skip
    context.live.settings = keeping(address=True)
    headers = {**WK, "User-Agent": "Mozilla/5.0", "Accept-Language": "ko-KR,ko;q=0.9"}
    for own in ({}, {"ip": "192.0.2.7", "userAgent": "own"}):
        await client.post(
            "/v1/t", json={**TRACK, "context": {**surroundings, **own}}, headers=headers
        )
    first, second = (event.context for event in log.events)
    language = {"locale": "ko-KR"} if told else {}
    peer = {"ip": "127.0.0.1", "userAgent": "Mozilla/5.0", **language} if told else {}
    assert first == {**surroundings, **peer}
    assert second == {**surroundings, "ip": "192.0.2.7", "userAgent": "own", **language}


def keeping(**what: bool) -> WorkspaceSettings:
    return WorkspaceSettings(ingest=IngestSettings(client_context=ClientContext(**what)))


class TestWhatPagesTellOfTheirVisitors:
    """With a browser key; what a server says with a secret one is its own decision."""

    PAGE: Mapping[str, object] = {
        **TRACK,
        "context": {
            "library": {"name": "analytics.js"},
            "ip": "192.0.2.7",
            "userAgent": "own",
            "locale": "de",
        },
    }
    HEADERS: Mapping[str, str] = {**basic("page:"), "User-Agent": "Mozilla/5.0"}

    @pytest.mark.parametrize(
        ("settings", "kept"),
        [
            (keeping(), {"userAgent": "own", "locale": "de"}),
            (keeping(address=True), {"userAgent": "own", "locale": "de"}),
            (keeping(user_agent=False), {"locale": "de"}),
            (keeping(locale=False), {"userAgent": "own"}),
            (keeping(user_agent=False, locale=False), {}),
        ],
    )
    async def test_only_what_the_workspace_allows_is_kept_and_no_claimed_address(
        self, context: IngestContext, client: httpx.AsyncClient, log: RecordingLog,
        settings: WorkspaceSettings, kept: dict[str, str],
    ) -> None:  # fmt: skip
        context.live.settings = settings
        await client.post("/v1/t", json=self.PAGE, headers=self.HEADERS)
        assert log.events[0].context == {"library": {"name": "analytics.js"}, **kept}

    async def test_by_default_the_address_of_nobody_is_kept(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        document = {**TRACK, "context": {"library": {"name": "analytics.js"}}}
        for headers in (self.HEADERS, {**WK, "User-Agent": "Mozilla/5.0"}):
            await client.post("/v1/t", json=document, headers=headers)
        assert ["ip" in event.context for event in log.events] == [False, False]

    async def test_a_secret_key_s_context_is_trusted(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        await client.post("/v1/t", json=self.PAGE, headers=WK)
        assert log.events[0].context["ip"] == "192.0.2.7"


class TestLimitsOfASource:
    async def test_over_the_rate_the_answer_is_429_and_says_when_to_come_again(
        self, client: httpx.AsyncClient, log: RecordingLog, keys: FixedKeys
    ) -> None:
        keys.sources["slow"] = Source("slow", "write", "key_1", rate=10)
        headers = basic("slow:")
        batch = {"batch": [{**TRACK, "messageId": str(n)} for n in range(40)]}
        first = await client.post("/v1/batch", json=batch, headers=headers)
        assert first.status_code == 200, "a batch larger than the bucket gets through"
        second = await client.post("/v1/batch", json=batch, headers=headers)
        is_error(second, 429, "rate_limited")
        assert 1 <= int(second.headers["retry-after"]) <= 4
        assert (await client.post("/v1/t", json=TRACK, headers=WK)).status_code == 200
        assert len(log.events) == 41

    async def test_over_the_day_s_number_the_answer_is_429(
        self, client: httpx.AsyncClient, log: RecordingLog, keys: FixedKeys
    ) -> None:
        keys.sources["few"] = Source("few", "write", "key_2", daily=3)
        for status in (200, 200, 200, 429, 429):
            response = await client.post("/v1/t", json=TRACK, headers=basic("few:"))
            assert response.status_code == status
        assert int(response.headers["retry-after"]) == 300
        assert len(log.events) == 3


class TestImport:
    async def test_what_is_imported_is_marked_unless_journeys_are_to_start(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        for query in ("", "?start_journeys=true"):
            response = await client.post(f"/v1/import{query}", json={"batch": [TRACK]}, headers=WK)
            assert response.status_code == 200
        assert [event.historical for event in log.events] == [True, False]

    async def test_a_browser_key_may_not_import(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        response = await client.post("/v1/import", json={"batch": [TRACK]}, headers=basic("page:"))
        is_error(response, 403, "forbidden")
        assert log.events == []

    async def test_no_event_can_claim_to_be_imported(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        await client.post("/v1/t", json={**TRACK, "historical": True}, headers=WK)
        assert not log.events[0].historical


async def test_the_metrics_count_and_tell_nothing_personal(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    batch = [TRACK, TRACK, {**TRACK, "type": "page"}, {"type": "track"}]
    await client.post("/v1/batch", json={"batch": batch}, headers=WK)
    await client.post("/v1/t/", content=b"{", headers=WK)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"dangol_ingest_{name}", labels)

    assert value("requests_total", route="batch", status="200") == 1
    assert value("requests_total", route="track", status="400") == 1
    assert value("events_accepted_total", kind="track") == 2
    assert value("events_accepted_total", kind="page") == 1
    assert value("events_refused_total", reason="no_identity") == 1
    assert (value("body_bytes_total") or 0) > 100
    samples = [sample for family in registry.collect() for sample in family.samples]
    labels = {text for sample in samples for text in sample.labels.values()}
    assert not labels & {"wk", "shop", "u1", "m1"}
