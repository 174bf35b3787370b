"""How long tests wait, on any machine.

What has to come is waited for patiently, since only a test that fails waits to the end. Where the
time itself is what is promised, the bound is that of a machine at rest, and is stretched by what
this one is slower at the moment; so are times of the code under test that a test has made short.
"""

import os
import time
from dataclasses import dataclass

SOON = 120.0
"""Seconds for what has to come and whose shortness proves nothing."""

MOST = 10.0
"""So many times slower is what `slowness` says at most, lest a promise come to mean nothing."""

_AT_REST = 0.03
"""Seconds that `_work` takes on a machine at rest that is no fast one; most need 0.02."""


def _work() -> int:
    found = 0
    for number in range(400_000):
        found += number * number % 7
    return found


_KNOWN_FOR = 5.0


@dataclass
class _Known:
    until: float = 0.0
    slowness: float = 1.0


_known = _Known()


def slowness() -> float:
    """How many times slower than a machine at rest this one is at the moment: from 1 to `MOST`.

    The larger of two measures: by how much a loop takes longer, and how many would run on each
    processor. The first sees a slow machine and what runs right now, the second the last minute.
    What was found stands for a few seconds.
    """
    began = time.perf_counter()
    if began < _known.until:
        return _known.slowness
    _work()
    took = time.perf_counter() - began
    _known.until = began + took + _KNOWN_FOR
    _known.slowness = min(
        MOST, max(1.0, took / _AT_REST, os.getloadavg()[0] / (os.cpu_count() or 1))
    )
    return _known.slowness


def stretched(seconds: float) -> float:
    """A time that a test has made short, long enough for this machine to keep up with."""
    return seconds * slowness()


def in_time(took: float, promised: float) -> bool:
    """Whether what took so many seconds kept the promise, were this machine at rest."""
    return took < promised or took < stretched(promised)
