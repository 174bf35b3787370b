"""A poison event or template stops only itself; it is seen, mended and replayed over the API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.clock import wall_clock
from shared.db.connect import Pool
from shared.event import Encoded, Event, partition_of
from shared.log.postgres import PostgresLog
from tests.acceptance.test_up import SETTINGS
from tests.conftest import PARTITIONS
from tests.patience import SOON
from tests.processes import ADMIN_TOKEN, Dangol

JOURNEY = """
journey: {name}
category: transactional
trigger: {{event: Bought}}
entry: {{key: event.order}}
steps:
  - {{send: email, template: {name}, id: {name}}}
"""
TEMPLATE = "---\nsubject: Thanks\n---\n<p>{{ %s }}</p>\n"
FILES = {
    "dangol.yaml": SETTINGS % "log",
    "journeys/good.yaml": JOURNEY.format(name="good"),
    "journeys/bad.yaml": JOURNEY.format(name="bad"),
    "templates/good/email.liquid": TEMPLATE % "trigger.total",
    "templates/bad/email.liquid": TEMPLATE % "100 | divided_by: trigger.none",
}
OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
CUSTOMER = "u1"


def bought(ident: str, total: int) -> Event:
    return Event(
        id=ident, kind="track", name="Bought", timestamp=wall_clock(), user_id=CUSTOMER,
        properties={"order": ident, "total": total, "none": 0},
    )  # fmt: skip


async def until(found: Callable[[], Awaitable[Any]], count: int) -> Any:
    rows: Any = []
    try:
        async with asyncio.timeout(SOON):
            while len(rows := await found()) < count:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{count} were to be found: {rows}") from None
    return rows


async def poison(dangol: Dangol, pool: Pool) -> None:
    log = PostgresLog(pool, PARTITIONS)
    place = partition_of(CUSTOMER, PARTITIONS)
    async with httpx.AsyncClient(base_url=dangol.url, headers=OPERATOR, timeout=SOON) as client:

        async def sent() -> Any:
            return await dangol.messages(client, decision="sent")

        async def aside() -> Any:
            return (await client.get("/api/set-aside")).json()

        traits = {"email": "u1@shop.example"}
        await dangol.post(client, {"type": "identify", "userId": CUSTOMER, "traits": traits})
        await log.append_encoded([Encoded(place, b"\xff\x00 no event at all", "track")])
        await log.append([bought("first", 1), bought("poison", 2**70), bought("second", 2)])
        await until(sent, 2)
        never, rubbish = sorted(await until(aside, 2), key=lambda row: -row["id"])
        assert rubbish["reason"].startswith("not an event")
        assert never["reason"] == "what it leads to can never be stored"
        failed = await dangol.messages(client, decision="dropped")
        assert {(m["journey"], m["reason"]) for m in failed} == {("bad", "template_error")}

        content = (await client.get(f"/api/set-aside/{never['id']}")).json()
        mended = json.loads(content["payload"].replace(str(2**70), "70"))
        for _ in range(2):  # who is not sure asks again
            answer = await client.post(
                f"/api/set-aside/{never['id']}/replay", json={"payload": mended}
            )
            assert answer.status_code == 200, answer.text
        await until(sent, 3)
        assert [row["id"] for row in await aside()] == [rubbish["id"]]


@pytest.mark.slow
async def test_what_is_poison_stops_only_itself_and_is_replayed_once_mended(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    for name, text in FILES.items():
        path = tmp_path / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    dangol = Dangol(
        tmp_path / "data", tmp_path / "workspace", environment={"DANGOL_DATABASE_URL": dsn}
    )
    await dangol.start()
    try:
        await poison(dangol, pool)
    finally:
        assert await dangol.stop() == 0, dangol.log.read_text()
    bought_now = await pool.fetch("SELECT id FROM history WHERE name = 'Bought' ORDER BY id")
    assert [row["id"] for row in bought_now] == ["first", "poison", "second"]
    journeys = await pool.fetch("SELECT journey, decision FROM messages ORDER BY journey")
    assert [tuple(row) for row in journeys] == [("bad", "dropped")] * 3 + [("good", "sent")] * 3
