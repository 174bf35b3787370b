"""The breaker of sending domains: counts their advertising mail, and stops it for complaints.

Dispatchers count in memory and add what they counted every few seconds, so that no mail pays for
it: a kill loses some seconds of the count, which makes the rate a little higher than it is. The
leader of dispatch judges once a minute; each dispatcher learns of a pause within a second.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import structlog

from services.dispatch import metrics
from services.dispatch.channels.port import Outcome, Result
from services.dispatch.pending import Attempt, Change
from services.dispatch.receipts.sent import Sent
from shared import mail_complaints
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Unavailable
from shared.mail_complaints import KEPT, MailPause, bin_of, sending_domain

logger = structlog.get_logger()

_ADD = """
INSERT INTO sent_mail AS s (domain, since, mails)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) ORDER BY 1, 2
ON CONFLICT (domain, since) DO UPDATE SET mails = s.mails + excluded.mails
"""
# The workspace's sender when the mail went out.
_SENDER = """
SELECT settings #>> '{channels,email,from}' FROM workspaces WHERE active_from <= $1
ORDER BY revision DESC LIMIT 1
"""
_COMPLAIN = """
INSERT INTO complaints (partition, message_id, domain, sent_at, told_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_FORGET = ("DELETE FROM sent_mail WHERE since < $1", "DELETE FROM complaints WHERE sent_at < $1")
_FRESH = 1.0
"""Real seconds for which nothing that is stopped is asked about again."""


class SentMail:
    """What this dispatcher has sent and not yet added to the tables."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, datetime]] = Counter()

    def count(
        self, finished: Iterable[tuple[Attempt, Result]], changes: Iterable[Change], domain: str
    ) -> None:
        """Of calls whose outcomes are stored."""
        sent = {change.key: change.decided_at for change in changes if change.decision == "sent"}
        for attempt, result in finished:
            at = sent.get(attempt.pending.key)
            if (
                at is not None
                and attempt.outgoing.channel == "email"
                and attempt.pending.message.category != "transactional"
                and result.outcome in (Outcome.ACCEPTED, Outcome.DELIVERED)
            ):
                self._counts[domain, bin_of(at)] += 1

    async def add(self, pool: Pool) -> None:
        """Raises Unavailable; then it is added the next time."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            async with unavailable_when_lost(), pool.acquire() as connection:
                await connection.execute(
                    _ADD,
                    [domain for domain, _ in counts],
                    [since for _, since in counts],
                    list(counts.values()),
                )
        except Unavailable:
            self._counts += counts
            raise


class Stopped:
    """The domains whose advertising mail waits, as a dispatcher asks for them.

    While there is one it is asked about with every turn: what is let go must not be held again.
    """

    def __init__(self) -> None:
        self._found: Mapping[str, MailPause] = {}
        self._asked_at = float("-inf")

    async def get(self, connection: Connection, now: datetime) -> Mapping[str, MailPause]:
        moment = asyncio.get_running_loop().time()
        if self._found or moment - self._asked_at >= _FRESH:
            self._found = await mail_complaints.stopped(connection, now)
            self._asked_at = moment
        return self._found


async def complained(connection: Connection, partition: int, message: Sent, now: datetime) -> None:
    """Of an advertisement; once, however often it is told."""
    if message.channel != "email" or message.sent_at is None:
        return
    domain = sending_domain(await connection.fetchval(_SENDER, message.sent_at))
    if domain is not None:
        await connection.execute(_COMPLAIN, partition, message.id, domain, message.sent_at, now)


class Breaker:
    """The leader's job."""

    EVERY = 60.0
    """Real seconds between two looks."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def turn(self) -> None:
        """Raises Unavailable."""
        now = self._clock.now()
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            for statement in _FORGET:
                await connection.execute(statement, now - KEPT)
            for each in await mail_complaints.standings(connection, now):
                if each.pause is None and each.rate.is_too_high:
                    await self._stop(connection, each.domain, each.rate, now)
            metrics.mail_domains(await mail_complaints.standings(connection, now))

    @staticmethod
    async def _stop(
        connection: Connection, domain: str, rate: mail_complaints.Rate, now: datetime
    ) -> None:
        if await mail_complaints.stop(connection, domain, rate, now):
            logger.error(
                "too many complain: advertising mail of this domain waits for a day",
                action="mail_stopped",
                domain=domain,
                mails=rate.mails,
                complaints=rate.complaints,
            )
