"""What a report changes: the address first, then the log hears of it, all in one transaction."""

from collections.abc import Iterable
from datetime import datetime

from services.dispatch import metrics, store
from services.dispatch.complaints import complained
from services.dispatch.receipts import notes
from services.dispatch.receipts.callers import Telling, tell_callers
from services.dispatch.receipts.report import Report
from services.dispatch.receipts.sent import receipt_of, sent_of
from shared.address import address_hash, email_address
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.event import Event
from shared.log import outbox

_MESSAGE = """
SELECT id, partition, customer, run_id, journey, step, channel, category, decided_at FROM messages
WHERE id = $1 AND partition = ANY (SELECT id FROM partitions) AND erased IS NOT TRUE
"""
_CLOSE = """
INSERT INTO suppressions AS s (address_hash, scope, reason, at) VALUES ($1, $2, $3, $4)
ON CONFLICT (address_hash, scope) DO UPDATE SET reason = excluded.reason, at = excluded.at
  WHERE s.reason = 'stop'
"""


class Receipts:
    def __init__(self, pool: Pool, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions
        self._key = b""

    async def keep(self, reports: Iterable[Report], now: datetime) -> None:
        """Repeating it changes nothing. Raises Unavailable: the provider is to try again."""
        if not self._key:
            self._key = await store.address_key(self._pool)
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            events = [await self._one(connection, report, now) for report in reports]
            told = [event for event in events if event is not None]
            await outbox.put(connection, told, self._partitions)

    async def _one(self, connection: Connection, report: Report, now: datetime) -> Event | None:
        hashed = self._hash_of(report)
        if report.closes is not None and hashed is not None:
            reason = "undeliverable" if report.closes == "all" else "complained"
            await connection.execute(_CLOSE, hashed, report.closes, reason, now)
        row = await connection.fetchrow(_MESSAGE, report.message_id)
        if row is None:
            return None  # erased, or of another installation
        message = sent_of(row, row["channel"] or "email")
        metrics.RECEIPTS.labels(message.channel, report.outcome, "provider").inc()
        why = notes.told(report.detail, report.address or "")
        if report.outcome in ("delivered", "bounced", "complained"):
            told = (row["partition"], report.message_id, report.outcome, now)
            await tell_callers(connection, [Telling(*told, message.channel, why or None)])
        if report.outcome == "complained" and report.is_spam and row["category"] == "marketing":
            await complained(connection, row["partition"], message, now)
        details: dict[str, str] = {"detail": why} if why else {}
        if report.outcome == "bounced":
            details["bounce"] = "hard" if report.closes == "all" else "soft"
        if report.outcome in ("bounced", "complained"):
            said = f"{report.outcome} {why}".strip()
            await self._note(connection, (row["partition"], row["id"]), message.channel, said)
        return receipt_of(message, report.outcome, now, details)

    async def _note(
        self, connection: Connection, key: tuple[int, str], channel: str, said: str
    ) -> None:
        attempt = await notes.attempt_of(connection, key, channel)
        if attempt is not None and not notes.is_known(attempt, said):
            await notes.note(connection, key, attempt["number"], said)

    def _hash_of(self, report: Report) -> str | None:
        address = email_address(report.address) if report.address else None
        return report.address_hash or (
            address_hash("email", address, self._key) if address is not None else None
        )
