"""The database for commands that work on it directly."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.environment import read_settings
from shared.errors import ConfigurationError

_HINT = "start `dangol up`, which makes one, or set DANGOL_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Database:
    dsn: str
    partitions: int
    """For a database that is migrated for the first time."""
    data: Path | None
    """The data folder of an embedded server."""
    in_use: bool
    """Whether a running `dangol up` has the embedded server."""


def has_data(data: Path) -> bool:
    from shared.db.pgdata import PGDATA

    return (data / PGDATA).is_dir()


@contextmanager
def database(data: Path, *, create: bool = False) -> Iterator[Database]:
    """DANGOL_DATABASE_URL, else the data folder's server, for as long as this lasts.

    Raises ConfigurationError.
    """
    from shared.logs import configure

    settings = read_settings()
    configure("warning")  # the command itself says what it did
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        yield Database(dsn, settings.partitions, None, False)
        return
    if not create and not has_data(data):
        raise ConfigurationError(f"there is no database in {data} yet", hint=_HINT)
    from shared.db.embedded import connect_or_start

    with connect_or_start(data) as server:
        yield Database(server.dsn, settings.partitions, data, server.process is None)


async def prepare(found: Database) -> None:
    """Bring an embedded database that nobody else uses forward; any other must be up to date.

    Raises ConfigurationError, DatabaseUnreachable.
    """
    from shared.db.migrate import HEAD, migrate, schema

    if found.data is not None and not found.in_use:
        await migrate(found.dsn, found.partitions)
        return
    there = await schema(found.dsn)
    if not there.is_ready:
        raise ConfigurationError(
            f"the database's schema is {there.revision or 'missing'}, this release needs {HEAD}",
            hint="run `dangol migrate` once, or the release that fits the database",
        )
