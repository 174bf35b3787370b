"""`dangol fake-providers` as a process plays push, SES and Slack too: the adapters, set up by what
it prints, send through it and are refused by it."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.dispatch.channels import registry
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Setup
from shared.address import address_of
from shared.templates import Rendered
from shared.workspace import ChannelSettings
from tests.patience import SOON
from tests.processes import free_port

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DANGOL = str(Path(sys.executable).parent / "dangol")
CONTENT = Rendered({"title": "Sale", "subject": "Sale"}, "Ten percent off", html=False)
ADAPTERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "fcm": ("push", {}),
    "apns": ("push", {"topic": "com.example.shop"}),
    "ses": ("email", {"from": "Shop <hello@shop.example>"}),
    "slack": ("slack", {}),
    "web_push": ("web_push", {"subject": "mailto:you@shop.example"}),
}


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port + 1))
            return port


async def printed(port: int) -> dict[str, str]:
    """The environment of a shell that has taken over what is printed."""
    read = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'eval "$({DANGOL} fake-providers --env --port {port})" && {read}'),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SOON):
        out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, str] = json.loads(out)
    return found


@contextlib.asynccontextmanager
async def playing(port: int, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(DANGOL, "fake-providers", "--port", str(port)), stdout=written, stderr=written
        )
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(SOON):
            while True:
                assert process.returncode is None, log.read_text()  # noqa: ASYNC240 - it has ended
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"http://127.0.0.1:{port}/__sent")).is_success:
                        break
                await asyncio.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(SOON):
            assert await process.wait() == 0, log.read_text()  # noqa: ASYNC240 - it has ended


def made(name: str, environment: Mapping[str, str]) -> Adapter:
    channel, options = ADAPTERS[name]
    settings = ChannelSettings.model_validate({"adapter": name, **options})
    return registry.create(Setup(channel, settings, environment, 4, SOON))


def outgoing(name: str, address: str) -> Outgoing:
    content = CONTENT
    if name == "slack":
        content = Rendered({"to": f"#{address}"}, "Ten percent off", html=False)
    return Outgoing("m1", 1, ADAPTERS[name][0], address, "marketing", content, NOON)


async def test_every_adapter_sends_through_the_fakes(tmp_path: Path) -> None:
    port = two_free_ports()
    url = f"http://127.0.0.1:{port}"
    environment = await printed(port)
    assert environment["PATH"] == os.environ["PATH"]
    async with playing(port, tmp_path / "log"), httpx.AsyncClient(base_url=url) as client:

        async def address(name: str, who: str) -> str:
            if name == "ses":
                return f"{who}@shop.example"
            if name != "web_push":
                return who
            trait = (await client.get(f"/web_push/subscription/{who}")).json()
            found = address_of("web_push", "u1", {"web_push": trait}, None)
            assert found is not None
            return found

        said: dict[str, list[Outcome]] = {}
        for name in ADAPTERS:
            adapter = made(name, environment)
            people = [await address(name, who) for who in ("ann", "throttled", "nobody")]
            results = [await adapter.send(outgoing(name, person)) for person in people]
            said[name] = [result.outcome for result in results]
            await adapter.close()
        taken = (await client.get("/__sent")).json()
        page = (await client.get("/")).text
    sent, busy = Outcome.ACCEPTED, Outcome.THROTTLED
    gone, refused = Outcome.UNDELIVERABLE_ADDRESS, Outcome.REJECTED_MESSAGE
    assert said == {
        "fcm": [sent, busy, gone],
        "apns": [sent, busy, gone],
        "ses": [sent, busy, refused],
        "slack": [sent, busy, refused],
        "web_push": [sent, busy, gone],
    }
    for name in ADAPTERS:
        (message,) = taken[name]
        assert "Ten percent off" in message["text"], name
    assert page.count("Ten percent off") == len(ADAPTERS)


@pytest.mark.parametrize(
    ("adapter", "wrong"),
    [
        ("ses", {"AWS_SECRET_ACCESS_KEY": "guess"}),
        ("slack", {"DANGOL_SLACK_BOT_TOKEN": "guess"}),
        ("apns", {"DANGOL_APNS_TEAM_ID": "ANOTHER"}),
    ],
)
async def test_who_signs_with_something_else_is_refused(
    adapter: str, wrong: dict[str, str], tmp_path: Path
) -> None:
    port = two_free_ports()
    environment = await printed(port)
    async with playing(port, tmp_path / "log"):
        found = made(adapter, environment | wrong)
        result = await found.send(outgoing(adapter, "ann@shop.example"))
        await found.close()
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"http://127.0.0.1:{port}/")).text
    assert result.outcome is Outcome.BROKEN_CONNECTION
    assert f"<b>{adapter}</b> refused 1 requests" in page
