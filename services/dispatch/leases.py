"""Leases of attempts: kept while the call is under way, settled where their holder is gone.

An attempt whose lease ran out may have reached the provider: it follows the `unknown` rule of its
channel, and is never silently sent a second time.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import structlog

from services.dispatch import metrics, sql
from services.dispatch.channels.port import Outcome
from services.dispatch.pending import REPORT, Call, Change, Key
from services.dispatch.policy import retry_delay
from services.dispatch.rates import forget_all
from services.dispatch.store import store_outcomes, tell_log
from shared.db.connect import Connection, Pool, unavailable_when_lost

logger = structlog.get_logger()

_LIMIT = 500

RetriesUnknown = Callable[[str, str], bool]
"""Channel and adapter → whether what may have been sent is sent again."""


async def refresh(pool: Pool, dispatcher: str, keys: Iterable[Key], lease: timedelta) -> None:
    """Only the calls that we know are under way: whatever else bears our name runs out."""
    held = list(keys)
    if not held:
        return
    async with unavailable_when_lost(), pool.acquire() as connection:
        await connection.execute(
            sql.REFRESH, dispatcher, lease, [k.partition for k in held], [k.id for k in held]
        )


async def settle(
    pool: Pool,
    now: datetime,
    partitions: int,
    retries_unknown: RetriesUnknown,
    *,
    everything: bool = False,
) -> int:
    """Settle the leases that ran out, or `everything`, where no other dispatcher can be alive.

    Returns how many messages that were.
    """
    async with unavailable_when_lost(), pool.acquire() as connection:
        attempts = 0
        if everything:
            await forget_all(connection)
        while True:
            async with connection.transaction():
                rows = await connection.fetch(sql.GONE_ATTEMPTS, everything, _LIMIT)
                stored = await _settle_attempts(connection, rows, now, partitions, retries_unknown)
            _count(rows, stored)
            attempts += len(rows)
            if len(rows) < _LIMIT:
                break
    if attempts:
        metrics.SETTLED.inc(attempts)
        logger.warning(
            "settled what a lost dispatcher had in its hands",
            action="leases_settled",
            attempts=attempts,
        )
    return attempts


async def _settle_attempts(
    connection: Connection,
    rows: Iterable[Any],
    now: datetime,
    partitions: int,
    retries_unknown: RetriesUnknown,
) -> list[Change]:
    settled: list[Change] = []
    by_holder = sorted(rows, key=lambda row: str(row["claimed_by"]))
    for holder, group in groupby(by_holder, key=lambda row: row["claimed_by"]):
        changes = [
            _untold(row, now)
            if holder == REPORT
            else _change(row, now, retry=retries_unknown(row["channel"], row["adapter"]))
            for row in group
        ]
        stored = await store_outcomes(connection, holder, changes)
        await tell_log(connection, stored, partitions)
        settled += stored
    return settled


def _count(rows: Iterable[Any], stored: Iterable[Change]) -> None:
    adapters = {(row["partition"], row["id"]): row["adapter"] for row in rows}
    metrics.decided(stored)
    for change in stored:
        if change.call is not None:  # those that await a report are known to have been taken
            metrics.UNKNOWN.labels(adapters[change.key]).inc()


def _untold(row: Any, now: datetime) -> Change:
    """Taken by its provider, who has told nothing more in time: that counts as sent."""
    return Change(
        Key(row["partition"], row["id"]),
        row["customer"],
        row["run_id"],
        row["journey"],
        row["step"],
        row["attempts"],
        decision="sent",
        decided_at=now,
        channel=row["channel"],
    )


def _change(row: Any, now: datetime, *, retry: bool) -> Change:
    key = Key(row["partition"], row["id"])
    delay = retry_delay(row["retries"] + 1, key.id) if retry else None
    call = Call(Outcome.UNKNOWN, now, detail="the dispatcher was gone before the answer")
    return Change(
        key,
        row["customer"],
        row["run_id"],
        row["journey"],
        row["step"],
        row["attempts"],
        decision=None if delay else "unknown",
        decided_at=None if delay else now,
        channel=row["channel"],
        not_before=now + delay if delay else None,
        call=call,
    )
