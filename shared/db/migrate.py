"""Bring a database's schema forward, if it is not there already.

A start on a database of this release, which is nearly every start, asks one question and loads
nothing of Alembic.

While a release replaces its predecessor, both run on one database, which has the newer schema by
then. So a migration only adds, for as long as the release before it may run (`SERVES`), and a
process that meets a newer schema goes on if that schema says that it still serves this release.
"""

from dataclasses import dataclass

import asyncpg

from shared.db.connect import Connection, unreachable

HEAD = "0020"
"""The newest revision in migrations/versions; a test holds the two to each other."""

SERVES = "0014"
"""The oldest revision whose release may still run on HEAD: that of the release before this one.
Every migration after it is additive, and a test runs that release's code on the new schema."""

SERVES_KEY = "schema_serves"
"""Its key in the table `meta`, where an older release looks for it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of its schema."""

    revision: str | None
    """None: it has none."""
    serves: str | None = None
    """The oldest revision whose release may run on it; None: not said."""

    @property
    def is_ready(self) -> bool:
        """Whether this release can run on it: it is ours, or a newer one that serves us, too."""
        if self.revision == HEAD:
            return True
        newer = self.revision is not None and self.revision > HEAD
        return newer and self.serves is not None and self.serves <= HEAD


async def schema(dsn: str) -> Schema:
    """Raises DatabaseUnreachable."""
    with unreachable(dsn):
        connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await schema_on(connection)
    finally:
        await connection.close()


async def schema_on(connection: Connection) -> Schema:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return Schema(None)
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    if revision in (None, HEAD):
        return Schema(revision)
    serves = await connection.fetchval("SELECT value #>> '{}' FROM meta WHERE key = $1", SERVES_KEY)
    return Schema(revision, serves)


async def migrate(dsn: str, partitions: int) -> tuple[str | None, str]:
    """Returns the revision before and after. Raises DatabaseUnreachable, ConfigurationError.

    A newer schema that serves this release is left as it is.
    """
    found = await schema(dsn)
    if found.revision is not None and found.is_ready:
        return found.revision, found.revision
    from shared.db.upgrade import upgrade  # Alembic is heavy

    return await upgrade(dsn, partitions)
