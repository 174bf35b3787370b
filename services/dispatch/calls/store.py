"""The caller's Postgres: claim with the try recorded, store what became of it, settle the lost.

A claim is committed before the request leaves. Every write is conditional on the call still being
what we left: its holder and the number of its tries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.dispatch.calls.answers import Verdict, delay_after
from services.dispatch.sql import paused
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.decisions import Reason
from shared.event import answer_event
from shared.log import outbox

_CLAIM = f"""
WITH due AS MATERIALIZED (
  SELECT c.partition, c.id FROM calls c
  WHERE c.status = 'queued' AND c.not_before <= $1 AND c.host <> ALL ($3::text[])
    AND NOT {paused("c")}
  ORDER BY c.not_before LIMIT $2 FOR UPDATE OF c SKIP LOCKED
)
UPDATE calls c SET status = 'attempting', claimed_by = $4, attempts = c.attempts + 1,
  claim_until = clock_timestamp() + $5::interval
FROM due d WHERE c.partition = d.partition AND c.id = d.id
RETURNING c.partition, c.id, c.customer, c.run_id, c.journey, c.step, c.url, c.host, c.body,
  c.timeout, c.attempts, coalesce(c.receipt, false) AS receipt
"""  # noqa: S608 - no values from outside

_NEXT_DUE = f"""
SELECT c.not_before FROM calls c WHERE c.status = 'queued' AND NOT {paused("c")}
ORDER BY c.not_before LIMIT 1
"""  # noqa: S608

_DEPTH = f"""
SELECT count(*)::int AS due, min(not_before) AS oldest FROM (
  SELECT c.not_before FROM calls c WHERE c.status = 'queued' AND c.not_before <= $1
    AND NOT {paused("c")} ORDER BY c.not_before LIMIT 10000
) c
"""  # noqa: S608

_FINISH = """
UPDATE calls SET
  status = CASE WHEN $5::text IS NULL THEN 'queued' ELSE 'decided' END,
  claimed_by = NULL, claim_until = NULL, outcome = $5, reason = $6, detail = $7,
  decided_at = CASE WHEN $5::text IS NULL THEN NULL ELSE $8::timestamptz END,
  not_before = coalesce($9::timestamptz, not_before),
  body = CASE WHEN $5::text IS NULL THEN body ELSE '' END
WHERE partition = $1 AND id = $2 AND status = 'attempting' AND claimed_by = $3 AND attempts = $4
"""

# The receiver wants no more of them: what waits for it is not sent either.
_GIVE_UP = """
UPDATE calls SET status = 'decided', outcome = 'dropped', reason = 'rejected', detail = $2,
  decided_at = $3, body = ''
WHERE receipt AND status = 'queued' AND url = $1
"""

# `$1`: also those whose lease still runs.
_GONE = """
SELECT partition, id, customer, run_id, journey, step, url, host, body, timeout, attempts,
  coalesce(receipt, false) AS receipt, claimed_by
FROM calls WHERE status = 'attempting' AND ($1 OR claim_until < clock_timestamp())
ORDER BY claim_until LIMIT $2 FOR UPDATE SKIP LOCKED
"""

_SETTLED_AT_ONCE = 200
LOST = Verdict(None, detail="whoever made this try is gone")


@dataclass(frozen=True, slots=True)
class Claimed:
    """One recorded try of a call."""

    partition: int
    id: str
    customer: str
    run_id: str
    journey: str
    step: str
    url: str
    host: str
    body: bytes
    timeout: timedelta
    attempts: int
    receipt: bool = False
    """No run waits for its answer."""


async def claim(
    pool: Pool,
    caller: str,
    lease: timedelta,
    now: datetime,
    limit: int,
    busy: Sequence[str],
) -> list[Claimed]:
    """Up to `limit` due calls to hosts that are not `busy`; each try is recorded."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        rows = await connection.fetch(_CLAIM, now, limit, busy, caller, lease)
    return [Claimed(**dict(row)) for row in rows]


async def next_due(pool: Pool) -> datetime | None:
    async with unavailable_when_lost(), pool.acquire() as connection:
        due: datetime | None = await connection.fetchval(_NEXT_DUE)
    return due


async def depth(pool: Pool, now: datetime) -> tuple[int, float]:
    """How many calls are due (up to a bound), and for how many seconds the first has been."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        row = await connection.fetchrow(_DEPTH, now)
    assert row is not None, "an aggregate has a row"
    return row["due"], (now - row["oldest"]).total_seconds() if row["due"] else 0.0


async def finish(
    pool: Pool, caller: str, made: Claimed, verdict: Verdict, now: datetime, partitions: int
) -> Verdict:
    """Store what a try came to, and tell the run if that was the last; returns what was stored."""
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(),
    ):
        return await _finish(connection, caller, made, verdict, now, partitions)


async def _finish(
    connection: Connection,
    caller: str,
    made: Claimed,
    verdict: Verdict,
    now: datetime,
    partitions: int,
) -> Verdict:
    again = None
    if verdict.outcome is None:
        delay = delay_after(verdict, made.attempts, made.id, receipt=made.receipt)
        if delay is None:
            verdict = Verdict("failed", Reason.RETRIES_EXHAUSTED, None, verdict.detail)
        else:
            again = now + delay
    done = await connection.execute(
        _FINISH,
        made.partition,
        made.id,
        caller,
        made.attempts,
        verdict.outcome,
        verdict.reason,
        verdict.detail,
        now,
        again,
    )
    if done == "UPDATE 1" and verdict.gone and made.receipt:
        await connection.execute(_GIVE_UP, made.url, verdict.detail, now)
    if done == "UPDATE 1" and verdict.outcome is not None and not made.receipt:
        told = answer_event(
            call_id=made.id,
            customer=made.customer,
            at=now,
            step=made.step,
            run_id=made.run_id,
            outcome=verdict.outcome,
            reason=verdict.reason,
            response=verdict.response,
        )
        await outbox.put(connection, [told], partitions)
    return verdict


async def settle(pool: Pool, now: datetime, partitions: int, *, everything: bool = False) -> int:
    """Try again what a lost caller had in its hands; returns how many calls that were."""
    settled = 0
    while True:
        async with (
            unavailable_when_lost(),
            pool.acquire() as connection,
            connection.transaction(),
        ):
            rows: Iterable[Any] = await connection.fetch(_GONE, everything, _SETTLED_AT_ONCE)
            found = [dict(row) for row in rows]
            for row in found:
                holder = row.pop("claimed_by")
                await _finish(connection, holder, Claimed(**row), LOST, now, partitions)
        settled += len(found)
        if len(found) < _SETTLED_AT_ONCE:
            return settled
