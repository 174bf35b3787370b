"""A shop's server asks for one message and is told what becomes of it, over a kill in between."""

import asyncio
import json
from pathlib import Path

import httpx

from tests.patience import SOON
from tests.processes import ADMIN_TOKEN, Dangol
from tests.receiving import SECRET, Receiver, hang, receiver

SETTINGS = """
channels: {email: {adapter: log}}
receipts: {shop: {url: "%s"}}
"""


def _workspace(folder: Path, at: Receiver) -> Path:
    (folder / "templates/reset").mkdir(parents=True)
    (folder / "dangol.yaml").write_text(SETTINGS % at.url())
    template = '---\nsubject: "Reset"\n---\n<a href="{{ trigger.link }}">Reset</a>\n'
    (folder / "templates/reset/email.liquid").write_text(template)
    return folder


async def test_a_receipt_survives_a_kill_and_bears_the_same_webhook_id(tmp_path: Path) -> None:
    async with receiver() as at, httpx.AsyncClient(timeout=SOON) as client:
        at.script = [hang]
        dangol = Dangol(
            tmp_path / "data",
            _workspace(tmp_path / "shop", at),
            environment={"DANGOL_WEBHOOK_SECRET": SECRET, "DANGOL_PRIVATE_HOSTS": at.host},
            arguments=("--speed", "20"),  # the first retry is 5 s away
        )
        await dangol.start()
        try:
            known = {"type": "identify", "messageId": "i1", "userId": "u1",
                     "traits": {"email": "u1@shop.example"}}  # fmt: skip
            await dangol.post(client, known)
            token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            async with asyncio.timeout(SOON):
                customer = f"{dangol.url}/api/customers/u1"
                while (await client.get(customer, headers=token)).status_code != 200:
                    await asyncio.sleep(0.05)
            asked = await client.post(
                f"{dangol.url}/api/messages",
                json={"customer": "u1", "channels": ["email"], "template": "reset",
                      "receipts": "shop"},
                headers={**token, "Idempotency-Key": "k1"},
            )  # fmt: skip
            assert asked.status_code == 202
            await asyncio.wait_for(at.came.wait(), SOON)
            await dangol.kill()
            await dangol.start()
            async with asyncio.timeout(SOON):
                while len(at.requests) < 2:
                    await asyncio.sleep(0.02)
        finally:
            await dangol.stop()
    first, second = at.requests
    assert first.is_signed()
    assert second.is_signed()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    told = json.loads(second.body)
    assert (told["type"], told["data"]["id"]) == ("message.sent", asked.json()["id"])
