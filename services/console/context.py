"""What the console is handed by the composition root, and how a request reaches it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from services.console.auth import Ring
from services.console.erasure_ledger import Ledger
from shared.clock import Clock
from shared.db.connect import Pool


@dataclass(frozen=True, slots=True)
class Console:
    pool: Pool
    """Writes: publishing, statuses, keys."""
    engine: AsyncEngine
    """Reads: `shared.db.connect.engine_for`; its maker disposes of it."""
    keys: Ring
    clock: Clock
    ledger: Ledger | None = None
    """Where erasures are kept outside the database."""


def _console(request: Request) -> Console:
    console: Console = request.app.state.console
    return console


Here = Annotated[Console, Depends(_console)]
