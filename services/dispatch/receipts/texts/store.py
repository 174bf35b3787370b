"""What a report changes: the message that waits for it, the record, addresses and consent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from services.dispatch import metrics, store
from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.channels.refusal_lists import Refused
from services.dispatch.doors.links import Leave
from services.dispatch.doors.store import Doors, Statement
from services.dispatch.outcomes import Circumstances, change_after
from services.dispatch.pending import REPORT, Attempt, Change, FailedAdapter, Key, Pending
from services.dispatch.policy import Message, PassedOver
from services.dispatch.receipts import notes
from services.dispatch.receipts.callers import Telling, tell_callers
from services.dispatch.receipts.sent import receipt_of, sent_of
from services.dispatch.receipts.texts import refusals
from services.dispatch.receipts.texts.readings import Reading, Refusal, Report, Return
from services.dispatch.receipts.texts.stamps import Stamps
from shared import message
from shared.address import address_hash
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.decisions import Reason
from shared.errors import Unavailable
from shared.log import outbox
from shared.templates import Rendered

_MESSAGE = """
SELECT partition, id, customer, run_id, journey, step, category, priority, channels, template,
  created_at, decidable_at, attempts, passed_over, channel, status, claimed_by, decision,
  decided_at
FROM messages WHERE partition = ANY ($1::int[]) AND id = $2 AND erased IS NOT TRUE FOR UPDATE
"""
_OUTCOMES: Mapping[Outcome, Literal["delivered", "bounced"]] = {
    Outcome.DELIVERED: "delivered",
    Outcome.UNDELIVERABLE_ADDRESS: "bounced",
}


class Reports:
    def __init__(self, pool: Pool, partitions: int) -> None:
        self._pool = pool
        self.stamps = Stamps(pool)
        self._partitions = partitions
        self._doors = Doors(pool, partitions)
        self._address_key = b""

    async def take(self, report: Reading, channel: str, provider: str, now: datetime) -> bool:
        """Whether it changed something. Raises Unavailable: it should be sent again."""
        if not self._address_key:
            self._address_key = await store.address_key(self._pool)
        if isinstance(report, Return):
            async with unavailable_when_lost(), self._pool.acquire() as connection:
                return await refusals.lift(
                    connection, report.number, provider, self._address_key, now
                )
        if isinstance(report, Refusal):
            refused = Refused(report.number, now)
            async with (
                unavailable_when_lost(),
                self._pool.acquire() as connection,
                connection.transaction(),
            ):
                source = f"{provider} {'STOP' if provider == 'twilio' else '080'}"
                await refusals.take(connection, [refused], source, self._address_key, now)
            return True
        told: list[Change] = []
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            row = await self._take(connection, report, channel, provider, now, told)
        metrics.decided(told)
        if row is not None and report.opted_out:
            await self._withdraw(row, report, channel, now)
        return row is not None

    async def _take(
        self,
        connection: Connection,
        report: Report,
        channel: str,
        provider: str,
        now: datetime,
        told: list[Change],
    ) -> Any | None:
        row = await connection.fetchrow(_MESSAGE, list(range(self._partitions)), report.message_id)
        if row is None:
            return None
        if row["status"] == "attempting" and row["claimed_by"] != REPORT:
            # It overtakes the answer to the request itself.
            raise Unavailable("the message is still being handed over", hint="send it again")
        key = (row["partition"], row["id"])
        attempt = await notes.attempt_of(connection, key, channel, provider)
        said = notes.told(report.detail, report.number or "")
        if attempt is None or notes.is_known(attempt, said):
            return None
        decided = row["decision"]
        if (row["status"], row["claimed_by"], row["channel"]) == ("attempting", REPORT, channel):
            decided = await self._decide(connection, row, attempt["adapter"], report, now, told)
        await notes.note(connection, key, attempt["number"], said)
        await self._close(connection, report, now)
        if decided in ("sent", "unknown") and row["channel"] == channel:
            await self._tell(connection, row, report, channel, now)
        return row

    async def _decide(
        self,
        connection: Connection,
        row: Any,
        adapter: str,
        report: Report,
        now: datetime,
        told: list[Change],
    ) -> str | None:
        """As if the provider had said so at once; a report that fails a message never repeats it
        on the same channel."""
        known = (Outcome.DELIVERED, Outcome.UNKNOWN, Outcome.UNDELIVERABLE_ADDRESS)
        outcome = report.outcome if report.outcome in known else Outcome.REJECTED_MESSAGE
        attempt = _attempt(row, adapter, now)
        change = change_after(attempt, Result(outcome), Circumstances(now))
        stored = await store.store_outcomes(connection, REPORT, [change])
        await store.tell_log(connection, stored, self._partitions)
        told += stored
        if change.decision is None:  # on to the next channel, at once
            await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)
        return change.decision if stored else None

    async def _close(self, connection: Connection, report: Report, now: datetime) -> None:
        if report.outcome is Outcome.UNDELIVERABLE_ADDRESS and report.number is not None:
            await store.suppress(connection, [self._hash(report.number)], now)

    async def _tell(
        self, connection: Connection, row: Any, report: Report, channel: str, now: datetime
    ) -> None:
        """Journeys hear of what has arrived, and of what has not although it counted as sent; of an
        `unknown` this is how it is known after all."""
        outcome = _OUTCOMES.get(report.outcome)
        if outcome is None:
            return
        why = notes.told(report.detail, report.number or "") if outcome == "bounced" else None
        details = {"detail": why} if why else None
        event = receipt_of(sent_of(row, channel), outcome, now, details)
        await outbox.put(connection, [event], self._partitions)
        telling = Telling(row["partition"], row["id"], outcome, now, channel, why)
        await tell_callers(connection, [telling])

    async def _withdraw(self, row: Any, report: Report, channel: str, now: datetime) -> None:
        closed = self._hash(report.number) if report.number else ""
        leave = Leave(row["customer"], channel, row["id"], closed)
        why = notes.told(report.detail, report.number or "")
        said = Statement(channel, False, f"refused at the provider ({why})")
        await self._doors.state(leave, [said], "provider", now)

    def _hash(self, number: str) -> str:
        return address_hash("phone", number, self._address_key)


def _attempt(row: Any, adapter: str, now: datetime) -> Attempt:
    """The attempt that waits, with as much as its outcome asks for."""
    waiting = Message(
        id=row["id"],
        journey=row["journey"],
        step=row["step"],
        category=row["category"],
        priority=row["priority"],
        channels=tuple(row["channels"]),
        created_at=row["created_at"],
        decidable_at=row["decidable_at"],
        failed=store.failed_channels(row["passed_over"]),
    )
    pending = Pending(
        key=Key(row["partition"], row["id"]),
        customer=row["customer"],
        run_id=row["run_id"],
        message=waiting,
        template=row["template"],
        context=b"",
        attempts=row["attempts"] - 1,
        journey_paused=False,
        traits={},
        consents={},
        places=(),
        elsewhere=(),
        waits_for=None,
    )
    empty = Rendered({}, "", html=False)
    outgoing = Outgoing(row["id"], row["attempts"], row["channel"], "", row["category"], empty, now)
    passed = tuple(_passed(each) for each in row["passed_over"])
    return Attempt(pending, row["attempts"], adapter, passed, takes_place=True, outgoing=outgoing)


def _passed(found: Mapping[str, str]) -> PassedOver | FailedAdapter:
    channel, reason = found["channel"], Reason(found["reason"])
    if "adapter" in found:
        return FailedAdapter(channel, reason, found["adapter"])
    return PassedOver(channel, reason)
