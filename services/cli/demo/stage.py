"""The demo's stage: a database, an inbox and all of Dangol, on which the day is played.

The shop's clock begins shortly before the next 08:30 in its time zone: Dangol's clock never runs
behind the log of its database, so the log's heads are told that moment before anything starts.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from services.cli import up
from shared.clock import Clock
from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.data_folder import folder_error
from shared.errors import ConfigurationError, DataFolderError
from shared.settings import Settings

HEAD_START = timedelta(seconds=1.5)
"""Real time for the services to start before the shop opens; where they need more, it opens later
on its day."""
_STOP_LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo keeps things."""

    data: Path
    mails: Path
    kept: bool
    """The data stays; otherwise only the mails do."""


@contextmanager
def place_at(folder: Path | None) -> Iterator[Place]:
    """A new or empty folder, or one of our own. Raises DataFolderError."""
    if folder is not None:
        if folder.is_dir() and any(folder.iterdir()):
            raise DataFolderError(
                f"{folder} is not empty, and the demo's day needs a folder of its own",
                hint="name a new folder with --data",
            )
        yield _made(Place(folder, folder / "mails", kept=True))
        return
    ours = Path(tempfile.mkdtemp(prefix="dangol-demo-"))
    try:
        yield _made(Place(ours / "data", ours / "mails", kept=False))
    finally:
        shutil.rmtree(ours / "data", ignore_errors=True)
        with contextlib.suppress(OSError):
            ours.rmdir()  # stays if there are mails


def _made(place: Place) -> Place:
    try:
        place.mails.mkdir(parents=True)
    except OSError as error:
        raise folder_error(error, f"make the folder {place.mails}") from error
    return place


@contextmanager
def database(data: Path) -> Iterator[str]:
    """The URL of a PostgreSQL in the folder, for as long as this lasts. Raises DataFolderError."""
    with embedded.hold_folder(data):
        server = embedded.start(data)
        try:
            yield server.dsn
        finally:
            embedded.stop(server)


def example_shop() -> Path:
    """Raises ConfigurationError where Dangol was installed without it."""
    folder = Path(__file__).parents[3] / "examples" / "shop"
    if not (folder / "dangol.yaml").is_file():
        raise ConfigurationError(
            "the example shop is not here", hint="run the demo from a checkout of the repository"
        )
    return folder


def next_midnight(zone: ZoneInfo, now: datetime) -> datetime:
    """The beginning of the zone's next day: its opening lies ahead by more than a head start."""
    tomorrow = now.astimezone(zone) + timedelta(days=1)
    return tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)


async def set_time(dsn: str, at: datetime) -> None:
    """Let the log of a migrated database, and with it Dangol's clock, begin at this moment."""
    pool = await open_pool(dsn, size=1, name="demo")
    try:
        await pool.execute("UPDATE log_heads SET last_at = $1", at)
    finally:
        await pool.close()


@asynccontextmanager
async def running(
    options: up.Options, settings: Settings, smtp_port: int
) -> AsyncIterator[up.Running]:
    """All of Dangol, ready, with its mail going to the inbox. Raises ConfigurationError."""
    os.environ["DANGOL_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    stopping = asyncio.Event()
    ready: asyncio.Future[up.Running] = asyncio.get_running_loop().create_future()

    async def on_ready(found: up.Running) -> None:
        ready.set_result(found)

    serving = asyncio.create_task(up.serve(options, settings, stopping, on_ready), name="dangol")
    try:
        either: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield ready.result()
    finally:
        stopping.set()
        await asyncio.wait({serving}, timeout=_STOP_LIMIT)
        if serving.done():
            serving.result()
        else:
            serving.cancel()


async def in_force(pool: Pool, clock: Clock) -> None:
    """Wait until the journeys that were applied at the start meet new events."""
    active_from: datetime = await pool.fetchval("SELECT max(active_from) FROM workspaces")
    await asyncio.sleep(max(0.0, clock.real_delay(active_from - clock.now())))
