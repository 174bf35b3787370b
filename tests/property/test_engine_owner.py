"""A partition's owner on a log and a store that are a few Python values, so that every microsecond
is chosen: whatever it meets, the same becomes of the customer as when records are decided alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from services.journey.batch import Batch, Settled, TimerRow
from services.journey.core.book import Book
from services.journey.core.state import Customer
from services.journey.library import Current
from services.journey.partition import Engine, PartitionOwner
from services.journey.store import Taken, WorkspaceChanged
from shared.clock import Clock
from shared.errors import PartitionLost
from shared.log.port import Fetch
from tests.patience import SOON
from tests.property.engine_journeys import START, Input, book_of, compiled, inputs, profile
from tests.property.engine_journeys import sources as some_sources
from tests.property.engine_model import (
    Cut,
    Life,
    Stored,
    Telling,
    Told,
    alone,
    live,
    log_time,
    same,
)
from tests.property.test_engine_batches import cuts, tellings


class Hands:
    """The owner's clock: the log moves it, and it may be wrong."""

    def __init__(self, wrong_by: timedelta) -> None:
        self.shown = START - timedelta(days=1)
        self.wrong_by = wrong_by

    def now(self) -> datetime:
        return self.shown + self.wrong_by

    def real_delay(self, _virtual: timedelta) -> float:
        return 0.001


class Log:
    """The records of a life, a few more with every look at it."""

    def __init__(self, life: Life, hands: Hands, cuts: Sequence[Cut], database: "Database") -> None:
        self._life = life
        self._hands = hands
        self._cuts = cuts
        self._database = database
        self._looks = 0
        self._appended = 0
        self.stopping = asyncio.Event()

    async def read(self, _partition: int, after: int, limit: int) -> Fetch:
        self._go_on()
        records = self._life.log[after : min(self._appended, after + limit)]
        return Fetch(records, after + len(records), at_end=len(records) < limit)

    def _go_on(self) -> None:
        log, hands = self._life.log, self._hands
        cut = self._cuts[self._looks % len(self._cuts)]
        self._looks += 1
        more = max(cut.records, 1) if self._looks > 10 * len(log) else cut.records
        self._appended = min(self._appended + more, len(log))
        while self._appended < len(log) and self._appended and self._stamp(0) == self._stamp(-1):
            self._appended += 1  # what one append brought is there at once
        if self._appended == len(log):
            hands.shown, hands.wrong_by = self._life.end, timedelta(0)
            if self._database.has_decided(self._life):
                self.stopping.set()
        elif self._appended:
            hands.shown = max(hands.shown, self._stamp(-1))
            if cut.at_end:
                ends = self._stamp(0)
                at = log_time(hands.shown, ends, cut.share, self._life.dues)
                hands.shown = max(hands.shown, at)

    def _stamp(self, place: int) -> datetime:
        return self._life.log[self._appended + place].received_at

    async def log_time(self, _partition: int, end: int) -> datetime | None:
        if self._cuts[self._looks % len(self._cuts)].failures:
            self._go_on()  # something is appended meanwhile
        return self._hands.shown if end == self._appended else None

    async def wait(self, _partition: int, _timeout: float) -> None:
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Fate:
    """What befalls a commit: nothing, it fails, or it is stored and the answer is lost."""

    error: type[Exception] | None = None
    is_stored: bool = True
    turns: int = 0
    """Turns of the loop that it takes."""


class Database(Stored):
    """`Store`, as the owner uses it."""

    def __init__(self, book: Book, fates: Sequence[Fate]) -> None:
        super().__init__(book)
        self.offset = 0
        self.epoch = 0
        self._fates = fates
        self._commits = 0

    def has_decided(self, life: Life) -> bool:
        first = min((row.due_at for row in self.timers), default=None)
        return self.offset == len(life.log) and (first is None or first > life.end)

    async def take(self, _partition: int, _worker: str) -> Taken:
        self.epoch += 1
        return Taken(self.epoch, self.offset, self.log_time, Settled(0))

    async def let_go(self, _partition: int, _epoch: int) -> None:
        pass

    async def spilled(self, *_: Any) -> set[tuple[str, int]]:
        return set()

    async def due(
        self, _partition: int, until: datetime, watermark: datetime, limit: int
    ) -> list[TimerRow]:
        rows = sorted(self.timers, key=lambda row: row.due_at)
        return [row for row in rows if watermark <= row.due_at <= until][:limit]

    async def first_due(self, _partition: int, watermark: datetime) -> datetime | None:
        return min((r.due_at for r in self.timers if r.due_at >= watermark), default=None)

    async def commit_batch(self, batch: Batch) -> None:
        fate = self._fates[self._commits % len(self._fates)]
        if self._commits > 300:
            fate = Fate()
        self._commits += 1
        for _ in range(fate.turns):
            await asyncio.sleep(0)
        assert batch.epoch == self.epoch
        if fate.error is None or fate.is_stored:
            self.commit(batch)
            self.offset = batch.offset
            self.check()
        if fate.error is not None:
            raise fate.error()


class Door:
    """The database's names, where they are not those of `Stored`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commit = database.commit_batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def load(
        self, _partition: int, ids: Sequence[str]
    ) -> tuple[dict[str, Customer], list[str]]:
        return {name: row for name, row in self._database.load().items() if name in ids}, []


class Shelf:
    def __init__(self, book: Book) -> None:
        self.current = Current(1, book)

    async def refresh(self) -> Current:
        return self.current


async def owned(
    book: Book,
    life: Life,
    cuts: Sequence[Cut],
    fates: Sequence[Fate],
    wrong_by: timedelta,
    sizes: tuple[int, int],
) -> Told:
    hands, database = Hands(wrong_by), Database(book, fates)
    log = Log(life, hands, cuts, database)
    engine = Engine(
        "owner", cast(Any, log), cast(Any, Door(database)), cast(Any, Shelf(book)),
        cast(Clock, hands), 1, *sizes,
    )  # fmt: skip
    async with asyncio.timeout(SOON):
        while not log.stopping.is_set():
            await PartitionOwner(0, engine).run(log.stopping)
    assert database.offset == len(life.log)
    return database.told.end(database.customer)


fates = st.lists(
    st.builds(
        Fate,
        error=st.sampled_from((None, None, None, WorkspaceChanged, PartitionLost)),
        is_stored=st.booleans(),
        turns=st.integers(0, 6),
    ),
    min_size=1,
    max_size=6,
).map(lambda fates: [*fates, Fate()])


@profile(300)
@given(
    sources=some_sources,
    inputs=inputs,
    tellings=tellings,
    cuts=cuts,
    fates=fates,
    wrong_by=st.sampled_from((-7, 0, 7)).map(lambda minutes: timedelta(minutes=minutes)),
    batch=st.sampled_from((1, 2, 3, 500)),
    cache=st.sampled_from((0, 1000)),
)
def test_an_owner_decides_what_each_record_alone_decides(
    sources: Sequence[str],
    inputs: Sequence[Input],
    tellings: Sequence[Telling],
    cuts: Sequence[Cut],
    fates: Sequence[Fate],
    wrong_by: timedelta,
    batch: int,
    cache: int,
) -> None:
    book = book_of([compiled(source) for source in sources])
    life = live(book, inputs, tellings)
    told = asyncio.run(owned(book, life, cuts, fates, wrong_by, (batch, cache)))
    what = f"owned with batches of {batch}, cache {cache}, {wrong_by}, {cuts}, {fates}"
    same(alone(book, life), told, life.log, what)
