"""Events as clients send them, and what the edge makes of them."""

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from services.ingest.answers import Header
from services.ingest.app import Edge
from services.ingest.normalise import Scene
from services.ingest.protocol import Reading, open_parcel, read
from services.ingest.refused import Reason
from services.ingest.wire import WireKind
from shared.event import Event

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TRACK = {"type": "track", "event": "Added", "userId": "u1", "messageId": "m1"}


class AtOnceTransport(httpx.ASGITransport):
    """Offers each request to the shorter way first, as our server does."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge)
        self._edge = edge
        self.taken = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "content-length" not in request.headers:  # as if it came in pieces
            return await super().handle_async_request(request)
        body = await request.aread()
        told: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()

        def reply(status: int, headers: Sequence[Header], content: bytes) -> None:
            told.set_result(httpx.Response(status, headers=list(headers), content=content))

        headers = [(name.lower(), value) for name, value in request.headers.raw]
        if request.method == "POST" and self._edge.at_once(
            request.url.raw_path, headers, body, reply
        ):
            self.taken += 1
            return await told
        return await super().handle_async_request(request)


def taken(body: object, kind: WireKind | None = None) -> Reading:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    parcel = open_parcel(raw)
    scene = Scene(NOW, "shop", kind, parcel.sent, parcel.context, parcel.integrations)
    return read(parcel, scene)


def event(**fields: Any) -> Event:
    """The event made of TRACK with other fields; a field of None is left out."""
    document = {key: value for key, value in {**TRACK, **fields}.items() if value is not None}
    reading = taken(document)
    assert reading.refused == []
    return reading.events[0]


def reason(**fields: Any) -> Reason:
    reading = taken({"batch": [{**TRACK, **fields}]})
    assert reading.events == []
    return reading.refused[0].reason


def basic(user: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


WK = basic("wk:")


def is_error(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status
    body = response.json()
    assert body["code"] == code
    assert isinstance(body["message"], str)
    assert body["message"]
    assert response.headers["access-control-allow-origin"] == "*"
