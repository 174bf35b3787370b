"""Work that one process does for all: schedules, sweeps, nightly jobs.

Any number of processes of a service stand for it. The one that holds the advisory lock, on a
connection of its own, leads; when it dies the database gives the lock back and another takes over
within `_LOOK`; from one that hangs the others take it (shared/db/hung.py). In the moment between
losing a connection and noticing it two may lead: every job is therefore written so that doing it
twice is harmless (deterministic ids, conditional updates).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import structlog
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from shared.db import hung
from shared.db.connect import LOST
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

JOURNEY, DISPATCH = 0x44414E4C, 0x44414E52
"""The advisory lock of each service that has a leader."""
_LOOK = 1.0
"""Real seconds between two looks at the lock or the connection that holds it."""

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    every: float
    """Real seconds between the starts of two turns; a turn that takes longer delays the next."""
    work: Work


class Leader:
    """Runs its jobs while this process leads. Register jobs before `run`."""

    def __init__(self, dsn: str, lock: int, on_change: Callable[[bool], None]) -> None:
        """`on_change` hears whether this process leads from now on."""
        self._dsn = dsn
        self._lock = lock
        self._on_change = on_change
        self._jobs: list[Job] = []
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self.leading = False

    def every(self, seconds: float, name: str, work: Work) -> None:
        """The job's first turn comes as soon as this process leads. `Unavailable` is logged and the
        next turn tries again; anything else that a turn raises is a defect and stops the process.
        """
        self._jobs.append(Job(name, seconds, work))

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self._stand(stopping)
            except LOST as error:
                logger.warning(
                    "lost the leader's connection; standing again",
                    action="leader_lost",
                    error=type(error).__name__,
                )
                await pause(stopping, _LOOK)

    async def _stand(self, stopping: asyncio.Event) -> None:
        """Wait for the lock on one connection, and lead while that lives."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=10,
            command_timeout=10,
            server_settings={"application_name": hung.LOOKING},
        )
        try:
            while not stopping.is_set():
                await hung.free(connection)
                if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock):
                    await self._lead(connection, stopping)
                    return
                await pause(stopping, _LOOK)
        finally:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=5)

    async def _lead(
        self, connection: "asyncpg.Connection[asyncpg.Record]", stopping: asyncio.Event
    ) -> None:
        jobs = [job.name for job in self._jobs]
        logger.info("this process leads now", action="leader_elected", jobs=jobs)
        self._failed = asyncio.get_running_loop().create_future()
        scheduler = self._scheduler()
        scheduler.start()
        self.leading = True
        self._on_change(True)
        try:
            while not stopping.is_set():
                await hung.free(connection)
                await pause(stopping, _LOOK)
                if self._failed.done():
                    self._failed.result()
        finally:
            self.leading = False
            scheduler.shutdown(wait=False)
            await self._cancel_turns()
            self._on_change(False)

    def _scheduler(self) -> AsyncIOScheduler:
        # In UTC: asking for this machine's zone fails where none is set up.
        scheduler = AsyncIOScheduler(executors={"default": AsyncIOExecutor()}, timezone="UTC")
        for job in self._jobs:
            scheduler.add_job(
                self._start,
                IntervalTrigger(seconds=job.every, timezone="UTC"),
                args=(job,),
                id=job.name,
                coalesce=True,
                misfire_grace_time=None,
            )
            self._begin(job)
        return scheduler

    async def _start(self, job: Job) -> None:
        """A coroutine, since APScheduler runs plain functions in threads."""
        self._begin(job)

    def _begin(self, job: Job) -> None:
        """A turn is a task of our own, so that we can end it when we no longer lead."""
        if any(task.get_name() == job.name for task in self._running):
            return
        task = asyncio.create_task(self._turn(job), name=job.name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _turn(self, job: Job) -> None:
        try:
            await job.work()
        except Unavailable as error:
            logger.warning(
                "a job has to wait", action="job_unavailable", job=job.name, error=str(error)
            )
        except Exception as error:
            logger.exception("a job failed", action="job_failed", job=job.name)
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    async def _cancel_turns(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
