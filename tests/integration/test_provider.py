"""A provider's HTTP API on a real connection that misbehaves."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.dispatch.channels.port import Outcome, Result, Setup
from services.dispatch.channels.provider import (
    LONGEST_ANSWER,
    Answer,
    Provider,
    base_url,
    meaning_of_error,
    meaning_of_status,
    required,
    words,
)
from shared.errors import ConfigurationError
from shared.workspace import ChannelSettings
from tests.patience import SOON, stretched
from tests.receiving import Receiver, answer, drip, flood, hang, hang_up, receiver

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def setup_of(environment: dict[str, str] | None = None, timeout: float = SOON) -> Setup:
    return Setup("sms", ChannelSettings(adapter="x"), environment or {}, 4, timeout)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def post(there: Receiver, timeout: float = SOON) -> Answer | Result:
    provider = Provider(setup_of(timeout=timeout), f"http://{there.host}")
    try:
        return await provider.post("/send", json={"to": "x"})
    finally:
        await provider.close()


async def test_an_answer_is_read_whole(there: Receiver) -> None:
    there.script = [answer("202 Accepted", b'{"id": "m1"}')]
    got = await post(there)
    assert isinstance(got, Answer)
    assert (got.status, got.ok, got.fields()) == (202, True, {"id": "m1"})
    assert there.requests[0].body == b'{"to":"x"}'


async def test_connections_are_kept(there: Receiver) -> None:
    provider = Provider(setup_of(), f"http://{there.host}")
    opened: list[object] = []
    serve = there.serve

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await serve(reader, writer)

    there.serve = counting  # type: ignore[method-assign]
    for _ in range(3):
        assert isinstance(await provider.post("/send"), Answer)
    await provider.close()
    assert len(opened) == 1


@pytest.mark.parametrize("act", [hang, hang_up, drip], ids=["hangs", "hangs up", "drips"])
async def test_a_request_without_an_answer_is_unknown(there: Receiver, act: object) -> None:
    there.otherwise = act  # type: ignore[assignment]
    got = await post(there, timeout=stretched(0.3))
    assert isinstance(got, Result)
    assert got.outcome is Outcome.UNKNOWN


async def test_an_endless_answer_is_cut(there: Receiver) -> None:
    there.otherwise = flood
    got = await post(there)
    assert isinstance(got, Answer)
    assert len(got.body) == LONGEST_ANSWER
    assert got.fields() == {}


async def test_a_server_that_is_not_there_has_taken_nothing() -> None:
    provider = Provider(setup_of(), "http://127.0.0.1:1")
    got = await provider.post("/send")
    await provider.close()
    assert isinstance(got, Result)
    assert got.outcome is Outcome.BROKEN_CONNECTION


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (301, Outcome.BROKEN_CONNECTION),
        (400, Outcome.REJECTED_MESSAGE),
        (401, Outcome.BROKEN_CONNECTION),
        (402, Outcome.BROKEN_CONNECTION),
        (408, Outcome.UNKNOWN),
        (422, Outcome.REJECTED_MESSAGE),
        (429, Outcome.THROTTLED),
        (500, Outcome.UNKNOWN),
        (502, Outcome.UNKNOWN),
        (503, Outcome.RETRYABLE),
        (504, Outcome.UNKNOWN),
    ],
)
def test_a_status_means(status: int, outcome: Outcome) -> None:
    assert meaning_of_status(Answer(status, httpx.Headers(), b""), NOW).outcome is outcome


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("7", timedelta(seconds=7)),
        ("Mon, 02 Mar 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Mon, 02 Mar 2026 11:01:00 GMT", None),
        ("1e99", timedelta(hours=24)),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_the_providers_wish_is_bounded(text: str, wish: timedelta | None) -> None:
    reply = Answer(429, httpx.Headers({"retry-after": text}), b"")
    assert meaning_of_status(reply, NOW).retry_after == wish


def test_every_error_of_httpx_has_a_meaning() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, httpx.TransportError)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("x")
        assert meaning_of_error(error, sent=True).outcome is Outcome.UNKNOWN
        assert meaning_of_error(error, sent=False).outcome is not Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("no such user a@example.com here", "a@example.com"),
        ("invalid: 01012345678", "+821012345678"),
        ("invalid: 821012345678", "+821012345678"),
        ("invalid: +821012345678", "+821012345678"),
    ],
)
def test_what_a_provider_says_is_kept_without_the_address(said: str, address: str) -> None:
    kept = words(said, address)
    assert "…" in kept
    assert "12345678" not in kept
    assert "a@example" not in kept


def test_missing_secrets_are_named_and_shown_to_nobody() -> None:
    setup = setup_of({"DANGOL_X_KEY": "secret-value"})
    assert required(setup, "x", "DANGOL_X_KEY") == ("secret-value",)
    with pytest.raises(ConfigurationError) as caught:
        required(setup, "x", "DANGOL_X_KEY", "DANGOL_X_SECRET")
    assert "DANGOL_X_SECRET is not set" in str(caught.value)
    assert "secret-value" not in f"{caught.value} {caught.value.hint}"


def test_the_address_of_the_api_can_be_set() -> None:
    assert base_url(setup_of(), "x", "https://api.example") == "https://api.example"
    here = {"DANGOL_X_BASE_URL": "http://127.0.0.1:9"}
    assert base_url(setup_of(here), "x", "https://api.example") == "http://127.0.0.1:9"
