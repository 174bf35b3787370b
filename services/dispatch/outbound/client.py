"""One bounded POST to a URL that somebody else has chosen.

The name is resolved, every address is checked (`addresses.py`), and the connection is made to a
checked address, while TLS still verifies the name: a name that resolves otherwise a moment later
changes nothing. Redirects are never followed. The time-out is for the whole exchange, however
slowly it drips, and no more of the answer is read than asked for.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from services.dispatch.outbound.addresses import is_permitted
from shared.errors import DangolError

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses; raises OSError."""

_IDLE = 20.0
"""Seconds for which a connection is kept for the next request to the same host."""


class Refused(DangolError):
    """The URL may not be called; trying again changes nothing."""


class Unreachable(DangolError):
    """No whole answer came. `sent`: the request may have been taken nevertheless."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """By name in small letters."""
    body: bytes
    whole: bool
    """False where the body was longer than asked for; `body` is then its beginning."""


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def private_hosts(environment: Mapping[str, str]) -> list[str]:
    """`DANGOL_PRIVATE_HOSTS`, for adapters, which are made from the environment."""
    return [host for host in environment.get("DANGOL_PRIVATE_HOSTS", "").split(",") if host]


class OutboundClient:
    def __init__(
        self,
        private_hosts: Iterable[str] = (),
        *,
        connections: int = 32,
        resolve: Resolve = _resolve,
    ) -> None:
        """`private_hosts`: names or addresses in the operator's own network, each with its port
        (`crm.internal:8080`) or for all ports; these may be private and need no TLS."""
        self._private = frozenset(host.lower() for host in private_hosts)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            keepalive_expiry=_IDLE,
            network_backend=_CheckedBackend(self._private, resolve),
        )

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, timeout: float, most: int
    ) -> Reply:
        """`timeout` in real seconds, `most` bytes of the answer. Raises Refused, Unreachable."""
        target = self._checked(url)
        sent = False

        async def trace(name: str, _info: object) -> None:
            nonlocal sent
            sent = sent or name.endswith("send_request_headers.started")

        request = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-length": str(len(body)),
            "content-type": "application/json",
            "user-agent": "Dangol",
            **headers,
            "host": target.netloc.decode(),
        }
        try:
            async with (
                asyncio.timeout(timeout),
                self._pool.stream(
                    "POST",
                    httpcore.URL(
                        scheme=target.raw_scheme,
                        host=target.raw_host,
                        port=target.port,
                        target=target.raw_path,
                    ),
                    headers=list(request.items()),
                    content=body,
                    extensions={"trace": trace, "timeout": {"connect": timeout, "read": timeout}},
                ) as response,
            ):
                return await _read(response, most)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise Unreachable(f"no answer within {timeout:g} s", sent=sent) from error
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            # Foreign texts may name addresses; the kind of error is enough to find it.
            raise Unreachable(_word(error), sent=sent) from error

    def _checked(self, url: str) -> httpx.URL:
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise Refused("the URL cannot be read") from error
        if target.scheme not in ("http", "https") or not target.host:
            raise Refused("only https:// can be called")
        if target.userinfo:
            raise Refused("a URL with a name or a password in it is not called")
        port = target.port or {"http": 80, "https": 443}[target.scheme]
        if target.scheme == "http" and not _is_named(self._private, target.host, port):
            raise Refused("plain http is for hosts in DANGOL_PRIVATE_HOSTS only")
        return target

    async def close(self) -> None:
        await self._pool.aclose()


def _is_named(names: frozenset[str], host: str, port: int) -> bool:
    host = host.strip("[]").lower()
    shown = f"[{host}]" if ":" in host else host
    return not names.isdisjoint((host, shown, f"{shown}:{port}"))


async def _read(response: httpcore.Response, most: int) -> Reply:
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > most:
            break
    names = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
    return Reply(response.status, names, bytes(body[:most]), len(body) <= most)


def _word(error: Exception) -> str:
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, socket.gaierror):
        return "the host's name cannot be resolved"
    return f"the connection failed: {type(cause).__name__}"


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, private: frozenset[str], resolve: Resolve) -> None:
        self._private = private
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        named = _is_named(self._private, host, port)
        permitted = [
            address
            for address in await self._resolve(host, port)
            if is_permitted(address, private=named)
        ]
        if not permitted:
            raise Refused("the host's address is not of the public internet")
        for address in permitted[:-1]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError:
                continue
        return await self._inner.connect_tcp(
            permitted[-1], port, timeout, local_address, socket_options
        )
