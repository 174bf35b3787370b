"""A customer's timeline over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import Field

from services.console.auth import Viewer
from services.console.context import Here
from services.console.explaining.aside import aside
from services.console.explaining.stored import Stored, read
from services.console.explaining.timeline import Item, timeline
from services.console.explaining.wording import Teller
from services.console.models import Answer, Failure
from services.console.reading import Before
from services.console.words import Language, language_of
from shared.local_time import zone_of
from shared.workspace import WorkspaceSettings

router = APIRouter(prefix="/api", tags=["messages and customers"])

_NO_NUL = r"^[^\x00]*$"
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such customer"}
}


class TimelineRow(Answer):
    at: datetime
    local: str = Field(examples=["2026-03-02 21:00"])
    """On the customer's clock."""
    kind: str = Field(examples=["entered"])
    journey: str | None = Field(examples=["cart-abandonment"])
    step: str | None = Field(examples=["first-nudge"])
    text: str
    """The sentence."""
    detail: dict[str, Any]


@router.get("/customers/{customer:path}/timeline", responses=_UNKNOWN)
async def customer_timeline(
    request: Request,
    response: Response,
    customer: Annotated[str, Path(examples=["u1"], min_length=1, max_length=512, pattern=_NO_NUL)],
    here: Here,
    _caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[
        str | None, Query(description="From the `Link` header of the page before, or an instant")
    ] = None,
    lang: Annotated[str | None, Query(description="`en` or `ko`")] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> list[TimelineRow]:
    """Everything that happened with a customer, newest first: events, entries, steps, messages with
    decisions and reasons, receipts, calls, consent statements, merges.

    `Link: <…>; rel="next"` leads to older ones. For an id that belongs to a customer, the customer.
    """
    place = Before.of(before) if before is not None else None
    stored = await read(here.pool, customer, None)
    language = language_of(lang, accept_language)
    now = here.clock.now()
    items = await aside(lambda: timeline(stored, now))
    if place is not None:
        items = [item for item in items if (item.at, item.place) < (place.at, place.id)]
    if len(items) > limit:
        last = Before(items[limit - 1].at, items[limit - 1].place)
        query = {**request.query_params, "before": str(last)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return _rows(stored, items[:limit], language)


def _rows(stored: Stored, items: list[Item], language: Language) -> list[TimelineRow]:
    settings = WorkspaceSettings.model_validate(stored.rows.settings or {})
    teller = Teller(language, zone_of(stored.traits.get("timezone"), settings.zone()))
    return [
        TimelineRow(
            at=item.at,
            local=teller.time(item.at),
            kind=item.fact.kind,
            journey=item.journey or None,
            step=item.fact.step or None,
            text=teller.fact(item.fact),
            detail=dict(item.fact.detail),
        )
        for item in items
    ]
