"""What takes the shorter way, and that it is left before anything was done."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.ingest.app import Edge, IngestContext, create_app
from services.ingest.limits import Limits
from shared.errors import Unavailable
from shared.keys import Source
from shared.tracking import EventPlan, Judge, TrackingPlan
from shared.workspace import ClientContext, IngestSettings, WorkspaceSettings
from tests.unit.ingest.doubles import FixedKeys, RecordingAside, RecordingLog
from tests.unit.ingest.sending import TRACK, WK, AtOnceTransport, basic, is_error


@pytest.fixture
def limits() -> Limits:
    return Limits(bodies=2_000)


@pytest.fixture
def edge(context: IngestContext, limits: Limits) -> Edge:
    context = replace(context, limits=limits)
    return Edge(create_app(context), context)


@pytest.fixture
def way(edge: Edge) -> AtOnceTransport:
    return AtOnceTransport(edge)


@pytest.fixture
async def sender(way: AtOnceTransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=way, base_url="http://ingest") as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/t", "/b", "/beacon/v1/batch"])
async def test_a_usable_event_of_a_known_key_is_taken(
    sender: httpx.AsyncClient, way: AtOnceTransport, log: RecordingLog, path: str
) -> None:
    response = await sender.post(path, json={"batch": [TRACK]}, headers=WK)
    assert response.status_code == 200
    assert way.taken == 1
    assert [event.id for event in log.events] == ["m1"]


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/track", {**TRACK, "userId": ""}, WK),  # is to be set aside
        ("/v1/batch", {"batch": []}, WK),
        ("/v1/batch", {"batch": [TRACK], "writeKey": "wk"}, {}),  # its key has yet to be found
        ("/v1/batch?writeKey=wk", {"batch": [TRACK]}, {}),
        ("/api/s/track", TRACK, WK),  # whose sender waits while the log is away
        ("/v1/import", {"batch": [TRACK]}, WK),
        ("/v1/track", {**TRACK, "event": "x" * 70_000}, WK),
    ],
)
async def test_the_rest_is_left_to_the_edge(
    sender: httpx.AsyncClient,
    way: AtOnceTransport,
    registry: CollectorRegistry,
    path: str,
    body: object,
    headers: dict[str, str],
) -> None:
    await sender.post(path, json=body, headers=headers)
    assert way.taken == 0


@pytest.mark.parametrize("body", [b"", b"{", b"\x1f\x8b", b"null"])
async def test_what_is_no_event_is_left_to_the_edge(
    sender: httpx.AsyncClient, way: AtOnceTransport, log: RecordingLog, body: bytes
) -> None:
    is_error(await sender.post("/v1/track", content=body, headers=WK), 400, "bad_request")
    assert way.taken == 0
    assert log.appends == []


async def test_where_addresses_are_kept_proxies_are_asked(
    context: IngestContext, sender: httpx.AsyncClient, way: AtOnceTransport
) -> None:
    kept = ClientContext(address=True)
    context.live.settings = WorkspaceSettings(ingest=IngestSettings(client_context=kept))
    assert (await sender.post("/v1/track", json=TRACK, headers=WK)).status_code == 200
    assert way.taken == 0


async def test_its_trouble_is_told_and_counted_as_that_of_others(
    sender: httpx.AsyncClient,
    way: AtOnceTransport,
    log: RecordingLog,
    registry: CollectorRegistry,
) -> None:
    log.failures += [Unavailable("gone"), ValueError("a defect")]
    for _ in range(2):
        response = await sender.post("/v1/track", json=TRACK, headers=WK)
        is_error(response, 503, "unavailable")
        assert response.headers["retry-after"] == "1"
    assert (await sender.post("/v1/track", json=TRACK, headers=WK)).status_code == 200
    assert way.taken == 3
    count = registry.get_sample_value
    labels = {"route": "track", "status": "503"}
    assert count("dangol_ingest_requests_total", labels) == 2
    assert count("dangol_ingest_events_accepted_total", {"kind": "track"}) == 1


@pytest.mark.parametrize("failing", [False, True])
async def test_its_share_of_the_hands_is_given_back(
    sender: httpx.AsyncClient, way: AtOnceTransport, log: RecordingLog, failing: bool
) -> None:
    """Fifty times as much as may be in hand at once."""
    for _ in range(50):
        if failing:
            log.failures.append(Unavailable("gone"))
        body = {**TRACK, "properties": {"text": "x" * 1_500}}
        response = await sender.post("/v1/track", json=body, headers=WK)
        assert response.status_code == (503 if failing else 200)
    assert way.taken == 50


async def test_a_page_may_read_its_answer(sender: httpx.AsyncClient, way: AtOnceTransport) -> None:
    headers = {**basic("page"), "Origin": "https://shop.example"}
    response = await sender.post("/v1/track", json=TRACK, headers=headers)
    assert way.taken == 1
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["access-control-allow-credentials"] == "true"


async def test_a_sources_limit_holds(
    sender: httpx.AsyncClient, way: AtOnceTransport, keys: FixedKeys
) -> None:
    keys.sources["slow"] = Source("slow", "write", id="k1", rate=1.0)
    batch = {"batch": [TRACK] * 5}
    first = await sender.post("/v1/batch", json=batch, headers=basic("slow"))
    second = await sender.post("/v1/track", json=TRACK, headers=basic("slow"))
    assert (first.status_code, second.status_code, way.taken) == (200, 429, 1)


@pytest.mark.parametrize("mode", ["warn", "enforce"])
async def test_the_tracking_plan_holds(
    context: IngestContext,
    sender: httpx.AsyncClient,
    way: AtOnceTransport,
    aside: RecordingAside,
    registry: CollectorRegistry,
    mode: str,
) -> None:
    plan = TrackingPlan.model_validate({"mode": mode, "events": {"Viewed": EventPlan()}})
    context.live.judge = Judge(plan)
    assert (await sender.post("/v1/track", json=TRACK, headers=WK)).status_code == 200
    labels = {"source": "shop", "violation": "unknown_event"}
    assert registry.get_sample_value("dangol_ingest_plan_violations_total", labels) == 1
    assert (way.taken, len(aside.items)) == ((1, 0) if mode == "warn" else (0, 1))


FILLED = {**TRACK, "properties": {"text": "x" * 400}}


@pytest.mark.parametrize("limits", [Limits()])
@pytest.mark.parametrize("together", [1, 8])
async def test_large_batches_are_read_in_turns_and_all_answered(
    sender: httpx.AsyncClient, way: AtOnceTransport, log: RecordingLog, together: int
) -> None:
    batches = [
        {"batch": [{**FILLED, "messageId": f"{n}-{i}"} for i in range(60)]} for n in range(together)
    ]
    got = await asyncio.gather(
        *(sender.post("/v1/batch", json=batch, headers=WK) for batch in batches)
    )
    assert [response.status_code for response in got] == [200] * together
    assert way.taken == together
    assert [event.id for event in log.events] == [
        event["messageId"] for batch in batches for event in batch["batch"]
    ]


@pytest.mark.parametrize("limits", [Limits()])
async def test_a_large_batch_that_needs_more_has_it(
    sender: httpx.AsyncClient,
    way: AtOnceTransport,
    log: RecordingLog,
    aside: RecordingAside,
    registry: CollectorRegistry,
) -> None:
    batch = {"batch": [*[FILLED] * 60, {**FILLED, "userId": ""}]}
    assert (await sender.post("/v1/batch", json=batch, headers=WK)).status_code == 200
    assert (len(log.events), len(aside.items), way.taken) == (60, 1, 1)
    broken = json.dumps(batch).encode()[:-9]
    is_error(await sender.post("/v1/batch", content=broken, headers=WK), 400, "bad_request")
    log.failures.append(Unavailable("gone"))
    response = await sender.post("/v1/batch", json={"batch": [FILLED] * 60}, headers=WK)
    is_error(response, 503, "unavailable")
    assert way.taken == 3
    count = registry.get_sample_value
    for status in ("200", "400", "503"):
        labels = {"route": "batch", "status": status}
        assert count("dangol_ingest_requests_total", labels) == 1
