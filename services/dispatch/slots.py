"""How many provider calls may be under way: a counter that hands out several places at once."""

import asyncio
import contextlib

_PATIENCE = 0.004
"""Seconds for which a few free places wait for more: ten in one group cost less."""


class Slots:
    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self.closed = False
        self._changed = asyncio.Event()

    async def take(self, most: int) -> int:
        """Take up to `most` places, at least one; 0 once it is closed."""
        deadline: float | None = None
        loop = asyncio.get_running_loop()
        while not self.closed:
            if self.free and deadline is None:
                deadline = loop.time() + _PATIENCE
            left = deadline - loop.time() if self.free and deadline is not None else None
            if self.free >= most or (left is not None and left <= 0):
                taken = min(self.free, most)
                self.free -= taken
                return taken
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return 0

    def give(self, places: int) -> None:
        self.free += places
        self._changed.set()

    def close(self) -> None:
        self.closed = True
        self._changed.set()
