"""The adapter `smtp`: mail through any server that speaks SMTP (RFC 5321).

A mail is taken when the server answers the final dot. Before that dot nothing has been sent that a
server may deliver, so a connection lost earlier is no danger; between the dot and its answer the
mail may have been taken, and only then is the outcome unknown.
"""

import asyncio
import re

from aiosmtplib import errors

from services.dispatch.channels.mail import Sender, build, message_id, sender_of
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.smtp_pool import Connection, Pool, server_of
from services.dispatch.channels.smtp_replies import (
    Progress,
    Reply,
    Stage,
    meaning_of_error,
    outcome_of,
)
from shared.errors import ConfigurationError

_QUEUED_AS = re.compile(r"queued as (\S{1,100})", re.IGNORECASE)
_RESET = 2.0


class SmtpAdapter:
    name = "smtp"
    deduplicates = False

    def __init__(self, pool: Pool, sender: Sender, timeout: float) -> None:
        self._pool = pool
        self._sender = sender
        self._timeout = timeout

    async def send(self, message: Outgoing) -> Result:
        raw = build(message, self._sender)
        progress = Progress()
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._deliver(message, raw, progress)
        except (errors.SMTPException, OSError, ValueError) as error:
            outcome, detail = meaning_of_error(error, progress)
            return Result(outcome, detail=detail)
        if not reply.success:
            said = f"{reply.code} {reply.text}".replace(message.address, "…")
            return Result(outcome_of(reply), detail=said)
        queued = _QUEUED_AS.search(reply.text)
        ours = message_id(message.message_id, self._sender)
        return Result(Outcome.ACCEPTED, queued[1] if queued else ours, reply.text)

    async def close(self) -> None:
        await self._pool.close()

    async def _deliver(self, message: Outgoing, raw: bytes, progress: Progress) -> Reply:
        async with self._pool.connection() as connection:
            progress.connected = True
            kept = not connection.fresh
            try:
                return await self._one_mail(connection, message, raw, progress)
            except errors.SMTPServerDisconnected:
                # A kept connection may have died while it was idle: nothing of this mail is out.
                if not kept or progress.handed_over:
                    raise
        progress.connected = False
        async with self._pool.connection(new=True) as connection:
            progress.connected = True
            return await self._one_mail(connection, message, raw, progress)

    async def _one_mail(
        self, connection: Connection, message: Outgoing, raw: bytes, progress: Progress
    ) -> Reply:
        reply = await self._conversation(connection, message, raw, progress)
        if not reply.success and connection.client.is_connected:
            try:
                await connection.client.rset(timeout=_RESET)
            except (errors.SMTPException, OSError):
                connection.client.close()
        return reply

    async def _conversation(
        self, connection: Connection, message: Outgoing, raw: bytes, progress: Progress
    ) -> Reply:
        """The answer to the final dot, or the first that ended the conversation before it."""
        client, sender = connection.client, message.return_path or self._sender.address
        commands: tuple[tuple[Stage, bytes, int], ...] = (
            ("mail", b"MAIL FROM:<%s>" % sender.encode(), 250),
            ("rcpt", b"RCPT TO:<%s>" % message.address.encode(), 250),
            ("data", b"DATA", 354),
        )
        for stage, command, wanted in commands:
            answer = await client.execute_command(command)
            if answer.code != wanted and answer.code != 251:  # RFC 5321: will forward
                return Reply(stage, answer.code, answer.message)
        protocol = client.protocol
        if protocol is None:
            raise errors.SMTPServerDisconnected("Connection lost")
        protocol.write(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        progress.handed_over = True
        try:
            answer = await protocol.read_response(self._timeout)
        except (errors.SMTPException, OSError):
            client.close()
            raise
        progress.handed_over = False
        if answer.code == 421:
            client.close()
        return Reply("dot", answer.code, answer.message)


def create(setup: Setup) -> Adapter:
    url = setup.environment.get("DANGOL_SMTP_URL")
    if not url:
        raise ConfigurationError(
            f"the channel {setup.channel} uses the adapter smtp, but DANGOL_SMTP_URL is not set",
            hint="set DANGOL_SMTP_URL, or write `adapter: log` to try it without sending",
        )
    pool = Pool(server_of(url), size=setup.concurrency, timeout=setup.timeout)
    return SmtpAdapter(pool, sender_of(setup.settings.sender), setup.timeout)
