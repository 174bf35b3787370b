"""Reports that a provider does not send: the leader asks for them, one message at a time.

A message that such a provider has taken (`Result.polled`) is remembered in the transaction that
stores its outcome. It is asked for with growing pauses, until it is told or is older than any
carrier's report. All processes together ask `RATE` times a second at most, since only one leads.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from services.dispatch import metrics
from services.dispatch.channels import bizgo, sens
from services.dispatch.channels.aligo_reports import AligoReports
from services.dispatch.channels.bizgo_reports import BizgoReports
from services.dispatch.channels.port import Outcome, Result, Setup, Told
from services.dispatch.channels.sens_reports import SensReports
from services.dispatch.pending import Attempt, Key
from services.dispatch.receipts.texts.readings import Report
from services.dispatch.receipts.texts.store import Reports
from shared.address import phone_number
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.workspace import ChannelSettings

logger = structlog.get_logger()

EVERY = 15.0
"""Real seconds between two turns."""
RATE = 5.0
"""Requests a second, well below what any provider has been seen to refuse."""
OLDEST = timedelta(hours=80)
"""Of a long text, after which carriers tell nothing more (of a short one 25 hours)."""
PAUSES = tuple(
    timedelta(minutes=minutes) for minutes in (0.5, 1, 2, 5, 10, 30, 60, 120, 240, 480, 720)
)
"""Before each asking; the last is for all that follow."""
_AT_ONCE = 75
"""In one turn, so that it does not last longer than the next is away."""

_REMEMBER = """
INSERT INTO report_polls (partition, message_id, channel, adapter, provider_id, since, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
"""
_DUE = """
SELECT p.partition, p.message_id, p.channel, p.provider_id, p.since, p.tries,
  m.id IS NULL OR m.erased IS TRUE AS gone
FROM report_polls p
LEFT JOIN messages m ON m.partition = p.partition AND m.id = p.message_id
WHERE p.adapter = $1 AND p.due_at <= $2 ORDER BY p.due_at LIMIT $3
"""
_LATER = """
UPDATE report_polls SET due_at = $5, tries = tries + 1
WHERE partition = $1 AND message_id = $2 AND channel = $3 AND adapter = $4
"""
_OVER = """
DELETE FROM report_polls
WHERE partition = $1 AND message_id = $2 AND channel = $3 AND adapter = $4
"""


class Source(Protocol):
    """A provider that is asked."""

    name: str

    async def ask(self, channel: str, provider_id: str, now: datetime) -> Told | Result | None: ...

    async def close(self) -> None: ...


_SOURCES: Mapping[str, tuple[tuple[str, ...], Callable[[Setup], Source]]] = {
    "aligo": (("DANGOL_ALIGO_API_KEY", "DANGOL_ALIGO_USER_ID"), AligoReports),
    "bizgo": (bizgo.KEYS, BizgoReports),
    "sens": (sens.KEYS, SensReports),
}
"""Adapter → the settings without which it cannot be asked, and who asks."""


async def remember(
    connection: Connection,
    finished: Sequence[tuple[Attempt, Result]],
    stored: AbstractSet[Key],
    now: datetime,
) -> None:
    """Note which of the finished attempts are to be asked for."""
    rows = [
        (
            *(*attempt.pending.key, attempt.outgoing.channel, attempt.adapter),
            *(result.provider_id, now, now + PAUSES[0]),
        )
        for attempt, result in finished
        if result.polled and result.provider_id and attempt.pending.key in stored
    ]
    if rows:
        await connection.executemany(_REMEMBER, rows)


def sources_of(environment: Mapping[str, str]) -> list[Source]:
    """Those whose keys are set."""
    return [
        make(Setup("sms", ChannelSettings(adapter=adapter), environment, 2, 10.0))
        for adapter, (keys, make) in _SOURCES.items()
        if all(environment.get(key) for key in keys)
    ]


@dataclass(frozen=True, slots=True)
class _Poll:
    partition: int
    message_id: str
    channel: str
    provider_id: str
    since: datetime
    tries: int
    gone: bool
    """Its customer has been erased."""


class Polls:
    def __init__(
        self,
        pool: Pool,
        clock: Clock,
        reports: Reports,
        sources: Sequence[Source],
        *,
        rate: float = RATE,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._reports = reports
        self._sources = sources
        self._gap = 1 / rate

    async def turn(self) -> None:
        """Raises Unavailable."""
        for source in self._sources:
            for poll in await self._due(source.name):
                if not await self._one(source, poll):
                    break  # the provider is away or has had enough: the next turn asks again

    async def _due(self, adapter: str) -> list[_Poll]:
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            rows = await connection.fetch(_DUE, adapter, self._clock.now(), _AT_ONCE)
        return [_Poll(**dict(row)) for row in rows]

    async def _one(self, source: Source, poll: _Poll) -> bool:
        """Whether the provider may be asked on."""
        if poll.gone:
            await self._over(source, poll, "given up")
            return True
        now = self._clock.now()
        told = await source.ask(poll.channel, poll.provider_id, now)
        if isinstance(told, Result):
            metrics.POLLS.labels(source.name, "failed").inc()
            logger.warning(
                "a provider cannot be asked for reports",
                action="report_poll_failed",
                adapter=source.name,
                outcome=told.outcome,
                why=told.detail,
            )
            if told.outcome is Outcome.REJECTED_MESSAGE:
                await self._later(source, poll, now)
            return told.outcome is Outcome.REJECTED_MESSAGE
        if told is not None:
            await self._take(source, poll, told, now)
            await self._over(source, poll, "told")
        elif now - poll.since >= OLDEST:
            await self._over(source, poll, "given up")
        else:
            await self._later(source, poll, now)
        await asyncio.sleep(self._gap)
        return True

    async def _take(self, source: Source, poll: _Poll, told: Told, now: datetime) -> None:
        number = phone_number(told.number, "KR") if told.number else None
        report = Report(poll.message_id, told.outcome, told.detail, number)
        if await self._reports.take(report, poll.channel, source.name, now):
            metrics.RECEIPTS.labels(poll.channel, str(told.outcome), "provider").inc()

    async def _later(self, source: Source, poll: _Poll, now: datetime) -> None:
        metrics.POLLS.labels(source.name, "not yet").inc()
        pause = PAUSES[min(poll.tries + 1, len(PAUSES) - 1)]
        await self._write(_LATER, source, poll, now + pause)

    async def _over(self, source: Source, poll: _Poll, what: str) -> None:
        metrics.POLLS.labels(source.name, what).inc()
        await self._write(_OVER, source, poll)

    async def _write(self, statement: str, source: Source, poll: _Poll, *more: Any) -> None:
        key = (poll.partition, poll.message_id, poll.channel, source.name)
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await connection.execute(statement, *key, *more)
