"""The services as processes of their own on one database: two engines, one is killed.

Once with the log in Postgres, once in Apache Kafka.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import Pool
from tests.acceptance.test_up import write_workspace
from tests.processes import ADMIN_TOKEN, WRITE_KEY, free_port


class Service:
    """One `dangol <part>` process."""

    def __init__(self, part: str, environment: Mapping[str, str], log: Path) -> None:
        self.part, self.port, self.log = part, free_port(), log
        self._environment = environment
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).parent / "dangol"), self.part, "--port", str(self.port),
                env={**os.environ, **self._environment,
                     "DANGOL_WRITE_KEYS": WRITE_KEY, "DANGOL_ADMIN_TOKEN": ADMIN_TOKEN},
                stdout=log, stderr=log,
            )  # fmt: skip

    async def ready(self) -> None:
        assert self.process is not None
        async with httpx.AsyncClient() as client, asyncio.timeout(90):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def end(self, *, kill: bool = False) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            (self.process.kill if kill else self.process.terminate)()
        async with asyncio.timeout(20):
            return await self.process.wait()


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
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{services['ingest'].url}/v1/batch", json={"batch": events}, auth=(WRITE_KEY, "")
        )
    assert answer.status_code == 200, answer.text


async def sent(services: dict[str, Service], count: int, within: float) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(within):
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
@pytest.mark.timeout(240)
async def test_a_killed_engine_s_partitions_move_to_the_other(
    services: dict[str, Service], pool: Pool, tmp_path: Path
) -> None:
    await apply(pool, read_folder(write_workspace(tmp_path / "workspace")), "test", REAL)
    for number in range(20):
        await post(services, f"a{number}")
    await sent(services, 20, within=20)
    async with asyncio.timeout(20):
        while await pool.fetchval("SELECT count(DISTINCT owner) FROM partitions") < 2:
            await asyncio.sleep(0.05)  # both engines work
    owners = set(await owned(pool))
    await services["journey"].end(kill=True)
    async with asyncio.timeout(10):
        for number in range(20):
            await post(services, f"b{number}")
        while len(set(await owned(pool)) & owners) > 1 or None in await owned(pool):
            await asyncio.sleep(0.05)
        await sent(services, 40, within=10)
    assert await services["journey-2"].end() == 0
    assert await pool.fetchval("SELECT count(*) FROM history") == 80
    assert await pool.fetchval("SELECT count(DISTINCT customer) FROM messages") == 40


async def owned(pool: Pool) -> list[str | None]:
    return [row["owner"] for row in await pool.fetch("SELECT owner FROM partitions")]
