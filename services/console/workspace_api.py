"""Publishing over HTTP."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from services.console import publish, queries
from services.console.archive import MOST_ZIPPED, read_zip
from services.console.auth import Marketer, Viewer
from services.console.context import Here
from services.console.failures import TooLarge
from services.console.models import (
    AppliedAnswer,
    Failure,
    PlanAnswer,
    RefusedWorkspace,
    WorkspaceAnswer,
)
from services.console.reading import reading
from shared.bodies import bounded
from shared.db.connect import unavailable_when_lost
from shared.errors import BadInput

router = APIRouter(prefix="/api/workspace", tags=["workspace"])

_BODY_WITHIN = 60
"""Seconds for a body to arrive."""
_ZIP: dict[str, Any] = {
    "requestBody": {
        "description": f"The workspace folder, zipped; at most {MOST_ZIPPED // 2**20} MiB.",
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "No zip, or no workspace in it"},
    413: {"model": Failure, "description": "The zip is too large"},
    422: {"model": RefusedWorkspace, "description": "The workspace has problems; all are listed"},
}


@router.post("/plan", openapi_extra=_ZIP, responses=_REFUSALS)
async def plan(request: Request, here: Here, _caller: Viewer) -> PlanAnswer:
    """What an apply of this workspace would change, and which runs are in flight."""
    files = await _files(request)
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        return PlanAnswer.model_validate(await publish.plan(connection, files))


@router.put(
    "",
    openapi_extra=_ZIP,
    responses={
        **_REFUSALS,
        409: {"model": Failure, "description": "Somebody has published since `base_revision`"},
    },
)
async def apply(
    request: Request,
    here: Here,
    caller: Marketer,
    base_revision: Annotated[
        int | None,
        Query(ge=0, lt=2**63, description="The revision that was planned against"),
    ] = None,
    in_flight: Annotated[
        Literal["pin", "migrate", "end"],
        Query(
            description="What becomes of the runs that other versions of the changed journeys have"
            " in flight: they go on (`pin`), move by step id, or end"
        ),
    ] = "pin",
) -> AppliedAnswer:
    """Publish this workspace; the very same one again changes nothing and says so."""
    files = await _files(request)
    applied = await publish.apply(
        here.pool, files, caller.name, here.clock, base_revision, in_flight
    )
    return AppliedAnswer.model_validate(applied)


@router.get("")
async def newest(here: Here, _caller: Viewer) -> WorkspaceAnswer:
    """The newest published revision."""
    async with reading(here.engine) as connection:
        row = await queries.newest_workspace(connection)
    if row is None:
        return WorkspaceAnswer(
            revision=0, hash=None, active_from=None, applied_by=None, journeys={}
        )
    return WorkspaceAnswer(**row)


async def _files(request: Request) -> dict[str, bytes]:
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            body = await bounded(request.stream(), MOST_ZIPPED)
    except TimeoutError as error:
        raise BadInput("the body took too long to arrive") from error
    if body is None:
        raise TooLarge(f"the zip is larger than {MOST_ZIPPED // 2**20} MiB")
    return await asyncio.to_thread(read_zip, body)
