"""Wake-ups between processes, by LISTEN/NOTIFY: a hint that there is work, never the work itself.

A notification can be lost (the connection died), so every waiter also has a timeout and looks for
itself. One connection per process listens; `Wakeups.run` re-opens it when it dies.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import asyncpg
import structlog

from shared.db.connect import LOST
from shared.lifecycle import pause

logger = structlog.get_logger()


class Wakeups:
    def __init__(self, dsn: str, channels: Iterable[str]) -> None:
        self._dsn = dsn
        self._listeners: dict[str, list[tuple[str, asyncio.Event]]] = {c: [] for c in channels}

    def listen(self, channel: str, about: str = "") -> asyncio.Event:
        """An event that is set on each notification of `channel`; the waiter clears it.

        With `about`, only notifications that name it in their payload (a comma list) or that have
        no payload at all.
        """
        event = asyncio.Event()
        self._listeners[channel].append((about, event))
        return event

    def ring(self, channel: str, payload: str = "") -> None:
        """Wake this process's own waiters at once."""
        named = payload.split(",") if payload else ()
        for about, event in self._listeners.get(channel, ()):
            if not about or not payload or about in named:
                event.set()

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self._listen_until(stopping)
            except LOST as error:
                logger.warning(
                    "lost the wake-up connection, opening another",
                    action="wakeups_lost",
                    error=type(error).__name__,
                )
                await pause(stopping, 0.5)

    async def _listen_until(self, stopping: asyncio.Event) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: lost.set())
            for channel in self._listeners:
                await connection.add_listener(channel, self._heard())
            for channel in self._listeners:  # whatever was missed while nobody listened
                self.ring(channel)
            waits = {asyncio.create_task(stopping.wait()), asyncio.create_task(lost.wait())}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
            if lost.is_set() and not stopping.is_set():
                raise ConnectionError("the connection was closed")
        finally:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=5)

    def _heard(self) -> Callable[..., None]:
        def heard(_connection: object, _pid: int, channel: str, payload: object) -> None:
            self.ring(channel, str(payload))

        return heard


async def ring_or_timeout(event: asyncio.Event, timeout: float) -> None:
    """Wait for the event at most `timeout` seconds, then clear it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout)
    event.clear()
