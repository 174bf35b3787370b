"""A mail server that takes everything and writes down what it got, by Message-ID."""

from collections import Counter
from pathlib import Path
from typing import IO

from bench.smtp_sink import Sink
from shared.ids import derived_id


def mail_id(message_id: str) -> str:
    """What a message's mail is known by: the local part of its Message-ID."""
    return derived_id("mail", message_id)


class RecordingSink(Sink):
    """A mail is written down before its server answers for it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file: IO[bytes] = file.open("ab", buffering=0)

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self._file.close()

    def _took(self, recipient: str, at: float, content: bytes) -> None:
        self.mails += 1
        head = content.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
        for line in head.split(b"\r\n"):
            if line[:11].lower() == b"message-id:":
                name = line[11:].strip().strip(b"<>").partition(b"@")[0]
                self._file.write(name + b" " + recipient.encode() + b"\n")
                return
        self._file.write(b"? " + recipient.encode() + b"\n")


def received(file: Path) -> Counter[str]:
    """Mail id → how often it arrived."""
    return Counter(line.partition(" ")[0] for line in file.read_text().splitlines())
