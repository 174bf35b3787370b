"""A kept corpus of odd bodies, and bodies made from it: each is answered, and never by a 5xx."""

import asyncio
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.app import IngestContext, create_app
from shared.event import decode_unstamped, encode
from tests.unit.ingest.doubles import RecordingAside, RecordingLog
from tests.unit.ingest.sending import WK

_FOLDER = Path(__file__).parents[2] / "corpus" / "ingest"
CORPUS = {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir())}
ROUTES = (
    "/v1/batch", "/v1/track", "/v1/identify", "/v1/alias", "/v1/import", "/v1/m", "/batch/",
    "/capture/", "/i/v1/analytics/events", "/api/s/track", "/api/public/apps/batch", "/flags/",
)  # fmt: skip
PIECES = (
    b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"NaN", b"1e999",
    b"\x00", b"\xff", b"\x1f\x8b", b'{"batch":', b'"type":"track"', b'"userId":', b"null",
)  # fmt: skip


async def hold(
    context: IngestContext, log: RecordingLog, aside: RecordingAside, body: bytes
) -> None:
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
        for route in ROUTES:
            headers = {**WK}
            if "v1/analytics" in route:
                headers = {"Authorization": "Bearer wk"}
            answer = await client.post(route, content=body, headers=headers)
            assert answer.status_code in (200, 400, 413), (route, answer.status_code, answer.text)
            assert answer.headers["access-control-allow-origin"] == "*"
    for event in log.events:
        stored = encode(event)
        assert decode_unstamped(stored) == event, "what is in the log can be read again"
        assert b"\\u0000" not in stored, "PostgreSQL would not keep it"
        assert event.customer
    log.appends.clear()
    aside.items.clear()


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) > 50


@pytest.mark.parametrize("name", CORPUS)
async def test_every_body_of_the_corpus_is_answered(
    context: IngestContext, log: RecordingLog, aside: RecordingAside, name: str
) -> None:
    await hold(context, log, aside, CORPUS[name])


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A body of the corpus with some bytes taken out and others put in."""
    body = draw(st.sampled_from([b for b in CORPUS.values() if len(b) < 3000]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 20)))
        body = body[:start] + draw(st.sampled_from(PIECES)) + body[end:]
    return body


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=spoilt())
def test_every_spoilt_body_is_answered(
    context: IngestContext, log: RecordingLog, aside: RecordingAside, body: bytes
) -> None:
    asyncio.run(hold(context, log, aside, body))
