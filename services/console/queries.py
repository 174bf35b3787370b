"""What people look at, read from the tables. Every list has a bound and a place to go on from."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    RowMapping,
    Select,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console.reading import Before
from shared.db.tables import (
    channel_pauses,
    consents,
    counts,
    customers,
    journey_versions,
    journeys,
    messages,
    meta,
    workspaces,
)
from shared.event import partition_of
from shared.workspace import WorkspaceSettings

UNDECIDED = "undecided"
"""What `decision=` takes besides the decisions."""

Rows = Sequence[RowMapping]

_ENDED = and_(counts.c.what.startswith("ended:"), counts.c.what != "ended:restart")
"""A restart ends one run and begins the next without counting an entry."""


async def newest_workspace(connection: AsyncConnection) -> RowMapping | None:
    w = workspaces.c
    columns = (w.revision, w.hash, w.active_from, w.applied_by, w.journeys, w.segments)
    found = await connection.execute(select(*columns).order_by(w.revision.desc()).limit(1))
    return found.mappings().one_or_none()


async def newest_settings(connection: AsyncConnection) -> WorkspaceSettings:
    """The defaults where nothing has been published."""
    w = workspaces.c
    found = await connection.execute(select(w.settings).order_by(w.revision.desc()).limit(1))
    stored = found.scalar_one_or_none()
    return WorkspaceSettings() if stored is None else WorkspaceSettings.model_validate(stored)


async def journeys_with_totals(connection: AsyncConnection, journey: str | None = None) -> Rows:
    """id, status, and how many entered, ended and were refused, over all versions."""

    def total(condition: Any) -> Any:
        return func.coalesce(func.sum(counts.c.n).filter(condition), 0)

    query = (
        select(
            journeys.c.id,
            journeys.c.status,
            total(counts.c.what == "entered").label("entered"),
            total(_ENDED).label("ended"),
            total(counts.c.what.startswith("refused:")).label("refused"),
        )
        .select_from(journeys.outerjoin(counts, counts.c.journey == journeys.c.id))
        .group_by(journeys.c.id, journeys.c.status)
        .order_by(journeys.c.id)
    )
    if journey is not None:
        query = query.where(journeys.c.id == journey)
    return (await connection.execute(query)).mappings().all()


async def sources(connection: AsyncConnection, versions: Iterable[tuple[str, int]]) -> Rows:
    """journey, version, file and source of the given journeys and versions."""
    v = journey_versions.c
    wanted = tuple_(v.journey, v.version).in_(list(versions))
    found = await connection.execute(select(v.journey, v.version, v.file, v.source).where(wanted))
    return found.mappings().all()


async def counts_of(connection: AsyncConnection, journey: str) -> Rows:
    """step, what, n over all versions and partitions."""
    c = counts.c
    query = (
        select(c.step, c.what, func.sum(c.n).label("n"))
        .where(c.journey == journey)
        .group_by(c.step, c.what)
        .order_by(c.step, c.what)
    )
    return (await connection.execute(query)).mappings().all()


async def message_counts(connection: AsyncConnection, journey: str) -> Rows:
    """channel, decision, reason, messages; undecided ones count for their first channel."""
    m = messages.c
    channel = func.coalesce(m.channel, m.channels[1]).label("channel")
    query = (
        select(channel, m.decision, m.reason, func.count().label("messages"))
        .where(m.journey == journey)
        .group_by(channel, m.decision, m.reason)
        .order_by(channel, m.decision, m.reason)
    )
    return (await connection.execute(query)).mappings().all()


async def pauses(connection: AsyncConnection) -> Rows:
    """channel, adapter, since, until, times and why of what running dispatchers find broken."""
    p = channel_pauses.c
    query = (
        select(
            p.channel,
            p.adapter,
            func.min(p.since).label("since"),
            func.max(p.until).label("until"),
            func.max(p.times).label("times"),
            func.array_agg(aggregate_order_by(p.why, p.times.desc()))[1].label("why"),
        )
        .where(p.said_until > func.clock_timestamp())
        .group_by(p.channel, p.adapter)
        .order_by(p.channel, p.adapter)
    )
    return (await connection.execute(query)).mappings().all()


PROVIDER_SAID = """(
  SELECT left(CASE WHEN a.channel = messages.channel THEN '' ELSE a.channel || ': ' END || a.detail,
    500)
  FROM attempts a WHERE a.partition = messages.partition AND a.message_id = messages.id
    AND a.adapter <> 'log' AND a.detail <> ''
  ORDER BY a.number DESC LIMIT 1
)"""
"""What a provider has said last of a row of `messages`, its reports included. The adapter `log`
keeps the message itself there."""
_MESSAGE: tuple[Any, ...] = (
    messages.c.decided_at.label("at"),
    messages.c.customer,
    messages.c.journey,
    messages.c.step,
    func.coalesce(messages.c.channel, messages.c.channels[1]).label("channel"),
    messages.c.decision,
    messages.c.reason,
    messages.c.detail,
    literal_column(PROVIDER_SAID).label("provider_said"),
    messages.c.id,
    messages.c.created_at,
    messages.c.provider_id,
    messages.c.attempts,
    messages.c.template,
    messages.c.version,
    messages.c.category,
    messages.c.held_out,
    messages.c.channels,
    messages.c.passed_over,
    messages.c.status,
    case((messages.c.decision.is_(None), messages.c.held_reason)).label("held_reason"),
    case((messages.c.decision.is_(None), messages.c.not_before)).label("not_before"),
)


async def list_messages(
    connection: AsyncConnection,
    *,
    customer: str | None,
    journey: str | None,
    decision: str | None,
    before: Before | None,
    limit: int,
) -> Rows:
    """Newest first by creation, then id."""
    chosen = select(*_MESSAGE)
    if decision == UNDECIDED:
        chosen = chosen.where(messages.c.status != "decided")
    elif decision is not None:
        chosen = chosen.where(messages.c.decision == decision)
    if before is not None:
        place = tuple_(messages.c.created_at, messages.c.id)
        chosen = chosen.where(place < tuple_(literal(before.at), literal(before.id)))
    chosen = chosen.order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(limit)
    if customer is not None:
        owner = await owner_of(connection, customer)
        count = await partitions(connection)
        # A message with an attempt stays with the id it was made for.
        ids = [owner, *await linked_to(connection, owner)]
        places = [(partition_of(one, count), one) for one in ids]
        chosen = chosen.where(tuple_(messages.c.partition, messages.c.customer).in_(places))
    if journey is not None:
        chosen = chosen.where(messages.c.journey == journey)
    elif customer is None:
        chosen = _of_any_journey(chosen, limit)
    return (await connection.execute(chosen)).mappings().all()


def _of_any_journey(chosen: Select[Any], limit: int) -> Select[Any]:
    """The newest of each journey, then the newest of those.

    There is an index by journey and time and none by time alone: dispatch pays for every one.
    """
    each = chosen.where(messages.c.journey == journeys.c.id).correlate(journeys).lateral("each")
    return (
        select(*each.c)
        .select_from(journeys.join(each, true()))
        .order_by(each.c.created_at.desc(), each.c.id.desc())
        .limit(limit)
    )


_MOST_LINKED = 100
_LONGEST_CHAIN = 64


async def owner_of(connection: AsyncConnection, customer: str) -> str:
    """Whom the id belongs to in the end: mostly itself."""
    count = await partitions(connection)
    for _ in range(_LONGEST_CHAIN):
        query = select(customers.c.forwarded_to).where(
            customers.c.partition == partition_of(customer, count), customers.c.id == customer
        )
        found: str | None = (await connection.execute(query)).scalar_one_or_none()
        if found is None:
            break
        customer = found
    return customer


async def linked_to(connection: AsyncConnection, customer: str) -> list[str]:
    """Ids that belong to this customer, some of them where there are very many."""
    query = (
        select(customers.c.id)
        .where(customers.c.forwarded_to == customer)
        .order_by(customers.c.id)
        .limit(_MOST_LINKED)
    )
    return list((await connection.execute(query)).scalars())


async def customer_row(connection: AsyncConnection, customer: str) -> RowMapping | None:
    """traits and packed state."""
    partition = partition_of(customer, await partitions(connection))
    query = select(customers.c.traits, customers.c.state).where(
        customers.c.partition == partition, customers.c.id == customer
    )
    return (await connection.execute(query)).mappings().one_or_none()


async def consents_of(connection: AsyncConnection, customer: str) -> Rows:
    partition = partition_of(customer, await partitions(connection))
    query = (
        select(consents.c.channel, consents.c.granted, consents.c.stated_at)
        .where(consents.c.partition == partition, consents.c.customer == customer)
        .order_by(consents.c.channel)
    )
    return (await connection.execute(query)).mappings().all()


async def message_times(connection: AsyncConnection, customer: str, ids: Sequence[str]) -> Rows:
    """id and created_at: when the runs that wait for these messages came to their step."""
    if not ids:
        return []
    partition = partition_of(customer, await partitions(connection))
    query = select(messages.c.id, messages.c.created_at).where(
        messages.c.partition == partition, messages.c.id.in_(list(ids))
    )
    return (await connection.execute(query)).mappings().all()


async def partitions(connection: AsyncConnection) -> int:
    value = await connection.execute(select(meta.c.value).where(meta.c.key == "partitions"))
    return int(value.scalar_one())
