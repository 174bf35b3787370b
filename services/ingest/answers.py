"""What a client is told: the one success, and errors that no SDK trips over.

Every SDK takes exactly 200 with this object. An error is an object with texts under `code` and
`message`: without them the Python SDKs take a refusal for a broken network and retry it. A 4xx
other than 408 and 429 makes every SDK throw the whole batch away for good, so it is only for what
can never succeed; our own trouble is 503 with whole seconds in `Retry-After`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from shared.errors import BadInput, Unavailable

RETRY_AFTER = 1
"""Seconds. Short: some SDKs give up after 1.6, and a full queue drains in less."""

Header = tuple[bytes, bytes]

CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After"),
)
_JSON: Header = (b"content-type", b"application/json")
_SUCCESS = b'{"success":true,"ok":true,"status":1}'


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: tuple[Header, ...]


class TooSlow(BadInput):
    """The body did not arrive in time."""

    code = "timeout"
    status = 408


class MethodNotAllowed(BadInput):
    """Only POST is understood here."""

    code = "method_not_allowed"
    status = 405


def _json(status: int, body: bytes, headers: Sequence[Header] = ()) -> Answer:
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, body, (_JSON, length, *CORS, *headers))


SUCCESS = _json(200, _SUCCESS)


def refusal(status: int, code: str, message: str, headers: Sequence[Header] = ()) -> Answer:
    return _json(status, msgspec.json.encode({"code": code, "message": message}), headers)


def mistake(error: BadInput) -> Answer:
    """The client's, told in its own words."""
    allow = ((b"allow", b"POST, OPTIONS"),) if isinstance(error, MethodNotAllowed) else ()
    return refusal(error.status, error.code, str(error), allow)


def trouble() -> Answer:
    """Ours. What exactly it is belongs into the log, not into the answer."""
    retry_after = (b"retry-after", str(RETRY_AFTER).encode())
    return refusal(503, Unavailable.code, str(Unavailable()), (retry_after,))


def preflight(requested_headers: bytes | None) -> Answer:
    """Whatever header the browser asks for: a fixed list breaks the retries of two SDKs."""
    headers: list[Header] = [
        *CORS,
        (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
        (b"access-control-max-age", b"7200"),
        (b"vary", b"Access-Control-Request-Headers"),
    ]
    if requested_headers:
        headers.append((b"access-control-allow-headers", requested_headers))
    return Answer(204, b"", tuple(headers))
