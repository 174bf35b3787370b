"""Errors outside the SDKs' paths, in the same shape: FastAPI's own would break Python SDKs."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.ingest import answers
from shared.errors import BadInput

_CODES = {404: "not_found", 405: "method_not_allowed"}


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "refused")
        return _response(answers.refusal(error.status_code, code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, __: RequestValidationError) -> Response:
        return _response(answers.mistake(BadInput("The request does not fit.")))

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return _response(answers.trouble())


def _response(answer: answers.Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response
