"""How many complain about a sending domain's advertising mail, and when it is stopped for that.

Mailbox providers judge a domain by the share of its mail that people call spam: Gmail and Yahoo ask
for less than 0.1 % and never 0.3 %. Above 0.2 % advertising mail of the domain waits for a day,
while whoever answers for it looks at what was sent to whom; what customers must be told goes on.

A complaint counts for the day on which its mail was sent, not for the one on which it is told: the
rate is the share of that day's mail. Two days are looked at, because complaints come late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import getaddresses

from shared import message
from shared.address import email_address
from shared.db.connect import Connection
from shared.errors import NotFound

ALERT, PAUSE = 0.001, 0.002
"""Shares of a day's advertising mail, by the mailbox providers' rules for bulk senders (2024)."""
LEAST_MAILS, LEAST_COMPLAINTS = 100, 5
"""Fewer prove nothing: one complaint about ten mails is no rate."""
PAUSED_FOR = timedelta(days=1)
DAY = timedelta(days=1)
BIN = timedelta(minutes=5)
KEPT = timedelta(days=30)

# Of each domain the last 24 hours and the 24 before ($1: now, $2: a bin). Behind a pause only what
# was sent since it ended is judged, from the next bin on: the pause has paid for the rest.
_RATES = """
WITH known AS (
  SELECT domain FROM sent_mail WHERE since > $1::timestamptz - interval '48h'
  UNION SELECT domain FROM mail_pauses
), judged AS (
  SELECT k.domain, p.since AS paused_since, p.until, p.mails, p.complaints, p.ended_by,
    d.day, d.start AS "from", d.start + interval '24h' AS "to",
    coalesce(CASE WHEN p.until <= $1 THEN p.until END, '-infinity') AS behind
  FROM known k LEFT JOIN mail_pauses p USING (domain)
  CROSS JOIN (VALUES (0, $1::timestamptz - interval '24h'), (1, $1::timestamptz - interval '48h'))
    AS d(day, start)
)
SELECT j.domain, j.day, j.paused_since, j.until, j.mails AS mails_then,
  j.complaints AS complaints_then, j.ended_by,
  (SELECT coalesce(sum(s.mails), 0)::bigint FROM sent_mail s WHERE s.domain = j.domain
    AND s.since > j."from" AND s.since <= j."to" AND s.since >= j.behind) AS mails,
  (SELECT count(*) FROM complaints c WHERE c.domain = j.domain
    AND c.sent_at >= j."from" AND c.sent_at <= j."to" + $2::interval
    AND date_bin($2::interval, c.sent_at, 'epoch') > j."from"
    AND date_bin($2::interval, c.sent_at, 'epoch') <= j."to"
    AND date_bin($2::interval, c.sent_at, 'epoch') >= j.behind) AS complaints
FROM judged j ORDER BY j.domain, j.day
"""
_STOP = """
INSERT INTO mail_pauses AS p (domain, since, until, mails, complaints)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (domain) DO UPDATE SET since = excluded.since, until = excluded.until,
  mails = excluded.mails, complaints = excluded.complaints, ended_by = NULL
WHERE p.until <= excluded.since RETURNING true
"""
_PAUSED = "SELECT * FROM mail_pauses WHERE until > $1"
_END = """
UPDATE mail_pauses SET until = $2, ended_by = $3 WHERE domain = $1 AND until > $2 RETURNING true
"""
# What waits for it would wait until the end that was foreseen; another pause holds it again.
_LET_GO = """
UPDATE messages SET not_before = $1 WHERE status = 'queued' AND not_before > $1
  AND held_reason = 'channel_paused' AND category = 'marketing'
  AND coalesce(channel, channels[1]) = 'email'
"""


@dataclass(frozen=True, slots=True)
class Rate:
    mails: int
    complaints: int

    @property
    def share(self) -> float:
        return self.complaints / self.mails if self.mails else 0.0

    @property
    def proves(self) -> bool:
        """Whether there are enough of both to judge by."""
        return self.mails >= LEAST_MAILS and self.complaints >= LEAST_COMPLAINTS

    @property
    def is_too_high(self) -> bool:
        return self.proves and self.share >= PAUSE

    @property
    def alerts(self) -> bool:
        return self.proves and self.share >= ALERT


@dataclass(frozen=True, slots=True)
class MailPause:
    """Advertising mail of the domain waits."""

    domain: str
    since: datetime
    until: datetime
    rate: Rate
    """For which it was stopped."""

    @property
    def why(self) -> str:
        rate = self.rate
        return (
            f"advertising mail from {self.domain} waits: {rate.complaints:,} complaints about"
            f" {rate.mails:,} mails of a day ({rate.share:.2%})"
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one sending domain."""

    domain: str
    rate: Rate
    """The higher of the last 24 hours' and the 24 before."""
    pause: MailPause | None
    """While it lasts."""


def sending_domain(sender: str | None) -> str | None:
    """Of `from:`, a name and an address; None where there is no usable one."""
    found = getaddresses([sender or ""])
    address = email_address(found[0][1]) if len(found) == 1 else None
    return None if address is None else address.rpartition("@")[2]


def bin_of(at: datetime) -> datetime:
    """The begin of its five minutes."""
    return at - timedelta(seconds=at.timestamp() % BIN.total_seconds())


async def standings(connection: Connection, now: datetime) -> list[Standing]:
    """All domains that have sent lately, or were ever stopped."""
    found: dict[str, Standing] = {}
    for row in await connection.fetch(_RATES, now, BIN):
        domain, rate = row["domain"], Rate(row["mails"], row["complaints"])
        before = found.get(domain)
        if before is not None and not _is_worse(rate, before.rate):
            continue
        stopped = None
        if row["until"] is not None and row["until"] > now:
            for_what = Rate(row["mails_then"], row["complaints_then"])
            stopped = MailPause(domain, row["paused_since"], row["until"], for_what)
        found[domain] = Standing(domain, rate, stopped)
    return list(found.values())


def _is_worse(one: Rate, other: Rate) -> bool:
    return (one.proves, one.share) > (other.proves, other.share)


async def stop(connection: Connection, domain: str, rate: Rate, now: datetime) -> bool:
    """False: it is stopped already."""
    done: bool | None = await connection.fetchval(
        _STOP, domain, now, now + PAUSED_FOR, rate.mails, rate.complaints
    )
    return done is not None


async def stopped(connection: Connection, now: datetime) -> Mapping[str, MailPause]:
    """By domain."""
    rows = await connection.fetch(_PAUSED, now)
    return {
        row["domain"]: MailPause(
            *(row["domain"], row["since"], row["until"]), Rate(row["mails"], row["complaints"])
        )
        for row in rows
    }


async def resume(connection: Connection, domain: str, by: str, now: datetime) -> None:
    """Let a domain's advertising mail go on before its pause is over. Raises NotFound."""
    async with connection.transaction():
        if not await connection.fetchval(_END, domain, now, by):
            raise NotFound(
                f"advertising mail from `{domain}` is not paused",
                hint="`dangol mail-domains list` shows those that send",
            )
        await connection.execute(_LET_GO, now)
        await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)
