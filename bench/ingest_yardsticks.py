"""What ingest is measured against: two servers that read an event, answer, and store nothing.

`bare` is the least that Python can do on uvicorn: an ASGI function that reads the body and decodes
it with msgspec into a type. `fastapi_app` is how a web service is usually written: a FastAPI route
with a pydantic model in and one out. Run by bench/ingest.py, each as one process.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI
from msgspec import Meta
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send


class Event(msgspec.Struct, gc=False):
    messageId: Annotated[str, Meta(min_length=1, max_length=128)]  # noqa: N815 - as on the wire
    type: Literal["track", "identify", "page"]
    event: Annotated[str, Meta(min_length=1, max_length=200)]
    userId: Annotated[str, Meta(min_length=1, max_length=200)]  # noqa: N815
    timestamp: datetime
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Batch(msgspec.Struct):
    batch: list[Event]


_one = msgspec.json.Decoder(Event).decode
_many = msgspec.json.Decoder(Batch).decode
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"16")],
}
_BODY = {"type": "http.response.body", "body": b'{"success":true}'}


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    (_many if scope["path"] == "/v1/batch" else _one)(body)
    await send(_START)
    await send(_BODY)


class EventModel(BaseModel):
    messageId: str = Field(min_length=1, max_length=128)  # noqa: N815
    type: Literal["track", "identify", "page"]
    event: str = Field(min_length=1, max_length=200)
    userId: str = Field(min_length=1, max_length=200)  # noqa: N815
    timestamp: datetime
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


class BatchModel(BaseModel):
    batch: list[EventModel]


class Accepted(BaseModel):
    success: bool


fastapi_app = FastAPI()


@fastapi_app.post("/v1/track")
async def track(event: EventModel) -> Accepted:
    return Accepted(success=bool(event.userId))


@fastapi_app.post("/v1/batch")
async def batch(events: BatchModel) -> Accepted:
    return Accepted(success=bool(events.batch))
