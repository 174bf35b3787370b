"""The event log with the appends of concurrent requests put together.

One append costs a commit or a round trip whatever it carries. So while one is under way, what
arrives waits, and goes out together as the next. Nobody waits longer than needed: the first event
starts an append at once. Nobody waits in vain: an append that takes too long fails, with all that
waits behind it, so that the least patient SDK (10 s) still hears the answer. And each request
learns its own fate: if an append fails for a reason that lies in its events, the requests are
appended one by one, so that none can fail the others.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from services.ingest.limits import MAX_EVENTS
from services.ingest.metrics import IngestMetrics
from shared.errors import Unavailable
from shared.event import Event
from shared.log.port import EventLog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    events: Sequence[Event]
    done: asyncio.Future[None]


class BatchingLog:
    """An `EventLog` over another one, for one event loop."""

    def __init__(
        self,
        log: EventLog,
        metrics: IngestMetrics,
        *,
        most_waiting: int = 20_000,
        most_together: int = MAX_EVENTS,
        timeout: float = 3.0,
    ) -> None:
        """`most_waiting` events in all, `most_together` in one append that has `timeout` seconds.

        With these, a request waits for three appends at most.

        Their bytes are bounded where they come in: see `Limits.bodies`.
        """
        self.partitions = log.partitions
        self._inner = log
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._most_together = most_together
        self._timeout = timeout
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        """Events in the queue and in the append under way."""
        self._suspects = 0
        """How many at the head of the queue are to be appended alone."""
        self._drain: asyncio.Task[None] | None = None
        self._stopping = False
        metrics.queue_depth.set_function(lambda: self._waiting)

    async def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if self._stopping:
            raise Unavailable("Ingest is stopping.")
        if self._waiting and self._waiting + len(events) > self._most_waiting:
            raise Unavailable("The queue before the event log is full.")
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._waiting += len(events)
        if self._drain is None:
            self._drain = asyncio.create_task(self._drain_queue(), name="ingest-append")
        await waiting.done

    async def stop(self) -> None:
        """Take nothing more, and return when everything taken has met its fate."""
        self._stopping = True
        if self._drain is not None:
            await self._drain

    async def _drain_queue(self) -> None:
        try:
            while self._queue:
                await self._append(self._next())
        finally:
            self._drain = None
            self._fail(self._queue, "Ingest is stopping.")  # some are left only if cancelled
            self._queue.clear()

    def _next(self) -> list[_Waiting]:
        batch = [self._queue.popleft()]
        if self._suspects:
            self._suspects -= 1
            return batch
        size = len(batch[0].events)
        while self._queue and size + len(self._queue[0].events) <= self._most_together:
            batch.append(self._queue.popleft())
            size += len(batch[-1].events)
        return batch

    async def _append(self, batch: list[_Waiting]) -> None:
        try:
            await self._append_together(batch)
        except Unavailable as error:
            _log.warning("The event log is unavailable.", action="ingest.append", error=str(error))
            self._fail(batch, str(error))
        except TimeoutError:
            _log.warning("The event log does not answer.", action="ingest.append")
            self._fail([*batch, *self._queue], "The event log does not answer.")
            self._queue.clear()
            self._suspects = 0
        except Exception as error:  # noqa: BLE001 - whatever it is, its request must learn of it
            if len(batch) > 1:
                self._queue.extendleft(reversed(batch))
                self._suspects = len(batch)
                return
            _log.exception("An append failed.", action="ingest.append")
            self._settle(batch[0], error)
        except BaseException:
            self._fail(batch, "Ingest is stopping.")
            raise
        else:
            for waiting in batch:
                self._settle(waiting, None)

    async def _append_together(self, batch: list[_Waiting]) -> None:
        events = [event for waiting in batch for event in waiting.events]
        with self._metrics.append_seconds.time(), self._metrics.append_failures.count_exceptions():
            async with asyncio.timeout(self._timeout):
                await self._inner.append(events)

    def _fail(self, batch: Iterable[_Waiting], why: str) -> None:
        for waiting in batch:
            self._settle(waiting, Unavailable(why))

    def _settle(self, waiting: _Waiting, error: Exception | None) -> None:
        self._waiting -= len(waiting.events)
        if waiting.done.done():  # its request has gone
            return
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)
