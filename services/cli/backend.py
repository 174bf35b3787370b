"""Where plan, apply, pause and the like are carried out: a running Dangol, else its database.

A server that was named is the only place. Otherwise the usual address is tried, and if nobody
answers there, the database of DANGOL_DATABASE_URL or of the data folder is worked on directly.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from services.cli.database import Database, database, has_data, prepare
from services.cli.environment import read_settings
from services.cli.local import DEFAULT_SERVER, local_token
from services.cli.remote import NoAnswer, Remote
from services.console import publish
from services.console.models import AppliedAnswer, PlanAnswer, StatusAnswer
from shared.clock import REAL, Clock, wall_clock
from shared.db.connect import Pool, open_pool
from shared.errors import ConfigurationError

T = TypeVar("T")

VERBS: Mapping[str, publish.Status] = {
    "pause": "paused",
    "resume": "active",
    "archive": "archived",
}


class Backend(Protocol):
    """Raises DangolError: what the server or the database says, or that nobody answers."""

    def plan(self, files: Mapping[str, bytes]) -> PlanAnswer: ...

    def apply(
        self, files: Mapping[str, bytes], base_revision: int | None, in_flight: str
    ) -> AppliedAnswer: ...

    def set_status(self, journey: str, verb: str) -> StatusAnswer: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What the options say."""

    server: str | None
    token: str | None
    data: Path


@contextmanager
def backend(target: Target) -> Iterator[Backend]:
    """Raises ConfigurationError if there is neither a server nor a database."""
    remote = Remote(target.server or DEFAULT_SERVER, target.token or local_token(target.data))
    try:
        remote.find()
    except NoAnswer as error:
        if target.server is not None:
            raise
        if read_settings().database_url is None and not has_data(target.data):
            raise ConfigurationError(
                f"{error}, and there is no database in {target.data}",
                hint="start `dangol up`, name a running one with --server, or set"
                " DANGOL_DATABASE_URL",
            ) from error
    else:
        yield remote
        return
    with database(target.data) as found:
        yield Direct(found)


@dataclass(frozen=True, slots=True)
class Direct:
    """Implements `Backend` on the database."""

    database: Database

    def plan(self, files: Mapping[str, bytes]) -> PlanAnswer:
        async def work(pool: Pool) -> publish.Plan:
            async with pool.acquire() as connection:
                return await publish.plan(connection, files)

        return PlanAnswer.model_validate(self._run(work))

    def apply(
        self, files: Mapping[str, bytes], base_revision: int | None, in_flight: str
    ) -> AppliedAnswer:
        async def work(pool: Pool) -> publish.Applied:
            clock = await self._clock(pool)
            return await publish.apply(pool, files, "command", clock, base_revision, in_flight)

        return AppliedAnswer.model_validate(self._run(work))

    def set_status(self, journey: str, verb: str) -> StatusAnswer:
        async def work(pool: Pool) -> publish.Status:
            return await publish.set_status(pool, journey, VERBS[verb])

        return StatusAnswer(id=journey, status=VERBS[verb], was=self._run(work))

    def _run(self, work: Callable[[Pool], Awaitable[T]]) -> T:
        async def whole() -> T:
            await prepare(self.database)
            pool = await open_pool(self.database.dsn, size=2, name="command")
            try:
                return await work(pool)
            finally:
                await pool.close()

        return asyncio.run(whole())

    async def _clock(self, pool: Pool) -> Clock:
        """The wall clock, unless a sped-up run has left this database's log ahead of it."""
        real, last = wall_clock(), await pool.fetchval("SELECT max(last_at) FROM log_heads")
        if last <= real:
            return REAL
        if self.database.in_use:
            raise ConfigurationError(
                "the `dangol up` on this data folder runs on a clock of its own",
                hint="name its address with --server",
            )
        return Clock(real_start=real, virtual_start=last)
