"""When a journey has fired for many at once, and when it will."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import RowMapping, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console import queries
from services.console.auth import Viewer
from services.console.context import Here
from services.console.journeys_api import JourneyId
from services.console.models import Answer, Failure
from services.console.reading import reading
from services.console.views import flows_of
from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow, OnDate
from services.journey.core.occasions import next_firing
from shared.clock import EPOCH
from shared.db.tables import firing_cursors, firings, partitions
from shared.errors import NotFound

router = APIRouter(prefix="/api/journeys", tags=["journeys"])

_UPCOMING = 5


class UpcomingFiring(Answer):
    at: datetime
    """With `timezone: customer` and for dates, the first moment at which it fires for anybody."""


class FiringRow(Answer):
    """One occasion; with `timezone: customer` and for dates, one row for each moment it comes."""

    version: int
    kind: Literal["schedule", "date", "audience"]
    label: str = Field(examples=["2026-03-02T10:00"])
    """The local moment of a schedule, the calendar day of a date, the id of a catalogue event."""
    at: datetime
    """The moment for which it was meant."""
    late_seconds: float
    """How much later it fired."""
    missed: int
    """Earlier occasions that it stands for as well, because nothing ran when they came."""
    reached: int
    """Customers whom it has reached so far; who is started is the engine's decision."""
    progress: float = Field(ge=0, le=1)
    """The share of partitions that it has come to the end of."""
    done_at: datetime | None
    skipped: Literal["too_old", "paused", "withdrawn"] | None


class FiringsAnswer(Answer):
    upcoming: list[UpcomingFiring]
    """The next few; empty for what no clock starts, and while the journey is not active."""
    past: list[FiringRow]
    """Newest first."""


@router.get(
    "/{journey}/firings", responses={404: {"model": Failure, "description": "No such journey"}}
)
async def journey_firings(
    journey: JourneyId,
    here: Here,
    _caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> FiringsAnswer:
    """Past firings of a journey that starts for many at once, and its next ones."""
    now = here.clock.now()
    async with reading(here.engine) as connection:
        rows = await queries.journeys_with_totals(connection, journey)
        if not rows:
            raise NotFound(f"there is no journey `{journey}`")
        workspace = await queries.newest_workspace(connection)
        version = None if workspace is None else workspace["journeys"].get(journey)
        sources = await queries.sources(connection, [(journey, version)] if version else [])
        settings = await queries.newest_settings(connection)
        past = await _past(connection, journey, limit)
    flow = next(iter((await flows_of(sources)).values()), None)
    upcoming: list[UpcomingFiring] = []
    if flow is not None and rows[0]["status"] == "active":
        book = Book([Edition.of(EPOCH, [flow])], {}, zone=settings.zone())
        upcoming = [UpcomingFiring(at=at) for at in _next(book, flow, now)]
    return FiringsAnswer(upcoming=upcoming, past=[_row(row) for row in past])


def _next(book: Book, flow: Flow, now: datetime) -> Iterator[datetime]:
    if isinstance(flow.plan, OnDate) and flow.plan.at is None:
        return  # it looks every minute
    at: datetime | None = now
    for _ in range(_UPCOMING):
        at = None if at is None else next_firing(book, flow, at)
        if at is None:
            return
        yield at


async def _past(connection: AsyncConnection, journey: str, limit: int) -> queries.Rows:
    f, c = firings.c, firing_cursors.c
    put = func.coalesce(func.sum(c.put), 0).label("reached")
    done = func.count().filter(c.done).label("partitions_done")
    all_partitions = select(func.count()).select_from(partitions).scalar_subquery()
    query = (
        select(firings, put, done, all_partitions.label("partitions"))
        .select_from(firings.outerjoin(firing_cursors, and_(c.firing == f.id)))
        .where(f.journey == journey)
        .group_by(f.id)
        .order_by(f.at.desc(), f.id)
        .limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


def _row(row: RowMapping) -> FiringRow:
    finished = row["done_at"] is not None and row["skipped"] is None
    return FiringRow(
        version=row["version"],
        kind=row["kind"],
        label=row["label"],
        at=row["at"],
        late_seconds=max(0.0, (row["fired_at"] - row["at"]).total_seconds()),
        missed=row["missed"],
        reached=row["reached"],
        progress=1.0 if finished else row["partitions_done"] / max(row["partitions"], 1),
        done_at=row["done_at"],
        skipped=row["skipped"],
    )
