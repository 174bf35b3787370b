"""Bring a database's schema forward, if it is not there already.

A start on a database of this release, which is nearly every start, asks one question and loads
nothing of Alembic.
"""

import asyncpg

from shared.db.connect import Connection, unreachable

HEAD = "0015"
"""The newest revision in migrations/versions; a test holds the two to each other."""


async def revision(dsn: str) -> str | None:
    """The schema's revision; None for a database without one. Raises DatabaseUnreachable."""
    with unreachable(dsn):
        connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await revision_on(connection)
    finally:
        await connection.close()


async def revision_on(connection: Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return found


async def migrate(dsn: str, partitions: int) -> tuple[str | None, str]:
    """Returns the revision before and after. Raises DatabaseUnreachable, ConfigurationError."""
    if await revision(dsn) == HEAD:
        return HEAD, HEAD
    from shared.db.upgrade import upgrade  # Alembic is heavy

    return await upgrade(dsn, partitions)
