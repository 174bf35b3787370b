"""The HTTP edge: FastAPI is the app, and the SDKs' paths are answered in front of its router.

FastAPI's routing and request object cost more than all that a request of one event needs (measured:
31 µs against 17), so `Edge` is an ASGI middleware that looks the path up in a table and reads the
body itself, with a bound. It answers everything on its paths itself, errors and preflights too,
always with the CORS headers; other paths go on to the app.
"""

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.ingest import answers
from services.ingest.answers import Answer
from services.ingest.at_once import AtOnce
from services.ingest.body import ClientGone, Load
from services.ingest.documents import base_of, document
from services.ingest.errors import install_error_handlers
from services.ingest.intake import IngestContext, Intake
from services.ingest.keys import keys_of
from services.ingest.routes import TAKES_EVENTS, Does, Route, find
from services.ingest.schema import describe
from shared import tracing
from shared.tracing import Tracer

__all__ = ["Edge", "IngestContext", "create_app"]


class Edge:
    """Answers the SDKs' paths; hands every other request on to `app`."""

    def __init__(
        self,
        app: ASGIApp,
        context: IngestContext,
        behind: Callable[[ASGIApp], ASGIApp] | None = None,
    ) -> None:
        """`behind` makes a middleware that writes into the scope what trusted proxies tell."""
        self._app = app
        self._metrics = context.metrics
        self._live = context.live
        self._look_through = behind(_nothing) if behind is not None else None
        self._intake = Intake(context)
        self.at_once = AtOnce(context, self._intake, self._otherwise).take
        """For a server that can do without ASGI: see `services.ingest.at_once`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _route_of(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        if self._look_through is not None and (
            route.does not in TAKES_EVENTS or self._live.settings.ingest.client_context.address
        ):
            await self._look_through(scope, receive, send)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if tracing.tracer is None:
            answer = await self._answer(route, scope, headers, receive)
        else:
            answer = await self._traced(tracing.tracer, route, scope, headers, receive)
        if answer is None:
            return
        self._metrics.answered(route.name, answer.status)
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
            return await self._done(route, scope, headers, receive)
        except ClientGone:
            return None
        except Exception as error:  # noqa: BLE001 - see `failed`
            return self._intake.failed(route, error)

    async def _otherwise(self, route: Route, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        scope: Scope = {"method": "POST", "query_string": b"", "client": None}
        return await self._answer(route, scope, headers, receive) or answers.trouble()

    async def _traced(
        self,
        tracer: Tracer,
        route: Route,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
    ) -> Answer | None:
        method: str = scope["method"]
        with tracer.span(
            f"{method} {route.name}",
            "server",
            parent=headers.get(b"traceparent", b"").decode("latin-1"),
            attributes={"http.request.method": method},
        ) as span:
            answer = await self._answer(route, scope, headers, receive)
            if answer is not None:
                span.note({"http.response.status_code": answer.status})
                if answer.status >= 500:
                    span.failed(f"answered {answer.status}")
            return answer

    async def _done(
        self, route: Route, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        if route.does in TAKES_EVENTS:
            return await self._intake.take(route, headers, scope, receive)
        if route.does is Does.WEBHOOK:
            return await self._intake.take_webhook(route, headers, receive)
        if route.does is Does.CATALOG:
            return await self._intake.take_catalog(route, headers, scope, receive)
        if scope["method"] == "POST":
            with Load(self._intake.hands) as load:
                await self._intake.body(headers, receive, load)
        return _known_answer(route, headers, scope)


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    pass


def create_app(context: IngestContext) -> FastAPI:
    """Ingest alone. To serve it with others, add `Edge` to their app as a middleware."""
    app = FastAPI(
        title="Dangol ingest",
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_error_handlers(app)
    describe(app)
    app.add_middleware(Edge, context=context)
    return app


def _route_of(scope: Scope) -> Route | None:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return find(path.removeprefix(root) if root else path)


def _known_answer(route: Route, headers: Mapping[bytes, bytes], scope: Scope) -> Answer:
    """For the paths that take no events."""
    if route.does is Does.FORGET:
        return answers.SUCCESS
    keys = (route.key,) if route.key else keys_of(headers, scope["query_string"])
    base = base_of(scope["scheme"], headers, scope.get("root_path", ""))
    body = document(route, keys[0] if keys else "", base)
    return answers.document(body, script=route.does is Does.POSTHOG_SCRIPT)
