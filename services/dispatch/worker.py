"""The dispatcher: claim due messages, decide and record, call the provider, record what became.

Two lanes take turns. A turn takes every call that has finished meanwhile and claims as many due
messages as there is room for; one transaction stores both (`turns.py`), then the new calls are
made, each a task of its own. While one lane waits for its commit the other works. Whatever is due
waits in the database, never in memory.

Room is counted in places: one for each call under way and each outcome not yet stored. So the
attempts without an outcome are never more than the stated concurrency: that many unknowns a kill
may leave, not one more. Any number of dispatchers run side by side; none waits for another.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import structlog

from services.dispatch import leases, metrics, pauses, store, traces
from services.dispatch.channel_lines import ChannelLines
from services.dispatch.channels import registry
from services.dispatch.channels.port import Factory, Outcome, Result
from services.dispatch.live import Live
from services.dispatch.pending import Attempt, Key
from services.dispatch.turns import Finished, Turn, Turns
from services.dispatch.workspace import CurrentWorkspace
from shared import message, tracing, workspace_store
from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.db.wakeups import Wakeups
from shared.errors import Unavailable
from shared.lifecycle import pause

logger = structlog.get_logger()

WAKEUPS = (message.CHANNEL, workspace_store.CHANNEL)
"""The channels that the `Wakeups` handed to a dispatcher must listen to."""

_LONGEST_SLEEP = 5.0
"""Real seconds: a wake-up that was lost costs no more."""
_SHORTEST_SLEEP = 0.02
_AGAIN = 0.1
_STOP_LIMIT = 6.0
_LANES = 2
_PATIENCE = 0.004
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
        public_url: str | None = None,
        bounce_domain: str | None = None,
        dispatcher_id: str | None = None,
        create: Factory = registry.create,
    ) -> None:
        """`lease` in real seconds; `environment` holds the adapters' secrets (`DANGOL_…`).
        `public_url` is where customers reach the doors; without it messages carry no such links.
        `bounce_domain` is where mail by SMTP comes back to; without it, to the sender's address.

        `dispatcher_id` must be new with each start of a process; the default is.
        """
        self.id = dispatcher_id or f"dispatcher-{uuid4().hex[:12]}"
        self._pool = pool
        self._clock = clock
        self._partitions = partitions
        self._lease = timedelta(seconds=lease)
        self._news = wakeups.listen(message.CHANNEL)
        self._lines = ChannelLines(
            clock,
            environment,
            concurrency=concurrency,
            timeout=min(lease * _CALL_SHARE, _LONGEST_CALL),
            create=create,
        )
        self._current = CurrentWorkspace(wakeups.listen(workspace_store.CHANNEL))
        self._live = Live(environment, clock, self._answer_came)
        self._turns = Turns(
            pool,
            clock,
            self._lines,
            self._current,
            dispatcher=self.id,
            partitions=partitions,
            lease=self._lease,
            live=self._live,
            public_url=public_url,
            bounce_domain=bounce_domain,
        )
        self._size = concurrency
        self._most = max(1, concurrency // _LANES)
        self._free = concurrency
        self._waiting = asyncio.Lock()
        self._look = True
        """Something may be due that nobody has looked for."""
        self._backlog = False
        """The last look found as much as it had room for: both lanes look."""
        self._closing = False
        self._said_pauses = False
        self._held: set[Key] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._finished: list[Finished] = []

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
                lanes = [
                    tasks.create_task(self._lane(tasks), name=f"dispatch-lane-{number}")
                    for number in range(_LANES)
                ]
                tasks.create_task(self._keep_leases(over), name="dispatch-leases")
                await stopping.wait()
                await self._finish(lanes)
                over.set()
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await self._live.close()
            await self._lines.close()

    # Turns ----------------------------------------------------------------------------------

    async def _lane(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            async with self._waiting:  # one waits for work, while the other works
                turn = await self._next()
            if turn is None:
                return
            await self._carry_out(turn, tasks)

    async def _next(self) -> Turn | None:
        """As soon as something has finished or may be due; None at the end."""
        while True:
            self._news.clear()
            await self._wait_for_more()
            # Not all at once, or the other lane would find nothing to do meanwhile.
            finished, self._finished = self._finished[: self._most], self._finished[self._most :]
            turn = Turn(finished, self._room(len(finished)))
            if turn.room or finished:
                self._free -= turn.places - len(finished)
                self._look = self._look and not turn.room
                return turn
            if self._closing and not self._calls:
                return None
            await self._sleep()

    def _room(self, finished: int) -> int:
        """For how many messages there is room in a turn that also stores `finished` outcomes."""
        if self._closing or not (self._look or self._backlog):
            return 0
        return min(max(finished, self._most), finished + self._free)

    async def _wait_for_more(self) -> None:
        """Where room comes a place at a time, a short wait makes one turn of several."""
        room = self._free + len(self._finished)
        if 0 < room < self._size // 4 and self._calls:
            await asyncio.sleep(_PATIENCE)

    async def _sleep(self) -> None:
        """Until something has finished or becomes due, or somebody says so."""
        delay = _LONGEST_SLEEP
        if self._free and not self._closing:
            try:
                due = await self._turns.next_due()
            except Unavailable as error:
                return await self._away(error)
            if due is not None:
                left = self._clock.real_delay(due - self._clock.now())
                # What is due and could not be claimed is in somebody's hands: look again soon.
                delay = min(max(left, _SHORTEST_SLEEP) if left > 0 else _AGAIN, delay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):  # not wait_for, which may swallow a cancellation
                await self._news.wait()
        self._look = True
        return None

    async def _carry_out(self, turn: Turn, tasks: asyncio.TaskGroup) -> None:
        try:
            await self._turns.carry_out(turn)
        except Unavailable as error:
            await self._take_back(turn, error)
            return
        self._held.difference_update(attempt.pending.key for attempt, _ in turn.finished)
        self._held.update(attempt.pending.key for attempt in turn.attempts)
        self._free += turn.places - len(turn.attempts)
        for attempt in turn.attempts:
            call = tasks.create_task(self._call(attempt), name="dispatch-call")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        metrics.UNDER_WAY.set(len(self._held))
        if turn.room:
            self._backlog = turn.more
        if turn.more or turn.requeued or turn.freed:
            self._look = True
            self._news.set()

    async def _take_back(self, turn: Turn, error: Unavailable) -> None:
        """All of the turn may have been stored, or nothing.

        What has finished stays true whatever happens meanwhile: it is stored again, and where
        somebody has settled the message that changes nothing. Nobody was called for the new
        attempts: that is said as soon as it can be.
        """
        self._finished[:0] = turn.finished
        await self._away(error)
        for _ in range(int(self._lease.total_seconds()) if turn.attempts else 0):
            try:
                await store.release(self._pool, self.id, turn.attempts)
                break
            except Unavailable as again:
                await self._away(again)
        for attempt in turn.attempts:
            self._turns.shared.under_way.remove(attempt)
        self._free += turn.places - len(turn.finished)
        self._look = True
        self._news.set()

    async def _call(self, attempt: Attempt) -> None:
        try:
            remember = partial(store.remember, self._pool, self.id, attempt)
            call = self._lines.send(attempt.outgoing, attempt.adapter, remember)
            if tracing.tracer is not None:
                call = traces.of_call(tracing.tracer, attempt, call)
            result = await call
        except asyncio.CancelledError:
            self._turns.shared.under_way.remove(attempt)
            self._finished.append((attempt, Result(Outcome.UNKNOWN, detail="stopped meanwhile")))
            raise
        self._turns.shared.under_way.remove(attempt)
        self._finished.append((attempt, result))
        self._news.set()

    def _answer_came(self) -> None:
        """Of a live source: its line may be claimed."""
        self._look = True
        self._news.set()

    async def _away(self, error: Unavailable) -> None:
        logger.warning(
            "the database is away; messages wait", action="dispatch_unavailable", error=str(error)
        )
        await asyncio.sleep(1.0)

    # Leases and the end ---------------------------------------------------------------------

    async def _keep_leases(self, over: asyncio.Event) -> None:
        seconds = self._lease.total_seconds()
        while not over.is_set():
            try:
                await self._follow_workspace()
                await leases.refresh(self._pool, self.id, self._held, self._lease)
                await self._turns.shared.keep(self._pool)
                await self._turns.sent.add(self._pool)
                now = self._clock.now()
                if await leases.settle(
                    self._pool, now, self._partitions, self._lines.retries_unknown
                ):
                    self._news.set()
                if await store.leave_lines(self._pool, self._live.lines):
                    self._answer_came()
                await self._measure(now)
                await self._say_pauses()
            except Unavailable as error:
                logger.warning(
                    "cannot keep the leases", action="leases_unavailable", error=str(error)
                )
            await self._lines.close_retired()
            await pause(over, seconds / 3)
        with contextlib.suppress(Unavailable):
            await self._turns.sent.add(self._pool)

    async def _follow_workspace(self) -> bool:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            workspace = await self._current.get(connection)
        if workspace is not None:
            self._lines.follow(workspace)
        return workspace is not None

    async def _measure(self, now: datetime) -> None:
        metrics.due(await store.depth(self._pool, now))
        for line, waiting in (await store.waiting(self._pool)).items():
            metrics.RATE_WAITING.labels(line).set(waiting)

    async def _say_pauses(self) -> None:
        paused = self._lines.paused()
        if paused or self._said_pauses:
            await pauses.say(self._pool, self.id, paused, self._lease)
            self._said_pauses = bool(paused)

    async def _finish(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        """Stop: no new claims; what is under way may end, within a limit."""
        self._closing = True
        self._news.set()
        _done, late = await asyncio.wait(lanes, timeout=_STOP_LIMIT)
        if not late:
            return
        for call in self._calls:
            call.cancel()  # recorded as unknown
        await asyncio.gather(*self._calls, return_exceptions=True)
        self._news.set()
        _done, late = await asyncio.wait(lanes, timeout=_STOP_LIMIT / 3)
        for lane in late:
            lane.cancel()
