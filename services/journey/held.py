"""Customers whose stored state cannot be read: they alone are held.

Bytes that are damaged, or that a newer release wrote in another form, say nothing of the runs in
them. Deciding without them would begin the customer anew and write over what may still be mended.
So each of their events is set aside as it came, to be replayed once the row is mended, and their
timers come back after a moment. Only an erasure is decided: nothing is left behind it anyway.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

from services.journey import metrics
from services.journey.batch import Batch, TimerRow
from services.journey.core.state import Customer, State
from services.journey.deciding import Given
from shared.ids import fraction

logger = structlog.get_logger()

REASON = "the state of its customer cannot be read"
"""Why their events were set aside: the same for all, so that they can be replayed together."""
_AGAIN = timedelta(seconds=5)
"""Until a timer of theirs comes back: one to two of these, each customer's own."""


class Held:
    """Those whom a batch has met."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._names: set[str] = set()

    def __contains__(self, customer: str) -> bool:
        return customer in self._names

    def add(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self._names]
        if not new:
            return
        self._names.update(new)
        metrics.HELD.inc(len(new))
        logger.error(
            "the state of customers cannot be read; they alone are held",
            action="state_unreadable",
            partition=self._partition,
            customers=len(new),
        )

    def events(
        self, given: list[Given], customers: dict[str, Customer], batch: Batch, needs: str
    ) -> list[Given]:
        """Those that can be decided; the others are set aside. Who is erased begins anew in
        `customers`."""
        if not self._names:
            return given
        left: list[Given] = []
        for each in given:
            if each.customer in self._names and each.event.kind == "erase":
                self._names.discard(each.customer)
                customers[each.customer] = Customer(each.customer, {}, State(needs=needs))
            if each.customer in self._names and each.event.kind != "catalog":
                batch.set_aside.append((REASON, each.payload))
            else:
                left.append(each)
        return left

    def timers(self, rows: Iterable[TimerRow], batch: Batch, now: datetime) -> None:
        """Fired, they come back: the promise that something is due outlives the damage."""
        for row in rows:
            if row.customer in self._names:
                again = max(now, batch.log_time) + _AGAIN * (1 + fraction("held", row.customer))
                batch.timers.append((again, row.customer))
