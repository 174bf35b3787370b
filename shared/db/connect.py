"""Connections: asyncpg pools for the hot paths, SQLAlchemy engines for what people read.

Both map a database that cannot be reached to `DatabaseUnreachable`, with the host but never the
password in the message.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import msgspec

from shared.errors import DatabaseUnreachable, Unavailable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

# The stubs know these classes as generic, the library does not.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

UNLESS_HUNG = "set_config('idle_in_transaction_session_timeout', '5s', true)"
"""Part of a transaction that holds what others wait for: of a client that hangs in the middle of it
(a stopped process, a cut network) the server takes the locks back, long before TCP misses it."""

LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server said goodbye, and has not hung up yet
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.SerializationError,
    asyncpg.exceptions.DeadlockDetectedError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,  # we hung, and held up others
    asyncpg.exceptions.InvalidCachedStatementError,  # a newer release has added a column meanwhile
    asyncpg.exceptions.OutdatedSchemaCacheError,
)
"""What a database does when it is away, restarting, full, busy or migrated: try again later,
nothing is wrong with what was asked."""


def _where(dsn: str) -> str:
    parts = urlsplit(dsn)
    return parts.hostname or "its socket"


@contextmanager
def unreachable(dsn: str) -> Iterator[None]:
    """Maps what a first connection meets to `DatabaseUnreachable`, with what to check."""
    try:
        yield
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        ValueError,
    ) as error:
        raise DatabaseUnreachable(
            f"cannot connect to the database at {_where(dsn)}: {error or type(error).__name__}",
            hint="check DANGOL_DATABASE_URL, that the server runs and lets this machine in",
        ) from error


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        # The wire form is a version byte and the text; bytes are taken as JSON already encoded.
        encoder=lambda value: (
            b"\x01" + (value if isinstance(value, bytes) else msgspec.json.encode(value))
        ),
        decoder=lambda raw: msgspec.json.decode(raw[1:]),
    )


async def _nothing_to_reset(_connection: Connection) -> None:
    """asyncpg would send a reset with each release, a round trip a transaction. Nothing of ours
    outlives one: settings are SET LOCAL, session locks are given back where they are taken."""


async def open_pool(
    dsn: str, *, size: int, name: str, settings: Mapping[str, str] | None = None
) -> Pool:
    """`settings` hold for every session of the pool, such as how its statements are planned.

    Raises DatabaseUnreachable with what to check.
    """
    with unreachable(dsn):
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            command_timeout=60,
            timeout=10,
            init=_prepare,
            reset=_nothing_to_reset,
            server_settings={"application_name": f"dangol-{name}", **(settings or {})},
        )


def engine_for(dsn: str) -> "AsyncEngine":
    from sqlalchemy.ext.asyncio import create_async_engine  # heavy; commands do without

    async def connect() -> Any:
        with unreachable(dsn):
            return await asyncpg.connect(dsn, timeout=10)

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_size=4)


@asynccontextmanager
async def unavailable_when_lost() -> AsyncIterator[None]:
    """Maps a lost database to `Unavailable`; everything else is a defect and passes."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except LOST as error:
        raise Unavailable(f"the database is away: {type(error).__name__}") from error
