"""`POST /v1/catalog`: events of no customer, from servers, taken whole or not at all."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS
from tests.unit.ingest.conftest import NOW
from tests.unit.ingest.doubles import RecordingAside, RecordingLog
from tests.unit.ingest.sending import WK, basic, is_error

RESTOCKED = {"event": "Product Restocked", "properties": {"sku": "A-1", "stock": 5}}


async def test_one_event_is_durable_before_it_is_answered(
    client: httpx.AsyncClient, log: RecordingLog
) -> None:
    response = await client.post("/v1/catalog", json=RESTOCKED | {"messageId": "m1"}, headers=WK)
    assert response.status_code == 200
    (event,) = log.events
    assert (event.kind, event.id, event.name) == ("catalog", "m1", "Product Restocked")
    assert event.properties == {"sku": "A-1", "stock": 5}
    assert (event.timestamp, event.source, event.user_id) == (NOW, "shop", None)
    assert event.customer == "$catalog:Product Restocked"


async def test_a_batch_keeps_its_order_and_gets_ids(
    client: httpx.AsyncClient, log: RecordingLog
) -> None:
    hour = timedelta(hours=1)
    body = {
        "batch": [
            RESTOCKED | {"timestamp": (NOW - hour).isoformat()},
            RESTOCKED | {"event": "Price Dropped", "timestamp": (NOW + hour).isoformat()},
        ]
    }
    response = await client.post("/v1/catalog/", json=body, headers=basic("adm:"))
    assert response.status_code == 200
    assert [(e.name, e.timestamp) for e in log.events] == [
        ("Product Restocked", NOW - hour),
        ("Price Dropped", NOW),  # it cannot have happened yet
    ]
    assert len({e.id for e in log.events}) == 2


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (basic("page:"), 403, "forbidden"),
        (basic("look:"), 403, "forbidden"),
        (basic("nobody:"), 401, "unauthorized"),
        ({}, 401, "unauthorized"),
    ],
)
async def test_only_a_secret_key_may_post_them(
    client: httpx.AsyncClient, log: RecordingLog, headers: dict[str, str], status: int, code: str
) -> None:
    body = RESTOCKED | {"writeKey": "wk"}
    is_error(await client.post("/v1/catalog", json=body, headers=headers), status, code)
    assert log.events == []


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/import"])
async def test_no_other_door_takes_one(
    client: httpx.AsyncClient, log: RecordingLog, path: str
) -> None:
    event = RESTOCKED | {"type": "catalog", "userId": "u1"}
    await client.post(path, json={"batch": [event]} if path != "/v1/track" else event, headers=WK)
    assert all(found.kind != "catalog" for found in log.events)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"nonsense", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "`event`"),
        (b'{"event": ""}', "$.event"),
        (b'{"event": 5}', "$.event"),
        (b'{"event": "A", "properties": []}', "$.properties"),
        (b'{"event": "A", "timestamp": "yesterday"}', "no time in ISO 8601"),
        (b'{"event": "A", "properties": {"x": "\\u0000"}}', "U+0000"),
        (b'{"event": "A", "properties": {"x": ' + b"[" * 200 + b"]" * 200 + b"}}", "too deeply"),
        (b'{"batch": [{"event": "A"}, {"event": null}]}', "batch[1]: "),
        (b'{"batch": []}', "`event`"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_taken(
    client: httpx.AsyncClient,
    log: RecordingLog,
    aside: RecordingAside,
    body: bytes,
    said: str,
) -> None:
    response = await client.post("/v1/catalog", content=body, headers=WK)
    is_error(response, 400, "bad_request")
    assert said in response.json()["message"]
    assert log.events == []


async def test_too_much_is_refused(client: httpx.AsyncClient, log: RecordingLog) -> None:
    many: Any = {"batch": [{"event": "A"}] * (MAX_EVENTS + 1)}
    is_error(await client.post("/v1/catalog", json=many, headers=WK), 413, "too_large")
    big = {"event": "A", "properties": {"x": "y" * MAX_EVENT_BYTES}}
    is_error(await client.post("/v1/catalog", json=big, headers=WK), 413, "too_large")
    assert log.events == []
