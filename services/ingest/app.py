"""The HTTP edge: FastAPI is the app, and the SDKs' paths are answered in front of its router.

FastAPI's routing and request object cost more than all that a request of one event needs (measured:
31 µs against 17), so `Edge` is an ASGI middleware that looks the path up in a table and reads the
body itself, with a bound. It answers everything on its paths itself, errors and preflights too,
always with the CORS headers; other paths go on to the app.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest import answers
from services.ingest.answers import Answer
from services.ingest.body import ClientGone, Hands, Load, read_body
from services.ingest.errors import install_error_handlers
from services.ingest.keys import KeyRing, keys_of, writer
from services.ingest.limits import LIMITS, Limits
from services.ingest.metrics import IngestMetrics
from services.ingest.normalise import Scene
from services.ingest.protocol import Parcel, Reading, open_parcel, read
from services.ingest.refused import SetAside
from services.ingest.times import as_utc, parse_time
from services.ingest.wire import WireKind
from shared.clock import Clock
from shared.errors import BadInput, Unavailable
from shared.keys import Source
from shared.log.port import EventLog

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IngestContext:
    log: EventLog
    """A `BatchingLog`: it is what bounds the time and the events that wait. Its maker stops it."""
    keys: KeyRing
    set_aside: SetAside
    clock: Clock
    metrics: IngestMetrics
    limits: Limits = LIMITS


@dataclass(frozen=True, slots=True)
class _Route:
    name: str
    kind: WireKind | None


_KINDS: Mapping[str, WireKind | None] = {
    "batch": None,
    "track": "track",
    "identify": "identify",
    "page": "page",
    "screen": "screen",
    "group": "group",
    "alias": "alias",
}
_ROUTES: Mapping[str, _Route] = {
    f"/v1/{form}{slash}": _Route(name, kind)
    for name, kind in _KINDS.items()
    for form in (name, name[0])
    for slash in ("", "/")
}
"""Each path in its long and short form, with and without the slash: a redirect loses events."""


class Edge:
    """Answers the SDKs' paths; hands every other request on to `app`."""

    def __init__(self, app: ASGIApp, context: IngestContext) -> None:
        self._app = app
        self._context = context
        self._limits = context.limits
        self._hands = Hands(context.limits.bodies)
        self._silent_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _route_of(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        answer = await self._answer(route, scope, receive)
        if answer is None:
            return
        self._context.metrics.answered(route.name, answer.status)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": list(answer.headers),  # a copy: whoever is in front of us may add to it
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, route: _Route, scope: Scope, receive: Receive) -> Answer | None:
        """None if nobody is there any more. Raises nothing: an error escapes without CORS."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            if scope["method"] == "OPTIONS":
                return answers.preflight(headers.get(b"access-control-request-headers"))
            if scope["method"] != "POST":
                raise answers.MethodNotAllowed
            await self._take(route, headers, scope["query_string"], receive)
        except ClientGone:
            return None
        except BadInput as error:
            return answers.mistake(error)
        except (Unavailable, TimeoutError) as error:
            self._warn(route, error)
            return answers.trouble()
        except Exception:
            _logger.exception("A request failed.", action="ingest.failed", route=route.name)
            return answers.trouble()
        return answers.SUCCESS

    def _warn(self, route: _Route, error: Exception) -> None:
        """Once a second at most: in an outage every request would say the same."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + 1
            reason = str(error) or type(error).__name__
            _logger.warning(
                "Requests are answered 503.",
                action="ingest.unavailable",
                route=route.name,
                error=reason,
            )

    async def _take(
        self, route: _Route, headers: Mapping[bytes, bytes], query: bytes, receive: Receive
    ) -> None:
        """Return when all that the request brought is durable."""
        received = self._context.clock.now()
        keys = keys_of(headers, query)
        source = await writer(self._context.keys, keys) if keys else None
        with Load(self._hands) as load:
            announced = headers.get(b"content-length", b"")
            size = int(announced) if announced.isdigit() else 0
            body = await read_body(receive, size, load, self._limits)
            self._context.metrics.body_bytes.inc(len(body))
            parcel = await self._open(body, single=route.kind is not None)
            if source is None:
                key = parcel.key()
                source = await writer(self._context.keys, (key,) if key else ())
            scene = _scene(parcel, headers, route.kind, source, received)
            await self._store(await self._read(parcel, scene))

    async def _open(self, body: bytes, *, single: bool) -> Parcel:
        if len(body) < self._limits.thread_from:
            return open_parcel(body, single=single)
        return await asyncio.to_thread(open_parcel, body, single=single)

    async def _read(self, parcel: Parcel, scene: Scene) -> Reading:
        if len(parcel.body) < self._limits.thread_from:
            return read(parcel, scene)
        return await asyncio.to_thread(read, parcel, scene)

    async def _store(self, reading: Reading) -> None:
        """First what is put aside: an event without an id gets a new one if it is sent again."""
        if reading.refused:
            async with asyncio.timeout(self._limits.put_aside_within):
                await self._context.set_aside.put(reading.refused)
        await self._context.log.append(reading.events)
        self._context.metrics.took(reading.events, reading.refused)


def create_app(context: IngestContext) -> FastAPI:
    """Ingest alone. To serve it with others, add `Edge` to their app as a middleware."""
    app = FastAPI(
        title="Dangol ingest",
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_error_handlers(app)
    app.add_middleware(Edge, context=context)
    return app


def _route_of(scope: Scope) -> _Route | None:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return _ROUTES.get(path.removeprefix(root) if root else path)


def _scene(
    parcel: Parcel,
    headers: Mapping[bytes, bytes],
    kind: WireKind | None,
    source: Source,
    received: datetime,
) -> Scene:
    sent = parcel.sent
    if sent is None and (header := headers.get(b"sentat")):
        instant = parse_time(header.decode("latin-1"))
        sent = as_utc(instant) if instant else None
    return Scene(received, source.name, kind, sent, parcel.context, parcel.integrations)
