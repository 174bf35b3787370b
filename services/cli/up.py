"""`dangol up`: all services in one process, on the embedded PostgreSQL unless a database is named.

Order matters. The port is bound and the data folder locked before anything is started, so that a
second `up` is told at once. Stopping turns it round: HTTP first, so that nothing new comes in, then
the services, then the database.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY
from starlette.types import ASGIApp

from services.cli.foundation import Foundation, calm_garbage_collection, open_foundation
from services.cli.health import Check, health_routes
from services.cli.local import make_local_token
from services.cli.web import listen
from services.cli.web import serve as serve_http
from services.console.app import Console, create_app
from services.console.folder import read_folder
from services.console.publish import Applied, apply
from services.dispatch.worker import Dispatcher
from services.ingest.app import Edge, IngestContext
from services.ingest.batcher import BatchingLog
from services.ingest.metrics import IngestMetrics
from services.ingest.stored import StoredAside
from services.journey.library import Library
from services.journey.maintenance import Maintenance
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.worker import Worker
from shared import workspace_store
from shared.clock import Clock
from shared.db import embedded
from shared.db.connect import Pool, engine_for, unavailable_when_lost
from shared.db.data_folder import hold_folder
from shared.errors import Unavailable
from shared.keys import KeyRing
from shared.lifecycle import pause, run_all
from shared.log import outbox
from shared.log.postgres import HEARTBEAT_LIMIT, PostgresLogReader
from shared.settings import Settings

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    workspace: Path | None
    data: Path
    host: str = "127.0.0.1"
    port: int = 8420
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    admin_token: str
    clock: Clock
    pool: Pool
    applied: Applied | None
    """What became of `--workspace`."""


_WITHOUT_OWNER = """
SELECT count(*) FROM partitions p WHERE NOT EXISTS (
  SELECT FROM workers w WHERE w.id = p.owner
    AND w.seen_at > clock_timestamp() - $1 * interval '1 second')
"""

OnReady = Callable[[Running], Awaitable[None]]


async def serve(
    options: Options,
    settings: Settings,
    stopping: asyncio.Event,
    on_ready: OnReady | None = None,
) -> None:
    """Run everything until `stopping`. `on_ready` is called once all parts can do their work.

    Raises ConfigurationError for what a person must mend, before anything has been started.
    """
    files = None if options.workspace is None else read_folder(options.workspace)
    with contextlib.closing(listen(options.host, options.port)) as sock:
        port: int = sock.getsockname()[1]
        url = f"http://{_host_in_url(options.host)}:{port}"
        async with (
            _database(options, settings) as (dsn, token, alone),
            open_foundation(settings, dsn, speed=options.speed) as found,
        ):
            applied = None
            if files is not None:
                applied = await apply(found.pool, files, "dangol up", found.clock)
            house = _House(found, token, alone)
            running = Running(url, token, found.clock, found.pool, applied)
            await house.run(sock, stopping, running, on_ready)


def _host_in_url(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - we only name it
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def _database(options: Options, settings: Settings) -> AsyncIterator[tuple[str, str, bool]]:
    """The database's URL, the admin token, and whether no other process can be at work on it."""
    given = settings.admin_token.get_secret_value() if settings.admin_token else None
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value(), given or secrets.token_urlsafe(32), False
        return
    with hold_folder(options.data):
        server = await asyncio.to_thread(embedded.start, options.data)
        try:
            yield server.dsn, given or make_local_token(options.data), True
        finally:
            await asyncio.to_thread(embedded.stop, server)


class _House:
    """All services, wired."""

    def __init__(self, found: Foundation, admin_token: str, alone: bool) -> None:
        settings, pool, clock = found.settings, found.pool, found.clock
        self._found = found
        self._alone = alone
        self._engine = engine_for(found.dsn)
        metrics = IngestMetrics(REGISTRY)
        self._batching = BatchingLog(found.log, metrics)
        keys = KeyRing(
            pool,
            write_keys=[key.get_secret_value() for key in settings.write_keys],
            admin_token=admin_token,
        )
        self._ingest = IngestContext(self._batching, keys, StoredAside(pool, clock), clock, metrics)
        self._console = Console(pool, self._engine, keys, clock)
        reader = PostgresLogReader(pool, found.wakeups, found.partitions, found.name, clock)
        engine = Engine(
            worker=found.name,
            reader=reader,
            store=Store(pool),
            library=Library(pool),
            clock=clock,
            partitions=found.partitions,
            batch=settings.batch,
            cache=settings.cache // found.partitions,
        )
        self._worker = Worker(engine, found.wakeups.listen(workspace_store.CHANNEL))
        self._dispatcher = Dispatcher(
            pool,
            clock,
            found.wakeups,
            partitions=found.partitions,
            environment=os.environ,
            concurrency=settings.concurrency,
            lease=settings.lease,
        )
        self._relay = outbox.Relay(pool, found.log, found.wakeups.listen(outbox.CHANNEL))
        self._maintenance = Maintenance(pool, clock)

    def _app(self) -> ASGIApp:
        app = create_app(self._console)
        checks: dict[str, Check] = {"database": self._check_database, "journey": self._check_worker}
        app.include_router(health_routes(checks, REGISTRY))
        return Edge(app, self._ingest)

    async def _check_database(self) -> str | None:
        try:
            async with unavailable_when_lost():
                await self._found.pool.fetchval("SELECT 1", timeout=2)
        except Unavailable as error:
            return str(error)
        return None

    async def _check_worker(self) -> str | None:
        waiting = await self._found.pool.fetchval(_WITHOUT_OWNER, HEARTBEAT_LIMIT, timeout=2)
        return f"{waiting} partitions have no owner yet" if waiting else None

    async def run(
        self, sock: Any, stopping: asyncio.Event, running: Running, on_ready: OnReady | None
    ) -> None:
        if self._alone:
            # Nobody else can be alive behind the folder's lock: whoever had these is gone.
            await self._dispatcher.settle_all()
            await self._found.pool.execute("TRUNCATE workers")
        calm_garbage_collection()
        http_over = asyncio.Event()
        services: dict[str, Coroutine[Any, Any, None]] = {
            "wakeups": self._found.wakeups.run(http_over),
            "http": self._serve_http(sock, stopping, http_over),
            "journey": self._worker.run(http_over),
            "dispatch": self._dispatcher.run(http_over),
            "outbox": self._relay.run(http_over),
            "maintenance": self._maintenance.run(http_over),
            "ready": self._announce(stopping, running, on_ready),
        }
        try:
            await run_all(services, stopping, limit=15)
        finally:
            await self._engine.dispose()

    async def _serve_http(
        self, sock: Any, stopping: asyncio.Event, http_over: asyncio.Event
    ) -> None:
        """The others stop only when no request can come in any more."""
        try:
            await serve_http(self._app(), sock, stopping)
            await self._batching.stop()
        finally:
            http_over.set()

    async def _announce(
        self, stopping: asyncio.Event, running: Running, on_ready: OnReady | None
    ) -> None:
        while not stopping.is_set() and await self._check_worker() is not None:
            await pause(stopping, 0.02)
        if not stopping.is_set() and on_ready is not None:
            await on_ready(running)
        await stopping.wait()


def run(options: Options, settings: Settings) -> None:
    """The command: until SIGINT or SIGTERM. Raises ConfigurationError."""
    run_until_signalled(lambda stopping: serve(options, settings, stopping, _say_ready))


def run_until_signalled(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run on uvloop with SIGINT and SIGTERM mapped to the stop signal."""

    async def guarded() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        await main(stopping)

    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(guarded())
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())


async def _say_ready(running: Running) -> None:
    has_keys = await running.pool.fetchval("SELECT EXISTS (SELECT FROM keys WHERE role = 'write')")
    lines = [
        f"Dangol is ready at {running.url}  (API at /docs, metrics at /metrics, Ctrl-C stops it)"
    ]
    if running.applied is not None:
        words = "applied" if running.applied.changed else "unchanged"
        lines.append(f"Workspace: revision {running.applied.revision}, {words}.")
    elif not await running.pool.fetchval("SELECT EXISTS (SELECT FROM workspaces)"):
        lines.append("No workspace yet: `dangol apply DIR`, or start with --workspace DIR.")
    if not has_keys and not os.environ.get("DANGOL_WRITE_KEYS"):
        lines.append("No write key yet: `dangol key create web` makes one for your SDKs.")
    if running.clock.speed != 1.0:
        lines.append(f"The clock runs {running.clock.speed:g} times as fast.")
    print("\n".join(lines), file=sys.stderr, flush=True)
