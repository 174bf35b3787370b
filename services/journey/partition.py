"""One partition's owner: read, decide, store; the commit of a batch overlaps the next one.

While the commit of a batch is under way, the owner reads and decides the next one on the state it
has in memory. A failed commit therefore drops everything in memory: the owner takes the partition
again (raising the epoch) and starts from what is stored.

Log time: while there is more to read, it is just below the stamp of the last record taken in;
at the end of the log the reader asks the log for it, but only when something is due.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.journey import metrics, traces
from services.journey.batch import Batch, Settled, TimerRow
from services.journey.cache import Cache
from services.journey.core import dedupe, history, merging, segments
from services.journey.core.book import Book
from services.journey.core.state import Customer
from services.journey.deciding import Deciding, Given, readable
from services.journey.firings import rows as firing_rows
from services.journey.held import Held
from services.journey.library import Current, Library
from services.journey.store import Store, Unstorable, WorkspaceChanged
from shared.clock import EPOCH, Clock
from shared.errors import PartitionLost, Unavailable
from shared.event import Event
from shared.lifecycle import pause, unless_stopping
from shared.log.port import Fetch, LogReader

logger = structlog.get_logger()

_INSTANT = timedelta(microseconds=1)
_LONGEST_WAIT = 2.0
"""Real seconds after which an idle owner looks for itself, should a wake-up have been lost."""
_AGAIN = 0.1  # seconds
_TIMERS = 1000
"""Timers claimed at once."""
_AT_A_STRETCH = 100
"""Events decided before the loop may turn to others: some milliseconds."""
_SETTLING = 500
"""Customers whom an apply's rule for runs in flight meets at once."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What all owners of one worker share."""

    worker: str
    reader: LogReader
    store: Store
    library: Library
    clock: Clock
    partitions: int
    batch: int
    cache: int


class PartitionOwner:
    def __init__(self, number: int, engine: Engine) -> None:
        self._number = number
        self._engine = engine
        self._pending: asyncio.Task[None] | None = None
        self._one_by_one = 0
        """Records still to be taken singly, after a batch that could never be stored."""
        self._single: int | None = None
        """Offset of the record that was taken singly last."""
        self._unstorable: int | None = None
        """Offset of the record that is to be set aside."""
        self._delay = _AGAIN
        self._reset()

    def _reset(self) -> None:
        self._epoch = 0
        self._offset = 0
        self._cache = Cache(self._engine.cache)
        self._log_time = EPOCH
        self._watermark = EPOCH
        self._next_due: datetime | None = None
        self._next_due_known = False
        self._settled = Settled(0)
        self._held = Held(self._number)
        self._behind = False
        """Whether the last fetch was a full one: then commits overlap the deciding."""
        self._staged = True
        """Whether messages may wait for the end of the log; unknown, so yes, at first."""

    @property
    def taken(self) -> bool:
        """Whether the epoch is ours."""
        return self._epoch > 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Own the partition until `stopping` is set or another worker has taken it."""
        while not stopping.is_set():
            try:
                await self._own(stopping)
                return
            except PartitionLost:
                metrics.RESTARTS.labels("lost").inc()
                return
            except WorkspaceChanged:
                metrics.RESTARTS.labels("workspace").inc()
                continue
            except Unstorable as error:
                metrics.RESTARTS.labels("unstorable").inc()
                self._suspect(error)
            except Unavailable as error:
                metrics.RESTARTS.labels("unavailable").inc()
                logger.warning(
                    "the partition's batch could not be stored; starting from what is stored",
                    action="partition_unavailable",
                    partition=self._number,
                    error=str(error),
                )
            delay, self._delay = self._delay, min(self._delay * 2, 5.0)
            await pause(stopping, delay)  # longer each time, until something is stored

    def _suspect(self, error: Unstorable) -> None:
        """Decide the records one by one; the one that fails by itself is set aside."""
        logger.error(
            "a batch can never be stored; taking its records one by one",
            action="batch_unstorable",
            partition=self._number,
            error=type(error.__cause__).__name__,
        )
        self._unstorable = self._single if self._one_by_one else None
        self._one_by_one = max(self._one_by_one, 2 * self._engine.batch)

    async def _own(self, stopping: asyncio.Event) -> None:
        engine = self._engine
        self._reset()
        taken = await engine.store.take(self._number, engine.worker)
        self._epoch, self._offset, self._settled = taken.epoch, taken.offset, taken.settled
        self._log_time = taken.log_time  # time never goes back, and Kafka's stamps rest on that
        await engine.library.refresh()
        try:
            while not stopping.is_set():
                if not await self._step():
                    await unless_stopping(
                        stopping, engine.reader.wait(self._number, self._patience())
                    )
            await self._settle()
            await engine.store.let_go(self._number, self._epoch)
        finally:
            if self._pending is not None:
                self._pending.cancel()
                await asyncio.wait([self._pending])
                self._pending = None

    async def _step(self) -> bool:
        """Decide and store one batch; False when there was nothing to do."""
        engine = self._engine
        if not self._behind:
            # Reading now would only make a small batch that waits for this commit: let more come.
            await self._settle()
        limit = 1 if self._one_by_one else engine.batch
        fetch = await engine.reader.read(self._number, self._offset, limit)
        self._behind = not fetch.at_end
        await self._know_next_due()
        now = engine.clock.now()
        due = self._next_due is not None and self._next_due <= now
        current = engine.library.current
        settling = self._unsettled(current)
        settling = settling if settling is not None and settling[1] <= now else None
        if not fetch.records and not due and not self._staged and settling is None:
            return False
        batch = Batch(
            partition=self._number,
            partitions=engine.partitions,
            epoch=self._epoch,
            stamp=current.stamp,
            offset=fetch.end,
            log_time=self._log_time,
            recorded_at=now,
            offered=fetch.at_end,
            release=fetch.at_end and self._staged,
        )
        events, batch.set_aside = self._readable(fetch)
        self._held = Held(self._number)
        names = list(dict.fromkeys(g.customer for g in events if g.event.kind != "catalog"))
        customers = await self._load(names, current.book, now)
        events = self._held.events(events, customers, batch, current.book.needs.id)
        events = await self._unspilled(events, customers)
        deciding = Deciding(current.book, batch, customers)
        witnessed = await self._witnessed(events, customers)
        with traces.deciding(deciding, batch, events) as decide:
            await self._decide(decide, events, witnessed)
        fired = await self._fire(deciding, fetch, batch, now, current.book, settling is not None)
        if settling is not None and batch.log_time >= settling[1]:
            await self._settle_runs(deciding, batch, now, current)
        deciding.finish(fired)
        traces.by_time(batch)
        metrics.took(deciding.new_events, deciding.repeated_events, deciding.forwarded_events)
        self._staged = not fetch.at_end and (
            self._staged or bool(batch.messages or batch.calls or batch.moved.records)
        )
        await self._commit(batch, fetch)
        if self._one_by_one:
            self._single = fetch.end if fetch.records else None
            await self._settle()
            self._one_by_one -= 1
        return True

    async def _decide(
        self, decide: traces.Decide, events: list[Given], witnessed: dict[int, list[Event]]
    ) -> None:
        """Now and then the commits under way take a step: a batch takes longer to decide than the
        database to answer, and it would wait for us between a commit's statements."""
        took = 0.0
        for start in range(0, len(events), _AT_A_STRETCH):
            started = time.perf_counter()
            for place in range(start, min(start + _AT_A_STRETCH, len(events))):
                decide(events[place], witnessed.get(place, ()))
            took += time.perf_counter() - started
            await asyncio.sleep(0)
        metrics.DECIDE_SECONDS.observe(took)

    def _readable(self, fetch: Fetch) -> tuple[list[Given], list[tuple[str, bytes]]]:
        if fetch.records and fetch.end == self._unstorable:
            self._unstorable = None
            return [], [("what it leads to can never be stored", fetch.records[0].payload)]
        return readable(fetch.records)

    async def _load(self, names: list[str], book: Book, now: datetime) -> dict[str, Customer]:
        found: dict[str, Customer] = {}
        missing: list[str] = []
        for name in names:
            row = self._cache.get(name)
            if row is None:
                missing.append(name)
            else:
                found[name] = row
        if missing:
            # The cache lost them, so an uncommitted batch may still hold their newest state.
            await self._settle()
            loaded, unreadable = await self._engine.store.load(self._number, missing)
            found |= loaded
            self._held.add(unreadable)
        bare = [row for row in found.values() if history.is_missing(row, book.needs)]
        if bare and book.needs:
            await self._settle()
            ids = [row.id for row in bare]
            back_to = {row.id: segments.horizon(book, row, now) for row in bare}
            earliest = min(back_to.values())
            rows = await self._engine.store.history(self._number, ids, book.needs, earliest)
            found |= {
                row.id: history.fill(row, book.needs, rows.get(row.id, ()), back_to[row.id])
                for row in bare
            }
        return found

    async def _unspilled(self, events: list[Given], customers: dict[str, Customer]) -> list[Given]:
        """Leave out what customers with very many events sent before; see core/dedupe.py."""
        wanted = [
            (given.customer, dedupe.digest_of(given.event))
            for given in events
            if given.customer in customers and customers[given.customer].state.spilled
        ]
        if not wanted:
            return events
        await self._settle()
        known = await self._engine.store.spilled(self._number, wanted)
        return [g for g in events if (g.customer, dedupe.digest_of(g.event)) not in known]

    async def _witnessed(
        self, events: list[Given], customers: dict[str, Customer]
    ) -> dict[int, list[Event]]:
        """What events from other partitions ask of their customers' own history, by place."""
        asked = [
            (place, given.customer, since)
            for place, given in enumerate(events)
            if given.event.passed or given.event.kind == "merge"
            if (since := merging.asked_since(customers.get(given.customer), given.event))
        ]
        if not asked:
            return {}
        await self._settle()
        return await self._engine.store.witnessed(self._number, asked)

    def _unsettled(self, current: Current) -> tuple[int, datetime] | None:
        """The apply whose rule for runs in flight has not met everybody, and its moment."""
        newest = current.settling
        return newest if newest is not None and newest[0] > self._settled.revision else None

    async def _settle_runs(
        self, deciding: Deciding, batch: Batch, now: datetime, current: Current
    ) -> None:
        """Let the rule meet the next customers, whom nobody else may touch for long.

        Whoever is touched meets it then; so this makes no difference but that it is soon.
        """
        assert current.settling is not None
        before, (revision, _at) = self._settled, current.settling
        after = before.after if before.under_way == revision else ""
        await self._settle()  # the customers of the batch before must be found
        names, last = await self._engine.store.with_runs(self._number, after, _SETTLING)
        unknown = [name for name in names if not deciding.knows(name)]
        deciding.add(await self._load(unknown, current.book, now))
        for name in names:
            if name not in self._held:
                deciding.tick(name, batch.log_time, looks=False)
        done = Settled(revision) if last is None else Settled(before.revision, revision, last)
        self._settled = batch.settled = done

    async def _fire(
        self,
        deciding: Deciding,
        fetch: Fetch,
        batch: Batch,
        now: datetime,
        book: Book,
        settling: bool,
    ) -> list[TimerRow]:
        engine = self._engine
        reached = self._log_time
        if fetch.records:
            reached = max(reached, fetch.records[-1].received_at - _INSTANT)
        due = self._next_due is not None and self._next_due <= now
        if fetch.at_end and (due or settling or deciding.due_now(now)):
            exact = await engine.reader.log_time(self._number, fetch.end)
            reached = reached if exact is None else exact
        self._log_time = batch.log_time = reached
        rows: list[TimerRow] = []
        if self._next_due is not None and self._next_due <= reached:
            await self._settle()  # the rows that the last batch fired must be gone
            rows = await engine.store.due(self._number, reached, self._watermark, _TIMERS)
            names = list(dict.fromkeys(row.customer for row in rows))
            unknown = [name for name in names if not deciding.knows(name)]
            deciding.add(await self._load(unknown, book, now))
            self._watermark = rows[-1].due_at if rows else self._watermark
            self._next_due_known = False
            self._held.timers(rows, batch, now)
            metrics.fired([(now - row.due_at).total_seconds() for row in rows])
        for name in dict.fromkeys([*(row.customer for row in rows), *deciding.due_now(reached)]):
            if name not in self._held:
                deciding.tick(name, reached)
        return rows

    async def _commit(self, batch: Batch, fetch: Fetch) -> None:
        """Start storing the batch once the one before is stored; go on as if it were."""
        await self._settle()
        for customer in batch.changed.values():
            self._cache.put(customer)
        for name in batch.forgotten:
            self._cache.drop(name)
        self._offset = fetch.end
        first = min((due for due, _customer in batch.timers), default=None)
        if first is not None:
            self._watermark = min(self._watermark, first)
            if self._next_due is None or first < self._next_due:
                self._next_due = first
        self._pending = asyncio.create_task(
            self._store(batch, fetch), name=f"commit-{self._number}"
        )
        await asyncio.sleep(0)  # let it send its first statement before the next batch is decided

    async def _store(self, batch: Batch, fetch: Fetch) -> None:
        started = time.perf_counter()
        await self._engine.store.commit(batch)
        self._delay = _AGAIN
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
        metrics.BATCH_EVENTS.observe(len(fetch.records))
        if fetch.records:
            age = self._engine.clock.now() - fetch.records[-1].received_at
            metrics.EVENT_AGE.observe(max(0.0, age.total_seconds()))
        firing_rows.told(batch.firings)
        metrics.stored(batch)

    async def _settle(self) -> None:
        """Wait for the commit under way; raises what it raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            await pending
            self._cache.trim()

    async def _know_next_due(self) -> None:
        if not self._next_due_known:
            await self._settle()
            self._next_due = await self._engine.store.first_due(self._number, self._watermark)
            self._next_due_known = True

    def _patience(self) -> float:
        """Real seconds until the next timer, within bounds."""
        unsettled = self._unsettled(self._engine.library.current)
        moments = [unsettled[1]] if unsettled is not None else []
        if self._next_due is not None:
            moments.append(self._next_due)
        if not moments:
            return _LONGEST_WAIT
        left = self._engine.clock.real_delay(min(moments) - self._engine.clock.now())
        return min(max(left, 0.001), _LONGEST_WAIT)
