from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.ingest.app import Edge, IngestContext, create_app
from services.ingest.limits import LIMITS, Limits
from services.ingest.live import Live
from services.ingest.metrics import IngestMetrics
from services.ingest.quota import Quotas
from shared.clock import EPOCH, Clock
from shared.keys import Source
from tests.unit.ingest.doubles import FixedKeys, RecordingAside, RecordingLog
from tests.unit.ingest.sending import AtOnceTransport

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STOPPED = Clock(real_start=EPOCH, virtual_start=NOW, speed=0.0)
"""A clock that always says NOW."""


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def aside() -> RecordingAside:
    return RecordingAside()


@pytest.fixture
def keys() -> FixedKeys:
    return FixedKeys(
        {
            "wk": Source("shop", "write"),
            "page": Source("page", "write", kind="browser"),
            "id:secret": Source("pair", "write"),
            "adm": Source("root", "admin"),
            "look": Source("looker", "viewer"),
        }
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> IngestMetrics:
    return IngestMetrics(registry)


@pytest.fixture
def context(
    log: RecordingLog, aside: RecordingAside, keys: FixedKeys, metrics: IngestMetrics
) -> IngestContext:
    limits = replace(LIMITS, one_chance_pause=0.001)
    quotas = Quotas(None, STOPPED)
    return IngestContext(log, keys, aside, STOPPED, metrics, quotas, Live(), limits)


@pytest.fixture(params=["by ASGI", "at once"])
async def client(
    context: IngestContext, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    """What holds of the edge holds whichever way a request takes."""
    if request.param == "by ASGI":
        async with _client(context) as client:
            yield client
    else:
        edge = Edge(create_app(context), context)
        transport = AtOnceTransport(edge)
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            yield client


@pytest.fixture
async def tight_client(context: IngestContext) -> AsyncIterator[httpx.AsyncClient]:
    """The same app with bounds that a test can reach."""
    limits = Limits(
        body=100_000, bodies=150_000, thread_from=1_000,
        one_chance_held=0.02, one_chance_pause=0.001,
    )  # fmt: skip
    async with _client(replace(context, limits=limits)) as client:
        yield client


def _client(context: IngestContext) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(context))
    return httpx.AsyncClient(transport=transport, base_url="http://ingest")
