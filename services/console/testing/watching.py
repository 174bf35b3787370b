"""Notices that a workspace's files change, by looking: no more than the standard library needs."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from services.console.folder import FOLDERS, SETTINGS

EVERY = 0.3
"""Seconds between two looks: unnoticed by the machine, at once to a person."""

Snapshot = dict[str, tuple[int, int]]
"""File → when it was changed, in nanoseconds, and its size."""


def snapshot(folder: Path) -> Snapshot:
    """Files that come and go meanwhile are left out."""
    seen: Snapshot = {}
    tops = [Path(place, name) for top in FOLDERS for place, name in _files(folder / top)]
    for file in (folder / SETTINGS, *tops):
        try:
            found = file.stat()
        except OSError:
            continue
        seen[str(file)] = found.st_mtime_ns, found.st_size
    return seen


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from ((place, name) for name in names if not name.startswith("."))


def changes(folder: Path, pause: Callable[[], None]) -> Iterator[None]:
    """Yields once at the start, and again whenever the files have changed and come to rest.

    `pause` waits between two looks; what it raises ends the watch. A change made while the caller
    works is noticed afterwards.
    """
    seen = snapshot(folder)
    yield
    while True:
        pause()
        now = snapshot(folder)
        if now == seen:
            continue
        while now != seen:  # an editor may be half-way through
            seen = now
            pause()
            now = snapshot(folder)
        yield
