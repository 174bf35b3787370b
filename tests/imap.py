"""A real IMAP server (pymap) in a process of its own, with one mailbox in memory."""

import asyncio
import imaplib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

from tests.patience import SOON
from tests.processes import free_port

USER, PASSWORD = "bounces@shop.example", 'a "pass" word/'


@dataclass(frozen=True, slots=True)
class ImapServer:
    port: int

    def url(self, password: str = PASSWORD) -> str:
        return f"imap://{quote(USER, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}"

    def put(self, *mails: bytes) -> None:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=SOON) as client:
            client.login(USER, PASSWORD)
            for mail in mails:
                answer, _ = client.append("INBOX", "", "", mail)
                assert answer == "OK"

    def unseen(self) -> int:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=SOON) as client:
            client.login(USER, PASSWORD)
            client.select("INBOX", readonly=True)
            return len(client.search(None, "UNSEEN")[1][0].split())


@asynccontextmanager
async def imap_server() -> AsyncIterator[ImapServer]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", "from pymap.main import main; main()"),
        *("--host", "127.0.0.1", "--port", str(port), "--no-tls"),
        *("dict", "--demo-user", USER, "--demo-password", PASSWORD),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SOON):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, "the IMAP server has ended"
                    await asyncio.sleep(0.05)
        yield ImapServer(port)
    finally:
        process.terminate()
        await process.wait()
