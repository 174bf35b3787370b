"""The schema: tables.py says what the migrations make; newer databases are refused, not touched."""

import asyncio

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from shared.db import upgrade
from shared.db.connect import Pool, engine_for, unavailable_when_lost
from shared.db.migrate import HEAD, SERVES, migrate, schema
from shared.db.tables import metadata
from shared.errors import ConfigurationError, DatabaseUnreachable, Unavailable
from tests.conftest import PARTITIONS, database_url, empty_database
from tests.patience import SOON


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
    await pool.execute("DELETE FROM meta WHERE key = 'schema_serves'")
    with pytest.raises(ConfigurationError, match="newer than this release") as caught:
        await migrate(dsn, PARTITIONS)
    assert caught.value.hint


async def test_a_newer_schema_that_serves_this_release_is_left_as_it_is(
    dsn: str, pool: Pool
) -> None:
    await pool.execute("UPDATE alembic_version SET version_num = '9999'")
    await pool.execute(
        "UPDATE meta SET value = to_jsonb($1::text) WHERE key = 'schema_serves'", HEAD
    )
    assert await migrate(dsn, PARTITIONS) == ("9999", "9999")
    await pool.execute("UPDATE meta SET value = '\"9998\"' WHERE key = 'schema_serves'")
    with pytest.raises(ConfigurationError, match="serves releases from 9998 on"):
        await migrate(dsn, PARTITIONS)


async def test_a_schema_says_which_release_it_still_serves(pool: Pool) -> None:
    said = await pool.fetchval("SELECT value #>> '{}' FROM meta WHERE key = 'schema_serves'")
    assert said == SERVES


async def older(dsn: str, revision: str) -> None:
    """Bring an empty database to an older revision."""

    def bring(connection: Connection) -> None:
        command.upgrade(upgrade._config(connection), revision)
        upgrade._seed(connection, PARTITIONS)

    engine = engine_for(dsn)
    async with engine.begin() as connection:
        await connection.run_sync(bring)
    await engine.dispose()


async def test_a_migration_lets_others_pass_while_it_waits_for_a_table(postgres: str) -> None:
    async with empty_database(postgres) as dsn:
        await older(dsn, "0013")  # 0014 adds a column to messages
        busy, other = [await asyncpg.connect(dsn) for _ in range(2)]
        transaction = busy.transaction()
        await transaction.start()
        await busy.execute("SELECT count(*) FROM messages")
        migrating = asyncio.create_task(migrate(dsn, PARTITIONS))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        async with asyncio.timeout(SOON):
            while not await other.fetchval(waiting):
                await asyncio.sleep(0.01)
        # Behind the migration, but not for longer than it waits.
        await asyncio.wait_for(other.execute("DELETE FROM messages WHERE attempts < 0"), SOON)
        assert not migrating.done()
        assert (await schema(dsn)).revision == "0013"
        await transaction.commit()
        assert await asyncio.wait_for(migrating, SOON) == ("0013", HEAD)
        await asyncio.gather(busy.close(), other.close())


async def test_who_keeps_a_table_for_too_long_is_told_of(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_PATIENCE", 0.0)
    monkeypatch.setattr(upgrade, "_A_MOMENT", "50ms")
    async with empty_database(postgres) as dsn:
        await older(dsn, "0013")
        busy = await asyncpg.connect(dsn)
        async with busy.transaction():
            await busy.execute("SELECT count(*) FROM messages")
            with pytest.raises(ConfigurationError, match="somebody keeps a table") as caught:
                await migrate(dsn, PARTITIONS)
        assert "pg_stat_activity" in caught.value.hint
        assert (await schema(dsn)).revision == "0013"
        await busy.close()


async def test_a_statement_under_which_the_table_grows_is_only_to_be_repeated(pool: Pool) -> None:
    async def read() -> list[asyncpg.Record]:
        async with unavailable_when_lost(), pool.acquire() as one, one.transaction():
            return await one.fetch("SELECT * FROM journeys")

    async with pool.acquire() as migrating:  # so that the other connection is always the same
        assert await read() == []
        await migrating.execute("ALTER TABLE journeys ADD COLUMN tone text")
        with pytest.raises(Unavailable):
            await read()
        assert await read() == []


async def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        await migrate("postgresql://someone:secret-word@127.0.0.1:1/none", PARTITIONS)
    assert "127.0.0.1" in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_the_head_is_the_newest_migration() -> None:
    assert upgrade.head() == HEAD
