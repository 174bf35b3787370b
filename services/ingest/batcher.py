"""The event log with the appends of concurrent requests put together.

One append costs a commit or a round trip whatever it carries. So while one is under way, what
arrives waits, and goes out together as the next. Nobody waits longer than needed: the first event
starts an append at once. Under load a second one goes out while the first is being committed, so
that the log need not wait until we have read its answer; with few events it would only make two
small appends of one.

Nobody waits in vain: an append that takes too long fails, with all that waits behind it, so that
the least patient SDK (10 s) still hears the answer. And each request learns its own fate: if an
append fails for a reason that lies in its events, the requests are appended one by one, so that
none can fail the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.ingest.limits import MAX_EVENTS
from services.ingest.metrics import IngestMetrics
from shared.errors import Unavailable
from shared.event import Encoded, Event, encoded
from shared.log.port import EventLog

_log = structlog.get_logger(__name__)


Done = Callable[[Exception | None], None]
"""Called once: with None when the events are durable, else with what kept them from it."""

_UNDER_WAY = 2
_WORTH_A_SECOND = 256
"""Events that must wait before a second append goes out beside the first."""


class Queue(EventLog, Protocol):
    """A log that takes events without being waited for."""

    def put(self, records: Sequence[Encoded], done: Done) -> None:
        """Raises Unavailable, having taken nothing."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: Sequence[Encoded]
    done: Done


class BatchingLog:
    """A `Queue` before another log, for one event loop."""

    def __init__(
        self,
        log: EventLog,
        metrics: IngestMetrics,
        *,
        most_waiting: int = 20_000,
        most_together: int = MAX_EVENTS,
        timeout: float = 3.0,
        worth_a_second: int = _WORTH_A_SECOND,
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
        self._worth_a_second = worth_a_second
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        """Events in the queue."""
        self._waiting = 0
        """Events in the queue and in the appends under way."""
        self._suspects = 0
        """How many at the head of the queue are to be appended alone."""
        self._drains: set[asyncio.Task[None]] = set()
        self._stopping = False
        metrics.queue_depth.set_function(lambda: self._waiting)

    async def append(self, events: Sequence[Event]) -> None:
        await self.append_encoded([encoded(event, self.partitions) for event in events])

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        if not records:
            return
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if told.done():  # its request has gone
                return
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(error)

        self.put(records, done)
        await told

    def put(self, records: Sequence[Encoded], done: Done) -> None:
        if self._stopping:
            raise Unavailable("Ingest is stopping.")
        if self._waiting and self._waiting + len(records) > self._most_waiting:
            raise Unavailable("The queue before the event log is full.")
        self._queue.append(_Waiting(records, done))
        self._waiting += len(records)
        self._queued += len(records)
        if not self._drains or (len(self._drains) < _UNDER_WAY and self._is_worth_a_second()):
            drain = asyncio.create_task(self._drain_queue(), name="ingest-append")
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)

    async def stop(self) -> None:
        """Take nothing more, and return when everything taken has met its fate."""
        self._stopping = True
        while self._drains:
            await asyncio.wait(self._drains)
        await asyncio.sleep(0)  # what the last append owes is told right behind it

    def _is_worth_a_second(self) -> bool:
        return self._queued >= self._worth_a_second and not self._suspects

    async def _drain_queue(self) -> None:
        own = asyncio.current_task()
        assert own is not None
        try:
            while self._queue and (len(self._drains) == 1 or self._is_worth_a_second()):
                await self._append(self._next())
        except BaseException:
            self._fail(self._emptied(), "Ingest is stopping.")
            raise
        finally:
            self._drains.discard(own)

    def _next(self) -> list[_Waiting]:
        batch = [self._queue.popleft()]
        size = len(batch[0].records)
        if self._suspects:
            self._suspects -= 1
        else:
            while self._queue and size + len(self._queue[0].records) <= self._most_together:
                batch.append(self._queue.popleft())
                size += len(batch[-1].records)
        self._queued -= size
        return batch

    def _emptied(self) -> list[_Waiting]:
        left = list(self._queue)
        self._queue.clear()
        self._queued = self._suspects = 0
        return left

    async def _append(self, batch: list[_Waiting]) -> None:
        try:
            await self._append_together(batch)
        except Unavailable as error:
            _log.warning("The event log is unavailable.", action="ingest.append", error=str(error))
            self._fail(batch, str(error))
        except TimeoutError:
            _log.warning("The event log does not answer.", action="ingest.append")
            self._fail([*batch, *self._emptied()], "The event log does not answer.")
        except Exception as error:  # noqa: BLE001 - whatever it is, its request must learn of it
            if len(batch) > 1:
                self._queue.extendleft(reversed(batch))
                self._queued += sum(len(waiting.records) for waiting in batch)
                self._suspects += len(batch)
                return
            _log.exception("An append failed.", action="ingest.append")
            failure = error
            self._settle(batch, lambda: failure)
        except BaseException:
            self._fail(batch, "Ingest is stopping.")
            raise
        else:
            # After the next append has gone out: the log is not to wait for our answers.
            asyncio.get_running_loop().call_soon(self._settle, batch)

    async def _append_together(self, batch: list[_Waiting]) -> None:
        records = [record for waiting in batch for record in waiting.records]
        with self._metrics.append_seconds.time(), self._metrics.append_failures.count_exceptions():
            async with asyncio.timeout(self._timeout):
                await self._inner.append_encoded(records)

    def _fail(self, batch: Iterable[_Waiting], why: str) -> None:
        self._settle(batch, lambda: Unavailable(why))

    def _settle(
        self, batch: Iterable[_Waiting], failure: Callable[[], Exception] | None = None
    ) -> None:
        """Each is told a failure of its own: it is raised where the request waits."""
        for waiting in batch:
            self._waiting -= len(waiting.records)
            try:
                waiting.done(None if failure is None else failure())
            except Exception:  # noqa: BLE001 - the others are told all the same
                _log.exception("An answer failed.", action="ingest.answer")
