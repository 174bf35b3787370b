"""The leader's clock: makes a row of `firings` when a schedule or a date comes due.

A journey's mark says up to where its occasions have been considered; it moves in the transaction
that writes what it has passed. So what came due while nobody led is found by the next leader.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.journey.core.book import Book
from services.journey.core.firing import ON_DATE
from services.journey.core.flow import Flow
from services.journey.core.occasions import Due, due_firings, next_firing
from services.journey.firings import rows
from services.journey.library import Current, Library
from shared.clock import EPOCH, Clock
from shared.db.connect import Pool, unavailable_when_lost

logger = structlog.get_logger()

_REFRESHES = 60
_LOOK_AGAIN = timedelta(minutes=10)
"""At the latest: a new time zone database, or a mark that another leader has moved."""


@dataclass(frozen=True, slots=True)
class _Next:
    """When a journey is looked at again, as long as the workspace stays what it is."""

    stamp: int
    at: datetime


class Planner:
    EVERY = 1.0
    """Real seconds between two turns."""

    def __init__(self, pool: Pool, library: Library, clock: Clock) -> None:
        self._pool = pool
        self._library = library
        self._clock = clock
        self._next: dict[str, _Next] = {}
        self._turns = 0

    async def turn(self) -> None:
        """Plan what is due, and what comes due before the next turn, at its moment.

        Raises Unavailable, having planned whole journeys or none.
        """
        if self._turns % _REFRESHES == 0:  # should the news of an apply have been lost
            await self._library.refresh()
        self._turns += 1
        await self._plan_due()
        now = self._clock.now()
        waits = [self._clock.real_delay(each.at - now) for each in self._next.values()]
        soon = min((wait for wait in waits if wait < self.EVERY), default=None)
        if soon is not None:
            await asyncio.sleep(max(soon, 0.0))
            await self._plan_due()

    async def _plan_due(self) -> None:
        current, now = self._library.current, self._clock.now()
        plans = current.book.plans(now)
        self._next = {flow.journey: n for flow in plans if (n := self._next.get(flow.journey))}
        flows = [flow for flow in plans if self._is_due(flow, current, now)]
        if not flows:
            return
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            marks = await rows.marks(connection)
        for flow in flows:
            await self._plan(flow, current, marks.get(flow.journey, EPOCH), now)

    def _is_due(self, flow: Flow, current: Current, now: datetime) -> bool:
        known = self._next.get(flow.journey)
        return known is None or known.stamp != current.stamp or known.at <= now

    async def _plan(self, flow: Flow, current: Current, mark: datetime, now: datetime) -> None:
        found = due_firings(current.book, flow.journey, mark, now)
        if found:
            await self._write(flow.journey, found, mark, now)
        self._next[flow.journey] = _Next(
            current.stamp, _look_again(current.book, flow, mark if not found else now, now)
        )

    async def _write(self, journey: str, found: list[Due], mark: datetime, now: datetime) -> None:
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            if not await rows.mark(connection, journey, mark, now):
                return  # another leader was here: it has written them
            new = await rows.insert(connection, found)
        rows.told(new)
        for due in new:
            _say(due)


def _look_again(book: Book, flow: Flow, mark: datetime, now: datetime) -> datetime:
    following = next_firing(book, flow, max(mark, now))
    latest = now + _LOOK_AGAIN
    return latest if following is None else min(following, latest)


def _say(due: Due) -> None:
    firing = due.firing
    late = round(firing.late.total_seconds())
    say = logger.warning if due.skipped or late else logger.info
    if say == logger.info and firing.trigger.name == ON_DATE:
        say = logger.debug  # every hour or minute of the day
    text = "a journey fires"
    if due.skipped:
        text = "a firing came too late and starts nobody; `entry.max_age` says how late it may be"
    elif late:
        text = "a firing that was missed fires late"
    say(
        text,
        action="firing_skipped" if due.skipped else "firing_planned",
        journey=firing.journey,
        label=firing.label,
        at=firing.at.isoformat(),
        late_seconds=late,
        missed=due.missed,
    )
