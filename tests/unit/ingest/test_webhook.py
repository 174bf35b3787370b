"""Webhooks of other houses: signed, read by the workspace's description, counted once."""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.ingest.app import IngestContext, create_app
from services.ingest.refused import Reason
from services.journey.language.workspace import load_workspace
from shared import standard_webhooks
from shared.workspace import WebhookSource, WorkspaceSettings
from tests.unit.ingest.conftest import NOW
from tests.unit.ingest.doubles import RecordingAside, RecordingLog
from tests.unit.ingest.sending import is_error

SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
PLAIN = "the-platform-s-secret"
ORDER: Mapping[str, Any] = {
    "type": "order.paid",
    "data": {
        "id": 991,
        "customer": {"id": 17},
        "paid_at": "2026-11-22T11:00:00Z",
        "total": 31000,
        "lines": [{"sku": "A-1"}, {"sku": "B-2"}],
    },
}
SOURCES: Mapping[str, Any] = {
    "shop": {
        "event": {"from": "type", "names": {"order.paid": "Order Completed"}},
        "customer": "data.customer.id",
        "time": "data.paid_at",
        "properties": {"order_id": "data.id", "total": "data.total", "first": "data.lines.0.sku"},
    },
    "platform": {
        "signature": "hmac-sha256",
        "header": "X-Platform-Hmac-Sha256",
        "id": "header:X-Platform-Delivery",
        "event": {"from": "header:X-Platform-Topic"},
        "customer": "data.customer.id",
    },
    "hexed": {
        "signature": "hmac-sha256",
        "header": "X-Signature",
        "encoding": "hex",
        "prefix": "sha256=",
        "event": {"name": "Parcel Delivered"},
        "customer": "data.customer.id",
    },
}


@pytest.fixture
def house(context: IngestContext) -> IngestContext:
    context.live.settings = WorkspaceSettings.model_validate({"sources": SOURCES})
    context.live.loaded = True
    environment = {
        "DANGOL_WEBHOOK_SHOP_SECRET": f"whsec_{SECRET}",
        "DANGOL_WEBHOOK_PLATFORM_SECRET": PLAIN,
        "DANGOL_WEBHOOK_HEXED_SECRET": f"old-one,{PLAIN}",
    }
    return replace(context, environment=environment, real_now=lambda: NOW)


@pytest.fixture
def door(house: IngestContext) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(house))
    return httpx.AsyncClient(transport=transport, base_url="http://ingest")


def signed(
    document: object = ORDER, ident: str = "msg_1", seconds: float = 0, secret: str = SECRET
) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(document).encode()
    second = int((NOW + timedelta(seconds=seconds)).timestamp())
    return body, standard_webhooks.headers([base64.b64decode(secret)], ident, second, body)


async def deliver(door: httpx.AsyncClient, **options: Any) -> httpx.Response:
    body, headers = signed(**options)
    return await door.post("/v1/webhook/shop", content=body, headers=headers)


async def test_a_signed_delivery_is_an_event_as_the_workspace_describes_it(
    door: httpx.AsyncClient, log: RecordingLog
) -> None:
    assert (await deliver(door)).status_code == 200
    (event,) = log.events
    assert (event.id, event.kind, event.name) == ("shop:msg_1", "track", "Order Completed")
    assert (event.user_id, event.source) == ("17", "shop")
    assert event.properties == {"order_id": 991, "total": 31000, "first": "A-1"}
    assert event.timestamp.isoformat() == "2026-11-22T11:00:00+00:00"


async def test_a_delivery_that_is_sent_again_has_the_same_id(
    door: httpx.AsyncClient, log: RecordingLog
) -> None:
    await deliver(door)
    await deliver(door, seconds=60)
    assert [event.id for event in log.events] == ["shop:msg_1"] * 2


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_an_old_signature_is_refused(
    door: httpx.AsyncClient, log: RecordingLog, seconds: float
) -> None:
    is_error(await deliver(door, seconds=seconds), 401, "unauthorized")
    assert log.events == []


@pytest.mark.parametrize(
    "spoilt",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,not base64"},
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "9" * 40},
    ],
)
async def test_what_is_not_signed_for_is_refused(
    door: httpx.AsyncClient, log: RecordingLog, spoilt: dict[str, str]
) -> None:
    body, headers = signed()
    response = await door.post("/v1/webhook/shop", content=body, headers={**headers, **spoilt})
    is_error(response, 401, "unauthorized")
    response = await door.post("/v1/webhook/shop", content=body + b" ", headers=headers)
    is_error(response, 401, "unauthorized")
    assert log.events == []


async def test_one_of_several_signatures_is_enough(
    door: httpx.AsyncClient, log: RecordingLog
) -> None:
    """As while a secret is being changed."""
    body, headers = signed()
    headers["webhook-signature"] = "v1,AAAA v2,x " + headers["webhook-signature"]
    response = await door.post("/v1/webhook/shop", content=body, headers=headers)
    assert response.status_code == 200


async def test_a_platform_that_signs_the_body_alone(
    door: httpx.AsyncClient, log: RecordingLog
) -> None:
    body = json.dumps(ORDER).encode()
    digest = hmac.digest(PLAIN.encode(), body, sha256)
    headers = {
        "X-Platform-Hmac-Sha256": base64.b64encode(digest).decode(),
        "X-Platform-Topic": "orders/paid",
        "X-Platform-Delivery": "d-7",
    }
    ok = await door.post("/v1/webhook/platform", content=body, headers=headers)
    assert ok.status_code == 200
    assert [(e.id, e.name) for e in log.events] == [("platform:d-7", "orders/paid")]
    hexed = {"X-Signature": f"sha256={digest.hex()}"}
    for _ in range(2):
        response = await door.post("/v1/webhook/hexed", content=body, headers=hexed)
        assert response.status_code == 200
    assert log.events[1].name == "Parcel Delivered"
    assert log.events[1].id == log.events[2].id, "without an id, the same body is the same delivery"
    wrong = await door.post("/v1/webhook/hexed", content=body, headers={"X-Signature": "sha256=00"})
    is_error(wrong, 401, "unauthorized")


async def test_a_delivery_that_the_workspace_does_not_list_is_let_go(
    door: httpx.AsyncClient, log: RecordingLog, aside: RecordingAside
) -> None:
    response = await deliver(door, document={**ORDER, "type": "order.created"})
    assert response.status_code == 200
    assert (log.events, aside.items) == ([], [])


async def test_a_delivery_without_a_customer_is_set_aside_with_all_it_said(
    door: httpx.AsyncClient, log: RecordingLog, aside: RecordingAside
) -> None:
    guest = {**ORDER, "data": {**ORDER["data"], "customer": None, "note": "a guest"}}
    assert (await deliver(door, document=guest)).status_code == 200
    (item,) = aside.items
    assert (item.reason, item.source) == (Reason.NO_IDENTITY, "shop")
    kept = json.loads(item.raw)
    assert kept["messageId"] == "shop:msg_1"
    assert kept["webhook"]["data"]["note"] == "a guest"
    assert log.events == []


async def test_what_cannot_be_taken_says_whose_matter_it_is(
    door: httpx.AsyncClient, house: IngestContext, log: RecordingLog
) -> None:
    body, headers = signed()
    is_error(await door.post("/v1/webhook/other", content=body, headers=headers), 404, "not_found")
    answer = await door.get("/v1/webhook/shop")
    is_error(answer, 405, "method_not_allowed")
    is_error(await deliver(door, document="x" * 1_100_000), 413, "too_large")
    rubbish = b"{"
    told = standard_webhooks.headers([base64.b64decode(SECRET)], "m", int(NOW.timestamp()), rubbish)
    is_error(await door.post("/v1/webhook/shop", content=rubbish, headers=told), 400, "bad_request")
    without = replace(house, environment={})
    transport = httpx.ASGITransport(create_app(without))
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as unset:
        response = await unset.post("/v1/webhook/shop", content=body, headers=headers)
    is_error(response, 503, "unavailable")
    assert response.headers["retry-after"]
    house.live.loaded = False
    is_error(await deliver(door), 503, "unavailable")
    assert log.events == []


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b'"x"', b"1", b'{"type":{}}', b'{"type":"order.paid","data":[]}']
)
async def test_any_json_is_answered(door: httpx.AsyncClient, content: bytes) -> None:
    headers = standard_webhooks.headers(
        [base64.b64decode(SECRET)], "m", int(NOW.timestamp()), content
    )
    response = await door.post("/v1/webhook/shop", content=content, headers=headers)
    assert response.status_code == 200


GOOD = "sources:\n  shop:\n    event: {name: Paid}\n    customer: data.id\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD.replace("shop:", "Shop!:"), 3, "cannot be a source's name"),
        (GOOD.replace("data.id", "data..id"), 4, "no place in a webhook"),
        (GOOD.replace("{name: Paid}", "{}"), 3, "needs a `name`"),
        (GOOD.replace("{name: Paid}", "{name: Paid, names: {a: b}}"), 3, "translates"),
        (GOOD.replace("    customer: data.id\n", ""), 3, "needs `customer`"),
        (GOOD + "    header: X-Sign\n", 3, "`header` names"),
        (GOOD + "    signature: hmac-sha256\n", 3, "`header` names"),
        (GOOD + "    signature: none\n", 5, "is not one of"),
        (GOOD + "    signatur: standard\n", 5, "there is no field `signatur`"),
        (GOOD + "    tolerance: soon\n", 5, "no duration"),
    ],
)
def test_mistakes_in_the_description_are_told_with_their_place(
    text: str, line: int, said: str
) -> None:
    problems = load_workspace({"dangol.yaml": text.encode()}).problems
    assert [(p.line, said in p.message) for p in problems] == [(line, True)], problems


def test_a_good_description_has_no_problems() -> None:
    assert load_workspace({"dangol.yaml": GOOD.encode()}).problems == ()
    with pytest.raises(ValidationError):
        WebhookSource.model_validate({})
