"""The database itself, where no server runs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from services.cli.database import Database, prepare
from services.console import publish
from services.console.explaining import replay
from services.console.explaining.answer import ExplainAnswer, answer_of
from services.console.explaining.stored import read
from services.console.models import AppliedAnswer, PlanAnswer, ScoredAnswer, StatusAnswer
from services.console.retention import Period, Question, Retention, retention
from services.console.retention_api import RetentionAnswer
from services.console.words import Language
from shared.clock import REAL, Clock
from shared.db.clock import log_clock, look
from shared.db.connect import Pool, open_pool
from shared.errors import ConfigurationError
from shared.rfm_scoring import Scored, score_now

T = TypeVar("T")

_STATUSES: Mapping[str, publish.Status] = {
    "pause": "paused",
    "resume": "active",
    "archive": "archived",
}


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
            clock = await self._clock(pool)
            return await publish.set_status(pool, journey, _STATUSES[verb], clock)

        return StatusAnswer(id=journey, status=_STATUSES[verb], was=self._run(work))

    def score_rfm(self) -> ScoredAnswer:
        async def work(pool: Pool) -> Scored:
            return await score_now(pool, await self._clock(pool), patience=0.0)

        return ScoredAnswer.model_validate(self._run(work))

    def retention(
        self, event: str | None, start: str | None, period: str, periods: int
    ) -> RetentionAnswer:
        question = Question(event, start, cast(Period, period), periods)

        async def work(pool: Pool) -> Retention:
            return await retention(pool, question, (await self._clock(pool)).now())

        return RetentionAnswer.model_validate(self._run(work))

    def explain(self, customer: str, journey: str, language: Language) -> ExplainAnswer:
        async def work(pool: Pool) -> ExplainAnswer:
            stored = await read(pool, customer, journey)
            now = (await self._clock(pool)).now()
            return answer_of(replay.explain(stored, customer, journey, now), language)

        return self._run(work)

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
        await look(pool)
        clock = await log_clock(pool)
        if clock is not REAL and self.database.in_use:
            raise ConfigurationError(
                "the `dangol up` on this data folder runs on a clock of its own",
                hint="name its address with --server",
            )
        return clock
