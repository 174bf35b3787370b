"""How the receipt doors refuse a report: all in one shape, that of every error of Dangol's."""

from fastapi.responses import JSONResponse

_AGAIN = "5"
"""Seconds after which a provider may try again."""


def refused(status: int, code: str, message: str) -> JSONResponse:
    """503 asks for it again; anything else says that it will never be taken."""
    headers = {"Retry-After": _AGAIN} if status == 503 else None
    return JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)
