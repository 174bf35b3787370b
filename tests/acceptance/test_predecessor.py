"""The code before the newest migration goes on while the schema is brought forward under it.

Its real code, taken from git: it fills a database and is kept busy while this release's processes
start, which migrates; both then work side by side, and the old one is replaced.
"""

import asyncio
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import asyncpg
import httpx
import pytest

from shared.db.migrate import HEAD, SERVES, schema
from tests.acceptance.test_up import write_workspace
from tests.conftest import empty_database
from tests.patience import SOON
from tests.processes import WRITE_KEY, Service

ROOT = Path(__file__).parents[2]
PARTS = ("ingest", "journey", "dispatch")
PUBLISH = """
import asyncio, sys
from pathlib import Path
from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import open_pool

async def publish(dsn, folder):
    pool = await open_pool(dsn, size=2, name="test")
    await apply(pool, read_folder(Path(folder)), "test", REAL)
    await pool.close()

asyncio.run(publish(*sys.argv[1:]))
"""
"""Done by the older code: what this release publishes, that one may not be able to read."""


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode().strip()
        cut = os.environ.get("CI") and (ROOT / ".git").exists()
        assert not cut, f"CI needs the whole history: {said}"
        pytest.skip(f"the release before is NOT tested, as its code cannot be had: {said}")
    return done.stdout


@pytest.fixture
def predecessor(tmp_path: Path) -> Path:
    """The folder of the code whose schema is `SERVES`: the commit before the next migration."""
    after = f"v{int(SERVES) + 1:04}_*.py"
    versions = "shared/db/migrations/versions"
    added = git("log", "--diff-filter=A", "--format=%H", "--", f"{versions}/{after}").split()
    folder = tmp_path / "predecessor"
    if not added:
        git("rev-parse", "--verify", "the commit before the newest migration")  # skips, or fails
    packed = git("archive", f"{added[-1].decode()}^", "services", "shared")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder)
    head = re.search(
        r'^HEAD = "(\d+)"', (folder / "shared/db/migrate.py").read_text(), re.MULTILINE
    )
    assert head is not None
    assert head[1] == SERVES
    return folder


class Poster:
    """Signs customers up at whatever ingest it is pointed to, without a pause."""

    def __init__(self, *urls: str) -> None:
        self.urls = list(urls)
        self.customers: list[str] = []
        self._stopping = asyncio.Event()
        self._running = asyncio.create_task(self.run())

    async def stop(self) -> None:
        self._stopping.set()
        await self._running

    async def run(self) -> None:
        async with httpx.AsyncClient(auth=(WRITE_KEY, ""), timeout=SOON) as client:
            while not self._stopping.is_set():
                number = len(self.customers)
                who = f"c{number}"
                traits = {"email": f"{who}@shop.example"}
                batch = [
                    {"type": "identify", "messageId": f"i-{who}", "userId": who, "traits": traits},
                    {"type": "track", "messageId": f"t-{who}", "userId": who, "event": "Signed Up"},
                ]
                url = self.urls[number % len(self.urls)]
                answer = await client.post(f"{url}/v1/batch", json={"batch": batch})
                assert answer.status_code == 200, answer.text
                self.customers.append(who)

    async def reaches(self, more: int) -> None:
        until = len(self.customers) + more
        async with asyncio.timeout(SOON):
            while len(self.customers) < until:
                if self._running.done():
                    self._running.result()
                await asyncio.sleep(0.02)


async def publish(dsn: str, shop: Path, code: Path) -> None:
    """By that code, from its own folder: Python looks there first."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PUBLISH, dsn, str(shop)],
        cwd=code, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


async def settled(connection: "asyncpg.Connection[asyncpg.Record]", customers: int) -> None:
    """Every customer's message has been decided."""
    async with asyncio.timeout(SOON):
        while (
            await connection.fetchval("SELECT count(*) FROM messages WHERE status = 'decided'")
            < customers
        ):
            await asyncio.sleep(0.05)


def services(environment: dict[str, str], folder: Path, name: str) -> dict[str, Service]:
    return {part: Service(part, environment, folder / f"{name}-{part}.log") for part in PARTS}


async def start(services: dict[str, Service]) -> None:
    await asyncio.gather(*(service.start() for service in services.values()))
    await asyncio.gather(*(service.ready() for service in services.values()))


@pytest.mark.slow
async def test_the_release_before_goes_on_while_the_schema_is_brought_forward(
    postgres: str, predecessor: Path, tmp_path: Path
) -> None:
    async with empty_database(postgres) as dsn:
        shared_by_both = {"DANGOL_DATABASE_URL": dsn, "DANGOL_PARTITIONS": "4"}
        old = services(shared_by_both | {"PYTHONPATH": str(predecessor)}, tmp_path, "old")
        new = services(shared_by_both, tmp_path, "new")
        await start({"journey": old["journey"]})  # one that migrates, so that it is done by the old
        assert (await schema(dsn)).revision == SERVES
        await start({part: old[part] for part in ("ingest", "dispatch")})
        looking = await asyncpg.connect(dsn)
        try:
            shop = write_workspace(tmp_path / "shop")
            await publish(dsn, shop, predecessor)
            poster = Poster(old["ingest"].url)
            await poster.reaches(100)
            await start(new)
            assert (await schema(dsn)).revision == HEAD
            poster.urls = [old["ingest"].url, new["ingest"].url]
            async with asyncio.timeout(SOON):
                owners = "SELECT count(DISTINCT owner) FROM partitions"
                while await looking.fetchval(owners) < 2:
                    await asyncio.sleep(0.05)  # the two releases share the partitions
            await poster.reaches(100)
            poster.urls = [new["ingest"].url]
            await poster.reaches(2)  # the request that was on its way to the old one is answered
            ended = await asyncio.gather(*(service.end() for service in old.values()))
            await poster.reaches(50)
            await poster.stop()
            await settled(looking, len(poster.customers))
            assert ended == [0, 0, 0], old["journey"].log.read_text()
            await check(looking, poster.customers)
        finally:
            await looking.close()
            running = [s for s in (*old.values(), *new.values()) if s.process is not None]
            await asyncio.gather(*(service.end() for service in running))
        for service in (*old.values(), *new.values()):
            said = service.log.read_text()
            assert "Traceback" not in said, said


async def check(connection: "asyncpg.Connection[asyncpg.Record]", customers: list[str]) -> None:
    """Each event once in history, one message a customer, all sent, each tried once."""
    assert await connection.fetchval("SELECT count(*) FROM history") == 2 * len(customers)
    assert await connection.fetchval("SELECT count(DISTINCT id) FROM history") == 2 * len(customers)
    rows = await connection.fetch("SELECT customer, decision, attempts FROM messages")
    assert sorted(row["customer"] for row in rows) == sorted(customers)
    assert {(row["decision"], row["attempts"]) for row in rows} == {("sent", 1)}
    assert await connection.fetchval("SELECT count(*) FROM set_aside") == 0
