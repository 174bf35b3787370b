"""The journey service: own what the log assigns, one `PartitionOwner` each.

The log only proposes; the epoch in `partitions` decides. A partition that leaves the assignment is
finished and let go; one that was lost is taken again only when it is assigned again.
"""

import asyncio
import contextlib

import structlog

from services.journey import metrics
from services.journey.partition import Engine, PartitionOwner
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

_HEARTBEAT = 1.0
_LOOK = 5.0
"""Seconds after which a journey that cannot be read is tried again."""
_STOP_LIMIT = 8.0


class Worker:
    def __init__(self, engine: Engine, workspace_news: asyncio.Event) -> None:
        self._engine = engine
        self._news = workspace_news
        self._owners: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._taken: dict[int, PartitionOwner] = {}
        self._assigned = False
        metrics.PARTITIONS.set(engine.partitions)

    @property
    def ready(self) -> bool:
        """Whether every partition that the log has assigned is in this worker's hands."""
        return self._assigned and all(owner.taken for owner in self._taken.values())

    @property
    def impaired(self) -> str | None:
        """What does not work though everything else does, and whom to ask."""
        broken = sorted(self._engine.library.current.unreadable)
        if not broken:
            return None
        names = ", ".join(f"version {version} of {journey}" for journey, version in broken[:5])
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        return f"{names}{more} cannot be read: they rest; `dangol doctor` says why"

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; raises what an owner raised that it could not deal with."""
        watch = asyncio.create_task(self._watch_workspace(stopping), name="workspace-watch")
        try:
            while not stopping.is_set():
                try:
                    self._follow(await self._engine.reader.assignment())
                except Unavailable as error:
                    logger.warning(
                        "cannot read the assignment; keeping the partitions",
                        action="assignment_unavailable",
                        error=str(error),
                    )
                await self._reap()
                await pause(stopping, _HEARTBEAT)
        finally:
            watch.cancel()
            await self._stop_all()

    def _follow(self, assigned: frozenset[int]) -> None:
        for number in assigned - self._owners.keys():
            stop = asyncio.Event()
            owner = PartitionOwner(number, self._engine)
            task = asyncio.create_task(owner.run(stop), name=f"partition-{number}")
            self._owners[number] = (task, stop)
            self._taken[number] = owner
        for number in self._owners.keys() - assigned:
            self._owners[number][1].set()
        self._assigned = True
        metrics.OWNED.set(len(self._owners))

    async def _reap(self) -> None:
        for number, (task, _stop) in list(self._owners.items()):
            if task.done():
                del self._owners[number], self._taken[number]
                await task

    async def _stop_all(self) -> None:
        for _task, stop in self._owners.values():
            stop.set()
        tasks = [task for task, _stop in self._owners.values()]
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=_STOP_LIMIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._owners.clear()
        self._taken.clear()

    async def _watch_workspace(self, stopping: asyncio.Event) -> None:
        """A new revision is met by the fence in any case; this only meets it earlier.

        A row that is mended in place makes no news: while one cannot be read, it is looked at.
        """
        while not stopping.is_set():
            wait = _LOOK if self._engine.library.current.unreadable else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
            self._news.clear()
            try:
                await self._engine.library.refresh()
            except Unavailable:
                await pause(stopping, 1.0)
                self._news.set()
