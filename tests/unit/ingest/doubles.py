"""Stand-ins for what lies behind the edge, for these unit tests only."""

import asyncio
from collections.abc import Sequence

from services.ingest.again import Circumstances
from services.ingest.batcher import Done
from services.ingest.refused import Refused
from shared.errors import Unavailable
from shared.event import Encoded, Event, decode_unstamped
from shared.keys import Source


class RecordingLog:
    """Follows the log's contract: all of an append, or an error."""

    partitions = 4

    def __init__(self) -> None:
        self.appends: list[list[Event]] = []
        self.failures: list[Exception] = []
        """Raised by the next appends, one each."""
        self.poison: str | None = None
        """An event id that no append gets through with."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = asyncio.Event()
        """Appends wait until it is set."""
        self.open.set()

    @property
    def events(self) -> list[Event]:
        return [event for events in self.appends for event in events]

    async def append(self, events: Sequence[Event]) -> None:
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.poison in {event.id for event in events}:
            raise ValueError("poison")
        self.appends.append(list(events))

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        await self.append([decode_unstamped(record.payload) for record in records])

    def put(self, records: Sequence[Encoded], done: Done) -> None:
        def settle(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = task.exception()
            assert error is None or isinstance(error, Exception)
            done(error)

        task = asyncio.create_task(self.append_encoded(records))
        task.add_done_callback(settle)
        self._tasks.add(task)


class RecordingAside:
    def __init__(self) -> None:
        self.items: list[Refused] = []
        self.failing = False

    async def put(self, items: Sequence[Refused], circumstances: Circumstances) -> None:
        if self.failing:
            raise Unavailable
        self.items.extend(items)


class FixedKeys:
    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources
        self.failing = False

    async def source_of(self, key: str) -> Source | None:
        if self.failing:
            raise Unavailable
        return self.sources.get(key)

    def known(self, key: str) -> Source | None:
        return None if self.failing else self.sources.get(key)
