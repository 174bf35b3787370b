"""Journeys over HTTP: how they are doing, and pause, resume, archive."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console import publish, queries
from services.console.auth import Marketer, Viewer
from services.console.context import Console, Here
from services.console.models import Failure, JourneyAnswer, JourneyRow, StatusAnswer
from services.console.reading import reading
from services.console.views import flows_of, journey_answer, journey_row
from services.journey.language.problems import nearest
from shared.errors import NotFound

router = APIRouter(prefix="/api/journeys", tags=["journeys"])

JourneyId = Annotated[str, Path(examples=["cart-abandonment"], pattern=r"^[^\x00]*$")]
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such journey"}
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    **_UNKNOWN,
    409: {"model": Failure, "description": "Not from the status it has"},
}


@router.get("")
async def journeys(here: Here, _caller: Viewer) -> list[JourneyRow]:
    """All journeys that were ever published, by id."""
    async with reading(here.engine) as connection:
        rows = await queries.journeys_with_totals(connection)
        versions = await _versions(connection)
        sources = await queries.sources(connection, versions.items())
    flows = {name: flow for (name, _), flow in (await flows_of(sources)).items()}
    return [journey_row(row, flows.get(row["id"]), versions.get(row["id"])) for row in rows]


@router.get("/{journey}", responses=_UNKNOWN)
async def journey(journey: JourneyId, here: Here, _caller: Viewer) -> JourneyAnswer:
    """One journey: counts by step, ends and refusals by reason, messages by decision."""
    async with reading(here.engine) as connection:
        rows = await queries.journeys_with_totals(connection, journey)
        if not rows:
            known = [row["id"] for row in await queries.journeys_with_totals(connection)]
            raise NotFound(f"there is no journey `{journey}`", hint=nearest(journey, known))
        versions = await _versions(connection)
        version = versions.get(journey)
        sources = await queries.sources(connection, [(journey, version)] if version else [])
        counts = await queries.counts_of(connection, journey)
        messages = await queries.message_counts(connection, journey)
    flow = next(iter((await flows_of(sources)).values()), None)
    totals = journey_row(rows[0], flow, version)
    return journey_answer(totals, sources[0]["file"] if sources else None, flow, counts, messages)


@router.post("/{journey}/pause", responses=_REFUSED)
async def pause(journey: JourneyId, here: Here, _caller: Marketer) -> StatusAnswer:
    """No entries and no steps from now on; messages not yet attempted stay undecided."""
    return await _set(here, journey, "paused")


@router.post("/{journey}/resume", responses=_REFUSED)
async def resume(journey: JourneyId, here: Here, _caller: Marketer) -> StatusAnswer:
    """Active again, after a pause or an archiving."""
    return await _set(here, journey, "active")


@router.post("/{journey}/archive", responses=_REFUSED)
async def archive(journey: JourneyId, here: Here, _caller: Marketer) -> StatusAnswer:
    """No more entries; what is in flight goes on to its end."""
    return await _set(here, journey, "archived")


async def _set(here: Console, journey: str, status: publish.Status) -> StatusAnswer:
    was = await publish.set_status(here.pool, journey, status, here.clock)
    return StatusAnswer(id=journey, status=status, was=was)


async def _versions(connection: AsyncConnection) -> dict[str, int]:
    row = await queries.newest_workspace(connection)
    return {} if row is None else dict(row["journeys"])
