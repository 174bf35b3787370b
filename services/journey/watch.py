"""What the leader sees of every partition: how far its owner is behind, and what is overdue.

An owner that is stuck, or a partition that nobody owns, tells nothing about itself; so this is
asked from outside. The log tells where its partitions end, and not when: the seconds behind are
counted from the first look that saw what is still unread, so they may be one look too few.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from services.journey import metrics
from shared.clock import EPOCH, Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.log.port import LogEnds

_PARTITIONS = """
SELECT p.id, p.log_offset, p.log_time,
  (SELECT min(t.due_at) FROM timers t WHERE t.partition = p.id) AS due
FROM partitions p
"""
_OUTBOX = "SELECT count(*) FROM (SELECT FROM log_outbox LIMIT 10000) o"
_REMEMBERED = 4096
_FORGOTTEN = 60.0


@dataclass(slots=True)
class Behind:
    """How long one partition has been behind, from looks at its end and its owner's offset."""

    looks: deque[tuple[datetime, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """Ends that were beyond the offset, with the moments at which they were seen."""
    met: bool = False
    """The offset has reached an end that was seen, and every later one is remembered."""

    def look(self, now: datetime, offset: int, end: int, log_time: datetime) -> tuple[int, float]:
        """Events, and seconds. `log_time` is the stamp of the last event that was taken in: how old
        the lag may be at most, where it was there before anybody looked."""
        while self.looks and self.looks[0][1] <= offset:
            self.looks.popleft()
            self.met = True
        if len(self.looks) == _REMEMBERED:
            self.met = False  # the first of them is about to be forgotten
        if end <= offset:
            self.met = True
            return 0, 0.0
        since = self.looks[0][0] if self.looks else now
        if self.looks and not self.met:
            since = min(since, log_time)
        self.looks.append((now, end))
        return end - offset, max(0.0, (now - since).total_seconds())


class Watch:
    EVERY = 5.0
    """Real seconds between two looks."""

    def __init__(self, pool: Pool, log: LogEnds, clock: Clock) -> None:
        self._pool = pool
        self._log = log
        self._clock = clock
        self._behind: dict[int, Behind] = {}
        self._looked = EPOCH

    async def turn(self) -> None:
        """Raises Unavailable."""
        ends = await self._log.ends()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(_PARTITIONS)
            metrics.OUTBOX.set(await connection.fetchval(_OUTBOX))
        now = self._clock.now()
        if self._clock.real_delay(now - self._looked) > _FORGOTTEN:
            self._behind.clear()  # somebody else has led meanwhile
        self._looked = now
        for row in rows:
            number, label = row["id"], str(row["id"])
            behind = self._behind.setdefault(number, Behind())
            end = ends.get(number, 0)
            events, seconds = behind.look(now, row["log_offset"], end, row["log_time"])
            overdue = (now - row["due"]).total_seconds() if row["due"] else 0.0
            metrics.LAG_EVENTS.labels(label).set(events)
            metrics.LAG_SECONDS.labels(label).set(seconds)
            metrics.TIMERS_OVERDUE.labels(label).set(max(0.0, overdue))
