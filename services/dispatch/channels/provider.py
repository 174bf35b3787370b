"""A provider's HTTP API, as the adapters of all HTTP providers use it.

Connections are kept. An answer is read up to a bound. What goes wrong on the way has one meaning
for all of them: as long as no byte of the request has been written, nothing can have been taken,
and the provider is away (`BROKEN_CONNECTION`); from then on, a missing answer is `UNKNOWN`.

`meaning_of_status` is what an HTTP status means where the provider's own words say no more. A
server's error is `UNKNOWN` except where it says that nothing was done: RFC 9110 section 15.6.4
(503) and RFC 6585 section 4 (429). A provider that deduplicates gets the same request again after
an `UNKNOWN` (`Adapter.deduplicates`).
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from services.dispatch.channels.port import Outcome, Result, Setup
from shared.errors import ConfigurationError

LONGEST_ANSWER = 1_000_000
_LONGEST_WORDS = 500
_IDLE = 5.0
"""Seconds for which an idle connection is kept: less than servers keep theirs, since a request
that meets a closing connection leaves the outcome unknown."""
_LONGEST_WAIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def fields(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is none."""
        found = self.json()
        return found if isinstance(found, dict) else {}

    def retry_after(self, now: datetime) -> timedelta | None:
        """RFC 9110 section 10.2.3: seconds, or a date."""
        text = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(text).astimezone(UTC) - now).total_seconds()
            except (ValueError, OverflowError):
                return None
        if not math.isfinite(seconds) or seconds < 0:
            return None
        return min(timedelta(seconds=min(seconds, 1e6)), _LONGEST_WAIT)


class Provider:
    """One provider for one channel. `post` never raises for what a network or a server does."""

    def __init__(
        self,
        setup: Setup,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        http2: bool = False,
        only_http2: bool = False,
    ) -> None:
        """`only_http2`: also without TLS, where nothing else is spoken."""
        self._timeout = setup.timeout
        limits = httpx.Limits(
            max_connections=setup.concurrency,
            max_keepalive_connections=setup.concurrency,
            keepalive_expiry=_IDLE,
        )
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/"),
            headers={"user-agent": "Dangol", **(headers or {})},
            limits=limits,
            timeout=httpx.Timeout(setup.timeout, connect=min(5.0, setup.timeout)),
            follow_redirects=False,
            http2=http2,
            http1=not only_http2,
        )

    async def post(self, path: str, **request: Any) -> "Answer | Result":
        return await self.call("POST", path, **request)

    async def call(self, method: str, path: str, **request: Any) -> "Answer | Result":
        """`path` below the base URL, or a whole URL; `request`: `json`, `content`, `data`,
        `headers`, `params` of httpx."""
        sent = False

        async def trace(name: str, _info: object) -> None:
            nonlocal sent
            sent = sent or name.endswith("send_request_headers.started")

        built = self._client.build_request(method, path, **request, extensions={"trace": trace})
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(built)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            return meaning_of_error(error, sent=sent)

    async def _exchange(self, request: httpx.Request) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LONGEST_ANSWER:
                    break
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, bytes(body[:LONGEST_ANSWER]))

    async def close(self) -> None:
        await self._client.aclose()


def meaning_of_error(error: Exception, *, sent: bool) -> Result:
    """The one place where foreign errors become outcomes. Total over httpx's errors."""
    name = type(error).__name__
    if sent:
        return Result(Outcome.UNKNOWN, detail=f"no answer to the request: {name}")
    if isinstance(error, httpx.PoolTimeout):
        return Result(Outcome.RETRYABLE, detail="all connections were busy")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return Result(Outcome.BROKEN_CONNECTION, detail=f"the request cannot be made: {name}")
    return Result(Outcome.BROKEN_CONNECTION, detail=f"no connection: {name}")


def meaning_of_status(
    answer: Answer, now: datetime, *, said: str = "", address: str = ""
) -> Result:
    """For an answer that is no success and whose body decides nothing. Total.

    `said` is what the provider said, for the record; `address` is taken out of it.
    """
    status = answer.status
    detail = f"{status} {words(said, address)}".strip()
    if status in (401, 402, 403, 404, 405, 407):
        # Wrong or closed key, unpaid, wrong address of the API: every message would meet it.
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if status == 429:
        wish = answer.retry_after(now)
        return Result(Outcome.THROTTLED, detail=detail, retry_after=wish)
    if status == 503:
        wish = answer.retry_after(now)
        return Result(Outcome.RETRYABLE, detail=detail, retry_after=wish)
    if 400 <= status < 500 and status != 408:
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    if 300 <= status < 400:
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    return Result(Outcome.UNKNOWN, detail=detail)


def dicts(found: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of them."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def words(said: object, address: str = "") -> str:
    """What a provider said, bounded, on one line, and without the customer's address.

    A phone number is also found where it is written with or without its country or with signs.
    """
    text = " ".join(str(said or "").split())
    for form in _forms(address):
        text = text.replace(form, "…")
    return text[:_LONGEST_WORDS]


def _forms(address: str) -> list[str]:
    digits = address.removeprefix("+")
    forms = [address, digits] if address else []
    if digits.isdecimal() and len(digits) > 8:
        forms += [f"0{digits[2:]}", digits[2:], digits[-8:]]
    return [form for form in forms if form]


def required(setup: Setup, adapter: str, *names: str) -> tuple[str, ...]:
    """The adapter's secrets from the environment; raises ConfigurationError naming what misses."""
    missing = [name for name in names if not setup.environment.get(name)]
    if missing:
        raise ConfigurationError(
            f"the channel {setup.channel} uses the adapter {adapter}, but"
            f" {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
            hint=f"set {', '.join(names)}, or write `adapter: log` to try it without sending",
        )
    return tuple(setup.environment[name] for name in names)


def base_url(setup: Setup, adapter: str, default: str) -> str:
    """`DANGOL_<ADAPTER>_BASE_URL`, or the provider's own."""
    return setup.environment.get(f"DANGOL_{adapter.upper()}_BASE_URL") or default
