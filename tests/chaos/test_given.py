"""A run on servers that somebody gives: it says no to one in use, and stops none of them."""

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from shared.db.connect import Pool
from shared.errors import ConfigurationError
from tests.chaos.checking import check_folder
from tests.chaos.faults import plan
from tests.chaos.given import Given, given_log
from tests.chaos.house import Shape
from tests.chaos.running import Options, run
from tests.chaos.test_chaos import told
from tests.conftest import PARTITIONS


async def use(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO customers (partition, id, traits, state) VALUES (0, 'u1', '{}', '\\x80')"
    )


async def test_a_database_in_use_is_refused_and_left_as_it_is(dsn: str, pool: Pool) -> None:
    await use(pool)
    with pytest.raises(ConfigurationError, match="the database holds customers"):
        await Given(dsn).prepare(8, discard=False)
    assert await pool.fetchval("SELECT count(*) FROM customers") == 1


async def test_who_says_so_has_it_emptied_of_dangol_alone(dsn: str, pool: Pool) -> None:
    await use(pool)
    await pool.execute("CREATE TABLE theirs (n int); INSERT INTO theirs VALUES (7)")
    assert await Given(dsn).prepare(8, discard=True) == 8
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM customers") == 0
        assert await connection.fetchval("SELECT n FROM theirs") == 7
    finally:
        await connection.close()


async def test_the_command_says_what_to_do(dsn: str, pool: Pool) -> None:
    await use(pool)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos", "--database-url", dsn,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"holds customers" in said
    assert b"--discard-customers" in said


@pytest.mark.parametrize(
    ("url", "address", "services"),
    [
        (
            "postgresql://me:s%40crt@db.staging:6432/shop?sslmode=require",
            ("db.staging", 6432),
            "postgresql://me:s%40crt@127.0.0.1:{port}/shop?sslmode=require",
        ),
        (
            "postgresql://postgres@/test_1?host=%2Ftmp%2Fpg&port=5433",
            Path("/tmp/pg/.s.PGSQL.5433"),
            "postgresql://postgres@127.0.0.1:{port}/test_1?sslmode=disable",
        ),
    ],
)
def test_services_come_through_links(url: str, address: object, services: str) -> None:
    given = Given(url)
    assert given.address == address
    assert given.through_link == services


@pytest.mark.parametrize(
    "url", ["mysql://db/shop", "postgresql:///shop", "postgresql://db/shop?sslmode=verify-full"]
)
def test_what_no_link_can_lead_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--database-url"):
        Given(url)


async def test_a_kafka_that_does_not_answer_is_told() -> None:
    with pytest.raises(ConfigurationError, match="cannot connect to Kafka"):
        await given_log("kafka://127.0.0.1:1")


def test_a_server_that_is_given_is_neither_killed_nor_restarted() -> None:
    faults = {fault.what for fault in plan(1, 3000, kafka=False, pace=4, given=True)}
    assert {"cut-postgres", "freeze-postgres", "kill", "cut-smtp"} <= faults
    assert not {"kill-postgres", "restart-postgres"} & faults


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_run_on_a_database_that_is_given(dsn: str, tmp_path: Path) -> None:
    options = Options(
        tmp_path, seed=42, events=1200, seconds=10, pace=1.5, given=Given(dsn),
        shape=Shape(ingest=1, journey=2, dispatch=1, console=1),
    )  # fmt: skip
    outcome = await run(options, print)
    assert outcome.verdict.is_good, told(options, outcome.verdict)
    assert outcome.told["given"] == ["database"]
    assert outcome.told["partitions"] == PARTITIONS
    assert {"cut-postgres"} <= outcome.told["faults"].keys(), outcome.told["faults"]
    with pytest.raises(ConfigurationError, match="database that was given"):
        await check_folder(tmp_path, None)
    assert (await check_folder(tmp_path, None, dsn)).is_good
    with pytest.raises(ConfigurationError, match="the database holds workspaces"):
        await Given(dsn).prepare(8, discard=False)
