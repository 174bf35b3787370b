"""`dangol dispatch` as a process: a mail goes out by SMTP, comes back, and is believed."""

import asyncio
import logging
from pathlib import Path

import aiosmtplib
import pytest

from tests.bounces import about, report
from tests.integration.dispatching import House, until
from tests.integration.test_dispatch_smtp import Postbox
from tests.patience import SOON
from tests.processes import Service, free_port

ID = "0123456789abcdef" * 2


@pytest.mark.slow
async def test_a_mail_that_comes_back_to_a_running_dispatcher(dsn: str, tmp_path: Path) -> None:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    port = free_port()
    async with House.open(dsn) as house, Postbox().open() as postbox:
        sender = {"adapter": "smtp", "from": "Shop <hello@shop.example>"}
        await house.publish(channels={"email": sender})
        await house.message(ID)
        environment = {
            "DANGOL_DATABASE_URL": dsn,
            "DANGOL_SMTP_URL": postbox.url,
            "DANGOL_BOUNCE_DOMAIN": "Bounces.Shop.Example",
            "DANGOL_BOUNCE_LISTEN": f"127.0.0.1:{port}",
        }
        service = Service("dispatch", environment, tmp_path / "dispatch.log")
        await service.start()
        try:
            assert await house.decided(ID) == [("sent", None, "email")]
            back_to = postbox.mails[0].mail_from or ""
            assert back_to.endswith("@bounces.shop.example")
            raw = report(about("5.1.1", "smtp; 550 5.1.1 user unknown"), back_to)
            async with asyncio.timeout(SOON):
                await aiosmtplib.send(
                    raw,
                    sender="postmaster@customer.example",
                    recipients=[back_to],
                    hostname="127.0.0.1",
                    port=port,
                )
            assert await house.pool.fetchval("SELECT scope FROM suppressions") == "all"

            async def told() -> bool:
                count = await house.pool.fetchval(
                    "SELECT count(*) FROM log WHERE convert_from(payload, 'UTF8') LIKE $1",
                    "%Message Bounced%",
                )
                return bool(count)

            await until(told)
        finally:
            assert await service.end() == 0
