"""What a client is told: the one success, and errors that no SDK trips over.

Every SDK takes exactly 200 with this object. An error is an object with texts under `code` and
`message`: without them the Python SDKs take a refusal for a broken network and retry it. A 4xx
other than 408 and 429 makes every SDK throw the whole batch away for good, so it is only for what
can never succeed; our own trouble is 503 with whole seconds in `Retry-After`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from services.ingest.quota import TooMany
from shared.errors import BadInput, Unavailable

RETRY_AFTER = 1
"""Seconds. Short: some SDKs give up after 1.6, and a full queue drains in less."""

Header = tuple[bytes, bytes]

_ALLOW_ORIGIN = b"access-control-allow-origin"

CORS: tuple[Header, ...] = (
    (_ALLOW_ORIGIN, b"*"),
    (b"access-control-expose-headers", b"Retry-After"),
)
_JSON = b"application/json"
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
    """This path is not called so."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, methods: Iterable[str]) -> None:
        self.allowed = ", ".join([*sorted(methods), "OPTIONS"])
        super().__init__(f"This path understands {self.allowed}.")


def _answer(
    status: int, body: bytes, headers: Sequence[Header] = (), content_type: bytes = _JSON
) -> Answer:
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, body, ((b"content-type", content_type), length, *CORS, *headers))


SUCCESS = _answer(200, _SUCCESS)


def success(fields: Mapping[str, object]) -> Answer:
    """The one success with more in it, for the clients that look for more."""
    body = {"success": True, "ok": True, "status": 1, **fields}
    return _answer(200, msgspec.json.encode(body))


def document(body: bytes, *, script: bool = False) -> Answer:
    """What a client fetches before it sends, good for as long as a page lives."""
    headers = (
        (b"cache-control", b"public, max-age=300"),
        (b"vary", b"Origin, X-Forwarded-Proto"),
        (b"x-content-type-options", b"nosniff"),
    )
    return _answer(200, body, headers, b"text/javascript; charset=utf-8" if script else _JSON)


def headers_for(answer: Answer, origin: bytes | None) -> list[Header]:
    """The headers, for a page of that origin: it may read the answer, with credentials too.

    A page that sends its cookies along may not be answered `*`. Naming every origin gives nothing
    away: nothing on these paths looks at a cookie.
    """
    if origin is None:
        return list(answer.headers)
    own = [header for header in answer.headers if header[0] != _ALLOW_ORIGIN]
    return [
        *own,
        (_ALLOW_ORIGIN, origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def refusal(status: int, code: str, message: str, headers: Sequence[Header] = ()) -> Answer:
    return _answer(status, msgspec.json.encode({"code": code, "message": message}), headers)


def mistake(error: BadInput) -> Answer:
    """The client's, told in its own words."""
    more: tuple[Header, ...] = ()
    if isinstance(error, MethodNotAllowed):
        more = ((b"allow", error.allowed.encode()),)
    elif isinstance(error, TooMany):
        more = ((b"retry-after", str(error.retry_after).encode()),)
    return refusal(error.status, error.code, str(error), more)


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
