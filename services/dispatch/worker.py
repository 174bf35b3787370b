"""The dispatcher: claim due messages, decide and record, call the provider, record what became.

One task claims groups, each group is decided in a task of its own, each provider call is a task,
and one task records finished calls, all that have finished meanwhile in one transaction. A place
is taken per claimed message and given back when its outcome is stored, so the attempts without an
outcome are never more than the stated concurrency: that many unknowns a kill may leave, not one
more. Any number of dispatchers run side by side; none waits for another.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import structlog

from services.dispatch import leases, metrics, store
from services.dispatch.channel_lines import ChannelLines
from services.dispatch.channels import registry
from services.dispatch.channels.port import Factory, Outcome, Result
from services.dispatch.group import Groups
from services.dispatch.pending import Attempt, Key
from services.dispatch.slots import Slots
from services.dispatch.workspace import CurrentWorkspace
from shared import message, workspace_store
from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.db.wakeups import Wakeups, ring_or_timeout
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

WAKEUPS = (message.CHANNEL, workspace_store.CHANNEL)
"""The channels that the `Wakeups` handed to a dispatcher must listen to."""

_LONGEST_SLEEP = 5.0
"""Real seconds: a wake-up that was lost costs no more."""
_SHORTEST_SLEEP = 0.02
_AGAIN = 0.1
_STOP_LIMIT = 7.0
_CALL_SHARE = 0.6
"""Of the lease: a call is over well before others may take it for lost."""
_LONGEST_CALL = 20.0


class Dispatcher:
    def __init__(
        self,
        pool: Pool,
        clock: Clock,
        wakeups: Wakeups,
        *,
        partitions: int,
        environment: Mapping[str, str],
        concurrency: int = 32,
        lease: float = 30.0,
        dispatcher_id: str | None = None,
        create: Factory = registry.create,
    ) -> None:
        """`lease` in real seconds; `environment` holds the adapters' secrets (`DANGOL_…`).

        `dispatcher_id` must be new with each start of a process; the default is.
        """
        self.id = dispatcher_id or f"dispatcher-{uuid4().hex[:12]}"
        self._pool = pool
        self._clock = clock
        self._partitions = partitions
        self._lease = timedelta(seconds=lease)
        self._due = wakeups.listen(message.CHANNEL)
        self._lines = ChannelLines(
            clock,
            environment,
            concurrency=concurrency,
            timeout=min(lease * _CALL_SHARE, _LONGEST_CALL),
            create=create,
        )
        self._current = CurrentWorkspace(wakeups.listen(workspace_store.CHANNEL))
        self._groups = Groups(
            pool,
            clock,
            self._lines,
            self._current,
            dispatcher=self.id,
            partitions=partitions,
            lease=self._lease,
            requeued=self._due.set,
        )
        self._slots = Slots(concurrency)
        self._held: set[Key] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._deciding: set[asyncio.Task[None]] = set()
        self._finished: list[tuple[Attempt, Result]] = []
        self._news = asyncio.Event()

    async def settle_all(self) -> None:
        """Settle every lease at once. Only where no other dispatcher can be alive: the embedded
        process calls it at its start, behind the lock on its data folder. Raises Unavailable."""
        await self._follow_workspace()
        await leases.settle(
            self._pool,
            self._clock.now(),
            self._partitions,
            self._lines.retries_unknown,
            everything=True,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; then finish what is under way, within a limit."""
        over = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._claim(tasks), name="dispatch-claim")
                tasks.create_task(self._keep_leases(over), name="dispatch-leases")
                tasks.create_task(self._record(over), name="dispatch-record")
                await stopping.wait()
                self._slots.close()
                self._due.set()
                await self._finish()
                over.set()
                self._news.set()
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await self._lines.close()

    # Claiming and deciding ------------------------------------------------------------------

    async def _claim(self, tasks: asyncio.TaskGroup) -> None:
        most = max(1, self._slots.size // 2)  # two groups overlap: one decides, one is sent
        await self._workspace_is_there()
        while places := await self._slots.take(most):
            try:
                claimed = await store.claim(
                    self._pool, self.id, self._clock.now(), places, self._lease
                )
            except Unavailable as error:
                self._slots.give(places)
                await self._away(error)
                continue
            self._slots.give(places - len(claimed))
            if not claimed:
                await self._sleep()
                continue
            task = tasks.create_task(self._decide(claimed, tasks), name="dispatch-decide")
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)

    async def _workspace_is_there(self) -> None:
        while not self._slots.closed:
            try:
                if await self._follow_workspace():
                    return
            except Unavailable as error:
                await self._away(error)
            await ring_or_timeout(self._due, 1.0)

    async def _sleep(self) -> None:
        """Until something becomes due, or somebody says that it has."""
        try:
            due = await store.next_due(self._pool)
        except Unavailable as error:
            return await self._away(error)
        delay = _LONGEST_SLEEP
        if due is not None:
            left = self._clock.real_delay(due - self._clock.now())
            # What is due and could not be claimed is in somebody's hands: look again soon.
            delay = min(max(left, _SHORTEST_SLEEP) if left > 0 else _AGAIN, _LONGEST_SLEEP)
        await ring_or_timeout(self._due, delay)
        return None

    async def _decide(self, claimed: Sequence[tuple[Key, str]], tasks: asyncio.TaskGroup) -> None:
        keys = [key for key, _ in claimed]
        try:
            attempts = await self._groups.record_attempts(claimed)
        except Unavailable as error:
            await self._give_back(keys, error)
            return
        self._slots.give(len(keys) - len(attempts))
        self._held.update(attempt.pending.key for attempt in attempts)
        for attempt in attempts:
            call = tasks.create_task(self._call(attempt), name="dispatch-call")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        metrics.UNDER_WAY.set(len(self._calls))

    async def _give_back(self, keys: Sequence[Key], error: Unavailable) -> None:
        """The attempts may have been stored, but nobody was called: say so, once we can."""
        await self._away(error)
        for _ in range(int(self._lease.total_seconds())):
            try:
                await store.release(self._pool, self.id, keys)
                break
            except Unavailable as again:
                await self._away(again)
        self._slots.give(len(keys))

    async def _away(self, error: Unavailable) -> None:
        logger.warning(
            "the database is away; messages wait", action="dispatch_unavailable", error=str(error)
        )
        await asyncio.sleep(1.0)

    # Calling and recording ------------------------------------------------------------------

    async def _call(self, attempt: Attempt) -> None:
        try:
            result = await self._lines.send(attempt.outgoing)
        except asyncio.CancelledError:
            self._finished.append((attempt, Result(Outcome.UNKNOWN, detail="stopped meanwhile")))
            raise
        self._finished.append((attempt, result))
        self._news.set()

    async def _record(self, over: asyncio.Event) -> None:
        while not over.is_set() or self._finished:
            await self._news.wait()
            self._news.clear()
            finished, self._finished = self._finished, []
            while finished:
                try:
                    await self._groups.record_outcomes(finished)
                    break
                except Unavailable as error:
                    # It stays true whatever happens meanwhile; if somebody settles the message,
                    # storing it changes nothing.
                    await self._away(error)
                    if over.is_set():
                        return
            self._held.difference_update(attempt.pending.key for attempt, _ in finished)
            self._slots.give(len(finished))
            metrics.UNDER_WAY.set(len(self._calls))

    # Leases and the end ---------------------------------------------------------------------

    async def _keep_leases(self, over: asyncio.Event) -> None:
        seconds = self._lease.total_seconds()
        while not over.is_set():
            try:
                await self._follow_workspace()
                await leases.refresh(self._pool, self.id, self._held, self._lease)
                now = self._clock.now()
                if await leases.settle(
                    self._pool, now, self._partitions, self._lines.retries_unknown
                ):
                    self._due.set()
                await self._measure(now)
            except Unavailable as error:
                logger.warning(
                    "cannot keep the leases", action="leases_unavailable", error=str(error)
                )
            await self._lines.close_retired()
            await pause(over, seconds / 3)

    async def _follow_workspace(self) -> bool:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            workspace = await self._current.get(connection)
        if workspace is not None:
            self._lines.follow(workspace)
        return workspace is not None

    async def _measure(self, now: datetime) -> None:
        count, oldest = await store.depth(self._pool, now)
        metrics.DUE.set(count)
        metrics.DUE_SECONDS.set((now - oldest).total_seconds() if oldest else 0)

    async def _finish(self) -> None:
        """Stop: no new claims; groups that are decided and calls under way may end in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_LIMIT
        while under_way := {*self._deciding, *self._calls}:
            done, _late = await asyncio.wait(under_way, timeout=max(0.0, deadline - loop.time()))
            if not done:
                break
        for task in under_way:
            task.cancel()  # a call that is cut off is recorded as unknown
        await asyncio.gather(*under_way, return_exceptions=True)
