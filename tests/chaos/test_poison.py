"""What is damaged in the database stops only itself: a journey's version, a customer's state.

Each befalls a house under load, and the oracle judges what it came to; docs/chaos.md has the table.
(A poison event and a poison template: tests/acceptance/test_poison.py.)
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.journey import held
from shared.db.connect import Pool
from tests.chaos.running import Stage
from tests.chaos.test_faults import goes_on, survived, under_load, until
from tests.chaos.traffic import Wire, traits_of
from tests.processes import ADMIN_TOKEN, WRITE_KEY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_ASKER = 900_002
"""As in test_faults.py: none of the visitors, and with an address."""
_OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
_LATER = "journey: callback\ntrigger: {event: Callback Asked}\nsteps: [{teleport: 3s}]\n"
"""As a newer release might write it: it has a step that this one does not know."""


async def say(stage: Stage, *events: Wire) -> None:
    user = f"u{_ASKER}"
    batch = [{"type": "track", "userId": user} | event for event in events]
    async with httpx.AsyncClient(timeout=10, auth=(WRITE_KEY, "")) as client:
        url = stage.house.urls["ingest"][0]
        answer = await client.post(f"{url}/v1/batch", json={"batch": batch})
    assert answer.status_code == 200, answer.text


def callback(what: str, number: int) -> Wire:
    return {"event": f"Callback {what}", "properties": {"number": f"n{number}"}}


def bought(order: str) -> Wire:
    return {"event": "Order Completed", "properties": {"order_id": order}}


async def sent(pool: Pool, journey: str, step: str, least: int) -> bool:
    return least <= int(await pool.fetchval(
        "SELECT count(*) FROM messages WHERE journey = $1 AND step LIKE $2 || '%'"
        " AND customer = $3 AND decision = 'sent'",
        journey, step, f"u{_ASKER}",
    ))  # fmt: skip


async def engines_anew(stage: Stage, pool: Pool, statement: str, *values: Any) -> None:
    """Something is changed while no engine has it in memory."""
    engines = stage.house.of("journey")
    await asyncio.gather(*(stage.house.kill(engine) for engine in engines))
    await pool.execute(statement, *values)
    for engine in engines:
        stage.house.revive(engine)


async def impaired(url: str) -> str:
    """What a ready engine says of itself beside that it is; empty if nothing."""
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        try:
            answer = await client.get("/readyz")
        except httpx.TransportError:
            return "away"
    return "away" if answer.status_code != 200 else str(answer.json().get("impaired", ""))


async def doctor(stage: Stage) -> list[dict[str, str]]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), "doctor", "--json",
        env={**os.environ, "DANGOL_DATABASE_URL": stage.dsn},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await process.communicate()
    assert said, errors.decode()
    return [json.loads(line) for line in said.splitlines()]


async def unreadable(url: str) -> Sequence[str]:
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        page = (await client.get("/metrics")).text
    return [line for line in page.splitlines() if line.startswith("dangol_journey_unreadable{")]


async def test_a_journey_that_cannot_be_read_stops_only_itself(tmp_path: Path) -> None:
    async def unread(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        asked = [callback("Asked", n) for n in range(4)]
        await say(stage, {"type": "identify", "traits": traits_of(_ASKER)}, *asked)
        query = "SELECT n >= 4 FROM counts WHERE journey = 'callback' AND what = 'entered'"
        await until(lambda: pool.fetchval(query))
        kept = await pool.fetchval("SELECT source FROM journey_versions WHERE journey = 'callback'")
        damage = "UPDATE journey_versions SET source = $1 WHERE journey = 'callback'"
        await engines_anew(stage, pool, damage, _LATER)
        for url in stage.house.urls["journey"]:
            await until(lambda: says(url, "version 1 of callback"))  # noqa: B023 - waited for here
            assert await unreadable(url) == [
                'dangol_journey_unreadable{journey="callback",version="1"} 1.0'
            ]
        told = [f for f in await doctor(stage) if f["check"] == "journey callback"]
        assert [f["verdict"] for f in told] == ["fail"], told
        assert "teleport" in told[0]["message"]
        assert "apply the journey mended" in told[0]["hint"]
        await say(stage, callback("Cancelled", 0), callback("Cancelled", 1), bought("meanwhile"))
        await until(lambda: sent(pool, "receipt", "thanks", 1))  # of the same customer
        await goes_on(stage, pool)
        assert not await sent(pool, "callback", "later", 1)
        await pool.execute(damage, kept)  # and nothing else: nobody restarts or applies
        for url in stage.house.urls["journey"]:
            await until(lambda: says(url, ""))  # noqa: B023 - as above
            assert not await unreadable(url)
        await until(lambda: sent(pool, "callback", "later", 2))

    async def says(url: str, what: str) -> bool:
        said = await impaired(url)
        return what in said if what else not said

    await survived(tmp_path, unread, 37)


async def test_a_state_that_cannot_be_read_holds_its_customer_alone(tmp_path: Path) -> None:
    async def damaged(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        await say(
            stage, {"type": "identify", "traits": traits_of(_ASKER)}, bought("before"),
            callback("Asked", 1), callback("Asked", 2),
        )  # fmt: skip
        await until(lambda: sent(pool, "receipt", "thanks", 1))
        one = f"id = 'u{_ASKER}'"
        await engines_anew(
            stage, pool,
            f"CREATE TABLE kept AS SELECT state FROM customers WHERE {one};"
            f"UPDATE customers SET state = '\\xc1ff00' WHERE {one}",
        )  # fmt: skip
        await say(stage, bought("meanwhile"), callback("Cancelled", 2))
        aside = f"SELECT count(*) >= 2 FROM set_aside WHERE reason = '{held.REASON}'"
        await until(lambda: pool.fetchval(aside))
        await goes_on(stage, pool)
        assert await pool.fetchval(f"SELECT state = '\\xc1ff00' FROM customers WHERE {one}")
        found = [f["message"] for f in await doctor(stage) if f["check"] == "put aside"]
        assert any(held.REASON in message for message in found), found
        await pool.execute(f"UPDATE customers SET state = kept.state FROM kept WHERE {one}")
        async with httpx.AsyncClient(base_url=stage.house.urls["console"][0]) as client:
            answer = await client.post(
                "/api/set-aside/replay", params={"reason": held.REASON}, headers=_OPERATOR
            )
        assert answer.status_code == 200, answer.text
        await until(lambda: sent(pool, "receipt", "thanks", 2))
        await until(lambda: sent(pool, "callback", "later", 1))
        await pool.execute("DROP TABLE kept")

    await survived(tmp_path, damaged, 38)
