"""`POST /api/journeys/{id}/enter`: customers whom the caller names start a journey.

The call becomes one event a customer, through the log like everything that happens to a customer,
so that entry checks, order and exactly-once are those of any other trigger.
"""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from services.console import queries
from services.console.auth import Marketer
from services.console.context import Console, Here
from services.console.journeys_api import JourneyId
from services.console.models import Failure
from services.console.reading import reading
from services.console.views import flows_of
from shared.db.connect import unavailable_when_lost
from shared.db.installation import partition_count
from shared.errors import Conflict, NotFound
from shared.event import Event, enter_event
from shared.log import outbox

router = APIRouter(prefix="/api/journeys", tags=["journeys"])

MOST = 1000


class Entrant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
    properties: dict[str, Any] = {}
    """What the journey reads as `trigger.…`."""


class Entrants(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"customers": [{"id": "u1", "properties": {"reason": "winter sale"}}]}]
        },
    )

    customers: Annotated[list[Entrant], Field(min_length=1, max_length=MOST)]


class EntrantsTaken(BaseModel):
    call: str
    """Repeating the call with this `Idempotency-Key` starts nothing twice."""
    taken: int


Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


@router.post(
    "/{journey}/enter",
    status_code=202,
    responses={
        404: {"model": Failure, "description": "No such journey"},
        409: {"model": Failure, "description": "Not started by the API, or not active"},
    },
)
async def enter(
    journey: JourneyId, body: Entrants, here: Here, caller: Marketer, key: Key = None
) -> EntrantsTaken:
    """Name customers for a journey with `trigger: {api: true}`; its entry rules still decide."""
    await _check(here, journey)
    call = key or uuid4().hex
    at = here.clock.now()
    events = [
        enter_event(
            call=call,
            journey=journey,
            customer=entrant.id,
            properties=entrant.properties,
            at=at,
            by=caller.name,
        )
        for entrant in body.customers
    ]
    await _append(here, events)
    return EntrantsTaken(call=call, taken=len(events))


async def _check(here: Console, journey: str) -> None:
    async with reading(here.engine) as connection:
        rows = await queries.journeys_with_totals(connection, journey)
        if not rows:
            raise NotFound(f"there is no journey `{journey}`")
        newest = await queries.newest_workspace(connection)
        version = None if newest is None else newest["journeys"].get(journey)
        sources = await queries.sources(connection, [(journey, version)] if version else [])
    if rows[0]["status"] != "active":
        raise Conflict(f"`{journey}` is {rows[0]['status']}", hint="resume it first")
    flow = next(iter((await flows_of(sources)).values()), None)
    if flow is None or not flow.api:
        raise Conflict(
            f"`{journey}` is not started by the API", hint="it needs `trigger: {api: true}`"
        )


async def _append(here: Console, events: list[Event]) -> None:
    async with (
        unavailable_when_lost(),
        here.pool.acquire() as connection,
        connection.transaction(),
    ):
        partitions = await partition_count(connection)
        await outbox.put(connection, events, partitions)
