"""The registry, the adapter log, and what the adapters say about themselves."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from services.dispatch.channels import log, registry
from services.dispatch.channels.port import Outcome, Outgoing, Setup
from services.dispatch.channels.smtp_pool import Server, server_of
from services.journey.language.schemas import settings_schema
from services.journey.language.workspace import load_workspace
from shared.channels import ADAPTERS_GROUP, installed_adapters
from shared.errors import ConfigurationError
from shared.templates import Rendered
from shared.workspace import ChannelSettings


def setup(adapter: str, **environment: str) -> Setup:
    settings = ChannelSettings.model_validate({"adapter": adapter, "from": "a@shop.example"})
    return Setup("email", settings, environment, concurrency=2, timeout=1.0)


PIGEON = """
from services.dispatch.channels.log import LogAdapter


class Pigeon(LogAdapter):
    name = "pigeon"


def create(setup):
    return Pigeon()
"""
POINTS = f"""
[{ADAPTERS_GROUP}]
pigeon = pigeon_post:create
lame = pigeon_post:nothing_of_this_name
log = pigeon_post:create
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A package as an installer leaves it: a module, and the metadata that names its adapters."""
    (tmp_path / "pigeon_post.py").write_text(PIGEON)
    metadata = tmp_path / "pigeon_post-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon-post\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    installed_adapters.cache_clear()
    yield
    installed_adapters.cache_clear()
    sys.modules.pop("pigeon_post", None)


def test_our_own_adapters_are_known() -> None:
    assert {"log", "smtp"} <= registry.names()
    assert isinstance(registry.create(setup("log")), log.LogAdapter)


@pytest.mark.usefixtures("installed")
def test_packages_add_adapters_but_take_over_none() -> None:
    assert registry.create(setup("pigeon")).name == "pigeon"
    assert registry.create(setup("log")).name == "log"
    assert registry.names() == {*registry.BUILT_IN, "pigeon", "lame"}


@pytest.mark.usefixtures("installed")
def test_a_package_that_cannot_be_loaded_pauses_its_channel_alone() -> None:
    with pytest.raises(ConfigurationError, match="`lame`") as caught:
        registry.create(setup("lame"))
    assert "pigeon_post:nothing_of_this_name" in caught.value.hint


def said_of(adapter: str) -> list[str]:
    settings = f"channels:\n  email: {{adapter: {adapter}, failover: [smtp]}}\n"
    return [p.message for p in load_workspace({"dangol.yaml": settings.encode()}).problems]


@pytest.mark.usefixtures("installed")
def test_validation_and_editors_know_what_packages_add() -> None:
    assert said_of("pigeon") == []
    assert said_of("dove") == ["there is no adapter of `email` called `dove`"]
    assert "pigeon" in str(settings_schema()["properties"]["channels"]["properties"]["email"])


def test_without_the_package_validation_knows_none() -> None:
    assert said_of("pigeon") == ["there is no adapter of `email` called `pigeon`"]


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
