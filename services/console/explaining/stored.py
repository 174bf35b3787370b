"""What the tables have of one customer, for a replay: one snapshot, of a bounded size."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.console.erasures import belongs_to, linked_ids
from services.console.notices import owed_to
from services.console.queries import PROVIDER_SAID
from services.console.simulation.record import Known, KnownCall, OnRecord
from services.dispatch.policy import PassedOver
from services.journey import published
from services.journey.core.state import State, unpack
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import partition_count
from shared.decisions import Reason
from shared.errors import NotFound
from shared.event import Event, partition_of
from shared.notices import Owed
from shared.workspace_store import newest_settings

MOST_EVENTS = 5_000
"""The newest events of a customer that are replayed."""
MOST_MESSAGES = 5_000
_EVER = datetime(9000, 1, 1, tzinfo=UTC)
MOST_FIRINGS = 30
"""The newest occasions of the journey that are shown to the customer."""

_EVENTS = (
    "SELECT received_at, event FROM history WHERE partition = $1 AND customer = $2"
    " ORDER BY received_at DESC, happened_at DESC, id DESC LIMIT $3"
)
_MESSAGES = f"""
SELECT id, journey, version, step, channels, channel, decision, reason, detail, decided_at,
  created_at, attempts, provider_id, passed_over, held_reason, not_before, held_out, status,
  {PROVIDER_SAID} AS provider_said
FROM messages WHERE partition = $1 AND customer = $2
ORDER BY created_at DESC, id DESC LIMIT $3
"""  # noqa: S608 - our own text
_CALLS = (
    "SELECT id, journey, step, created_at, outcome, reason, decided_at FROM calls"
    " WHERE partition = $1 AND customer = $2 AND receipt IS NOT TRUE"
    " ORDER BY created_at DESC LIMIT $3"
)
_LEDGER = (
    "SELECT channel, granted, stated_at, source, wording FROM consent_ledger"
    " WHERE partition = $1 AND customer = $2 ORDER BY stated_at DESC, event_id LIMIT $3"
)
_CONSENTS = (
    "SELECT channel, granted, stated_at FROM consents WHERE partition = $1 AND customer = $2"
)
_FIRINGS = (
    "SELECT journey, version, label, since, at, fired_at, trigger, zones, rest FROM firings"
    " WHERE journey = $1 AND skipped IS NULL ORDER BY fired_at DESC, id LIMIT $2"
)
_JOURNEY = (
    "SELECT j.id, j.status, min(v.created_at) AS since FROM journeys j"
    " LEFT JOIN journey_versions v ON v.journey = j.id WHERE j.id = $1 GROUP BY j.id, j.status"
)


@dataclass(frozen=True, slots=True)
class Stored:
    customer: str
    """Whom the id that was asked for belongs to."""
    linked: tuple[str, ...]
    traits: Mapping[str, Any]
    state: State
    events: tuple[Event, ...]
    """In the order of their receipt."""
    cut: bool
    """Whether there are older ones, which are left out."""
    record: OnRecord
    messages: tuple[Mapping[str, Any], ...]
    """Of all journeys, newest first."""
    calls: tuple[Mapping[str, Any], ...]
    ledger: tuple[Mapping[str, Any], ...]
    """Every consent statement, newest first."""
    consents: Mapping[str, tuple[datetime, bool]]
    firings: tuple[Mapping[str, Any], ...]
    rows: published.Rows
    owed: tuple[Owed, ...]
    """Notices that a law asks for and that were not given, due at any time. Of a timeline alone."""
    status: str
    """The journey's."""
    since: datetime | None
    """When the journey was first published; for a timeline, when the first of all was."""


async def read(pool: Pool, customer: str, journey: str | None) -> Stored:
    """For one journey, or for a timeline of all. Raises NotFound, Unavailable."""
    async with (
        unavailable_when_lost(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        if journey is None:
            since = await connection.fetchval("SELECT min(created_at) FROM journey_versions")
            return await _read(connection, customer, "", "active", since)
        found = await connection.fetchrow(_JOURNEY, journey)
        if found is None:
            raise NotFound(
                f"there is no journey `{journey}`", hint="GET /api/journeys lists those there are"
            )
        return await _read(connection, customer, journey, found["status"], found["since"])


async def _read(
    connection: Connection, customer: str, journey: str, status: str, since: datetime | None
) -> Stored:
    partitions = await partition_count(connection)
    owner = await belongs_to(connection, customer, partitions)
    row = await connection.fetchrow(
        "SELECT traits, state FROM customers WHERE partition = $1 AND id = $2",
        partition_of(owner, partitions),
        owner,
    )
    if row is None:
        raise NotFound(f"there is no customer `{customer}`", hint="ids are case-sensitive")
    linked = await linked_ids(connection, owner)
    state = unpack(row["state"])

    async def all_of(query: str, limit: int) -> list[Any]:
        found: list[Any] = []
        for name in (owner, *linked):
            found += await connection.fetch(query, partition_of(name, partitions), name, limit)
        return found

    events = _events(await all_of(_EVENTS, MOST_EVENTS + 1))
    messages = await all_of(_MESSAGES, MOST_MESSAGES)
    ledger = await all_of(_LEDGER, MOST_MESSAGES)
    calls = await all_of(_CALLS, MOST_MESSAGES)
    consents = await connection.fetch(_CONSENTS, partition_of(owner, partitions), owner)
    kept = events[-MOST_EVENTS:]
    return Stored(
        customer=owner,
        linked=tuple(linked),
        traits=row["traits"],
        state=state,
        events=tuple(kept),
        cut=len(events) > MOST_EVENTS,
        record=OnRecord(
            {m["id"]: _known(m) for m in messages},
            {c["id"]: _known_call(c, state) for c in calls},
            frozenset(event.id for event in kept),
        ),
        messages=tuple(dict(m) for m in messages),
        calls=tuple(dict(c) for c in calls),
        ledger=tuple(dict(row) for row in ledger),
        consents={c["channel"]: (c["stated_at"], c["granted"]) for c in consents},
        firings=tuple(dict(r) for r in await connection.fetch(_FIRINGS, journey, MOST_FIRINGS)),
        rows=await rows_of(connection),
        owed=() if journey else await _owed(connection, (owner, *linked), partitions),
        status=status,
        since=since,
    )


async def _owed(connection: Connection, names: Sequence[str], partitions: int) -> tuple[Owed, ...]:
    ids = [(partition_of(name, partitions), name) for name in names]
    return await owed_to(connection, await newest_settings(connection), _EVER, ids)


async def rows_of(connection: Connection) -> published.Rows:
    """Everything that has been published."""
    return published.Rows(
        await connection.fetch(published.EDITIONS),
        await connection.fetch(published.SOURCES),
        await connection.fetch(published.CHANGES),
        await connection.fetchval(published.SETTINGS),
    )


def _events(rows: Sequence[Any]) -> list[Event]:
    """As the log first had them: under the ids that they came with."""
    events = [(r["received_at"], event_of(r["event"], r["received_at"])) for r in rows]
    events.sort(key=lambda pair: (pair[0], pair[1].timestamp, pair[1].id))
    return [event for _received_at, event in events]


def event_of(stored: Any, received_at: datetime) -> Event:
    event = msgspec.convert(stored, Event)
    return msgspec.structs.replace(event, received_at=received_at, forwarded_to=None, passed=())


def owned(events: Iterable[Event], customer: str) -> list[Event]:
    """The events; those of an id that none of them ties to anybody are the customer's own.

    What tied it may have been dropped, or be another's event.
    """
    events = list(events)
    tied = {e.anonymous_id for e in events if e.user_id and e.anonymous_id}
    tied |= {e.previous_id for e in events if e.kind == "alias" and e.previous_id}
    return [
        event
        if event.customer == customer or event.customer in tied
        else msgspec.structs.replace(event, forwarded_to=customer)
        for event in events
    ]


def _known(row: Any) -> Known:
    if row["decision"] is None:
        return Known()
    return Known(
        row["decided_at"],
        row["decision"],
        row["channel"] or row["channels"][0],
        _reason(row["reason"]),
        tuple(PassedOver(e["channel"], Reason(e["reason"])) for e in row["passed_over"]),
    )


def _known_call(row: Any, state: State) -> KnownCall:
    """The answer is only kept with a run that lives."""
    if row["outcome"] is None:
        return KnownCall()
    results = (result for run in state.runs for result in run.steps.values())
    response = next((r.response for r in results if r.at == row["decided_at"]), None)
    return KnownCall(row["decided_at"], row["outcome"], _reason(row["reason"]), response)


def _reason(text: str | None) -> Reason | None:
    return None if text is None else Reason(text)
