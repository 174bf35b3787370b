"""The services as processes of their own on one database: two engines, one is killed.

Once with the log in Postgres, once in Apache Kafka.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import Pool
from tests.acceptance.test_up import write_workspace
from tests.patience import SOON, in_time
from tests.processes import ADMIN_TOKEN, WRITE_KEY, Service

MOVED_WITHIN = 10.0


@pytest.fixture(params=["postgres", "kafka"])
async def services(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path
) -> AsyncIterator[dict[str, Service]]:
    environment = {"DANGOL_DATABASE_URL": dsn}
    if request.param == "kafka":
        environment["DANGOL_LOG_URL"] = request.getfixturevalue("kafka_url")
    names = ("ingest", "journey", "journey-2", "dispatch", "console")
    made = {n: Service(n.split("-")[0], environment, tmp_path / f"{n}.log") for n in names}
    await asyncio.gather(*(service.start() for service in made.values()))
    await asyncio.gather(*(service.ready() for service in made.values()))
    yield made
    await asyncio.gather(*(service.end() for service in made.values()))


async def post(services: dict[str, Service], customer: str) -> None:
    events = [
        {"type": "identify", "userId": customer, "traits": {"email": f"{customer}@shop.example"}},
        {"type": "track", "userId": customer, "event": "Signed Up"},
    ]
    async with httpx.AsyncClient(timeout=SOON) as client:
        answer = await client.post(
            f"{services['ingest'].url}/v1/batch", json={"batch": events}, auth=(WRITE_KEY, "")
        )
    assert answer.status_code == 200, answer.text


async def sent(services: dict[str, Service], count: int) -> None:
    async with httpx.AsyncClient(timeout=SOON) as client, asyncio.timeout(SOON):
        while True:
            answer = await client.get(
                f"{services['console'].url}/api/messages?decision=sent&limit=100",
                headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            )
            if len(answer.json()) >= count:
                assert len(answer.json()) == count
                return
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_a_killed_engine_s_partitions_move_to_the_other(
    services: dict[str, Service], pool: Pool, tmp_path: Path
) -> None:
    await apply(pool, read_folder(write_workspace(tmp_path / "workspace")), "test", REAL)
    for number in range(20):
        await post(services, f"a{number}")
    await sent(services, 20)
    async with asyncio.timeout(SOON):
        while await pool.fetchval("SELECT count(DISTINCT owner) FROM partitions") < 2:
            await asyncio.sleep(0.05)  # both engines work
    owners = set(await owned(pool))
    await services["journey"].end(kill=True)
    began = time.monotonic()
    for number in range(20):
        await post(services, f"b{number}")
    async with asyncio.timeout(SOON):
        while len(set(await owned(pool)) & owners) > 1 or None in await owned(pool):
            await asyncio.sleep(0.05)
    await sent(services, 40)
    assert in_time(time.monotonic() - began, MOVED_WITHIN)
    assert await services["journey-2"].end() == 0
    assert await pool.fetchval("SELECT count(*) FROM history") == 80
    assert await pool.fetchval("SELECT count(DISTINCT customer) FROM messages") == 40


async def owned(pool: Pool) -> list[str | None]:
    return [row["owner"] for row in await pool.fetch("SELECT owner FROM partitions")]
