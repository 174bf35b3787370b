"""Receipts to whoever asked for a message by `POST /api/messages`.

A receipt is a row of `calls`, written in the transaction that learns the status: so a kill loses
none, and the caller (`services/dispatch/calls`) signs it, guards it and tries it again. Its
`webhook-id` comes from the message and the status, so each status is told under one id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from shared import call
from shared.db.connect import Connection
from shared.decisions import Decision
from shared.ids import derived_id

Status = Decision | Literal["delivered", "bounced", "complained"]

RUN = "api:"
"""How the run of a message begins that no journey has sent."""
_TIMEOUT = timedelta(seconds=15)

_MESSAGES = """
SELECT m.partition, m.id, m.customer, m.run_id, m.journey, m.step, m.receipts_to
FROM unnest($1::int[], $2::text[]) AS w(partition, id)
JOIN messages m ON m.partition = w.partition AND m.id = w.id
WHERE m.receipts_to IS NOT NULL AND m.erased IS NOT TRUE
"""
_PUT = """
INSERT INTO calls (partition, id, customer, run_id, journey, version, step, url, host, body,
  timeout, created_at, not_before, status, receipt)
VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10, $11, $11, 'queued', true)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Telling:
    """One status of one message."""

    partition: int
    message_id: str
    status: Status
    at: datetime
    channel: str
    reason: str | None = None


async def tell_callers(connection: Connection, tellings: Sequence[Telling]) -> None:
    """In the transaction that has learnt them; what nobody asked to be told of is left out."""
    if not tellings:
        return
    rows = await connection.fetch(
        _MESSAGES, [t.partition for t in tellings], [t.message_id for t in tellings]
    )
    found = {(row["partition"], row["id"]): row for row in rows}
    puts = [
        _put(found[key], telling)
        for telling in tellings
        if (key := (telling.partition, telling.message_id)) in found
    ]
    if puts:
        await connection.executemany(_PUT, puts)
        await connection.execute("SELECT pg_notify($1, '')", call.CHANNEL)


def _put(row: Any, telling: Telling) -> tuple[Any, ...]:
    url = row["receipts_to"]
    return (
        row["partition"],
        derived_id("receipt", row["id"], telling.status),
        row["customer"],
        row["run_id"],
        row["journey"],
        row["step"],
        url,
        call.host_of(url),
        body(row, telling),
        _TIMEOUT,
        telling.at,
    )


def body(row: Any, telling: Telling) -> bytes:
    """A Standard Webhooks payload; it holds no address and nothing of the message's text."""
    return msgspec.json.encode(
        {
            "type": f"message.{telling.status}",
            "timestamp": telling.at.astimezone(UTC),
            "data": {
                "id": row["id"],
                "status": telling.status,
                "reason": telling.reason,
                "customer": row["customer"],
                "template": row["step"],
                "channel": telling.channel or None,
            },
        }
    )
