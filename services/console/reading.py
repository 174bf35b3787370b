"""Read connections for what people look at, and where in a list they have got to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.connect import LOST
from shared.errors import BadInput, Unavailable

_LONGEST = 15.0
"""Real seconds that one request's queries may take together."""


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One snapshot, read only. Raises Unavailable, DatabaseUnreachable."""
    try:
        async with asyncio.timeout(_LONGEST), engine.connect() as connection:
            await connection.execute(
                text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            )
            yield connection
    except DBAPIError as error:
        cause = getattr(error.orig, "__cause__", None)
        if error.connection_invalidated or isinstance(cause, LOST):
            raise Unavailable(f"the database is away: {type(cause).__name__}") from error
        raise
    except (*LOST, PoolExhausted) as error:
        raise Unavailable(f"the database is away: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Before:
    """The place of a row in a list that is ordered by time, newest first."""

    at: datetime
    id: str = ""

    def __str__(self) -> str:
        return f"{self.at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}~{self.id}"

    @classmethod
    def of(cls, cursor: str) -> "Before":
        """Raises BadInput. An instant alone is a place too: everything before it."""
        at, _, row = cursor.partition("~")
        try:
            moment = datetime.fromisoformat(at.replace(" ", "+"))  # an unescaped `+` in a query
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return cls(moment.astimezone(UTC), row)
        except (ValueError, OverflowError) as error:
            raise BadInput(
                f"`before` is no place in the list: {cursor[:80]!r}",
                hint="use the one of the `Link` header, or an instant such as 2026-03-09T00:00:00Z",
            ) from error
