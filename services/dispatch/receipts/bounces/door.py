"""The SMTP door: takes mail for the bounce domain, and for nothing else.

A recipient that this installation has not made is refused at `RCPT`, so nothing can be relayed, and
what others forge does not even come in. A mail is answered with 250 when what it tells is stored;
while the database is away with 451, so that it comes again. Sizes, times and the number of
connections are bounded. With a certificate it offers STARTTLS, which it demands of nobody: who
cannot speak it would have to keep his report.
"""

import asyncio
import contextlib
import logging
import ssl
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.dispatch.receipts.bounces.certificate import Certificate
from services.dispatch.receipts.bounces.mailroom import Mailroom
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

LONGEST = 1_000_000
_MOST_RECIPIENTS = 20
_PATIENCE = 60.0
"""Real seconds for one command."""
_LONGEST_SESSION = 600.0
_LATER = "451 4.3.0 not now, send it again"


class Door:
    """aiosmtpd's handler, and the server around it."""

    def __init__(
        self,
        mailroom: Mailroom,
        domain: str,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        connections: int = 100,
        again: float = 5.0,
    ) -> None:
        """`again`: real seconds between two tries at a port that somebody else has."""
        self._certificate = certificate
        self._mailroom = mailroom
        self._domain = domain
        self._where = host, port
        self._connections = connections
        self._again = again
        self._sessions: set[_Session] = set()
        self.port = 0
        """Once it listens."""

    @property
    def busy(self) -> int:
        """Connections that are open."""
        return len(self._sessions)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`. Where somebody else has the port, such as the process that this one
        replaces, it waits for it."""
        server = await self._listen(stopping)
        if server is None:
            return
        self.port = server.sockets[0].getsockname()[1]
        logger.info("bounces are taken", action="bounces_listen", port=self.port)
        try:
            await stopping.wait()
        finally:
            server.close()
            for session in tuple(self._sessions):
                session.end()

    async def _listen(self, stopping: asyncio.Event) -> asyncio.Server | None:
        # Its log lines hold addresses.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        loop, said = asyncio.get_running_loop(), ""
        while not stopping.is_set():
            try:
                return await loop.create_server(self._session, *self._where)
            except OSError as error:
                why = error.strerror or type(error).__name__
                if why != said:
                    logger.warning("bounces cannot be taken", action="bounces_deaf", why=why)
                said = why
            await pause(stopping, self._again)
        return None

    def _session(self) -> "_Session":
        tls = self._certificate.context() if self._certificate is not None else None
        return _Session(self, self._sessions, self._domain, self._connections, tls)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        try:
            paths = await self._mailroom.paths()
        except Unavailable:
            return _LATER
        if not paths.is_ours(address):
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_VRFY(  # noqa: N802
        self, _server: SMTP, _session: Session, _envelope: Envelope, _address: str
    ) -> str:
        return "252 2.1.5 send some mail, and see"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        try:
            await self._mailroom.take(raw, envelope.rcpt_tos)
        except Unavailable:
            return _LATER
        return "250 2.0.0 taken"

    async def handle_exception(self, error: Exception) -> str:
        logger.error(
            "a mail could not be taken", action="bounce_failed", error=type(error).__name__
        )
        return _LATER


class _Session(SMTP):
    def __init__(
        self,
        door: Door,
        sessions: set["_Session"],
        domain: str,
        connections: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(
            door,
            data_size_limit=LONGEST,
            hostname=domain,
            ident="Dangol",
            timeout=_PATIENCE,
            decode_data=False,
            tls_context=tls,
        )
        self._sessions = sessions
        self._connections = connections
        self._over: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self in self._sessions:  # the same connection, encrypted from here on
            super().connection_made(transport)
            return
        if len(self._sessions) >= self._connections:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"421 4.3.2 too many connections\r\n")
            transport.close()
            return
        self._sessions.add(self)
        self._over = asyncio.get_running_loop().call_later(_LONGEST_SESSION, self.end)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._sessions:
            self._sessions.discard(self)
            super().connection_lost(error)
        if self._over is not None:
            self._over.cancel()

    def end(self) -> None:
        with contextlib.suppress(AttributeError):
            transport: Any = self.transport
            transport.abort()
