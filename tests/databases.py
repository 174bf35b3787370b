"""Databases of tests, made once and copied, since making one takes longer than most tests."""

import asyncio
import atexit
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from unittest.mock import patch

from shared.db import embedded
from shared.db.data_folder import prepare
from shared.db.embedded import EmbeddedServer
from shared.db.migrate import migrate
from shared.db.pgdata import PGDATA

PARTITIONS = 8
"""Of a laid out database; what Dangol has by itself, too."""

_one_makes_it = threading.Lock()


def start_hasty(folder: Path) -> EmbeddedServer:
    """A server that survives anything but the end of the machine: it waits for no disk."""
    with patch.dict(embedded.SETTINGS, {"fsync": "off", "full_page_writes": "off"}):
        return embedded.start(folder)


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dangol-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = start_hasty(folder)
    try:
        asyncio.run(migrate(server.dsn, PARTITIONS))
    finally:
        embedded.stop(server)
    return folder


def lay_out(folder: Path) -> None:
    """Put a migrated database into a data folder, as a start before has left it. Blocks."""
    with _one_makes_it:
        made = _made() / PGDATA
    subprocess.run(["cp", "-a", made, prepare(folder) / PGDATA], check=True)
