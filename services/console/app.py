"""The console's HTTP: the API that marketers and operators work with, and a page to watch.

The composition root makes `Console` and may add its own routes and middleware to the app.
"""

from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console import (
    customers_api,
    enter_api,
    explain_api,
    firings_api,
    graph_api,
    journeys_api,
    keys_api,
    mail_domains_api,
    messages_api,
    notices_api,
    page,
    results_api,
    retention_api,
    rfm_api,
    segments_api,
    send_api,
    set_aside_api,
    timeline_api,
    tracking_api,
    workspace_api,
)
from services.console.context import Console
from services.console.failures import install_error_handlers
from services.console.models import Failure

__all__ = ["Console", "create_app"]

_DESCRIPTION = """
Publish workspaces, watch journeys and messages, manage keys.

Every call carries `Authorization: Bearer <token>`. Roles, from the least to the most: `viewer`
reads, `marketer` also publishes and pauses, `operator` also exports and erases customers, `admin`
also manages keys.

Errors are `{"code", "message"}` with an optional `hint`. 4xx is for the caller to mend; 503 is our
trouble and comes with `Retry-After`. Instants are ISO 8601 in UTC.
"""
_APIS = (
    workspace_api,
    journeys_api,
    results_api,
    retention_api,
    graph_api,
    segments_api,
    firings_api,
    enter_api,
    explain_api,
    timeline_api,
    notices_api,
    customers_api,
    messages_api,
    send_api,
    keys_api,
    mail_domains_api,
    rfm_api,
    set_aside_api,
    tracking_api,
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The request cannot be used"},
    401: {"model": Failure, "description": "No token, or an unknown or revoked one"},
    403: {"model": Failure, "description": "The token's role does not reach this far"},
    422: {"model": Failure, "description": "A parameter does not fit"},
    503: {"model": Failure, "description": "Our trouble: try again after `Retry-After`"},
}


def create_app(console: Console) -> FastAPI:
    app = FastAPI(
        title="Dangol",
        description=_DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere; ours does not
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.console = console
    install_error_handlers(app)
    for api in _APIS:
        app.include_router(api.router, responses=_ERRORS)
    app.include_router(page.router)
    app.add_middleware(_Headers)
    return app


class _Headers:
    """What every answer of ours says to browsers; pages add their own policy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with if scope["type"] == "http" else send)
