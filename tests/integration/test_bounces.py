"""Mail that comes back, by real SMTP and real IMAP: from the sending to what is then not sent."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from typing import Any

import aiosmtplib
import pytest

from services.cli import checkup
from services.cli.environment import read_settings
from services.dispatch import store
from services.dispatch.channels import registry
from services.dispatch.receipts.bounces.door import Door
from services.dispatch.receipts.bounces.mailbox import Mailbox
from services.dispatch.receipts.bounces.mailroom import Mailroom
from services.dispatch.receipts.bounces.settings import account_of, bounce_settings
from services.dispatch.receipts.bounces.verp import ReturnPaths, make_return_paths
from shared.address import address_hash
from shared.errors import ConfigurationError, Unavailable
from shared.event import decode_unstamped, partition_of
from shared.ids import derived_id
from tests.bounces import about, complaint, report, text
from tests.conftest import PARTITIONS
from tests.imap import ImapServer, imap_server
from tests.integration.dispatching import NOON, House, until
from tests.integration.test_dispatch_smtp import Postbox
from tests.patience import SOON

DOMAIN = "bounces.shop.example"
ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
MAIL = f"{ANN}@shop.example"
FIRST, SECOND = derived_id("first"), derived_id("second")
GONE = "smtp; 550 5.1.1 user unknown"


@pytest.fixture(autouse=True)
def _quiet_server() -> None:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(
            channels={"email": {"adapter": "smtp", "from": "Shop <hello@shop.example>"}}
        )
        await house.customer(ANN)
        yield house


@pytest.fixture
async def paths(house: House) -> ReturnPaths:
    return make_return_paths(DOMAIN, await store.address_key(house.pool))


@pytest.fixture
async def sender(house: House, paths: ReturnPaths) -> str:
    """The envelope sender of a mail to ANN that was sent."""
    fields: dict[str, Any] = {"decision": "sent", "channel": "email", "decided_at": NOON}
    await house.message(FIRST, customer=ANN, status="decided", **fields)
    hashed = address_hash("email", MAIL, await store.address_key(house.pool))
    return paths.address(FIRST, hashed) or ""


def mailroom(house: House) -> Mailroom:
    return Mailroom(house.pool, house.clock, PARTITIONS, DOMAIN)


async def listens(found: Door) -> bool:
    return found.port != 0


@asynccontextmanager
async def door(house: House, room: Mailroom | None = None, **fields: Any) -> AsyncIterator[Door]:
    found = Door(room or mailroom(house), DOMAIN, "127.0.0.1", 0, **fields)
    stopping = asyncio.Event()
    task = asyncio.create_task(found.run(stopping))
    await until(lambda: listens(found))
    try:
        yield found
    finally:
        stopping.set()
        await task


async def bring(found: Door, to: str, raw: bytes, by: str = "") -> tuple[int, str]:
    """As a mail server does; the answer that ended it."""
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=found.port, start_tls=False, timeout=SOON)
    async with client:
        await client.mail(by)
        try:
            await client.rcpt(to)
            answer = await client.data(raw)
        except (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError) as error:
            return error.code, error.message
        return answer.code, answer.message


async def closed(house: House) -> list[tuple[str, str]]:
    key = await store.address_key(house.pool)
    rows = await house.pool.fetch("SELECT address_hash, scope, reason FROM suppressions")
    assert {row["address_hash"] for row in rows} <= {address_hash("email", MAIL, key)}
    return [(row["scope"], row["reason"]) for row in rows]


async def told(house: House) -> list[tuple[str, Any]]:
    rows = await house.pool.fetch("SELECT payload FROM log_outbox ORDER BY place")
    events = [decode_unstamped(row["payload"]) for row in rows]
    return [
        (event.name, event.properties.get("bounce")) for event in events if event.kind == "receipt"
    ]


async def test_a_mail_that_comes_back_closes_the_address_it_went_to(house: House) -> None:
    """The whole way: dispatch, a real mail server, its report to our door, and the next message."""
    async with Postbox().open() as postbox, door(house) as found:
        await house.message(FIRST, customer=ANN)
        running = house.dispatching(
            environment={"DANGOL_SMTP_URL": postbox.url},
            create=registry.create,
            bounce_domain=DOMAIN,
        )
        async with running:
            assert await house.decided(FIRST) == [("sent", None, "email")]
            (mail,) = postbox.mails
            sender = mail.mail_from or ""
            assert sender.endswith(f"@{DOMAIN}")
            kept = message_from_bytes(mail.original_content or b"")
            assert kept["CFBL-Address"] == f"fbl@{DOMAIN}; report=arf"
            assert kept["CFBL-Feedback-ID"] == sender.partition("@")[0]
            assert kept["From"] == '"Shop" <hello@shop.example>'
            code, _ = await bring(found, sender, report(about("5.1.1", GONE), sender))
            assert code == 250
            assert await closed(house) == [("all", "undeliverable")]
            await house.message(SECOND, customer=ANN)
            house.ring()
            assert await house.decided(SECOND) == [("dropped", "suppressed", "email")]
    assert await told(house) == [("Message Bounced", "hard")]


async def test_without_a_bounce_domain_mail_comes_back_to_the_sender(house: House) -> None:
    async with Postbox().open() as postbox:
        await house.message(FIRST, customer=ANN)
        environment = {"DANGOL_SMTP_URL": postbox.url}
        async with house.dispatching(environment=environment, create=registry.create):
            await house.decided(FIRST)
        (mail,) = postbox.mails
    assert mail.mail_from == "hello@shop.example"
    assert b"CFBL" not in (mail.original_content or b"")


FULL = about("5.2.2", "smtp; 552 5.2.2 over quota")
NOT_QUITE = text("<x@y.example>: no such user")


@pytest.mark.parametrize(
    ("raw", "closes", "tells"),
    [
        (report(about("5.1.1", GONE)), [("all", "undeliverable")], ("Message Bounced", "hard")),
        (NOT_QUITE, [("all", "undeliverable")], ("Message Bounced", "hard")),
        (report(FULL), [], ("Message Bounced", "soft")),
    ],
)
async def test_a_report_is_told_once_however_often_it_comes(
    house: House, sender: str, raw: bytes, closes: Any, tells: Any
) -> None:
    async with door(house) as found:
        for _ in range(2):
            assert (await bring(found, sender, raw))[0] == 250
    assert await closed(house) == closes
    assert await told(house) == [tells]


async def test_a_complaint_closes_the_address_to_advertising_only(
    house: House, sender: str
) -> None:
    async with door(house) as found:
        assert (await bring(found, f"fbl@{DOMAIN}", complaint(sender), "x@provider.example"))[
            0
        ] == 250
        as_it_was = complaint(sender).replace(b"message/feedback-report", b"text/plain")
        assert (await bring(found, f"fbl@{DOMAIN}", as_it_was))[0] == 250
    assert await closed(house) == [("marketing", "complained")]
    assert await told(house) == [("Message Complained", None)]


async def test_nobody_can_close_the_address_of_somebody_else(
    house: House, paths: ReturnPaths, sender: str
) -> None:
    """Not without the address that only the mail itself bears."""
    hashed = address_hash("email", MAIL, await store.address_key(house.pool))
    forged = make_return_paths(DOMAIN, b"guess").address(FIRST, hashed) or ""
    async with door(house) as found:
        for to in (forged, f"hello@{DOMAIN}", "ann@elsewhere.example", f"b@{DOMAIN}"):
            assert (await bring(found, to, report(about("5.1.1", GONE), forged)))[0] == 550
        # What they may bring in says nothing without the mail's own words.
        assert (await bring(found, f"fbl@{DOMAIN}", complaint(forged)))[0] == 250
        assert (await bring(found, f"fbl@{DOMAIN}", report(about("5.1.1", GONE), forged)))[0] == 250
        # One's own mail closes one's own address, whomever the report names.
        named = about("5.1.1", GONE).replace("gone@customer.example", "boss@shop.example")
        assert (await bring(found, sender, report(named, sender)))[0] == 250
    assert await closed(house) == [("all", "undeliverable")]
    assert await told(house) == [("Message Bounced", "hard")]


async def test_an_erased_customers_address_is_closed_all_the_same(
    house: House, sender: str
) -> None:
    await house.pool.execute("DELETE FROM messages")
    await house.pool.execute("DELETE FROM customers")
    async with door(house) as found:
        assert (await bring(found, sender, NOT_QUITE))[0] == 250
    assert await closed(house) == [("all", "undeliverable")]
    assert await told(house) == []


async def test_delays_and_answers_of_people_change_nothing(house: House, sender: str) -> None:
    away = text("I am away. 550 5.1.1", subject="Re: hello", by="Ann <ann@customer.example>")
    async with door(house) as found:
        for raw in (report(about("4.4.1", "", "delayed")), away, b"", b"\xff" * 500):
            assert (await bring(found, sender, raw))[0] == 250
    assert await closed(house) == []
    assert await told(house) == []


class Away(Mailroom):
    """A database that is away at first."""

    times = 1

    async def take(self, raw: bytes, recipients: Any = ()) -> bool:
        if self.times:
            self.times -= 1
            raise Unavailable("away")
        return await super().take(raw, recipients)


async def test_what_cannot_be_stored_is_not_taken(house: House, sender: str) -> None:
    raw = report(about("5.1.1", GONE), sender)
    async with door(house, Away(house.pool, house.clock, PARTITIONS, DOMAIN)) as found:
        assert (await bring(found, sender, raw))[0] == 451
        assert await closed(house) == []
        assert (await bring(found, sender, raw))[0] == 250
    assert await closed(house) == [("all", "undeliverable")]


async def test_a_door_is_bounded(house: House, sender: str) -> None:
    async with door(house, connections=2) as found:
        huge = report(about("5.1.1", GONE), sender) + b"\r\nx" * 400_000
        assert (await bring(found, sender, huge))[0] == 552
        first, second = [await asyncio.open_connection("127.0.0.1", found.port) for _ in range(2)]
        for reader, _ in (first, second):
            assert (await reader.readline()).startswith(b"220")
        third, writer = await asyncio.open_connection("127.0.0.1", found.port)
        assert (await third.readline()).startswith(b"421")
        assert await third.read() == b""
        for each in (first[1], second[1], writer):
            each.close()
    assert await closed(house) == []


async def test_a_door_waits_for_its_port_and_then_opens(house: House, sender: str) -> None:
    """As when one process replaces another."""
    async with door(house) as old:
        new, stopping = (
            Door(mailroom(house), DOMAIN, "127.0.0.1", old.port, again=0.02),
            asyncio.Event(),
        )
        task = asyncio.create_task(new.run(stopping))
        await asyncio.sleep(0.1)
        assert new.port == 0
    await until(lambda: listens(new))
    assert (await bring(new, sender, NOT_QUITE))[0] == 250
    stopping.set()
    await task


# By IMAP -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[ImapServer]:
    async with imap_server() as server:
        yield server


async def test_a_mailbox_is_read_and_flagged(house: House, sender: str, server: ImapServer) -> None:
    mails = [report(about("5.1.1", GONE), sender), text("Hi!", by="a@b.example"), complaint(sender)]
    await asyncio.to_thread(server.put, *mails, *[b"Subject: %d\r\n\r\nx" % n for n in range(30)])
    mailbox = Mailbox(mailroom(house), account_of(server.url()))
    assert await mailbox.look()  # there may be more
    assert await asyncio.to_thread(server.unseen) == 13
    assert not await mailbox.look()
    assert await asyncio.to_thread(server.unseen) == 0
    assert sorted(await closed(house)) == [("all", "undeliverable"), ("marketing", "complained")]
    assert sorted(name for name, _ in await told(house)) == [
        "Message Bounced",
        "Message Complained",
    ]


async def test_what_cannot_be_stored_stays_unseen(
    house: House, sender: str, server: ImapServer
) -> None:
    await asyncio.to_thread(server.put, report(about("5.1.1", GONE), sender))
    room = Away(house.pool, house.clock, PARTITIONS, DOMAIN)
    mailbox = Mailbox(room, account_of(server.url()))
    with pytest.raises(Unavailable):
        await mailbox.look()
    assert await asyncio.to_thread(server.unseen) == 1
    assert await closed(house) == []
    await mailbox.look()
    assert await asyncio.to_thread(server.unseen) == 0
    assert await closed(house) == [("all", "undeliverable")]


async def test_a_mailbox_is_watched_until_the_end(
    house: House, sender: str, server: ImapServer
) -> None:
    stopping = asyncio.Event()
    wrong = Mailbox(mailroom(house), account_of(server.url("guess")), every=0.05)
    right = Mailbox(mailroom(house), account_of(server.url()), every=0.05)
    tasks = [asyncio.create_task(each.run(stopping)) for each in (wrong, right)]
    await asyncio.to_thread(
        server.put, NOT_QUITE.replace(b"b@bounces", sender[:62].encode() + b"@bounces")
    )
    async with asyncio.timeout(SOON):
        while not await closed(house):
            await asyncio.sleep(0.05)
    stopping.set()
    await asyncio.gather(*tasks)


# Settings ------------------------------------------------------------------------------------

IMAP = "imaps://u:p@mail.example"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"BOUNCE_LISTEN": "127.0.0.1:25"}, "DANGOL_BOUNCE_DOMAIN is not"),
        ({"BOUNCE_IMAP_URL": IMAP}, "DANGOL_BOUNCE_DOMAIN is not"),
        ({"BOUNCE_DOMAIN": DOMAIN}, "nothing takes its mail"),
        ({"BOUNCE_DOMAIN": "x@y.example", "BOUNCE_LISTEN": "127.0.0.1:25"}, "no domain"),
        ({"BOUNCE_DOMAIN": "localhost", "BOUNCE_LISTEN": "127.0.0.1:25"}, "no domain"),
        ({"BOUNCE_DOMAIN": DOMAIN, "BOUNCE_LISTEN": "25"}, "BOUNCE_LISTEN cannot be read"),
        ({"BOUNCE_DOMAIN": DOMAIN, "BOUNCE_LISTEN": "x:70000"}, "BOUNCE_LISTEN cannot be read"),
        ({"BOUNCE_DOMAIN": DOMAIN, "BOUNCE_IMAP_URL": "imaps://u@h"}, "IMAP_URL cannot be read"),
        ({"BOUNCE_DOMAIN": DOMAIN, "BOUNCE_IMAP_URL": "http://u:secret@h"}, "IMAP_URL cannot"),
        ({"BOUNCE_DOMAIN": DOMAIN, "BOUNCE_IMAP_URL": "imap://u:secret@h:x"}, "IMAP_URL cannot"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"DANGOL_{name}", value)
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_settings()
    assert "secret" not in str(caught.value)
    assert caught.value.hint
    (finding, *_) = checkup.check_environment({})
    assert (finding.check, finding.verdict) == ("settings", "fail")


async def test_the_doctor_signs_in_to_the_mailbox(
    house: House, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANGOL_BOUNCE_DOMAIN", DOMAIN)
    monkeypatch.setenv("DANGOL_BOUNCE_LISTEN", "[::1]:2525")
    found = {}
    for password in ("guess", None):
        url = server.url(password) if password else server.url()
        monkeypatch.setenv("DANGOL_BOUNCE_IMAP_URL", url)
        findings = [each async for each in checkup.check_database(house.dsn, {})]
        found[password] = [
            (each.verdict, each.message) for each in findings if each.check == "bounces"
        ]
    door_said = ("ok", f"dispatch takes mail for {DOMAIN} at ::1, port 2525")
    assert [verdict for verdict, _ in found["guess"]] == ["ok", "fail"]
    assert found[None][0] == door_said
    assert [verdict for verdict, _ in found[None]] == ["ok", "ok"]
    assert "guess" not in str(found["guess"])
    settings = bounce_settings(read_settings())
    assert settings is not None
    assert settings.mailbox is not None
    assert "pass" not in repr(settings)
