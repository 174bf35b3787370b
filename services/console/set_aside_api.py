"""What could not be used, over HTTP: lists for viewers, contents and replays for operators."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query

from services.console.auth import Operator, Viewer
from services.console.context import Here
from services.console.models import (
    AsideContent,
    AsideCount,
    AsideRow,
    Failure,
    ReplayAnswer,
    ReplayRow,
    ReplayWish,
    UnmendedRow,
)
from services.console.set_aside import (
    count_aside,
    list_aside,
    replay,
    replay_waiting,
    show_aside,
)
from shared.db.connect import unavailable_when_lost

router = APIRouter(prefix="/api/set-aside", tags=["set aside"])

_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such record"}
}
_Number = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[1])]
_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("")
async def records(
    here: Here,
    _caller: Viewer,
    source: _Text = None,
    reason: _Text = None,
    replayed: Annotated[bool, Query(description="Those that have been replayed as well")] = False,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="An id")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[AsideRow]:
    """Events and log records that could not be used, the newest first; not what is in them."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        found = await list_aside(
            connection,
            source=source,
            reason=reason,
            replayed=replayed,
            before=before,
            limit=limit,
        )
    return [AsideRow.model_validate(record) for record in found]


@router.get("/counts")
async def counts(here: Here, _caller: Viewer) -> list[AsideCount]:
    """How many by source and reason."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        return [AsideCount.model_validate(count) for count in await count_aside(connection)]


@router.post("/replay")
async def replay_all(
    here: Here, caller: Operator, source: _Text = None, reason: _Text = None
) -> ReplayAnswer:
    """Read the oldest 1,000 that wait again; what still cannot be used stays."""
    done, left = await replay_waiting(
        here.pool, by=caller.name, now=here.clock.now(), source=source, reason=reason
    )
    return ReplayAnswer(
        replayed=[ReplayRow.model_validate(one) for one in done],
        left=[UnmendedRow.model_validate(one) for one in left],
    )


@router.get("/{number}", responses=_UNKNOWN)
async def record(number: _Number, here: Here, _caller: Operator) -> AsideContent:
    """One of them with its content, which is personal data."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        content = await show_aside(connection, number)
    return AsideContent(
        **AsideRow.model_validate(content.record).model_dump(),
        payload=content.payload.decode("utf-8", "replace"),
    )


@router.post("/{number}/replay", responses=_UNKNOWN)
async def replay_one(
    number: _Number, here: Here, caller: Operator, wish: ReplayWish | None = None
) -> ReplayRow:
    """Put it into the log, as it is or as the payload given has it; its id makes it count once."""
    payload = None if wish is None else msgspec.json.encode(wish.payload)
    done = await replay(here.pool, number, by=caller.name, now=here.clock.now(), payload=payload)
    return ReplayRow.model_validate(done)
