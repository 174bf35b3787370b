"""The HTTP edge: FastAPI is the app, and the SDKs' paths are answered in front of its router.

FastAPI's routing and request object cost more than all that a request of one event needs (measured:
31 µs against 17), so `Edge` is an ASGI middleware that looks the path up in a table and reads the
body itself, with a bound. It answers everything on its paths itself, errors and preflights too,
always with the CORS headers; other paths go on to the app.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest import answers, posthog
from services.ingest.answers import Answer
from services.ingest.body import ClientGone, Hands, Load, read_body
from services.ingest.documents import base_of, document
from services.ingest.errors import install_error_handlers
from services.ingest.keys import KeyRing, keys_of, writer
from services.ingest.limits import LIMITS, Limits
from services.ingest.metrics import IngestMetrics
from services.ingest.normalise import Scene
from services.ingest.protocol import Parcel, Reading, open_parcel, open_posthog, read
from services.ingest.refused import Refused, SetAside
from services.ingest.routes import TAKES_EVENTS, Does, Route, find
from services.ingest.times import as_utc, parse_time
from shared.clock import Clock
from shared.errors import BadInput, Unavailable
from shared.keys import Source
from shared.log.port import EventLog

_logger = structlog.get_logger(__name__)
_T = TypeVar("_T")
_LONGEST_AGENT = 512


@dataclass(frozen=True, slots=True)
class IngestContext:
    log: EventLog
    """A `BatchingLog`: it is what bounds the time and the events that wait. Its maker stops it."""
    keys: KeyRing
    set_aside: SetAside
    clock: Clock
    metrics: IngestMetrics
    limits: Limits = LIMITS


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
        headers: dict[bytes, bytes] = dict(scope["headers"])
        answer = await self._answer(route, scope, headers, receive)
        if answer is None:
            return
        self._context.metrics.answered(route.name, answer.status)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                # A copy: whoever is in front of us may add to it.
                "headers": answers.headers_for(answer, headers.get(b"origin")),
            }
        )
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, route: Route, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer | None:
        """None if nobody is there any more. Raises nothing: an error escapes without CORS."""
        method: str = scope["method"]
        try:
            if method == "OPTIONS":
                return answers.preflight(headers.get(b"access-control-request-headers"))
            if method not in route.methods:
                raise answers.MethodNotAllowed(route.methods)
            if route.does in TAKES_EVENTS:
                return await self._take(route, headers, scope, receive)
            if method == "POST":
                with Load(self._hands) as load:
                    await read_body(receive, 0, load, self._limits)
            return _known_answer(route, headers, scope)
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

    def _warn(self, route: Route, error: Exception) -> None:
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
        self, route: Route, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive
    ) -> Answer:
        """Answer when all that the request brought is durable."""
        received = self._context.clock.now()
        keys = keys_of(headers, scope["query_string"])
        if not keys and route.does is Does.POSTHOG_V1:
            keys = posthog.bearer(headers.get(b"authorization", b""))
        ring = self._context.keys
        source = await self._holding(route, lambda: writer(ring, keys)) if keys else None
        with Load(self._hands) as load:
            announced = headers.get(b"content-length", b"")
            size = int(announced) if announced.isdigit() else 0
            body = await read_body(receive, size, load, self._limits)
            self._context.metrics.body_bytes.inc(len(body))
            parcel = await self._open(body, route)
            if source is None:
                key = parcel.key()
                found = (key,) if key else ()
                source = await self._holding(route, lambda: writer(ring, found))
            reading = await self._read(
                parcel, scene_of(parcel, route, headers, scope, source, received)
            )
            await self._store(route, reading)
        if route.does is Does.POSTHOG_V1:
            stored = frozenset(event.id for event in reading.events)
            return answers.success({"results": posthog.results(parcel.items, stored)})
        return answers.SUCCESS

    async def _open(self, body: bytes, route: Route) -> Parcel:
        if len(body) < self._limits.thread_from:
            return _opened(body, route)
        return await asyncio.to_thread(_opened, body, route)

    async def _read(self, parcel: Parcel, scene: Scene) -> Reading:
        if len(parcel.body) < self._limits.thread_from:
            return read(parcel, scene)
        return await asyncio.to_thread(read, parcel, scene)

    async def _store(self, route: Route, reading: Reading) -> None:
        """First what is put aside: an event without an id gets a new one if it is sent again."""
        if reading.refused:
            await self._holding(route, lambda: self._put_aside(reading.refused))
        await self._holding(route, lambda: self._context.log.append(reading.events))
        self._context.metrics.took(reading.events, reading.refused)

    async def _put_aside(self, refused: Sequence[Refused]) -> None:
        async with asyncio.timeout(self._limits.put_aside_within):
            await self._context.set_aside.put(refused)

    async def _holding(self, route: Route, act: Callable[[], Awaitable[_T]]) -> _T:
        """Act, and for SDKs that send nothing twice act again, for a while, before our trouble
        becomes theirs. A second append repeats the events' ids, so they still count once."""
        if not route.one_chance:
            return await act()
        until = time.monotonic() + self._limits.one_chance_held
        try:
            return await act()
        except (Unavailable, TimeoutError) as error:
            self._warn(route, error)
        with self._context.metrics.held.track_inprogress():
            while True:
                await asyncio.sleep(self._limits.one_chance_pause)
                try:
                    return await act()
                except (Unavailable, TimeoutError):
                    if time.monotonic() >= until:
                        raise


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


def _route_of(scope: Scope) -> Route | None:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return find(path.removeprefix(root) if root else path)


def _opened(body: bytes, route: Route) -> Parcel:
    if route.does is Does.EVENTS:
        return open_parcel(body, single=route.kind is not None)
    return open_posthog(body)


def _known_answer(route: Route, headers: Mapping[bytes, bytes], scope: Scope) -> Answer:
    """For the paths that take no events."""
    if route.does is Does.FORGET:
        return answers.SUCCESS
    keys = (route.key,) if route.key else keys_of(headers, scope["query_string"])
    base = base_of(scope["scheme"], headers, scope.get("root_path", ""))
    body = document(route, keys[0] if keys else "", base)
    return answers.document(body, script=route.does is Does.POSTHOG_SCRIPT)


def scene_of(
    parcel: Parcel,
    route: Route,
    headers: Mapping[bytes, bytes],
    scope: Scope,
    source: Source,
    received: datetime,
) -> Scene:
    """What the request and the batch say of all their events."""
    sent = parcel.sent
    if sent is None and (header := headers.get(b"sentat")):
        instant = parse_time(header.decode("latin-1"))
        sent = as_utc(instant) if instant else None
    context = parcel.context
    if route.does is Does.POSTHOG_V1:
        context = posthog.library_of(headers)
    client = scope.get("client")
    agent = headers.get(b"user-agent")
    return Scene(
        received,
        source.name,
        route.kind,
        sent,
        context,
        parcel.integrations,
        ip=client[0] if client else None,
        user_agent=agent[:_LONGEST_AGENT].decode("latin-1") if agent else None,
    )
