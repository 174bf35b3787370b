"""The caller: claim due calls, make them, store what became of them. Any number run side by side.

The tries without an outcome are never more than the stated concurrency, and no receiver takes more
than its share of it: one that hangs leaves room for the others.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from uuid import uuid4

import structlog

from services.dispatch import metrics
from services.dispatch.calls import answers, store
from services.dispatch.calls.answers import Verdict
from services.dispatch.calls.store import Claimed
from services.dispatch.outbound.client import OutboundClient, Refused, Unreachable
from shared import call
from shared.clock import Clock, wall_clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.errors import Unavailable
from shared.standard_webhooks import headers

logger = structlog.get_logger()

_LONGEST_SLEEP = 5.0
_SHORTEST_SLEEP = 0.02
_STOP_LIMIT = 6.0
_CALL_SHARE = 0.6
"""Of the lease: a try is over well before others may take it for lost."""
_HOST_SHARE = 4
"""One receiver has at most one in so many places."""
_UNSIGNED_AGAIN = 60.0


class Caller:
    def __init__(
        self,
        pool: Pool,
        clock: Clock,
        wakeups: Wakeups,
        *,
        partitions: int,
        secrets: Iterable[bytes],
        private_hosts: Iterable[str] = (),
        concurrency: int = 32,
        lease: float = 30.0,
        caller_id: str | None = None,
    ) -> None:
        """`lease` in real seconds. Without `secrets` nothing can be signed, and calls wait.

        `caller_id` must be new with each start of a process; the default is.
        """
        self.id = caller_id or f"caller-{uuid4().hex[:12]}"
        self._pool = pool
        self._clock = clock
        self._partitions = partitions
        self._secrets = tuple(secrets)
        self._lease = timedelta(seconds=lease)
        self._longest = lease * _CALL_SHARE
        self._client = OutboundClient(private_hosts, connections=concurrency)
        self._news = wakeups.listen(call.CHANNEL)
        self._places = concurrency
        self._share = max(1, concurrency // _HOST_SHARE)
        self._calls: dict[asyncio.Task[None], str] = {}
        """Under way, with the host of each."""

    async def settle_all(self) -> None:
        """Try all again that is under way. Only where no other caller can be alive."""
        await store.settle(self._pool, self._clock.now(), self._partitions, everything=True)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; then finish what is under way, within a limit."""
        try:
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(self._work(tasks), name="calls")
                leases = tasks.create_task(self._settle(), name="call-leases")
                await stopping.wait()
                for task in (work, leases):
                    task.cancel()
                if self._calls:
                    # A try that is cut off stays recorded: it is made again under the same id.
                    _done, late = await asyncio.wait(self._calls, timeout=_STOP_LIMIT)
                    for task in late:
                        task.cancel()
        finally:
            await self._client.close()

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._news.clear()
            try:
                if not self._secrets:
                    await self._wait_for_secret()
                elif not await self._claim(tasks):
                    await self._sleep()
            except Unavailable as error:
                self._say_away(error)
                await asyncio.sleep(1.0)

    async def _claim(self, tasks: asyncio.TaskGroup) -> bool:
        under_way = Counter(self._calls.values())
        busy = [host for host, n in under_way.items() if n >= self._share]
        # However many of the claimed calls go to one host, its share is not exceeded.
        room = min(
            self._places - under_way.total(),
            *(self._share - n for n in (*under_way.values(), 0) if n < self._share),
        )
        if room <= 0:
            return False
        found = await store.claim(self._pool, self.id, self._lease, self._clock.now(), room, busy)
        for made in found:
            task = tasks.create_task(self._make(made), name="call")
            self._calls[task] = made.host
            task.add_done_callback(self._over)
        return bool(found)

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._calls[task]
        self._news.set()

    async def _sleep(self) -> None:
        """Until a place is free, something becomes due, or somebody says so."""
        delay = _LONGEST_SLEEP
        if len(self._calls) < self._places:
            due = await store.next_due(self._pool)
            if due is not None:
                left = self._clock.real_delay(due - self._clock.now())
                # What is due and was not claimed waits for its host, or is in other hands.
                delay = min(max(left, _SHORTEST_SLEEP) if left > 0 else 0.2, delay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._news.wait()

    async def _wait_for_secret(self) -> None:
        due = await store.next_due(self._pool)
        if due is not None:
            logger.error(
                "calls wait: there is no secret to sign them with; set DANGOL_WEBHOOK_SECRET",
                action="calls_unsigned",
                since=due.isoformat(),
            )
        await asyncio.sleep(_UNSIGNED_AGAIN)

    # One try --------------------------------------------------------------------------------

    async def _make(self, made: Claimed) -> None:
        verdict = await self._answered(made)
        while True:  # what it came to stays true until it is stored, or somebody has settled it
            try:
                verdict = await store.finish(
                    self._pool, self.id, made, verdict, self._clock.now(), self._partitions
                )
                break
            except Unavailable as error:
                self._say_away(error)
                await asyncio.sleep(1.0)
        metrics.CALLS.labels(verdict.outcome or "again", verdict.reason or "").inc()
        if verdict.outcome == "failed":
            logger.warning(
                "a receipt could not be told" if made.receipt else "a call has failed",
                action="call_failed",
                journey=made.journey,
                step=made.step,
                reason=str(verdict.reason),
                detail=verdict.detail,
            )

    async def _answered(self, made: Claimed) -> Verdict:
        real_now = wall_clock()
        signed = headers(self._secrets, made.id, int(real_now.timestamp()), made.body)
        timeout = min(made.timeout.total_seconds(), self._longest)
        try:
            with metrics.CALL_TRY_SECONDS.time():
                reply = await self._client.post(
                    made.url, signed, made.body, timeout=timeout, most=answers.MOST
                )
        except (Refused, Unreachable) as error:
            return answers.of_error(error)
        read = answers.of_receipt if made.receipt else answers.of_reply
        return read(reply, real_now)

    async def _settle(self) -> None:
        while True:
            try:
                lost = await store.settle(self._pool, self._clock.now(), self._partitions)
                due, age = await store.depth(self._pool, self._clock.now())
                metrics.CALLS_DUE.set(due)
                metrics.CALLS_DUE_SECONDS.set(age)
            except Unavailable as error:
                self._say_away(error)
            else:
                if lost:
                    self._news.set()
                    logger.warning(
                        "trying again what a lost caller had in its hands",
                        action="calls_settled",
                        calls=lost,
                    )
            await asyncio.sleep(self._lease.total_seconds() / 3)

    def _say_away(self, error: Unavailable) -> None:
        logger.warning(
            "the database is away; calls wait", action="calls_unavailable", error=str(error)
        )
