"""Fixtures of all tiers: a real PostgreSQL for the session, a fresh migrated database per test."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from tests.databases import lay_out, start_hasty
from tests.kafka.broker import Broker, kafka_jars

PARTITIONS = 4
settings.load_profile("ci")  # the same examples everywhere, and no deadline for any of them
_TEMPLATE = "dangol_template"
_numbers = itertools.count(1)
_LONG = ("chaos", "acceptance")
"""The folders whose tests take longest, the longest first."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the long tests out evenly and let them begin, so that no worker ends with one.

    xdist gives each worker a stretch of this order; short ones at its end level the workers out.
    """
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    here = Path(__file__).parent
    of = {folder: [i for i in items if i.path.is_relative_to(here / folder)] for folder in _LONG}
    long = [item for folder in _LONG for item in of[folder]]
    others = iter([item for item in items if item not in set(long)])
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        stretch = (len(items) - len(dealt)) // (workers - worker)
        hand = long[worker::workers]
        dealt += [*hand, *itertools.islice(others, max(0, stretch - len(hand)))]
    items[:] = [*dealt, *others]


def database_url(server: str, name: str) -> str:
    """The server's URL with another database."""
    head, _, query = server.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{query}"


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background deaf to SIGINT, and children inherit that: then
    # no test of Ctrl-C could pass.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """No DANGOL_… of the developer's shell leaks into a test."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("DANGOL_")}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that lives as long as the test session."""
    folder = Path(tmp_path_factory.mktemp("postgres"))
    lay_out(folder)
    server = start_hasty(folder)
    try:
        asyncio.run(_make_template(server.dsn))
        yield server.dsn
    finally:
        embedded.stop(server)


async def _make_template(server: str) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    await connection.close()
    await migrate(database_url(server, _TEMPLATE), PARTITIONS)


@pytest.fixture
async def dsn(postgres: str) -> AsyncIterator[str]:
    async with fresh_database(postgres) as dsn:
        yield dsn


@asynccontextmanager
async def fresh_database(postgres: str) -> AsyncIterator[str]:
    """A freshly migrated database with `PARTITIONS` partitions, dropped afterwards."""
    async with _database(postgres, f"TEMPLATE {_TEMPLATE}") as dsn:
        yield dsn


@asynccontextmanager
async def empty_database(postgres: str) -> AsyncIterator[str]:
    """A database in which nothing stands, dropped afterwards."""
    async with _database(postgres, "") as dsn:
        yield dsn


@asynccontextmanager
async def _database(postgres: str, options: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"CREATE DATABASE {name} {options}")
        yield database_url(postgres, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await open_pool(dsn, size=10, name="test")
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Apache Kafka that lives as long as the test session; skips loudly without Java."""
    broker = Broker(kafka_jars(), tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def kafka_url(broker: Broker) -> str:
    """The URL of a topic of the test's own, which does not exist yet."""
    return f"kafka://{broker.address}?topic=dangol.events-{next(_numbers)}"
