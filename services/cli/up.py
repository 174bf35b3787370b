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
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.cli import hand_over
from services.cli.foundation import open_foundation
from services.cli.hand_over import Predecessor, offering
from services.cli.house import ALL, Part, open_house
from services.cli.local import erasure_ledger, make_local_token
from services.cli.web import listen
from services.console.folder import read_folder
from services.console.publish import Applied, apply
from shared.clock import Clock
from shared.db import embedded
from shared.db.connect import Pool
from shared.db.data_folder import hold_folder
from shared.errors import ConfigurationError, DataFolderError
from shared.settings import Settings

_ENDS_WITHIN = 60.0
"""Seconds that a predecessor has to let go of the data folder."""


@dataclass(frozen=True, slots=True)
class Options:
    workspace: Path | None
    data: Path
    host: str = "127.0.0.1"
    port: int = 8420
    speed: float = 1.0
    take_over: bool = False
    """Take the port from the Dangol that has it, if one does."""


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    admin_token: str
    clock: Clock
    pool: Pool
    applied: Applied | None
    """What became of `--workspace`."""


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
    sock, before = open_socket(options.host, options.port, take_over=options.take_over)
    with contextlib.closing(sock):
        port: int = sock.getsockname()[1]
        url = f"http://{_host_in_url(options.host)}:{port}"
        if before is not None and settings.database_url is None:
            before.relieve()  # two cannot run on one folder: clients wait in the socket meanwhile
        async with (
            _database(options, settings, wait=before is not None) as (dsn, token, alone),
            open_foundation(settings, dsn, speed=options.speed) as found,
        ):
            applied = None
            if files is not None:
                applied = await apply(found.pool, files, "dangol up", found.clock)
            running = Running(url, token, found.clock, found.pool, applied)

            async def announce() -> None:
                if before is not None:
                    before.relieve()
                if on_ready is not None:
                    await on_ready(running)

            async with (
                open_house(
                    *(found, ALL),
                    admin_token=token,
                    alone=alone,
                    url=url,
                    ledger=erasure_ledger(settings, options.data),
                ) as house,
                offering(sock, stopping) as offer,
            ):
                await house.run(sock, stopping, announce, lambda: offer.taken)


def open_socket(
    host: str, port: int, *, take_over: bool
) -> tuple[socket.socket, Predecessor | None]:
    """The socket of the Dangol that has the port, else a new one. Raises ConfigurationError."""
    taken = hand_over.take_over(port) if take_over and port else None
    return taken if taken is not None else (listen(host, port), None)


def _host_in_url(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - we only name it
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def _database(
    options: Options, settings: Settings, *, wait: bool
) -> AsyncIterator[tuple[str, str, bool]]:
    """The database's URL, the admin token, and whether no other process can be at work on it."""
    given = settings.admin_token.get_secret_value() if settings.admin_token else None
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value(), given or secrets.token_urlsafe(32), False
        return
    async with _hold(options.data, wait=wait):
        server = await asyncio.to_thread(embedded.start, options.data)
        try:
            yield server.dsn, given or make_local_token(options.data), True
        finally:
            await asyncio.to_thread(embedded.stop, server)


@asynccontextmanager
async def _hold(folder: Path, *, wait: bool) -> AsyncIterator[None]:
    """The folder's lock; with `wait`, its holder is ending, and is waited for."""
    until = time.monotonic() + _ENDS_WITHIN
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold_folder(folder))
                break
            except DataFolderError:
                if not wait or time.monotonic() > until:
                    raise
            await asyncio.sleep(0.02)
        yield


def run(options: Options, settings: Settings) -> None:
    """The command: until SIGINT or SIGTERM. Raises ConfigurationError."""
    run_until_signalled(lambda stopping: serve(options, settings, stopping, _say_ready))


async def serve_part(
    part: Part,
    host: str,
    port: int,
    settings: Settings,
    stopping: asyncio.Event,
    *,
    take_over: bool = False,
) -> None:
    """One service by itself, beside others on the same database. Raises ConfigurationError."""
    if settings.database_url is None:
        raise ConfigurationError(
            f"`dangol {part}` runs beside other processes and needs their database",
            hint="set DANGOL_DATABASE_URL, or run everything in one process with `dangol up`",
        )
    token = settings.admin_token.get_secret_value() if settings.admin_token else None
    sock, before = open_socket(host, port, take_over=take_over)
    with contextlib.closing(sock):
        url = f"http://{_host_in_url(host)}:{sock.getsockname()[1]}"

        async def announce() -> None:
            if before is not None:
                before.relieve()
            print(f"dangol {part} is ready; health and metrics at {url}", file=sys.stderr)

        dsn = settings.database_url.get_secret_value()
        async with (
            open_foundation(settings, dsn, name=part) as found,
            open_house(
                *(found, frozenset({part})),
                admin_token=token,
                alone=False,
                ledger=erasure_ledger(settings, None),
            ) as house,
            offering(sock, stopping) as offer,
        ):
            await house.run(sock, stopping, announce, lambda: offer.taken)


def run_part(
    part: Part, host: str, port: int, settings: Settings, *, take_over: bool = False
) -> None:
    """The command: until SIGINT or SIGTERM. Raises ConfigurationError."""
    run_until_signalled(
        lambda stopping: serve_part(part, host, port, settings, stopping, take_over=take_over)
    )


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
