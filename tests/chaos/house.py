"""The house under test: each service a process of its own, behind links of its own, supervised.

Whatever ends without having been told to is started again after a moment, as an orchestrator would,
and noted: behind a fault that is an orchestrator's daily bread, without one it is a finding.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from shared.clock import wall_clock
from tests.chaos.links import Address, Link
from tests.processes import Service

CONCURRENCY = 8
LEASE = 5.0
"""Real seconds; a dispatcher that is stopped for longer has lost what it had in its hands."""
_AGAIN = 0.5
_WRONG_CLOCK = Path(__file__).parent / "wrong_clock"


@dataclass(frozen=True)
class Shape:
    """How many of each service."""

    ingest: int = 2
    journey: int = 2
    dispatch: int = 2
    console: int = 1
    clocks_off: Mapping[str, int] = field(default_factory=dict)
    """Name → by how many seconds its machine's clock is wrong."""

    @property
    def names(self) -> list[tuple[str, str]]:
        """Name → part."""
        counts = {
            "ingest": self.ingest,
            "journey": self.journey,
            "dispatch": self.dispatch,
            "console": self.console,
        }
        return [(f"{part}-{n + 1}", part) for part, count in counts.items() for n in range(count)]


@dataclass(frozen=True)
class Servers:
    """Where the links lead."""

    postgres: Address
    database: str
    """Its URL, with `{port}` for the link's."""
    smtp: Address
    log_url: str | None


@dataclass
class Kept:
    """One service, and what is meant to be the case with it."""

    service: Service
    database: Link
    smtp: Link | None
    wanted: bool = True
    """It is to run; what ends is started again."""
    stopped: bool = False
    was_ready: bool = False


@dataclass(frozen=True)
class Crash:
    """A process that ended by itself after it had been ready."""

    at: datetime
    name: str
    status: int
    said: str


class House:
    """`async with House(…)`: everything runs; `close` is graceful."""

    def __init__(self, shape: Shape, servers: Servers, folder: Path) -> None:
        self._shape = shape
        self._servers = servers
        self._folder = folder
        self.kept: dict[str, Kept] = {}
        self.crashes: list[Crash] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, part in self._shape.names:
                self.kept[name] = await self._make(name, part)
                self._keepers.append(asyncio.create_task(self._keep(self.kept[name])))
            await asyncio.gather(*(kept.service.ready() for kept in self.kept.values()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        for kept in self.kept.values():
            kept.wanted = False
            self.wake(kept)
        try:
            await asyncio.gather(*(kept.service.end() for kept in self.kept.values()))
        except TimeoutError:
            await asyncio.gather(*(kept.service.end(kill=True) for kept in self.kept.values()))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self._stack.aclose()

    async def _make(self, name: str, part: str) -> Kept:
        servers = self._servers
        database = await self._stack.enter_async_context(Link(servers.postgres))
        environment = {
            "DANGOL_DATABASE_URL": servers.database.replace("{port}", str(database.port)),
            "DANGOL_CONCURRENCY": str(CONCURRENCY),
            "DANGOL_LEASE": str(LEASE),
            "DANGOL_LOG_LEVEL": "info",
        }
        if servers.log_url is not None:
            environment["DANGOL_LOG_URL"] = servers.log_url
        if name in self._shape.clocks_off:
            path = os.environ.get("PYTHONPATH", "")
            environment["PYTHONPATH"] = f"{_WRONG_CLOCK}{os.pathsep}{path}"
            environment["CLOCK_OFF_SECONDS"] = str(self._shape.clocks_off[name])
        smtp = None
        if part == "dispatch":
            smtp = await self._stack.enter_async_context(Link(servers.smtp))
            environment["DANGOL_SMTP_URL"] = f"smtp://127.0.0.1:{smtp.port}"
        service = Service(part, environment, self._folder / f"{name}.log")
        await service.start()
        return Kept(service, database, smtp)

    # What may be done to it --------------------------------------------------------------------

    def of(self, part: str) -> list[Kept]:
        return [kept for kept in self.kept.values() if kept.service.part == part]

    @property
    def urls(self) -> Mapping[str, list[str]]:
        """Part → where each of it listens."""
        found: dict[str, list[str]] = {}
        for kept in self.kept.values():
            found.setdefault(kept.service.part, []).append(kept.service.url)
        return found

    async def kill(self, kept: Kept) -> None:
        """`kill -9`; stays down until it is `wanted` again."""
        kept.wanted = kept.stopped = False
        await kept.service.end(kill=True)

    async def retire(self, kept: Kept) -> None:
        """A clean stop, as of a rolling restart; one that is no clean one is noted."""
        kept.wanted = False
        self.wake(kept)
        was_ready = kept.was_ready
        try:
            status = await kept.service.end()
        except TimeoutError:
            status = await kept.service.end(kill=True)
        if status != 0 and was_ready:
            self._note(kept, status)

    def _note(self, kept: Kept, status: int) -> None:
        said = kept.service.log.read_text(errors="replace")[-3000:]
        name = next(name for name, one in self.kept.items() if one is kept)
        self.crashes.append(Crash(wall_clock(), name, status, said))

    def revive(self, kept: Kept) -> None:
        kept.wanted = True

    def stop(self, kept: Kept) -> None:
        """It does nothing more, and nobody is told: a machine that hangs."""
        process = kept.service.process
        if process is not None and process.returncode is None:
            os.kill(process.pid, signal.SIGSTOP)
            kept.stopped = True

    def wake(self, kept: Kept) -> None:
        process = kept.service.process
        if kept.stopped and process is not None and process.returncode is None:
            os.kill(process.pid, signal.SIGCONT)
        kept.stopped = False

    def point(self, postgres: Address) -> None:
        """The database has another address from now on."""
        for kept in self.kept.values():
            kept.database.target = postgres

    async def heal(self) -> None:
        """Everything runs, nothing is cut."""
        for kept in self.kept.values():
            kept.database.mend()
            if kept.smtp is not None:
                kept.smtp.mend()
            self.wake(kept)
            self.revive(kept)

    # Supervision ------------------------------------------------------------------------------

    async def _keep(self, kept: Kept) -> None:
        while True:
            process = kept.service.process
            assert process is not None
            watching = asyncio.create_task(self._await_ready(kept))
            status = await process.wait()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if kept.wanted:
                if kept.was_ready:
                    self._note(kept, status)
                await asyncio.sleep(_AGAIN)
            while not kept.wanted:
                await asyncio.sleep(0.05)
            kept.was_ready = kept.stopped = False
            await kept.service.start()

    async def _await_ready(self, kept: Kept) -> None:
        await kept.service.ready()
        kept.was_ready = True
