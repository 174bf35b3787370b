"""`dangol fake-providers` beside `dangol up`, as docs/channels.md has it: Kakao, else a text."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.processes import Dangol, free_port

EXAMPLE = Path(__file__).parents[2] / "examples/kakao"
DANGOL = str(Path(sys.executable).parent / "dangol")


async def environment(port: int) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        *(DANGOL, "fake-providers", "--env", "--port", str(port)),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = (line.removeprefix("export ").partition("=") for line in out.decode().splitlines())
    return {name: value for name, _, value in lines}


def order(customer: str, phone: str) -> list[dict[str, object]]:
    told = {"userId": customer}
    return [
        {"type": "identify", "messageId": f"i-{customer}", **told, "traits": {"phone": phone}},
        {
            "type": "track",
            "messageId": f"t-{customer}",
            **told,
            "event": "Order Completed",
            "properties": {"order_id": f"A-{customer}"},
        },
    ]


async def test_who_has_no_kakao_gets_a_text_as_the_docs_say(tmp_path: Path) -> None:
    port = free_port()
    dangol = Dangol(tmp_path / "data", EXAMPLE, environment=await environment(port))
    fakes = await asyncio.create_subprocess_exec(
        *(DANGOL, "fake-providers", "--port", str(port), "--dangol", dangol.url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
    )
    try:
        await dangol.start(within=60)
        async with httpx.AsyncClient() as client:
            await dangol.post(
                client, *order("none", "010-0000-0019"), *order("kakao", "010-0000-0000")
            )
            rows = await _decided(dangol, client, 2)
            taken = (await client.get(f"http://127.0.0.1:{port}/__sent")).json()["solapi"]
            page = (await client.get(f"http://127.0.0.1:{port}/")).text
    finally:
        await dangol.stop()
        fakes.terminate()
        ended = await asyncio.wait_for(fakes.wait(), 20)
    assert ended == 0
    by = {row["customer"]: row for row in rows}
    assert (by["kakao"]["decision"], by["kakao"]["channel"]) == ("sent", "alimtalk")
    assert (by["none"]["decision"], by["none"]["channel"]) == ("sent", "sms")
    assert by["none"]["passed_over"] == [{"channel": "alimtalk", "reason": "rejected"}]
    assert sorted(t["kind"] for t in taken) == ["ATA", "ATA", "SMS"]
    assert "A-none" in page


async def _decided(dangol: Dangol, client: httpx.AsyncClient, count: int) -> list[Any]:
    async with asyncio.timeout(60):
        while True:
            rows = [m for m in await dangol.messages(client) if m["decision"] is not None]
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.05)
