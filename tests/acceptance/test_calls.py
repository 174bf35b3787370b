"""A journey that asks a shop's own server, through a real `dangol up` that is killed meanwhile."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.patience import SOON
from tests.processes import Dangol
from tests.receiving import SECRET, answer, hang, receiver

WORKSPACE = {
    "dangol.yaml": """
timezone: UTC
policies: {consent: assumed}
channels: {email: {adapter: log}}
""",
    "journeys/win-back.yaml": """
journey: win-back
trigger: {event: Left}
steps:
  - call: %s
    id: coupon
    timeout: 20s
    with: {cart: trigger.cart, tier: profile.tier}
  - branch:
      - when: steps.coupon.response.code != null
        steps: [{send: email, template: coupon, id: with-coupon}]
""",
    "templates/coupon/email.liquid": """---
subject: "{{ steps.coupon.response.code }}"
---
<p>Hello</p>
""",
}


def _written(folder: Path, url: str) -> Path:
    for name, text in WORKSPACE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("%s", url))
    return folder


def _left(customer: str) -> tuple[dict[str, object], ...]:
    return (
        {"type": "identify", "messageId": f"i-{customer}", "userId": customer,
         "traits": {"email": f"{customer}@shop.example", "tier": "gold"}},
        {"type": "track", "messageId": f"l-{customer}", "userId": customer, "event": "Left",
         "properties": {"cart": "c1"}},
    )  # fmt: skip


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_a_call_asks_again_under_the_same_id(tmp_path: Path) -> None:
    async with receiver() as at, httpx.AsyncClient(timeout=SOON) as client:
        at.script = [hang, hang]
        at.otherwise = answer(body=b'{"code": "COMEBACK"}')
        dangol = Dangol(
            tmp_path / "data",
            _written(tmp_path / "shop", at.url()),
            environment={"DANGOL_WEBHOOK_SECRET": SECRET, "DANGOL_PRIVATE_HOSTS": at.host},
            arguments=("--speed", "20"),  # the first retry is 5 s away
        )
        await dangol.start()
        try:
            assert (await dangol.post(client, *_left("ann"), *_left("bob"))).status_code == 200
            async with asyncio.timeout(SOON):
                while len(at.requests) < 2:
                    await asyncio.sleep(0.01)
            await dangol.kill()
            await dangol.start()
            async with asyncio.timeout(SOON):
                while len(sent := await dangol.messages(client, decision="sent")) < 2:
                    await asyncio.sleep(0.05)
        finally:
            await dangol.stop()
    assert sorted((row["customer"], row["step"]) for row in sent) == [
        ("ann", "with-coupon"),
        ("bob", "with-coupon"),
    ]
    assert all(request.is_signed() for request in at.requests)
    bodies = {request.headers["webhook-id"]: request.body for request in at.requests}
    assert len(bodies) == 2, "the same ids after the kill"
    assert len(at.requests) == 4
    assert {request.body for request in at.requests} == set(bodies.values())
    (ann,) = [body for body in map(json.loads, bodies.values()) if "ann" in str(body)]
    assert ann["type"] == "journey.call"
    assert (
        ann["data"].items()
        >= {
            "customer": "ann",
            "journey": "win-back",
            "step": "coupon",
            "with": {"cart": "c1", "tier": "gold"},
        }.items()
    )
