"""Errors as HTTP: `{"code", "message"}` and a hint where there is one, whatever raised them."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from services.console.refusal import Refused, problem_row
from shared.errors import BadInput, DangolError, Unavailable

logger = structlog.get_logger()

RETRY_AFTER = 2
"""Seconds: a database's restart takes about that."""
_CODES = {404: "not_found", 405: "method_not_allowed"}


class TooLarge(BadInput):
    """The body is too large."""

    code = "too_large"
    status = 413


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(DangolError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _defect)


async def _known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DangolError)
    if error.status >= 500:
        return _ours(error)
    content: dict[str, object] = {"code": error.code, "message": str(error)}
    if error.hint:
        content["hint"] = error.hint
    if isinstance(error, Refused):
        content["problems"] = [problem_row(problem) for problem in error.problems]
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(content, error.status, headers)


def _ours(error: DangolError) -> Response:
    """What exactly is wrong belongs into the log, not into the answer."""
    logger.warning(
        "a request could not be answered", action="console_unavailable", error=str(error)
    )
    content = {"code": Unavailable.code, "message": "not available right now; try again"}
    return JSONResponse(content, 503, {"Retry-After": str(RETRY_AFTER)})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    content = {"code": _CODES.get(error.status_code, "refused"), "message": str(error.detail)}
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return JSONResponse(content, error.status_code, headers)


def _methods(request: Request) -> set[str]:
    """All that the path understands: each of its routes alone knows its own method only."""
    found: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [
        f"{'.'.join(str(part) for part in e['loc'][1:]) or 'the body'}: {e['msg']}"
        for e in error.errors()
    ]
    return JSONResponse({"code": "bad_request", "message": "; ".join(said)}, 422)


async def _defect(_request: Request, error: Exception) -> Response:
    logger.error("a defect", action="console_defect", error=type(error).__name__, exc_info=error)
    content = {"code": "internal", "message": "something in Dangol broke; its log says what"}
    return JSONResponse(content, 500)
