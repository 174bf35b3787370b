"""Bodies: compressed, in pieces, too large, or none."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.ingest.app import IngestContext, create_app
from tests.patience import SOON
from tests.unit.ingest.doubles import RecordingLog
from tests.unit.ingest.sending import TRACK, WK, is_error


class TestBodies:
    @pytest.mark.parametrize("encoding", ["gzip", None])
    async def test_gzip_is_undone_whatever_the_header_says(
        self, client: httpx.AsyncClient, log: RecordingLog, encoding: str | None
    ) -> None:
        headers = {**WK, **({"Content-Encoding": encoding} if encoding else {})}
        content = gzip.compress(json.dumps(TRACK).encode())
        assert (await client.post("/v1/t", content=content, headers=headers)).status_code == 200
        halves = gzip.compress(b'{"batch":[') + gzip.compress(json.dumps(TRACK).encode() + b"]}")
        assert (await client.post("/v1/b", content=halves, headers=headers)).status_code == 200
        assert len(log.events) == 2

    @pytest.mark.parametrize("level", [0, 1, 5, 6, 9])
    async def test_deflate_is_undone_too(
        self, client: httpx.AsyncClient, log: RecordingLog, level: int
    ) -> None:
        content = zlib.compress(json.dumps(TRACK).encode(), level)
        assert (await client.post("/v1/t", content=content, headers=WK)).status_code == 200
        assert len(log.events) == 1

    async def test_plain_json_that_is_called_gzip_is_read(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        headers = {**WK, "Content-Encoding": "gzip"}
        assert (await client.post("/v1/t", json=TRACK, headers=headers)).status_code == 200

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"{", b"not json", b"[" * 100_000, b'"text"'),
            *(b"\x78\x9c", b"\x78\x9cnonsense", zlib.compress(b"{}")[:-3]),
            *(b"\x1f\x8b", b"\x1f\x8bnonsense", gzip.compress(b"{}", mtime=0)[:-3]),
            b"".join(gzip.compress(bytes([byte]), mtime=0) for byte in b'{"batch":[]         }'),
        ],
    )
    async def test_what_cannot_be_read_is_a_bad_request(
        self, client: httpx.AsyncClient, content: bytes
    ) -> None:
        is_error(await client.post("/v1/batch", content=content, headers=WK), 400, "bad_request")

    async def test_a_body_may_come_in_chunks_of_any_size(
        self, client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for byte in json.dumps({"batch": [TRACK] * 3}).encode():
                yield bytes([byte])

        response = await client.post("/v1/batch", content=chunks(), headers=WK)
        assert response.status_code == 200
        assert len(log.events) == 3

    async def test_a_large_body_is_read_in_a_thread_all_the_same(
        self, tight_client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        batch = [{**TRACK, "messageId": str(number)} for number in range(100)]
        response = await tight_client.post("/v1/batch", json={"batch": batch}, headers=WK)
        assert response.status_code == 200
        assert [event.id for event in log.events] == [str(number) for number in range(100)]

    async def test_a_body_above_the_limit_is_too_large_however_it_comes(
        self, tight_client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        async def endless() -> AsyncIterator[bytes]:
            sent = 0
            while sent <= 200_000:  # the edge stops reading well before
                sent += 1_000
                yield b" " * 1_000
            raise AssertionError("the edge reads on")

        for content in (b" " * 100_001, endless(), gzip.compress(b" " * 100_001)):
            response = await tight_client.post("/v1/batch", content=content, headers=WK)
            is_error(response, 413, "too_large")
        fits = gzip.compress(json.dumps(TRACK).encode().ljust(100_000))
        assert (await tight_client.post("/v1/t", content=fits, headers=WK)).status_code == 200

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_body_above_the_limit_is_dropped_and_the_answer_heard(
        self, tight_client: httpx.AsyncClient, announced: bool
    ) -> None:
        """An answer given while the client still sends is lost on its way; but not for ever."""
        for pieces, pulled_at_most in ((15, 15), (1000, 22)):
            pulled = 0

            async def body(pieces: int = pieces) -> AsyncIterator[bytes]:
                nonlocal pulled
                for _ in range(pieces):
                    pulled += 1
                    yield b" " * 10_000

            length = {"Content-Length": str(pieces * 10_000)} if announced else {}
            response = await tight_client.post(
                "/v1/batch", content=body(), headers={**WK, **length}
            )
            is_error(response, 413, "too_large")
            assert pulled <= pulled_at_most

    async def test_a_bomb_is_not_inflated(self, client: httpx.AsyncClient) -> None:
        bomb = gzip.compress(b"\0" * 200_000_000)
        is_error(await client.post("/v1/batch", content=bomb, headers=WK), 413, "too_large")

    async def test_too_much_in_hand_is_our_trouble_and_passes(
        self, tight_client: httpx.AsyncClient, log: RecordingLog
    ) -> None:
        async def first(scope: Callable[[], Awaitable[httpx.Response]]) -> AsyncIterator[bytes]:
            yield json.dumps(TRACK).encode().ljust(90_000)
            second = await scope()
            is_error(second, 503, "unavailable")
            yield b" "

        def second() -> Awaitable[httpx.Response]:
            return tight_client.post("/v1/t", content=b" " * 90_000, headers=WK)

        response = await tight_client.post("/v1/t", content=first(second), headers=WK)
        assert response.status_code == 200
        assert (await tight_client.post("/v1/t", json=TRACK, headers=WK)).status_code == 200

    async def test_a_body_that_does_not_come_is_given_up(self, context: IngestContext) -> None:
        answer = await _raw(context, [], within=0.01)
        assert answer[0]["status"] == 408

    async def test_a_client_that_leaves_is_not_answered(self, context: IngestContext) -> None:
        assert await _raw(context, [{"type": "http.disconnect"}]) == []


async def _raw(
    context: IngestContext, messages: list[dict[str, Any]], within: float = SOON
) -> list[Any]:
    """What the edge sends to a client that sends these messages and then nothing."""
    limits = replace(context.limits, read_within=within)
    sent: list[Any] = []

    async def receive() -> Any:
        while not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/t",
        "query_string": b"writeKey=wk",
        "headers": [],
    }
    await create_app(replace(context, limits=limits))(scope, receive, send)
    return sent
