"""Alembic's part: bring a schema forward, and say clearly when it is newer than this release.

Others may be at work on the tables meanwhile. A statement that waits for a table's lock makes all
who come after it wait as well, behind whoever has the table now; so it waits for a moment only,
lets everything go, and the whole is tried again.
"""

import asyncio
import json
import time
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from shared.db.connect import engine_for
from shared.db.migrate import SERVES, SERVES_KEY, Schema
from shared.errors import ConfigurationError

logger = structlog.get_logger()

# Two processes that migrate at once take turns on this advisory lock.
_LOCK = 0x44414E47
_A_MOMENT = "2s"
"""That a statement may wait for a lock; as long as others may be held up."""
_PATIENCE = 120.0
"""Real seconds for which the whole is tried again."""
_HELD = ("55P03", "40P01")
"""The server's codes for a lock that was not to be had in time, and for a deadlock."""

_KEY = {"k": SERVES_KEY}
_SAY_SERVES = text(
    "INSERT INTO meta VALUES (:k, cast(:serves AS jsonb))"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


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
        serves = connection.scalar(text("SELECT value #>> '{}' FROM meta WHERE key = :k"), _KEY)
        if Schema(before, serves).is_ready:
            return before, before
        raise ConfigurationError(
            f"the database's schema ({before}) is newer than this release ({head()})"
            + (f", and serves releases from {serves} on" if serves else ""),
            hint="run the release that wrote it, or a newer one",
        )
    if before != head():
        connection.execute(text("SELECT set_config('lock_timeout', :t, true)"), {"t": _A_MOMENT})
        command.upgrade(_config(connection), "head")
        connection.execute(_SAY_SERVES, _KEY | {"serves": json.dumps(SERVES)})
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
    until = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                async with engine.begin() as connection:
                    return await connection.run_sync(_upgrade, partitions)
            except DBAPIError as error:
                await _again(error, until)
    finally:
        await engine.dispose()


async def _again(error: DBAPIError, until: float) -> None:
    """Waits, if it may go better then. Raises what it is given, or ConfigurationError."""
    if getattr(error.orig, "sqlstate", None) not in _HELD:
        raise error
    if time.monotonic() > until:
        raise ConfigurationError(
            "the schema cannot be brought forward: somebody keeps a table that it changes",
            hint="look for long transactions in pg_stat_activity; nothing was changed",
        ) from error
    logger.info("others hold a table that the migration changes; again", action="migrate_waits")
    await asyncio.sleep(0.5)
