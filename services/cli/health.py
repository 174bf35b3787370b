"""`/healthz`, `/readyz` and `/metrics`, the same for every process."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

Check = Callable[[], Awaitable[str | None]]
"""None when all is well, else what is missing."""

BUILD = Gauge("dangol_build_info", "1; which release runs, and as what", ["version", "part"])


Impaired = Callable[[], str | None]
"""What rests while everything else works; it takes nobody out of service."""


def health_routes(
    checks: Mapping[str, Check], impaired: Mapping[str, Impaired], registry: CollectorRegistry
) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Alive: the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="Ready: every part can do its work now")
    async def readyz() -> JSONResponse:
        missing = {name: said for name, check in checks.items() if (said := await check())}
        rests = {name: said for name, look in impaired.items() if (said := look())}
        if not missing:
            told = {"impaired": rests} if rests else {}
            return JSONResponse({"status": "ready", **told})
        body = {"code": "not_ready", "message": "; ".join(missing.values()), "missing": missing}
        return JSONResponse(body, status_code=503, headers={"Retry-After": "1"})

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        summary="Metrics in the Prometheus text format",
    )
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
