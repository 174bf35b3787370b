"""What SDKs in browsers fetch before they send anything."""

import json

import httpx
import pytest

from services.ingest.app import IngestContext, create_app
from tests.unit.ingest.sending import WK, basic, is_error

KEY = "c0123456789abcdefghijklmn"


@pytest.mark.parametrize("path", ["/v1/projects", "/projects"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_segments_settings_lead_the_sdk_back_here(
    client: httpx.AsyncClient, path: str, slash: str
) -> None:
    response = await client.get(
        f"{path}/{KEY}/settings{slash}",
        headers={"Host": "cdp.shop.example:8420", "Origin": "https://shop.example"},
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    settings = response.json()
    assert settings["integrations"] == {
        "Segment.io": {
            "apiKey": KEY,
            "apiHost": "cdp.shop.example:8420/v1",
            "protocol": "http",
        }
    }
    assert settings["metrics"] == {"sampleRate": 0}
    for optional in ("plan", "edgeFunction", "middlewareSettings"):
        assert isinstance(settings[optional], dict)


async def test_behind_a_proxy_that_ends_tls_the_settings_say_https(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get(
        f"/v1/projects/{KEY}/settings", headers={"X-Forwarded-Proto": "https, http"}
    )
    assert response.json()["integrations"]["Segment.io"]["protocol"] == "https"
    assert "X-Forwarded-Proto" in response.headers["vary"]


async def test_below_a_root_path_the_settings_name_it(context: IngestContext) -> None:
    transport = httpx.ASGITransport(create_app(context), root_path="/in")
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        response = await client.get(f"/in/v1/projects/{KEY}/settings")
    assert response.json()["integrations"]["Segment.io"]["apiHost"] == "x/in/v1"


@pytest.mark.parametrize("host", ["", "a b", 'a"b', "a/b", "user@host"])
async def test_a_host_that_is_none_is_not_repeated(client: httpx.AsyncClient, host: str) -> None:
    response = await client.get(f"/v1/projects/{KEY}/settings", headers={"Host": host})
    is_error(response, 400, "bad_request")


@pytest.mark.parametrize("path", ["/sourceConfig/", "/sourceConfig"])
@pytest.mark.parametrize("query", ["", f"?p=npm&v=3.34.1&build=modern&writeKey={KEY}"])
async def test_rudders_source_is_enabled_and_has_no_destinations(
    client: httpx.AsyncClient, path: str, query: str
) -> None:
    headers = {} if query else basic(f"{KEY}:")
    response = await client.get(path + query, headers=headers)
    source = response.json()["source"]
    assert (source["writeKey"], source["enabled"], source["destinations"]) == (KEY, True, [])
    assert isinstance(source["id"], str)
    assert source["config"]["statsCollection"]["errors"]["enabled"] is False
    head = await client.head(path + query, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


async def test_posthogs_config_and_flags_switch_off_what_is_of_no_use(
    client: httpx.AsyncClient,
) -> None:
    config = (await client.get(f"/array/{KEY}/config")).json()
    assert config["token"] == KEY
    assert config["hasFeatureFlags"] is config["sessionRecording"] is False
    for path in ("/flags/?v=2&config=true", "/flags/?v=4", "/decide/?v=3"):
        flags = (await client.post(path, json={"token": KEY, "distinct_id": "u1"})).json()
        assert flags["flags"] == flags["featureFlags"] == {}
        assert flags["errorsWhileComputingFlags"] is False
        assert flags["supportedCompression"] == ["gzip", "gzip-js"]


async def test_posthogs_script_is_a_script(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/array/{KEY}/config.js")
    assert response.headers["content-type"].startswith("text/javascript")
    head, _, tail = response.text.partition(f'w._POSTHOG_REMOTE_CONFIG["{KEY}"]={{config:')
    assert head.startswith("(function(w){")
    assert json.loads(tail.removesuffix(",siteApps:[]}})(window);").removesuffix(",siteApps:[]}"))


@pytest.mark.parametrize(
    "path", ["/array/<b>/config.js", '/array/a"b/config', "/v1/projects/a/b/settings"]
)
async def test_a_key_that_is_none_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    is_error(await client.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1/m", "/m", "/rsaMetrics"])
async def test_what_sdks_tell_of_themselves_is_thanked_for_and_forgotten(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.post(path, content=b'{"series":[]}')
    assert (response.status_code, response.json()["success"]) == (200, True)


@pytest.mark.parametrize(
    "path", [f"/v1/projects/{KEY}/settings", "/sourceConfig/", f"/array/{KEY}/config"]
)
async def test_documents_are_read_only_and_their_preflight_is_granted(
    client: httpx.AsyncClient, path: str
) -> None:
    refused = await client.post(path, json={}, headers=WK)
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    is_error(refused, 405, "method_not_allowed")
    asked = {"Origin": "null", "Access-Control-Request-Headers": "authorization"}
    preflight = await client.options(path, headers=asked)
    assert preflight.is_success
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert "GET" in preflight.headers["access-control-allow-methods"]
