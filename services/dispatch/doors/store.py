"""What the doors write, before they answer: the tables first, then the log hears of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.dispatch.doors.links import Leave
from services.dispatch.receipts.sent import Sent, receipt_of, sent_of
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.owners import owner_of
from shared.event import Event, partition_of
from shared.ids import derived_id
from shared.log import outbox

_CONSENT = """
INSERT INTO consents AS c (partition, customer, channel, granted, stated_at)
SELECT $1, $2, s.channel, s.granted, $5 FROM unnest($3::text[], $4::bool[]) AS s(channel, granted)
ON CONFLICT (partition, customer, channel) DO UPDATE
  SET granted = excluded.granted, stated_at = excluded.stated_at
  WHERE excluded.stated_at >= c.stated_at
"""
_LEDGER = """
INSERT INTO consent_ledger (partition, customer, channel, granted, stated_at, source, wording,
  event_id, recorded_at)
SELECT $1, $2, s.channel, s.granted, $6, $7, s.wording, $8, $9
FROM unnest($3::text[], $4::bool[], $5::text[]) AS s(channel, granted, wording)
ON CONFLICT DO NOTHING
"""
_SUPPRESS = """
INSERT INTO suppressions (address_hash, scope, reason, at)
VALUES ($1, 'marketing', 'unsubscribed', $2)
ON CONFLICT (address_hash, scope) DO UPDATE SET reason = excluded.reason, at = excluded.at
  WHERE suppressions.reason = 'stop'
"""
_SENT = """
SELECT id, customer, run_id, journey, step, channel, decided_at FROM messages
WHERE partition = $1 AND id = $2 AND decision IN ('sent', 'unknown')
  AND erased IS NOT TRUE
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a customer has said at a door about one channel."""

    channel: str
    granted: bool
    wording: str
    """The words beside what was ticked or pressed."""


class Doors:
    def __init__(self, pool: Pool, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def consents(self, customer: str) -> dict[str, bool]:
        """Channel → the newest statement. Raises Unavailable."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            owner = await owner_of(connection, customer, self._partitions)
            rows = await connection.fetch(
                "SELECT channel, granted FROM consents WHERE partition = $1 AND customer = $2",
                self._partition(owner),
                owner,
            )
        return {row["channel"]: row["granted"] for row in rows}

    async def state(
        self,
        leave: Leave,
        statements: list[Statement],
        source: str,
        now: datetime,
        stated_at: datetime | None = None,
    ) -> None:
        """Write the statements, whole or not at all. Raises Unavailable: nothing may be promised.

        `stated_at` where that was earlier, and somebody else's to take down.

        A customer who is not known (erased, or of another database) is not made known again: the
        address is closed to advertising instead.
        """
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            # The message may have gone out before its customer had logged in.
            owner = await owner_of(connection, leave.customer, self._partitions)
            if await self._is_known(connection, owner):
                await self._write(connection, owner, statements, source, stated_at or now, now)
            elif not all(statement.granted for statement in statements):
                await connection.execute(_SUPPRESS, leave.address_hash, now)

    async def _is_known(self, connection: Connection, customer: str) -> bool:
        found: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM customers WHERE partition = $1 AND id = $2)",
            self._partition(customer),
            customer,
        )
        return found

    async def _write(
        self,
        connection: Connection,
        customer: str,
        statements: list[Statement],
        source: str,
        at: datetime,
        now: datetime,
    ) -> None:
        partition = self._partition(customer)
        channels = [statement.channel for statement in statements]
        granted = [statement.granted for statement in statements]
        said = "".join(f"{s.channel}={s.granted};" for s in statements)
        event_id = derived_id("door", customer, source, said, at.isoformat())
        await connection.execute(_CONSENT, partition, customer, channels, granted, at)
        wordings = [statement.wording for statement in statements]
        await connection.execute(
            _LEDGER, partition, customer, channels, granted, wordings, at, source, event_id, now
        )
        told = Event(
            id=event_id,
            kind="identify",
            timestamp=at,
            anonymous_id=customer,  # the key as it is, whichever kind of id it may be
            traits={"consent": dict(zip(channels, granted, strict=True))},
            source=source,
        )
        await outbox.put(connection, [told], self._partitions)

    async def sent(self, customer: str, message_id: str) -> Sent | None:
        """Raises Unavailable."""
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            row = await connection.fetchrow(_SENT, self._partition(customer), message_id)
        return None if row is None else sent_of(row)

    async def receipt(
        self, message: Sent, outcome: str, now: datetime, details: Mapping[str, Any] | None = None
    ) -> None:
        """Tell the log of a message's first click or opening. Raises Unavailable."""
        event = receipt_of(message, outcome, now, details)
        async with unavailable_when_lost(), self._pool.acquire() as connection:
            await outbox.put(connection, [event], self._partitions)

    def _partition(self, customer: str) -> int:
        return partition_of(customer, self._partitions)
