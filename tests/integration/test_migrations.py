"""The schema: tables.py says what the migrations make; newer databases are refused, not touched."""

import asyncio

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from shared.db import upgrade
from shared.db.connect import Pool, engine_for
from shared.db.migrate import HEAD, migrate
from shared.db.tables import metadata
from shared.errors import ConfigurationError, DatabaseUnreachable
from tests.conftest import PARTITIONS, database_url


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={
            # Partitions of history are made at run time; indexes and defaults stand in the SQL.
            "include_name": lambda name, kind, _parents: (
                kind != "table" or not str(name).startswith(("history_", "alembic_"))
            ),
            "compare_server_default": False,
        },
    )
    found = compare_metadata(context, metadata)
    return [d for d in found if d[0] not in ("remove_index", "remove_constraint")]


async def test_tables_and_migrations_say_the_same(dsn: str) -> None:
    engine = engine_for(dsn)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await engine.dispose()


async def test_migrating_again_changes_nothing_and_keeps_the_number_of_partitions(
    dsn: str, pool: Pool
) -> None:
    assert await migrate(dsn, PARTITIONS + 3) == (HEAD, HEAD)
    assert await pool.fetchval("SELECT count(*) FROM partitions") == PARTITIONS
    assert await pool.fetchval("SELECT count(*) FROM log_heads") == PARTITIONS


async def test_two_processes_may_migrate_an_empty_database_at_once(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE DATABASE empty_one")
    url = database_url(postgres, "empty_one")
    results = await asyncio.gather(*(migrate(url, 2) for _ in range(4)))
    assert sorted(results, key=str) == sorted([(None, HEAD), *[(HEAD, HEAD)] * 3], key=str)
    await connection.execute("DROP DATABASE empty_one WITH (FORCE)")
    await connection.close()


async def test_a_schema_from_a_newer_release_is_refused(dsn: str, pool: Pool) -> None:
    await pool.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer than this release") as caught:
        await migrate(dsn, PARTITIONS)
    assert caught.value.hint


async def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        await migrate("postgresql://someone:secret-word@127.0.0.1:1/none", PARTITIONS)
    assert "127.0.0.1" in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_the_head_is_the_newest_migration() -> None:
    assert upgrade.head() == HEAD
