"""HTTP/2 without TLS, by prior knowledge, for an app of the fakes: Apple's service speaks no other.

Just enough of it (RFC 9113) for small requests and small answers; h2 keeps the protocol.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from starlette.types import ASGIApp, Message

_LONGEST = 64_000
"""Bytes of a request's body: what fits into the first flow-control window."""
_LONGEST_ANSWER = 16_000
"""Bytes that fit into one frame."""


@dataclass(slots=True)
class _Stream:
    headers: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)


class Http2(asyncio.Protocol):
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._streams: dict[int, _Stream] = {}
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        for answer in self._answers.values():
            answer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._hear(event)
        except ProtocolError:
            self._flush()
            if self._transport is not None:
                self._transport.close()
            return
        self._flush()

    def _hear(self, event: object) -> None:
        match event:
            case RequestReceived(stream_id=int(number), headers=headers):
                self._streams[number] = _Stream([(str(n), str(v)) for n, v in headers or ()])
            case DataReceived(stream_id=int(number), data=data, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length or 0, number)
                self._take(number, data or b"")
            case StreamEnded(stream_id=int(number)) if number in self._streams:
                task = asyncio.create_task(self._answer(number, self._streams.pop(number)))
                self._answers[number] = task
                task.add_done_callback(lambda _task: self._answers.pop(number, None))
            case StreamReset(stream_id=number):
                self._streams.pop(number or 0, None)
                if (answer := self._answers.get(number or 0)) is not None:
                    answer.cancel()
            case ConnectionTerminated():
                if self._transport is not None:
                    self._transport.close()

    def _take(self, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.body += data
            if len(stream.body) > _LONGEST:
                del self._streams[number]
                self._h2.reset_stream(number)

    async def _answer(self, number: int, stream: _Stream) -> None:
        pseudo = {name: value for name, value in stream.headers if name.startswith(":")}
        path, _, query = pseudo.get(":path", "/").partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "method": pseudo.get(":method", "GET"),
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (name.encode(), value.encode())
                for name, value in stream.headers
                if not name.startswith(":")
            ],
        }
        said: dict[str, Any] = {"status": 500, "headers": [], "body": b""}

        async def receive() -> Message:
            return {"type": "http.request", "body": bytes(stream.body), "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                said["status"] = message["status"]
                said["headers"] = message.get("headers", [])
            else:
                said["body"] += message.get("body", b"")

        await self._app(scope, receive, send)
        headers = [(":status", str(said["status"]))]
        headers += [(name.decode(), value.decode()) for name, value in said["headers"]]
        try:
            self._h2.send_headers(number, headers)
            self._h2.send_data(number, said["body"][:_LONGEST_ANSWER], end_stream=True)
        except ProtocolError:
            return  # the client has gone on without it
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send())
