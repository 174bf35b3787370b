"""The bounce door with a certificate: STARTTLS for who can, mail as before for who cannot."""

import asyncio
import logging
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from services.cli import checkup
from services.cli.environment import read_settings
from services.dispatch import store
from services.dispatch.receipts.bounces.certificate import Certificate
from services.dispatch.receipts.bounces.settings import BounceSettings, bounce_settings
from services.dispatch.receipts.bounces.verp import make_return_paths
from shared.address import address_hash
from shared.errors import ConfigurationError
from tests.bounces import about, report
from tests.integration.dispatching import NOON, House, until
from tests.integration.test_bounces import DOMAIN, FIRST, door
from tests.kafka.tls import write_pem_stores
from tests.patience import SOON

GONE = "smtp; 550 5.1.1 user unknown"


@pytest.fixture(autouse=True)
def _quiet_server() -> None:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    write_pem_stores(tmp_path)
    return tmp_path / "server.pem"


async def sender(house: House) -> str:
    """The envelope sender of a mail that was sent."""
    fields: dict[str, Any] = {"decision": "sent", "channel": "email", "decided_at": NOON}
    await house.message(FIRST, status="decided", **fields)
    key = await store.address_key(house.pool)
    found = make_return_paths(DOMAIN, key).address(FIRST, address_hash("email", "a@b.example", key))
    assert found is not None
    return found


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


async def bring(port: int, to: str, tls: ssl.SSLContext | None) -> str:
    """As a mail server does that speaks TLS where it is offered; the protocol's version."""
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=SOON)
    async with client:
        await client.ehlo()
        assert client.supports_extension("starttls") == (tls is not None)
        version = ""
        if tls is not None:
            await client.starttls(server_hostname="localhost", tls_context=tls)
            await client.ehlo()
            assert not client.supports_extension("starttls")
            version = str(client.get_transport_info("ssl_object").version())
        await client.mail("")
        await client.rcpt(to)
        await client.data(report(about("5.1.1", GONE), to))
    return version


async def is_closed(house: House) -> bool:
    return bool(await house.pool.fetchval("SELECT count(*) FROM suppressions"))


async def test_a_mail_server_that_speaks_tls_brings_its_report_encrypted(
    house: House, pem: Path
) -> None:
    to = await sender(house)
    async with door(house, certificate=Certificate(pem, pem), connections=1) as found:
        assert await bring(found.port, to, trusting(pem.parent)) in ("TLSv1.2", "TLSv1.3")
        assert await is_closed(house)
        await house.pool.execute("DELETE FROM suppressions")
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=found.port, start_tls=False, timeout=SOON
        )
        async with client:  # and one that does not
            await client.mail("")
            await client.rcpt(to)
            await client.data(report(about("5.1.1", GONE), to))
        assert await is_closed(house)


async def test_without_a_certificate_nothing_is_offered(house: House) -> None:
    async with door(house) as found:
        assert await bring(found.port, await sender(house), None) == ""


async def test_a_handshake_that_fails_harms_nobody_else(house: House, pem: Path) -> None:
    to = await sender(house)
    async with door(house, certificate=Certificate(pem, pem), connections=1) as found:
        for words in (b"no handshake at all\r\n" * 9, b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            for said in (b"EHLO there\r\n", b"STARTTLS\r\n"):
                await reader.readline()
                writer.write(said)
            while not (line := await reader.readline()).startswith(b"220 Ready"):
                assert line
            writer.write(words)
            writer.close()
        with pytest.raises((ssl.SSLError, aiosmtplib.SMTPException)):  # who does not trust it
            await bring(found.port, to, ssl.create_default_context())

        async def there_is_room() -> bool:
            return not found.busy

        await until(there_is_room)
        assert await bring(found.port, to, trusting(pem.parent))


async def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(
    house: House, pem: Path, tmp_path: Path
) -> None:
    to = await sender(house)
    renewed = tmp_path / "renewed"
    renewed.mkdir()
    write_pem_stores(renewed)
    certificate = Certificate(pem, pem)
    async with door(house, certificate=certificate) as found:
        old = trusting(tmp_path)
        assert await bring(found.port, to, old)
        replace(pem, b"half a certificate", 1)
        assert await bring(found.port, to, old)
        replace(pem, (renewed / "server.pem").read_bytes(), 2)
        assert await bring(found.port, to, trusting(renewed))
        pem.unlink()  # noqa: ASYNC240 - a file of the test's own
        assert await bring(found.port, to, trusting(renewed))


def replace(file: Path, content: bytes, hours: int) -> None:
    """As renewals do; so many hours later, whatever the file system's clock is worth."""
    file.write_bytes(content)
    later = file.stat().st_mtime_ns + hours * 3_600_000_000_000
    os.utime(file, ns=(later, later))


def test_what_cannot_be_used_is_said_at_the_start(pem: Path, tmp_path: Path) -> None:
    for chain, key in ((tmp_path / "none.pem", pem), (tmp_path / "ca.pem", tmp_path / "ca.pem")):
        with pytest.raises(ConfigurationError, match="cannot be used") as caught:
            Certificate(chain, key)
        assert "DANGOL_BOUNCE_TLS_CERT" in caught.value.hint


async def test_settings_and_doctor_say_what_is_missing(
    pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANGOL_BOUNCE_DOMAIN", DOMAIN)
    monkeypatch.setenv("DANGOL_BOUNCE_IMAP_URL", "imaps://u:p@mail.example")
    monkeypatch.setenv("DANGOL_BOUNCE_TLS_CERT", str(pem))
    with pytest.raises(ConfigurationError, match="DANGOL_BOUNCE_TLS_KEY is not"):
        read_settings()
    monkeypatch.setenv("DANGOL_BOUNCE_TLS_KEY", str(pem))
    with pytest.raises(ConfigurationError, match="DANGOL_BOUNCE_LISTEN is not"):
        read_settings()
    monkeypatch.delenv("DANGOL_BOUNCE_IMAP_URL")
    monkeypatch.setenv("DANGOL_BOUNCE_LISTEN", "127.0.0.1:2525")
    settings = bounce_settings(read_settings())
    assert settings is not None
    assert await said(settings) == [("ok", "dispatch"), ("warn", "the")], "it has a day left"
    shutil.copy(tmp_path / "ca.pem", pem)
    assert await said(settings) == [("ok", "dispatch"), ("fail", "the")]


async def said(settings: BounceSettings) -> list[tuple[str, str]]:
    found = [finding async for finding in checkup._bounces(settings)]
    return [(finding.verdict, finding.message.partition(" ")[0]) for finding in found]
