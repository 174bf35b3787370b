"""Connections to one SMTP server, kept alive between mails and never more than are allowed.

The most recently used connection is taken first, so that spare ones grow old and are closed.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

from shared.errors import ConfigurationError

IDLE = 30.0
"""Seconds after which an unused connection is closed; servers wait at least as long."""

_PORTS = {"smtp": 25, "smtps": 465}
_QUIT = 1.0


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    tls: bool = False
    starttls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def server_of(url: str) -> Server:
    """`smtp://[user:password@]host:port[?starttls=true]` or `smtps://…`.

    Raises ConfigurationError, which never quotes the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    query = parse_qs(parts.query)
    starttls = query.pop("starttls", ["false"])[-1].lower()
    if parts.scheme not in _PORTS or not parts.hostname or query or starttls not in _BOOLEANS:
        raise ConfigurationError(
            "DANGOL_SMTP_URL cannot be read",
            hint="write smtp://[user:password@]host:port[?starttls=true] or smtps://…",
        )
    return Server(
        host=parts.hostname,
        port=port or (587 if _BOOLEANS[starttls] else _PORTS[parts.scheme]),
        tls=parts.scheme == "smtps",
        starttls=_BOOLEANS[starttls],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(slots=True)
class Connection:
    client: SMTP
    used_at: float
    fresh: bool = True
    """No command of a mail has been sent on it yet."""


class Pool:
    def __init__(self, server: Server, *, size: int, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._local_name: str | None = None

    @asynccontextmanager
    async def connection(self, *, new: bool = False) -> AsyncIterator[Connection]:
        """An open connection, for one mail; `new`: not one that has been idle.

        It is kept if it is still connected afterwards. Raises what aiosmtplib raises, and OSError.
        """
        async with self._free:
            self._close_old()
            connection = None if new else self._take()
            if connection is None:
                connection = await self._open()
            try:
                yield connection
            except BaseException:
                connection.client.close()
                raise
            if connection.client.is_connected:
                connection.used_at, connection.fresh = self._now(), False
                self._idle.append(connection)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._quit(connection) for connection in idle))

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.client.is_connected:
                return connection
        return None

    async def _open(self) -> Connection:
        if self._local_name is None:
            self._local_name = await asyncio.to_thread(socket.getfqdn)
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.tls,
            start_tls=server.starttls,
            local_hostname=self._local_name,
            timeout=self._timeout,
        )
        await client.connect()
        try:
            # Several small writes make one mail: with Nagle each would wait for the other side.
            client.get_transport_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except BaseException:
            client.close()
            raise
        return Connection(client, self._now())

    def _close_old(self) -> None:
        now = self._now()
        while self._idle and now - self._idle[0].used_at > IDLE:
            client = self._idle.pop(0).client
            if client.protocol is not None and client.is_connected:
                client.protocol.write(b"QUIT\r\n")  # nobody waits for the answer
            client.close()

    async def _quit(self, connection: Connection) -> None:
        with contextlib.suppress(SMTPException, OSError):
            await connection.client.quit(timeout=_QUIT)
        connection.client.close()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
