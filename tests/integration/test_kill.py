"""Kill −9 at random moments, twenty times: nothing lost, nothing doubled, unknowns bounded.

A real `dangol up`, real HTTP, a real SMTP conversation. The client behaves like an SDK: it posts a
batch until it is answered 200, with the same message ids. Afterwards every order must have led to
exactly one message, every message that is `sent` must have arrived exactly once, and every
`unknown` at most once; there are no more unknowns than kills times the stated concurrency.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from bench.smtp_sink import Sink
from shared.db import embedded
from tests.patience import SOON
from tests.processes import Dangol

KILLS = 20
CUSTOMERS = 60
CONCURRENCY = 8

WORKSPACE = {
    "dangol.yaml": """
timezone: UTC
policies: {consent: assumed}
channels:
  email: {adapter: smtp, from: "Shop <shop@shop.example>"}
""",
    "journeys/receipt.yaml": """
journey: receipt
category: transactional
trigger: {event: Order Completed}
entry: {key: event.order_id}
steps:
  - send: email
    template: receipt
    id: receipt
""",
    "journeys/reminder.yaml": """
journey: reminder
category: transactional
trigger: {event: Cart Left}
entry: {key: event.cart_id}
exit: [{event: Order Completed, where: event.cart_id == trigger.cart_id}]
steps:
  - wait: 2s
  - send: email
    template: receipt
    id: nudge
""",
    "templates/receipt/email.liquid": """---
subject: "{{ trigger.order_id }}{{ trigger.cart_id }}"
---
<p>{{ profile.name }}</p>
""",
}


def write_workspace(folder: Path) -> Path:
    for name, text in WORKSPACE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Shop:
    """Posts orders and carts until told to stop; remembers what was answered 200."""

    def __init__(self, dangol: Dangol, rng: random.Random) -> None:
        self._dangol = dangol
        self._rng = rng
        self._number = 0
        self.orders: set[str] = set()
        self.carts: set[str] = set()
        self.event_ids: set[str] = set()

    async def introduce(self, client: httpx.AsyncClient) -> None:
        people = [
            {
                "type": "identify", "messageId": f"i{n}", "userId": f"u{n}",
                "traits": {"email": f"u{n}@shop.example", "name": f"Customer {n}"},
            }
            for n in range(CUSTOMERS)
        ]  # fmt: skip
        await self._until_taken(client, people)

    async def trade(self, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._until_taken(client, [self._event() for _ in range(self._rng.randint(1, 6))])
            await asyncio.sleep(self._rng.uniform(0, 0.03))

    def _event(self) -> dict[str, Any]:
        self._number += 1
        order = self._rng.random() < 0.6
        properties = {"order_id": f"o{self._number}"} if order else {"cart_id": f"c{self._number}"}
        return {
            "type": "track", "messageId": f"m{self._number}",
            "event": "Order Completed" if order else "Cart Left",
            "userId": f"u{self._rng.randrange(CUSTOMERS)}", "properties": properties,
        }  # fmt: skip

    async def _until_taken(self, client: httpx.AsyncClient, events: list[dict[str, Any]]) -> None:
        while True:
            try:
                answer = await self._dangol.post(client, *events)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                break
            assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.05)
        for event in events:
            self.event_ids.add(event["messageId"])
            properties = event.get("properties", {})
            self.orders |= {properties[k] for k in ("order_id",) if k in properties}
            self.carts |= {properties[k] for k in ("cart_id",) if k in properties}


@pytest.mark.slow
async def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(20_26)
    async with SubjectSink() as sink:
        dangol = Dangol(
            tmp_path / "data",
            write_workspace(tmp_path / "workspace"),
            environment={
                "DANGOL_SMTP_URL": f"smtp://127.0.0.1:{sink.port}",
                "DANGOL_CONCURRENCY": str(CONCURRENCY),
            },
        )
        await dangol.start()
        shop, stop = Shop(dangol, rng), asyncio.Event()
        async with httpx.AsyncClient(timeout=5) as client:
            await shop.introduce(client)
            trading = asyncio.create_task(shop.trade(client, stop))
            for _ in range(KILLS):
                await asyncio.sleep(rng.uniform(0.05, 0.9))
                await dangol.kill()
                await dangol.start()
            stop.set()
            await trading
        await _all_decided(dangol, len(shop.orders) + len(shop.carts))
        assert await dangol.stop() == 0
        await _check(tmp_path / "data", shop, sink)


class SubjectSink(Sink):
    """Counts mails by subject: one message of the test has one subject."""

    def __init__(self) -> None:
        super().__init__()
        self.subjects: Counter[str] = Counter()

    def _took(self, recipient: str, at: float, content: bytes) -> None:
        super()._took(recipient, at, content)
        for line in content.splitlines():
            if line.lower().startswith(b"subject:"):
                self.subjects[line.partition(b":")[2].strip().decode()] += 1
                return


async def _all_decided(dangol: Dangol, expected: int) -> None:
    with embedded.connect_or_start(dangol.data) as server:
        connection = await asyncpg.connect(server.dsn)
        async with asyncio.timeout(SOON):
            while True:
                decided = await connection.fetchval(
                    "SELECT count(*) FROM messages WHERE status = 'decided'"
                )
                if decided >= expected:
                    break
                await asyncio.sleep(0.1)
        await connection.close()


async def _check(data: Path, shop: Shop, sink: SubjectSink) -> None:
    with embedded.connect_or_start(data) as server:
        connection = await asyncpg.connect(server.dsn)
        history = Counter(
            row["id"]
            for row in await connection.fetch("SELECT id FROM history WHERE kind = 'track'")
        )
        assert {k: n for k, n in history.items() if n != 1} == {}, "each event once in the history"
        assert set(history) == {i for i in shop.event_ids if i.startswith("m")}
        decisions = Counter(
            row["decision"] for row in await connection.fetch("SELECT decision FROM messages")
        )
        await connection.close()
    wanted = shop.orders | shop.carts
    assert decisions.total() == len(wanted), "exactly one message for each order and each cart"
    assert set(decisions) <= {"sent", "unknown"}, decisions
    assert decisions["unknown"] <= KILLS * CONCURRENCY
    doubled = {subject: n for subject, n in sink.subjects.items() if n > 1}
    assert doubled == {}, "nothing arrived twice"
    assert set(sink.subjects) <= wanted
    missing = wanted - set(sink.subjects)
    assert len(missing) <= decisions["unknown"], f"lost: {missing}"
    print(f"{len(wanted)} messages, {decisions['unknown']} unknown after {KILLS} kills")
