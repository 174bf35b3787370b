"""The demo's inbox: a real SMTP server in this process, whose mails become .eml files.

It takes mail for everybody but one address, which it refuses as a mail server does whose customer
has gone (550 5.1.1).
"""

import asyncio
import email.policy
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

REFUSAL = "550 5.1.1 no such mailbox here"


@dataclass(frozen=True, slots=True)
class Mail:
    number: int
    recipient: str
    subject: str
    message_id: str
    file: Path


@dataclass  # no slots: aiosmtpd reads every attribute, at which early 3.11 releases stumble
class Inbox:
    """`mails` by Message-ID; `copies` counts how often each arrived."""

    folder: Path
    refused: frozenset[str]
    port: int = 0
    mails: dict[str, Mail] = field(default_factory=dict)
    copies: Counter[str] = field(default_factory=Counter)
    refusals: int = 0

    @property
    def received(self) -> int:
        return self.copies.total()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address in self.refused:
            self.refusals += 1
            return REFUSAL
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        for recipient in envelope.rcpt_tos:
            self._keep(recipient, raw)
        return "250 OK kept"

    def _keep(self, recipient: str, raw: bytes) -> None:
        message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(raw)
        name = str(message["Message-ID"] or "").strip()
        self.copies[name] += 1
        number = self.received
        file = self.folder / f"{number:02}-{recipient.partition('@')[0]}.eml"
        file.write_bytes(raw)
        self.mails.setdefault(
            name, Mail(number, recipient, str(message["Subject"] or ""), name, file)
        )


@asynccontextmanager
async def open_inbox(folder: Path, *, refused: frozenset[str]) -> AsyncIterator[Inbox]:
    """Listens on a free port of this machine and writes into the folder, which exists."""
    inbox = Inbox(folder, refused)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, loop=loop, hostname="inbox.example", decode_data=False),
        "127.0.0.1",
        0,
    )
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
