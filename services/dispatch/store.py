"""Dispatch's Postgres: claim, read under the customers' locks, store attempts and changes.

Every write is conditional on the message still being what we left: its status, its holder and the
number of its attempts.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from services.dispatch import sql
from services.dispatch.pending import Attempt, Change, Earlier, FailedAdapter, Key, Pending
from services.dispatch.policy import Message, PassedOver, Place, Scope
from services.dispatch.receipts.callers import RUN, Telling, tell_callers
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import installation_key
from shared.decisions import Category, Decision, Reason
from shared.errors import Unavailable
from shared.event import Event, outcome_event
from shared.log import outbox

_FAILURES = frozenset({Reason.REJECTED, Reason.UNDELIVERABLE, Reason.RETRIES_EXHAUSTED})
"""Reasons by which a provider has ended a channel; all others are judged anew each time."""


async def claim(
    connection: Connection,
    now: datetime,
    limit: int,
    lines: Mapping[str, int] = MappingProxyType({}),
) -> list[Key]:
    """Up to `limit` due messages, ours until the end of the transaction, as their customers are.

    `lines`: those that wait for a rate, and for how many of each there may be a place.
    """
    rows = await connection.fetch(sql.CLAIM, now, limit, list(lines), list(lines.values()))
    return [Key(row["partition"], row["id"]) for row in rows]


async def next_due(pool: Pool) -> datetime | None:
    """When the next queued message may be claimed; None while there is none."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        due: datetime | None = await connection.fetchval(sql.NEXT_DUE)
    return due


async def read(
    connection: Connection, keys: Sequence[Key], now: datetime, window: timedelta
) -> list[Pending]:
    """The claimed messages with what is known of their customers.

    `window` is the longest cap's: older places are not read.
    """
    rows = await connection.fetch(
        sql.READ, [k.partition for k in keys], [k.id for k in keys], now, window
    )
    ours = {row["id"] for row in rows}
    return [_pending(row, ours) for row in rows]


def _pending(row: Any, ours: AbstractSet[str]) -> Pending:
    return Pending(
        key=Key(row["partition"], row["id"]),
        customer=row["customer"],
        run_id=row["run_id"],
        message=Message(
            id=row["id"],
            journey=row["journey"],
            step=row["step"],
            category=row["category"],
            priority=row["priority"],
            channels=tuple(row["channels"]),
            created_at=row["created_at"],
            decidable_at=row["decidable_at"],
            held_out=row["held_out"],
            # Waiting for a rate is no hold: what has been judged in time does not expire there.
            was_held=row["held_reason"] is not None and row["waits_for"] is None,
            failed=failed_channels(row["passed_over"]),
        ),
        template=row["template"],
        context=row["context"],
        attempts=row["attempts"],
        journey_paused=row["journey_paused"],
        traits=row["traits"] or {},
        consents=dict(zip(row["consent_channels"] or (), row["granted"] or (), strict=True)),
        places=[Place(*place) for place in row["places"] or ()],
        waits_for=row["waits_for"],
        elsewhere=[_elsewhere(*o) for o in row["elsewhere"] or () if o[0] not in ours],
        failed_adapters=failed_adapters(row["passed_over"]),
        earlier=[Earlier(*e) for e in row["earlier"] or ()],
    )


def failed_channels(passed_over: list[dict[str, str]]) -> tuple[PassedOver, ...]:
    return tuple(
        PassedOver(passed["channel"], Reason(passed["reason"]))
        for passed in passed_over
        if passed["reason"] in _FAILURES and "adapter" not in passed
    )


def failed_adapters(passed_over: list[dict[str, str]]) -> tuple[FailedAdapter, ...]:
    return tuple(
        FailedAdapter(passed["channel"], Reason(passed["reason"]), passed["adapter"])
        for passed in passed_over
        if "adapter" in passed
    )


def _elsewhere(
    name: str,
    journey: str,
    step: str,
    category: Category,
    priority: int,
    created_at: datetime,
    decidable_at: datetime,
) -> Message:
    """Just what orders it."""
    return Message(name, journey, step, category, priority, (), created_at, decidable_at)


async def suppressed(connection: Connection, hashes: Sequence[str]) -> dict[str, Scope]:
    """Of these address hashes those that are closed, and to what."""
    if not hashes:
        return {}
    rows = await connection.fetch(sql.SUPPRESSED, hashes)
    found: dict[str, Scope] = {}
    for row in rows:
        if found.get(row["address_hash"]) != "all":
            found[row["address_hash"]] = row["scope"]
    return found


async def suppress(connection: Connection, hashes: Sequence[str], now: datetime) -> None:
    """Close addresses to everything: a provider says that nobody is there."""
    if hashes:
        await connection.execute(sql.SUPPRESS, hashes, now)


async def was_told_since(
    connection: Connection, partition: int, customer: str, token: str, since: datetime
) -> bool:
    """Whether an event of the customer that came after `since` registers the push token."""
    found: bool = await connection.fetchval(sql.TOLD_SINCE, partition, customer, since, token)
    return found


async def record_attempts(
    connection: Connection, dispatcher: str, attempts: Sequence[Attempt], lease: timedelta
) -> None:
    """From the commit on these are past recall. They are locked, so all of them are ours."""
    if not attempts:
        return
    rows = [
        {
            "partition": a.pending.key.partition,
            "id": a.pending.key.id,
            "customer": a.pending.customer,
            "number": a.number,
            "channel": a.outgoing.channel,
            "adapter": a.adapter,
            "passed_over": _passed(a.passed_over),
            "at": a.outgoing.at,
            "category": a.pending.message.category,
            "taken_at": a.pending.message.decidable_at if a.takes_place else None,
        }
        for a in attempts
    ]
    stored = await connection.fetchval(sql.ATTEMPT, dispatcher, lease, msgspec.json.encode(rows))
    assert stored == len(attempts), "rows under our lock cannot be lost"


async def store_decisions(connection: Connection, changes: Sequence[Change]) -> list[Change]:
    """Store what claimed messages turn into without an attempt; returns what took place."""
    return await _change(connection, None, "queued", changes)


async def store_outcomes(
    connection: Connection, holder: str, changes: Sequence[Change]
) -> list[Change]:
    """Store what attempts of `holder` have come to.

    Returns the changes that took place: the others are no longer his.
    """
    return await _change(connection, holder, "attempting", changes)


async def _change(
    connection: Connection, holder: str | None, status: str, changes: Sequence[Change]
) -> list[Change]:
    if not changes:
        return []
    rows = await connection.fetch(
        sql.CHANGE, holder, status, msgspec.json.encode([_changed(c) for c in changes])
    )
    moved = {(row["partition"], row["id"]) for row in rows}
    return [c for c in changes if c.key in moved]


async def tell_log(connection: Connection, changes: Sequence[Change], partitions: int) -> None:
    """Tell the waiting runs of what is decided, in the transaction that decided it; and those who
    have asked for a message by the API."""
    events = [_event(c, c.decision, c.decided_at) for c in changes if c.decision and c.decided_at]
    await outbox.put(connection, events, partitions)
    asked = [
        Telling(*c.key, c.decision, c.decided_at, c.channel or "", c.reason)
        for c in changes
        if c.decision and c.decided_at and c.run_id.startswith(RUN)
    ]
    await tell_callers(connection, asked)


def _event(change: Change, decision: Decision, at: datetime) -> Event:
    return outcome_event(
        message_id=change.key.id,
        customer=change.customer,
        at=at,
        step=change.step,
        run_id=change.run_id,
        decision=decision,
        reason=change.reason,
        channel=change.channel or "",
    )


class _Changed(msgspec.Struct, omit_defaults=True):
    """A row of `sql.CHANGE`: what is None stays away."""

    partition: int
    id: str
    customer: str
    number: int
    decision: str | None = None
    reason: str | None = None
    decided_at: datetime | None = None
    channel: str | None = None
    not_before: datetime | None = None
    decidable_at: datetime | None = None
    held_reason: str | None = None
    passed_over: list[dict[str, str]] | None = None
    gives_back: bool = False
    awaits: float | None = None
    waits_for: str | None = None
    why: str | None = None
    outcome: str | None = None
    finished_at: datetime | None = None
    provider_id: str | None = None
    detail: str | None = None


def _changed(change: Change) -> _Changed:
    row = _Changed(
        change.key.partition,
        change.key.id,
        change.customer,
        change.number,
        change.decision,
        change.reason,
        change.decided_at,
        change.channel,
        change.not_before,
        change.decidable_at,
        change.held_reason,
        None if change.passed_over is None else _passed(change.passed_over),
        change.gives_back,
        change.awaits.total_seconds() if change.awaits is not None else None,
        change.waits_for,
        change.why,
    )
    if change.call is not None:
        row.outcome = change.call.outcome
        row.finished_at = change.call.finished_at
        row.provider_id = change.call.provider_id
        row.detail = change.call.detail
    return row


def _passed(passed_over: tuple[PassedOver | FailedAdapter, ...]) -> list[dict[str, str]]:
    return [p._asdict() for p in passed_over]


async def remember(pool: Pool, dispatcher: str, attempt: Attempt, token: str) -> bool:
    """Record what an adapter has prepared; False: it is not recorded, so nothing may be sent."""
    key = attempt.pending.key
    try:
        async with unavailable_when_lost(), pool.acquire() as connection:
            stored = await connection.fetchval(
                sql.REMEMBER, key.partition, key.id, attempt.number, dispatcher, token
            )
    except Unavailable:
        return False
    return stored is not None


async def retries(connection: Connection, attempts: Sequence[Attempt]) -> dict[Key, int]:
    """How often each message was tried again by the adapter of its last attempt."""
    again = [a for a in attempts if a.number > 1]
    if not again:
        return {}
    rows = await connection.fetch(
        sql.RETRIES,
        [a.pending.key.partition for a in again],
        [a.pending.key.id for a in again],
        [a.outgoing.channel for a in again],
        [a.adapter for a in again],
    )
    return {Key(row["partition"], row["id"]): row["n"] for row in rows}


async def release(pool: Pool, dispatcher: str, attempts: Sequence[Attempt]) -> None:
    """Give messages back for which no provider was called, whatever was stored of these attempts.

    A later attempt at one of them is left alone: somebody may be being called for it.
    """
    async with unavailable_when_lost(), pool.acquire() as connection:
        await connection.execute(
            sql.RELEASE,
            dispatcher,
            [a.pending.key.partition for a in attempts],
            [a.pending.key.id for a in attempts],
            [a.number for a in attempts],
            [a.outgoing.at for a in attempts],
        )


async def waiting(pool: Pool) -> dict[str, int]:
    """Line of a rate → how many messages wait in it (counted up to a bound)."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        rows = await connection.fetch(sql.WAITING)
    return {row["line"]: row["waiting"] for row in rows}


async def leave_lines(pool: Pool, asked: Sequence[str]) -> bool:
    """Let those out of line that wait for an answer nobody here asks for; whether there were any.

    Another dispatcher's are among them, which does no harm: they are judged here, and asked for.
    """
    async with unavailable_when_lost(), pool.acquire() as connection:
        done: str = await connection.execute(sql.LEAVE_LINES, asked)
    return not done.endswith(" 0")


async def depth(pool: Pool, now: datetime) -> list[tuple[str, int, float]]:
    """Channel, how many of its messages are due (counted up to a bound), and for how many seconds
    the first has been."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        rows = await connection.fetch(sql.DEPTH, now)
    return [
        (row["channel"] or "", row["due"], (now - row["oldest"]).total_seconds()) for row in rows
    ]


async def address_key(pool: Pool) -> bytes:
    """The installation's own secret for address hashes; made by whoever needs it first."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        return await installation_key(connection)
