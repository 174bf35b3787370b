"""Alembic's part: bring a schema forward, and say clearly when it is newer than this release."""

import json
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from shared.db.connect import engine_for
from shared.errors import ConfigurationError

# Two processes that migrate at once take turns on this advisory lock.
_LOCK = 0x44414E47


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _upgrade(connection: Connection, partitions: int) -> tuple[str | None, str]:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = MigrationContext.configure(connection).get_current_revision()
    known = {r.revision for r in ScriptDirectory.from_config(_config()).walk_revisions()}
    if before is not None and before not in known:
        raise ConfigurationError(
            f"the database's schema ({before}) is newer than this release ({head()})",
            hint="run the release that wrote it, or a newer one",
        )
    if before != head():
        command.upgrade(_config(connection), "head")
    _seed(connection, partitions)
    return before, head()


def _seed(connection: Connection, partitions: int) -> None:
    """The number of partitions is fixed once: customers live by it."""
    connection.execute(
        text("INSERT INTO meta VALUES ('partitions', cast(:n AS jsonb)) ON CONFLICT DO NOTHING"),
        {"n": json.dumps(partitions)},
    )
    for table, key in (("partitions", "id"), ("log_heads", "partition")):
        connection.execute(
            text(
                f"INSERT INTO {table} ({key}) SELECT generate_series(0,"  # noqa: S608 - our names
                " (SELECT value::int - 1 FROM meta WHERE key = 'partitions'))"
                " ON CONFLICT DO NOTHING"
            )
        )


async def upgrade(dsn: str, partitions: int) -> tuple[str | None, str]:
    """Returns the revision before and after. Raises DatabaseUnreachable, ConfigurationError."""
    engine = engine_for(dsn)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, partitions)
    finally:
        await engine.dispose()
