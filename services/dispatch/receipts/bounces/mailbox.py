"""A mailbox that bounces arrive in, read by IMAP (RFC 3501) once a minute.

Everything unseen is read, and flagged as seen once what it tells is stored: after a crash it is
read again, which changes nothing. The mailbox is for bounces only; whatever else is in it is
flagged, too. Nothing is deleted. The standard library's client blocks, so it has a thread.
"""

import asyncio
import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from services.dispatch.receipts.bounces.mailroom import Mailroom
from services.dispatch.receipts.bounces.notices import LONGEST_READ
from services.dispatch.receipts.bounces.settings import Account
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

_PATIENCE = 30.0
_AT_ONCE = 20
"""Mails that are in memory together."""
_UID = re.compile(rb"[1-9]\d{0,9}")


class Mailbox:
    def __init__(self, mailroom: Mailroom, account: Account, *, every: float = 60.0) -> None:
        """`every`: real seconds between two looks."""
        self._every = every
        self._mailroom = mailroom
        self._account = account

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                while not stopping.is_set() and await self.look():
                    pass
            except Unavailable as error:
                logger.warning("bounces wait", action="bounces_wait", error=str(error))
            except (imaplib.IMAP4.error, OSError) as error:
                logger.warning(
                    "the mailbox of bounces cannot be read",
                    action="bounces_deaf",
                    error=type(error).__name__,
                )
            await pause(stopping, self._every)

    async def look(self) -> bool:
        """Read some of what is unseen; whether there may be more. Raises Unavailable,
        `imaplib.IMAP4.error` and OSError."""
        found = await asyncio.to_thread(_unseen, self._account)
        read: list[bytes] = []
        try:
            for uid, raw in found:
                await self._mailroom.take(raw)
                read.append(uid)
        finally:
            if read:
                await asyncio.to_thread(_flag, self._account, read)
        return len(found) == _AT_ONCE


@contextmanager
def signed_in(account: Account, *, readonly: bool = False) -> Iterator[imaplib.IMAP4]:
    """Blocks. Raises `imaplib.IMAP4.error` and OSError."""
    client: imaplib.IMAP4
    if account.tls:
        context = ssl.create_default_context()
        client = imaplib.IMAP4_SSL(
            account.host, account.port, ssl_context=context, timeout=_PATIENCE
        )
    else:
        client = imaplib.IMAP4(account.host, account.port, timeout=_PATIENCE)
    try:
        client.login(account.user, account.password)
        folder = account.folder.replace("\\", "\\\\").replace('"', '\\"')
        answer, _ = client.select(f'"{folder}"', readonly=readonly)
        if answer != "OK":
            raise imaplib.IMAP4.error("no such folder")
        yield client
    finally:
        try:
            client.logout()
        except (imaplib.IMAP4.error, OSError):
            client.shutdown()


def _unseen(account: Account) -> list[tuple[bytes, bytes]]:
    """UID and content, as much of it as is looked at."""
    with signed_in(account) as client:
        answer, data = client.uid("SEARCH", "UNSEEN")
        if answer != "OK":
            raise imaplib.IMAP4.error("the folder cannot be searched")
        uids = [uid for uid in (data[0] or b"").split() if _UID.fullmatch(uid)][:_AT_ONCE]
        found = []
        for uid in uids:
            # PEEK: reading alone must not flag it.
            answer, parts = client.uid("FETCH", uid.decode(), f"(BODY.PEEK[]<0.{LONGEST_READ}>)")
            raw = next((part[1] for part in parts if isinstance(part, tuple)), b"")
            found.append((uid, raw if answer == "OK" else b""))
        return found


def _flag(account: Account, uids: list[bytes]) -> None:
    with signed_in(account) as client:
        client.uid("STORE", b",".join(uids).decode(), "+FLAGS.SILENT", r"(\Seen)")
