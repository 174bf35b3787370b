"""Work on the database of DANGOL_DATABASE_URL or of the data folder, as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from services.cli.terminal import working

if TYPE_CHECKING:
    from shared.db.connect import Pool

T = TypeVar("T")


def on_database(data: Path, work: "Callable[[Pool], Awaitable[T]]") -> T:
    """Raises DangolError."""
    from services.cli.database import database, prepare
    from shared.db.connect import open_pool

    with working("working on the database"), database(data) as found:

        async def whole() -> T:
            await prepare(found)
            pool = await open_pool(found.dsn, size=1, name="command")
            try:
                return await work(pool)
            finally:
                await pool.close()

        return asyncio.run(whole())
