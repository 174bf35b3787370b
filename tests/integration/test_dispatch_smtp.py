"""The adapter smtp against a real SMTP server that answers as it is told, and the way through."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from services.dispatch.channels import registry, smtp_pool
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.smtp import SmtpAdapter
from shared.templates import Rendered
from shared.workspace import ChannelSettings
from tests.integration.dispatching import NOON, House, passed_over
from tests.patience import SOON, stretched

CLOSE, HANG = "close", "hang"


@dataclass
class Postbox:
    """A real server (aiosmtpd). Recipients answer `250` unless they are told otherwise."""

    mails: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    at_mail: dict[str, str] = field(default_factory=dict)
    """Sender → answer to MAIL."""
    at_rcpt: dict[str, list[str]] = field(default_factory=dict)
    """Recipient → answers to RCPT, in turn."""
    at_dot: dict[str, list[str]] = field(default_factory=dict)
    """Recipient → answers to the final dot, in turn."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[SMTP] = field(default_factory=list)
    port: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    """TLS from the first byte."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def session(self) -> SMTP:
        session = SMTP(self, hostname="localhost", **self.settings)
        self.connections.append(session)
        return session

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Postbox"]:
        server = await asyncio.get_running_loop().create_server(
            self.session, "127.0.0.1", self.port, ssl=self.tls
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.release.set()
            self.hang_up()
            await server.wait_closed()

    def hang_up(self) -> None:
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()

    async def _answer(self, server: SMTP, answers: list[str], default: str) -> str:
        answer = answers.pop(0) if answers else default
        if answer == CLOSE:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        if answer == HANG:
            await self.release.wait()
        return default if answer in (CLOSE, HANG) else answer

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.at_mail.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, self.at_rcpt.get(address, []), "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        (recipient,) = envelope.rcpt_tos
        answers = self.at_dot.get(recipient, [])
        taken = not answers or answers[0] in (CLOSE, HANG)
        if taken:
            self.mails.append(envelope)
            self.sessions.append(session)
        return await self._answer(server, answers, "250 2.0.0 Ok: queued as ABC123")


@pytest.fixture(autouse=True)
def _quiet_server(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@pytest.fixture
async def postbox() -> AsyncIterator[Postbox]:
    async with Postbox().open() as postbox:
        yield postbox


@asynccontextmanager
async def smtp(url: str, timeout: float = SOON, concurrency: int = 4) -> AsyncIterator[SmtpAdapter]:
    settings = ChannelSettings.model_validate({"adapter": "smtp", "from": "Shop <s@shop.example>"})
    adapter = registry.create(
        Setup("email", settings, {"DANGOL_SMTP_URL": url}, concurrency, timeout)
    )
    assert isinstance(adapter, SmtpAdapter)
    try:
        yield adapter
    finally:
        await adapter.close()


def mail(to: str = "ann@shop.example", name: str = "m1", body: str = "<p>Hi</p>") -> Outgoing:
    content = Rendered({"subject": "안녕하세요"}, body, html=True)
    return Outgoing(name, 1, "email", to, "marketing", content, NOON)


async def test_a_mail_arrives_as_it_was_written(postbox: Postbox) -> None:
    body = ".\r\n<p>안녕</p>\n..\n"
    async with smtp(postbox.url) as adapter:
        result = await adapter.send(mail(body=body))
    assert result == Result(Outcome.ACCEPTED, "ABC123", "2.0.0 Ok: queued as ABC123")
    (envelope,) = postbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("s@shop.example", ["ann@shop.example"])
    assert isinstance(envelope.content, bytes)
    arrived = message_from_bytes(envelope.content, policy=policy.SMTP)
    assert arrived["Subject"] == "안녕하세요"
    _text, html = arrived.iter_parts()
    assert html.get_content() == ".\n<p>안녕</p>\n..\n"


async def test_an_ascii_body_with_dots_arrives_as_it_was_written(postbox: Postbox) -> None:
    async with smtp(postbox.url) as adapter:
        await adapter.send(mail(body=".\n..\n.x\n"))
    assert isinstance(postbox.mails[0].content, bytes)
    arrived = message_from_bytes(postbox.mails[0].content, policy=policy.SMTP)
    assert list(arrived.iter_parts())[1].get_content() == ".\r\n..\r\n.x\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("450 busy", Outcome.RETRYABLE),
        ("550 5.1.1 <ann@shop.example> is unknown", Outcome.UNDELIVERABLE_ADDRESS),
        ("550 5.7.1 policy", Outcome.REJECTED_MESSAGE),
        ("451 4.7.1 greylisted", Outcome.THROTTLED),
        ("421 4.3.2 closing", Outcome.THROTTLED),
        ("530 5.7.0 authentication required", Outcome.BROKEN_CONNECTION),
    ],
)
async def test_a_refused_recipient(postbox: Postbox, answer: str, outcome: Outcome) -> None:
    postbox.at_rcpt["ann@shop.example"] = [answer]
    async with smtp(postbox.url) as adapter:
        result = await adapter.send(mail())
        assert result.outcome is outcome
        assert result.detail.startswith(answer[:3])
        assert "ann@shop.example" not in result.detail
        assert (await adapter.send(mail("bob@shop.example"))).outcome is Outcome.ACCEPTED
    assert [envelope.rcpt_tos for envelope in postbox.mails] == [["bob@shop.example"]]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("554 5.7.1 spam", Outcome.REJECTED_MESSAGE),
        ("451 try later", Outcome.RETRYABLE),
        ("421 closing", Outcome.THROTTLED),
        ("552 5.3.4 too big", Outcome.REJECTED_MESSAGE),
    ],
)
async def test_a_refused_content(postbox: Postbox, answer: str, outcome: Outcome) -> None:
    postbox.at_dot["ann@shop.example"] = [answer]
    async with smtp(postbox.url) as adapter:
        assert (await adapter.send(mail())).outcome is outcome
        assert (await adapter.send(mail())).outcome is Outcome.ACCEPTED
    assert len(postbox.connections) == (2 if answer.startswith("421") else 1)


async def test_a_refused_sender_breaks_the_connection(postbox: Postbox) -> None:
    postbox.at_mail["s@shop.example"] = "550 5.7.1 not yours"
    async with smtp(postbox.url) as adapter:
        assert (await adapter.send(mail())).outcome is Outcome.BROKEN_CONNECTION


async def test_a_connection_lost_behind_the_final_dot_leaves_the_outcome_unknown(
    postbox: Postbox,
) -> None:
    postbox.at_dot["ann@shop.example"] = [CLOSE]
    async with smtp(postbox.url) as adapter:
        await adapter.send(mail("bob@shop.example"))
        assert (await adapter.send(mail())).outcome is Outcome.UNKNOWN, "on a kept connection, too"
    assert len(postbox.mails) == 2, "it was not sent again"


async def test_silence_behind_the_final_dot_leaves_the_outcome_unknown(postbox: Postbox) -> None:
    postbox.at_dot["ann@shop.example"] = [HANG]
    async with smtp(postbox.url, timeout=stretched(0.3)) as adapter:
        result = await adapter.send(mail())
        assert result.outcome is Outcome.UNKNOWN
        assert (await adapter.send(mail("bob@shop.example"))).outcome is Outcome.ACCEPTED
    assert len(postbox.connections) == 2


@pytest.mark.parametrize("trouble", [CLOSE, HANG])
async def test_trouble_before_the_content_is_tried_again(postbox: Postbox, trouble: str) -> None:
    postbox.at_rcpt["ann@shop.example"] = [trouble]
    async with smtp(postbox.url, timeout=stretched(0.3)) as adapter:
        assert (await adapter.send(mail())).outcome is Outcome.RETRYABLE
    assert postbox.mails == []


async def test_a_connection_that_died_while_idle_is_replaced(postbox: Postbox) -> None:
    async with smtp(postbox.url) as adapter:
        await adapter.send(mail())
        for connection in postbox.connections:
            assert isinstance(connection.transport, asyncio.Transport)
            connection.transport.abort()
        assert (await adapter.send(mail())).outcome is Outcome.ACCEPTED
    assert len(postbox.mails) == 2


async def test_a_kept_connection_that_dies_at_the_first_word_is_replaced(postbox: Postbox) -> None:
    """The server hangs up just as we begin: nothing of this mail was out."""
    async with smtp(postbox.url) as adapter:
        await adapter.send(mail("bob@shop.example"))
        postbox.at_rcpt["ann@shop.example"] = [CLOSE]
        assert (await adapter.send(mail())).outcome is Outcome.ACCEPTED
    assert [envelope.rcpt_tos for envelope in postbox.mails] == [
        ["bob@shop.example"],
        ["ann@shop.example"],
    ]


async def test_connections_are_kept_bounded_and_without_delay(postbox: Postbox) -> None:
    async with smtp(postbox.url, concurrency=3) as adapter:
        results = await asyncio.gather(*(adapter.send(mail(name=f"m{n}")) for n in range(30)))
        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        (idle, *_rest) = adapter._pool._idle
        own = idle.client.get_transport_info("socket")
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert len(postbox.connections) == 3
    assert len(postbox.mails) == 30


async def test_connections_that_have_been_idle_for_long_are_said_goodbye(
    postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_pool, "IDLE", -1.0)
    async with smtp(postbox.url) as adapter:
        await adapter.send(mail())
        await adapter.send(mail("bob@shop.example"))
    assert len(postbox.connections) == len(postbox.mails) == 2


async def test_a_server_that_is_not_there_breaks_the_connection() -> None:
    async with Postbox().open() as gone:
        pass
    async with smtp(gone.url) as adapter:
        result = await adapter.send(mail())
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert "127.0.0.1" not in result.detail


async def test_a_server_that_says_nothing_breaks_the_connection() -> None:
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        lambda _reader, writer: silent.append(writer), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    async with smtp(f"smtp://127.0.0.1:{port}", timeout=stretched(0.3)) as adapter:
        assert (await adapter.send(mail())).outcome is Outcome.BROKEN_CONNECTION
    server.close()
    for writer in silent:
        writer.close()
        await writer.wait_closed()


IDENTITY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbKZoSaB3Nk5hjO5r
U/5PcWRrBhSqv3LSqVmqWftdzAChRANCAATD0Q6QFVU/TWYI0KT/uuqY5H//YLRr
yfQOqgzPcb0Jwcxyh05GC2ljSDUxyfrwa/tj3IlLmaNwv45UiSJb/+YU
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBBzAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMPRDpAVVT9NZgjQ
pP+66pjkf/9gtGvJ9A6qDM9xvQnBzHKHTkYLaWNINTHJ+vBr+2PciUuZo3C/jlSJ
Ilv/5hSjTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSoYYtsotu0mWCi5RPC19X5jSDz2DAKBggqhkjOPQQD
AgNIADBFAiEAzv1Oc365LlSwpNjN2da4D+NUnkuGuMK3DNeim50wqggCIGlUacJ0
BEs3UDEnAu1M7d+o2qBzRD7XgQxvuRfDX8kj
-----END CERTIFICATE-----
"""


@pytest.fixture
def identity(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context, and the certificate that a client would have to trust."""
    path = tmp_path / "identity.pem"
    path.write_text(IDENTITY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path


def check_password(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any
) -> AuthResult:
    known = (login.login, login.password) == (b"shop@x", b"s/3cret")
    return AuthResult(success=known, handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it is under TLS
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_credentials_travel_under_tls(
    scheme: str,
    identity: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, certificate = identity
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    settings = {"authenticator": check_password, "auth_required": True}
    direct = scheme == "smtps"
    box = Postbox(
        settings=settings | ({"auth_require_tls": False} if direct else {"tls_context": context}),
        tls=context if direct else None,
    )
    query = "" if direct else "?starttls=true"
    async with box.open():
        good = f"{scheme}://shop%40x:s%2F3cret@localhost:{box.port}{query}"
        async with smtp(good) as adapter:
            assert (await adapter.send(mail())).outcome is Outcome.ACCEPTED
        async with smtp(good.replace("s%2F3cret", "wr0ng")) as adapter:
            result = await adapter.send(mail())
        assert result.outcome is Outcome.BROKEN_CONNECTION
        assert "wr0ng" not in result.detail
    assert len(box.mails) == 1


async def test_a_certificate_that_nobody_vouches_for_breaks_the_connection(
    identity: tuple[ssl.SSLContext, Path],
) -> None:
    upgraded, direct = Postbox(settings={"tls_context": identity[0]}), Postbox(tls=identity[0])
    async with upgraded.open(), direct.open():
        for url in (
            f"smtp://localhost:{upgraded.port}?starttls=true",
            f"smtps://localhost:{direct.port}",
        ):
            async with smtp(url) as adapter:
                assert (await adapter.send(mail())).outcome is Outcome.BROKEN_CONNECTION
    assert upgraded.mails == direct.mails == []


async def test_a_server_without_starttls_gets_nothing(postbox: Postbox) -> None:
    async with smtp(f"{postbox.url}?starttls=true") as adapter:
        assert (await adapter.send(mail())).outcome is Outcome.BROKEN_CONNECTION
    assert postbox.mails == []


# The whole way ------------------------------------------------------------------------------


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        email = {"adapter": "smtp", "from": "Shop <s@shop.example>"}
        await house.publish(channels={"email": email})
        yield house


def environment(postbox: Postbox) -> dict[str, str]:
    return {"DANGOL_SMTP_URL": postbox.url}


def create(house: House) -> Callable[[Setup], Adapter]:
    def both(setup: Setup) -> Adapter:
        return registry.create(setup) if setup.channel == "email" else house.provider

    return both


async def test_the_whole_way_with_every_kind_of_answer(house: House, postbox: Postbox) -> None:
    people = {
        "ok": [],
        "later": ["450 busy"],
        "nobody": ["550 5.1.1 no such user"],
        "lost": [CLOSE],
        "spam": ["554 5.7.1 spam"],
    }
    for name, answers in people.items():
        await house.customer(name)
        await house.message(name, customer=name, channels=("email", "sms"))
        where = postbox.at_dot if name in ("lost", "spam") else postbox.at_rcpt
        where[f"{name}@shop.example"] = list(answers)
    async with house.dispatching(environment=environment(postbox), create=create(house)):
        held = await house.held("later")
        assert held["attempts"] == 1
        house.move_to(held["not_before"])
        decided = await house.decided(*people)
    assert dict(zip(people, decided, strict=True)) == {
        "ok": ("sent", None, "email"),
        "later": ("sent", None, "email"),
        "nobody": ("sent", None, "sms"),
        "lost": ("unknown", None, "email"),
        "spam": ("sent", None, "sms"),
    }
    assert passed_over(await house.row("nobody")) == [("email", "undeliverable")]
    assert passed_over(await house.row("spam")) == [("email", "rejected")]
    arrived = sorted(envelope.rcpt_tos[0] for envelope in postbox.mails)
    assert arrived == ["later@shop.example", "lost@shop.example", "ok@shop.example"]


async def test_a_server_that_is_down_costs_time_and_no_message(house: House) -> None:
    names = [f"m{number}" for number in range(10)]
    for name in names:
        await house.customer(name)
        await house.message(name, customer=name)
    box = Postbox()
    async with box.open():
        pass
    async with house.dispatching(environment=environment(box), create=registry.create):
        for name in names:
            assert (await house.held(name))["held_reason"] == "channel_paused"
        async with box.open():
            house.move(timedelta(minutes=5))
            assert set(await house.decided(*names)) == {("sent", None, "email")}
    assert sorted(envelope.rcpt_tos[0] for envelope in box.mails) == [
        f"{name}@shop.example" for name in names
    ]
