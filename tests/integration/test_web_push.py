"""Messages to browsers against web-push-testing, a push service that others have written.

It makes subscriptions with keys of its own, checks VAPID by them and decrypts what we have
encrypted (RFC 8291): so what it shows, a browser would. It needs Node.js; see `tests/sdks`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.dispatch.channels import registry
from services.dispatch.channels.web_push import vapid_of
from tests.integration.dispatching import House
from tests.patience import SOON
from tests.processes import free_port
from tests.sdks.running import HERE, missing_node

VAPID = "QwertyuiopAsdfghjklZxcvbnm1234567890qwerty0"
OTHER_KEY = "A" * 41 + "BA"
SUBJECT = "mailto:a@shop.example"
SERVER = HERE / "node_modules" / "web-push-testing" / "src" / "bin" / "server.js"
TEMPLATE = """---
title: "(광고) 예시상점"
link: "https://shop.example/cart"
---
{{ profile.name }}님, 담아 두신 상품이 남아 있어요 🛒"""


@dataclass(frozen=True, slots=True)
class PushService:
    client: httpx.AsyncClient
    host: str

    async def subscribe(self) -> dict[str, Any]:
        """As a browser has it; `clientHash` is the service's own name for it."""
        key = vapid_of(VAPID, SUBJECT).public
        form = {"userVisibleOnly": "true", "applicationServerKey": key}
        answer = await self.client.post("/subscribe", data=form)
        found: dict[str, Any] = answer.raise_for_status().json()["data"]
        return found

    async def shown(self, subscription: dict[str, Any]) -> list[dict[str, Any]]:
        """What the browser has decrypted."""
        name = {"clientHash": subscription["clientHash"]}
        answer = await self.client.post("/get-notifications", json=name)
        return [json.loads(text) for text in answer.raise_for_status().json()["data"]["messages"]]

    async def expire(self, subscription: dict[str, Any]) -> None:
        path = f"/expire-subscription/{subscription['clientHash']}"
        (await self.client.post(path)).raise_for_status()


@pytest.fixture(scope="module")
async def service() -> AsyncIterator[PushService]:
    missing = missing_node()
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("node", str(SERVER), str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SOON):
            assert b"running" in await process.stdout.readline()
        host = f"localhost:{port}"
        async with httpx.AsyncClient(base_url=f"http://{host}", timeout=SOON) as client:
            yield PushService(client, host)
    finally:
        process.terminate()
        await process.communicate()


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(
            channels={"web_push": {"adapter": "web_push", "subject": SUBJECT}},
            templates={"templates/hello/web_push.liquid": TEMPLATE.encode()},
        )
        yield house


def environment(service: PushService, key: str = VAPID) -> dict[str, str]:
    return {"DANGOL_VAPID_PRIVATE_KEY": key, "DANGOL_PRIVATE_HOSTS": service.host}


def traits(*subscriptions: dict[str, Any]) -> dict[str, Any]:
    return {"name": "김단골", "web_push": list(subscriptions)}


async def test_a_browser_shows_what_was_sent_until_its_subscription_ends(
    house: House, service: PushService
) -> None:
    browser = await service.subscribe()
    await house.customer(traits=traits(browser))
    await house.message("m1", channels=("web_push",))
    dispatching = house.dispatching(environment=environment(service), create=registry.create)
    async with dispatching:
        assert await house.decided("m1") == [("sent", None, "web_push")]
        assert await service.shown(browser) == [
            {
                "title": "(광고) 예시상점",
                "body": "김단골님, 담아 두신 상품이 남아 있어요 🛒",
                "message_id": "m1",
                "link": "https://shop.example/cart",
            }
        ]
        await service.expire(browser)
        for name, so in (("m2", "failed"), ("m3", "dropped")):
            await house.message(name, channels=("web_push",))
            house.ring()
            ((decision, _, _),) = await house.decided(name)
            assert decision == so  # 410 closes the address, and the next message meets that
        again = await service.subscribe()
        await house.customer(traits=traits(browser, again))
        await house.message("m4", channels=("web_push",))
        house.ring()
        assert await house.decided("m4") == [("sent", None, "web_push")]
    (attempt,) = await house.attempts("m2")
    assert (attempt["outcome"], attempt["detail"]) == ("undeliverable_address", "410")
    assert await house.decision("m3") == ("dropped", "suppressed", "web_push")
    assert [shown["message_id"] for shown in await service.shown(again)] == ["m4"]
    assert len(await service.shown(browser)) == 1


async def test_with_another_key_the_channel_is_broken_and_nothing_is_lost(
    house: House, service: PushService
) -> None:
    browser = await service.subscribe()
    await house.customer(traits=traits(browser))
    await house.message(channels=("web_push",))
    wrong = house.dispatching(environment=environment(service, OTHER_KEY), create=registry.create)
    async with wrong:
        row = await house.held()
    assert row["held_reason"] == "channel_paused"
    assert await service.shown(browser) == []
    assert await house.pool.fetchval("SELECT count(*) FROM suppressions") == 0
    house.move_to(row["not_before"])
    right = house.dispatching(environment=environment(service), create=registry.create)
    async with right:
        assert await house.decided() == [("sent", None, "web_push")]
    assert len(await service.shown(browser)) == 1
