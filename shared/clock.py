"""The one place that reads the wall clock.

A `Clock` maps real time to Dangol's time, `virtual = virtual_start + (real - real_start) * speed`,
so that a demo can run a day in a minute. At speed 1 from equal starts it is the wall clock. The
Postgres log applies the same map to the database's clock, so that every stamp agrees.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Correction:
    """Of this process's clock; zero while the machine's is right. See `shared/db/clock.py`."""

    by = timedelta()


def machine_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - this is the clock


def wall_clock() -> datetime:
    return machine_clock() + _Correction.by


def correct(by: timedelta) -> None:
    """From now on the wall clock is the machine's and so much."""
    _Correction.by = by


def correction() -> timedelta:
    return _Correction.by


@dataclass(frozen=True, slots=True)
class Clock:
    real_start: datetime = EPOCH
    virtual_start: datetime = EPOCH
    speed: float = 1.0

    def now(self) -> datetime:
        return self.at(wall_clock())

    def at(self, real: datetime) -> datetime:
        if self.speed == 1.0 and self.real_start == self.virtual_start:
            return real
        return self.virtual_start + (real - self.real_start) * self.speed

    def real_delay(self, virtual: timedelta) -> float:
        """Seconds of real time that pass while `virtual` time goes by."""
        return virtual.total_seconds() / self.speed


REAL = Clock()
