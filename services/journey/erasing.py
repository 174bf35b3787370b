"""An erasure in tables: everything of the customer goes in the transaction that takes it in, as far
as it is of this partition.

What became of messages and goals stays counted: those rows stand under a keyed hash from then on,
without anything that was in them. A message with an attempt goes on to its outcome, of which no
detail is kept, and is not tried again; nor is a call.
"""

import msgspec

from services.journey.batch import Batch
from services.journey.core.effects import Erase
from shared import message
from shared.db.connect import Connection
from shared.db.installation import installation_key
from shared.erasure import LOG_RETENTION, hash_of_customer, request_of
from shared.event import decode_unstamped

_MESSAGES = """
WITH gone AS (
  UPDATE messages SET erased = true, customer = $3, context = $4, provider_id = NULL,
    decision = CASE WHEN status IN ('staged', 'queued') THEN 'dropped' ELSE decision END,
    reason = CASE WHEN status IN ('staged', 'queued') THEN 'run_ended' ELSE reason END,
    decided_at = CASE WHEN status IN ('staged', 'queued') THEN greatest($5::timestamptz, created_at)
      ELSE decided_at END,
    status = CASE WHEN status IN ('staged', 'queued') THEN 'decided' ELSE status END
  WHERE partition = $1 AND customer = $2
  RETURNING id
), emptied AS (
  UPDATE attempts a SET detail = NULL, provider_id = NULL FROM gone
  WHERE a.partition = $1 AND a.message_id = gone.id
  RETURNING a.message_id
)
SELECT (SELECT count(*) FROM gone) AS messages, (SELECT count(*) FROM emptied) AS attempts
"""
_UNSENT = [
    *("partition", "id", "customer", "run_id", "journey", "version", "step", "category"),
    *("priority", "held_out", "channels", "template", "context", "created_at", "decidable_at"),
    *("not_before", "status", "decision", "reason", "decided_at", "erased"),
]
_TABLES = ("history", "calls", "timers", "consents", "consent_ledger", "cap_places")
"""All rows of the customer's go."""
_PART = """
INSERT INTO erased_parts (partition, request, customer_hash, erased_at, rows)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_RENAMED = """
UPDATE erased_parts SET rows = rows || jsonb_build_object('conversions', $4::bigint)
WHERE partition = $1 AND request = $2 AND customer_hash = $3
"""
_CONVERSIONS = """
UPDATE conversions SET customer = $3 WHERE partition = $1 AND customer = $2 AND at <= $4
"""
_WAITING = """
SELECT id, payload FROM log_outbox WHERE partition = $1 AND position($2::bytea IN payload) > 0
"""
_DONE = """
UPDATE erasures SET erased_at = $2::timestamptz,
  complete_at = greatest(complete_at, $2::timestamptz + $3::interval)
WHERE id = $1 AND erased_at IS NULL
"""


async def erase(connection: Connection, batch: Batch) -> None:
    """Before anything else of the batch is stored: what it holds is from behind the erasure."""
    for customer, erasure in batch.erased:
        await _erase(connection, batch.partition, customer, erasure)
    if batch.forgotten:
        await connection.execute(
            "DELETE FROM customers WHERE partition = $1 AND id = ANY($2::text[])",
            batch.partition,
            sorted(batch.forgotten),
        )


async def _erase(connection: Connection, partition: int, customer: str, done: Erase) -> None:
    name = hash_of_customer(customer, await installation_key(connection))
    empty = message.pack(message.MessageContext())
    emptied = await connection.fetchrow(_MESSAGES, partition, customer, name, empty, done.at)
    assert emptied is not None
    rows: dict[str, int] = {"customers": 1, **emptied}
    for table in _TABLES:
        deleted = f"DELETE FROM {table} WHERE partition = $1 AND customer = $2"  # noqa: S608
        rows[table] = _count(await connection.execute(deleted, partition, customer))
    waiting = await connection.fetch(_WAITING, partition, msgspec.json.encode(customer))
    theirs = [
        row["id"]
        for row in waiting
        if (event := decode_unstamped(row["payload"])).customer == customer
        and event.kind != "erase"
    ]
    await connection.execute(
        "DELETE FROM log_outbox WHERE partition = $1 AND id = ANY($2::text[])", partition, theirs
    )
    rows["log_outbox"] = len(theirs)
    request = request_of(done.request)
    await connection.execute(_PART, partition, request, name, done.at, rows)
    await connection.execute(_DONE, done.request, done.at, LOG_RETENTION)


def _count(status: str) -> int:
    """Of `DELETE 3` or `UPDATE 3`."""
    return int(status.rpartition(" ")[2])


async def keep_unsent(connection: Connection, batch: Batch) -> None:
    """Messages made and erased in one batch are kept as those that were stored before it."""
    if not batch.unsent:
        return
    key, empty = await installation_key(connection), message.pack(message.MessageContext())
    await connection.copy_records_to_table(
        "messages",
        records=[
            (
                batch.partition, m.id, hash_of_customer(customer, key), m.run_id, m.journey,
                m.version, m.step, m.category, m.priority, m.held_out, list(m.channels),
                m.template, empty, m.at, m.at, m.at, "decided", "dropped", "run_ended",
                max(at, m.at), True,
            )
            for customer, at, m in batch.unsent
        ],
        columns=_UNSENT,
    )  # fmt: skip


async def rename_conversions(connection: Connection, batch: Batch) -> None:
    """Behind the batch's own, which may be from before the erasure."""
    for customer, done in batch.erased:
        name = hash_of_customer(customer, await installation_key(connection))
        renamed = await connection.execute(_CONVERSIONS, batch.partition, customer, name, done.at)
        await connection.execute(
            *(_RENAMED, batch.partition, request_of(done.request), name, _count(renamed))
        )
