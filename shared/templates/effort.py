"""How long one message may take to be written.

Counted is the processor time of the thread that renders: on a machine that is busy with other
things a message takes longer, and is no worse for it. Clocks are dear to read, so that pieces of
work are counted, and the clock is looked at once for several of them.
"""

from collections.abc import Callable
from time import thread_time

from liquid.exceptions import ResourceLimitError

MOST_SECONDS = 1.0
"""Processor seconds for all texts of one message: subject, body and the others."""
_PIECES = 16
"""The clock is looked at so often. A piece of work (a lookup, a filter, a round of a loop, a text
that is written) takes milliseconds at worst, as everything that it may touch has a largest size."""


class RenderTimeLimitError(ResourceLimitError):
    """A message took longer to write than any may."""


class Effort:
    """What one message has taken so far. `clock` tells seconds, from any beginning."""

    __slots__ = ("_clock", "_ends", "_pieces")

    def __init__(self, clock: Callable[[], float] = thread_time) -> None:
        self._clock = clock
        self._pieces = 0
        self._ends: float | None = None

    def count(self) -> None:
        """One more piece of work; raises RenderTimeLimitError where it is too much."""
        self._pieces += 1
        if not self._pieces % _PIECES:
            self._look()

    def _look(self) -> None:
        now = self._clock()
        if self._ends is None:  # short messages, which are nearly all, never look
            self._ends = now + MOST_SECONDS
        elif now > self._ends:
            raise RenderTimeLimitError(
                f"rendering takes more than {MOST_SECONDS:g} s: make its loops, conditions or"
                " filters fewer, or their texts shorter",
                token=None,
            )
