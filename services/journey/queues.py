"""What the engine leaves for dispatch: messages and calls, each an outbox and a queue in one table.

A row is made, or withdrawn while nothing has been attempted, in the transaction that decided it.
While the partition is behind its log, rows are staged; at the end of the log they are offered.
"""

from services.journey import rows
from services.journey.batch import Batch
from services.journey.core.effects import MakeCall
from shared import call, message
from shared.db.connect import Connection
from shared.db.copying import copy_in

_WITHDRAW = """
UPDATE messages m SET status = 'decided', decision = 'dropped', reason = 'run_ended',
  decided_at = greatest(w.at, m.created_at)
FROM unnest($2::text[], $3::timestamptz[]) AS w(id, at)
WHERE m.partition = $1 AND m.id = w.id AND m.status IN ('staged', 'queued')
RETURNING m.id, m.customer
"""
_WITHDRAW_CALLS = """
UPDATE calls c SET status = 'decided', outcome = 'dropped', reason = 'run_ended',
  decided_at = greatest(w.at, c.created_at), body = ''
FROM unnest($2::text[], $3::timestamptz[]) AS w(id, at)
WHERE c.partition = $1 AND c.id = w.id AND c.status IN ('staged', 'queued')
"""
_GIVE_BACK = "DELETE FROM cap_places WHERE partition = $1 AND message_id = ANY($2::text[])"
_CALL = [
    "partition",
    "id",
    "customer",
    "run_id",
    "journey",
    "version",
    "step",
    "url",
    "host",
    "body",
    "timeout",
    "created_at",
    "not_before",
    "status",
]


async def store_messages(connection: Connection, batch: Batch) -> None:
    status = "queued" if batch.offered else "staged"
    if batch.messages:
        await copy_in(connection, "messages", rows.MESSAGES, rows.messages(batch, status))
    if batch.withdrawn:
        gone = await connection.fetch(
            _WITHDRAW,
            batch.partition,
            [w.message_id for w in batch.withdrawn],
            [w.at for w in batch.withdrawn],
        )
        if gone:
            await connection.execute(_GIVE_BACK, batch.partition, [row["id"] for row in gone])
    if batch.release:
        await connection.execute(
            "UPDATE messages SET status = 'queued' WHERE partition = $1 AND status = 'staged'",
            batch.partition,
        )
    if (batch.messages and batch.offered) or batch.release:
        await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)


async def store_calls(connection: Connection, batch: Batch) -> None:
    if batch.calls:
        status = "queued" if batch.offered else "staged"
        await connection.copy_records_to_table(
            "calls",
            records=[
                (
                    batch.partition, c.id, customer, c.run_id, c.journey, c.version, c.step,
                    c.url, call.host_of(c.url), _call_body(customer, c), c.timeout, c.at, c.at,
                    status,
                )
                for customer, c in batch.calls
            ],
            columns=_CALL,
        )  # fmt: skip
    if batch.withdrawn_calls:
        await connection.execute(
            _WITHDRAW_CALLS,
            batch.partition,
            [w.call_id for w in batch.withdrawn_calls],
            [w.at for w in batch.withdrawn_calls],
        )
    if batch.release:
        await connection.execute(
            "UPDATE calls SET status = 'queued' WHERE partition = $1 AND status = 'staged'",
            batch.partition,
        )
    if (batch.calls and batch.offered) or batch.release:
        await connection.execute("SELECT pg_notify($1, '')", call.CHANNEL)


def _call_body(customer: str, made: MakeCall) -> bytes:
    return call.body(
        customer=customer,
        journey=made.journey,
        step=made.step,
        run_id=made.run_id,
        values=made.values,
        at=made.at,
    )
