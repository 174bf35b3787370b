"""The registry, the adapter log, and what the adapters say about themselves."""

from datetime import UTC, datetime
from importlib.metadata import EntryPoint

import msgspec
import pytest

from services.dispatch.channels import log, registry
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Setup
from services.dispatch.channels.smtp_pool import Server, server_of
from shared.errors import ConfigurationError
from shared.templates import Rendered
from shared.workspace import ChannelSettings


def setup(adapter: str, **environment: str) -> Setup:
    settings = ChannelSettings.model_validate({"adapter": adapter, "from": "a@shop.example"})
    return Setup("email", settings, environment, concurrency=2, timeout=1.0)


def other(_setup: Setup) -> Adapter:
    return log.LogAdapter()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "pigeon": EntryPoint("pigeon", f"{__name__}:other", registry.GROUP),
        "log": EntryPoint("log", "nowhere:nothing", registry.GROUP),
    }
    monkeypatch.setattr(registry, "_installed", lambda: points)


def test_our_own_adapters_are_known() -> None:
    assert {"log", "smtp"} <= registry.names()
    assert isinstance(registry.create(setup("log")), log.LogAdapter)


def test_packages_add_adapters_but_take_over_none(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EntryPoint, "load", lambda self: other)
    assert isinstance(registry.create(setup("pigeon")), log.LogAdapter)
    assert registry.create(setup("log")).name == "log"
    assert registry.names() == {*registry.BUILT_IN, "pigeon"}


def test_an_unknown_adapter_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="pigeon") as caught:
        registry.create(setup("pigeon"))
    assert "log" in caught.value.hint


def test_smtp_says_that_its_url_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="DANGOL_SMTP_URL is not set"):
        registry.create(setup("smtp"))


async def test_the_log_keeps_a_bounded_copy() -> None:
    content = Rendered({"subject": "Hi"}, "x" * (log.LONGEST + 1), html=True)
    message = Outgoing(
        "m1", 1, "email", "a@b.example", "marketing", content, datetime(2026, 4, 6, tzinfo=UTC)
    )
    adapter = registry.create(setup("log"))
    result = await adapter.send(message)
    assert result.outcome is Outcome.ACCEPTED
    kept = msgspec.json.decode(result.detail)
    assert kept == {"parts": {"subject": "Hi"}, "body": "x" * log.LONGEST, "cut": True}
    assert "a@b.example" not in result.detail
    await adapter.close()


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://localhost:2525", Server("localhost", 2525)),
        ("smtp://mail.example", Server("mail.example", 25)),
        ("smtps://mail.example", Server("mail.example", 465, tls=True)),
        ("smtp://mail.example?starttls=true", Server("mail.example", 587, starttls=True)),
        ("smtp://mail.example:25?starttls=false", Server("mail.example", 25)),
        ("smtp://u%40x:p%2Fw@[::1]:26", Server("::1", 26, user="u@x", password="p/w")),
    ],
)
def test_a_server_is_read_from_its_url(url: str, server: Server) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example",
        "smtp://",
        "smtp://user:secret@mail.example:port",
        "smtp://user:secret@mail.example?starttls=perhaps",
        "smtp://user:secret@mail.example?unknown=1",
        "mail.example:25",
    ],
)
def test_a_url_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        server_of(url)
    assert "secret" not in str(caught.value) + caught.value.hint


def test_a_password_is_not_shown() -> None:
    assert "p/w" not in repr(server_of("smtp://u:p%2Fw@mail.example"))
