"""Stopped at work, every service is gone within 10 seconds; nothing is lost or doubled by it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import Pool
from tests.acceptance.test_up import SIGN_UP, write_workspace
from tests.patience import SOON, in_time
from tests.processes import WRITE_KEY, Dangol, Service

WITHIN = 10.0
"""Seconds: what an orchestrator gives at the least."""


@dataclass
class SlowMail:
    """A mail server that takes its time, so that calls are under way at every moment."""

    takes: float
    port: int = 0
    mails: Counter[str] = field(default_factory=Counter)
    under_way: int = 0

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.under_way += 1
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        self.mails.update(envelope.rcpt_tos)
        return "250 kept"


@asynccontextmanager
async def slow_mail(takes: float) -> AsyncIterator[SlowMail]:
    mail = SlowMail(takes)
    loop = asyncio.get_running_loop()
    sessions: list[SMTP] = []

    def session() -> SMTP:
        sessions.append(SMTP(mail, loop=loop, enable_SMTPUTF8=True))
        return sessions[-1]

    server = await loop.create_server(session, "127.0.0.1", 0)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
        for each in sessions:
            if each.transport is not None:
                each.transport.close()


class Shop:
    """Posts one customer after another, each until it is answered 200, as SDKs do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.posted: list[str] = []
        self._over = asyncio.Event()
        self._tasks = [asyncio.create_task(self._post(number)) for number in range(4)]

    async def end(self) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def _post(self, number: int) -> None:
        async with httpx.AsyncClient(timeout=SOON) as client:
            sent = 0
            while not self._over.is_set():
                name = f"c{number}-{sent}"
                batch: list[dict[str, object]] = [
                    {"type": "identify", "messageId": f"i-{name}", "userId": name,
                     "traits": {"email": f"{name}@shop.example"}},
                    {"type": "track", "messageId": f"t-{name}", "userId": name,
                     "event": "Signed Up"},
                ]  # fmt: skip
                while not await self._answered(client, batch):
                    await asyncio.sleep(0.05)
                self.posted.append(name)
                sent += 1
                await asyncio.sleep(0.2)

    async def _answered(self, client: httpx.AsyncClient, batch: list[dict[str, object]]) -> bool:
        try:
            answer = await client.post(
                f"{self._url}/v1/batch", json={"batch": batch}, auth=(WRITE_KEY, ""), timeout=20
            )
        except httpx.TransportError:
            return False
        return answer.status_code == 200


async def stopped(service: Service) -> float:
    """Seconds that it took; it must have ended well."""
    began = time.monotonic()
    assert await service.end() == 0, service.log.read_text()[-3000:]
    return time.monotonic() - began


@pytest.mark.slow
async def test_each_service_is_stopped_and_started_under_load(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with slow_mail(0.2) as mail:
        environment = {
            "DANGOL_DATABASE_URL": dsn,
            "DANGOL_SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
        }
        names = ("ingest", "journey", "journey-2", "dispatch", "dispatch-2", "console")
        services = {n: Service(n.split("-")[0], environment, tmp_path / f"{n}.log") for n in names}
        await asyncio.gather(*(service.start() for service in services.values()))
        await asyncio.gather(*(service.ready() for service in services.values()))
        await apply(pool, read_folder(write_workspace(tmp_path / "w", "smtp")), "test", REAL)
        shop = Shop(services["ingest"].url)
        took: dict[str, float] = {}
        try:
            for name in ("ingest", "journey", "dispatch"):
                service, before = services[name], len(shop.posted)
                async with asyncio.timeout(SOON):
                    while len(shop.posted) < before + 20 or not mail.under_way:
                        await asyncio.sleep(0.005)
                took[name] = await stopped(service)
                await service.start()
                await service.ready()
        finally:
            await shop.end()
        async with asyncio.timeout(SOON):
            while len(mail.mails) < len(shop.posted):
                await asyncio.sleep(0.05)
        for service in services.values():
            took[f"{service.part}, idle"] = await stopped(service)
    assert in_time(max(took.values()), WITHIN), took
    assert mail.mails == Counter({f"{name}@shop.example": 1 for name in shop.posted})
    rows = await pool.fetch("SELECT decision, count(*) AS n FROM messages GROUP BY 1")
    assert {row["decision"]: row["n"] for row in rows} == {"sent": len(shop.posted)}
    assert await pool.fetchval("SELECT count(*) FROM log_outbox") == 0


@pytest.mark.slow
async def test_neither_a_client_nor_a_provider_that_hangs_holds_up_a_stop(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """Both at once, in one process; the message's fate is unknown then, and it goes out no more."""
    async with slow_mail(3600) as mail, httpx.AsyncClient(timeout=SOON) as client:
        dangol = Dangol(
            tmp_path / "data",
            write_workspace(tmp_path / "w", "smtp"),
            {
                "DANGOL_DATABASE_URL": dsn,
                "DANGOL_SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
            },
        )
        await dangol.start()
        await dangol.post(client, *SIGN_UP)
        async with asyncio.timeout(SOON):
            while not mail.under_way:
                await asyncio.sleep(0.01)
        _reader, writer = await asyncio.open_connection("127.0.0.1", dangol.port)
        writer.write(b"POST /v1/batch HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        began = time.monotonic()
        assert await dangol.stop() == 0
        took = time.monotonic() - began
        writer.close()
        assert in_time(took, WITHIN), took
        (row,) = await pool.fetch("SELECT decision FROM messages")
        assert row["decision"] == "unknown"
        mail.takes = 0
        await dangol.start()
        assert await dangol.stop() == 0
        assert not mail.mails
