"""Behind a proxy: whose address it is, and by which scheme the page was called."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.cli.web import behind_proxies
from services.ingest.app import Edge, IngestContext, create_app
from shared.workspace import ClientContext, IngestSettings, WorkspaceSettings
from tests.unit.ingest.doubles import RecordingLog
from tests.unit.ingest.sending import TRACK, WK

PAGE = {**TRACK, "context": {"library": {"name": "analytics.js"}}}


@pytest.fixture
async def proxied(context: IngestContext) -> AsyncIterator[httpx.AsyncClient]:
    edge = Edge(create_app(context), context, behind_proxies)
    transport = httpx.ASGITransport(edge)  # it calls from 127.0.0.1, which is trusted
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
        yield client


@pytest.mark.parametrize(("address", "told"), [(True, "203.0.113.7"), (False, None)])
async def test_the_address_is_the_one_that_the_proxy_saw(
    context: IngestContext, proxied: httpx.AsyncClient, log: RecordingLog,
    address: bool, told: str | None,
) -> None:  # fmt: skip
    kept = ClientContext(address=address)
    context.live.settings = WorkspaceSettings(ingest=IngestSettings(client_context=kept))
    headers = {**WK, "X-Forwarded-For": "203.0.113.7"}
    assert (await proxied.post("/v1/t", json=PAGE, headers=headers)).status_code == 200
    assert log.events[0].context.get("ip") == told
