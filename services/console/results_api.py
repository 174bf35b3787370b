"""What journeys brought, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from sqlalchemy import func, select

from services.console import queries
from services.console.auth import Viewer
from services.console.context import Here
from services.console.graph_api import published_flow
from services.console.models import Failure
from services.console.reading import reading
from services.console.results import results_answer
from services.console.results_models import ResultsAnswer
from services.console.words import Language
from shared.db.tables import conversions, messages

router = APIRouter(prefix="/api/journeys", tags=["journeys"])

_CONVERSIONS = select(
    conversions.c.held_out,
    conversions.c.variants,
    func.count().label("n"),
    func.coalesce(func.sum(conversions.c.value), 0.0).label("revenue"),
    func.coalesce(func.sum(conversions.c.value * conversions.c.value), 0.0).label("squares"),
).group_by(conversions.c.held_out, conversions.c.variants)
_MESSAGES = select(messages.c.step, messages.c.decision, func.count().label("n")).group_by(
    messages.c.step, messages.c.decision
)
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such journey"}
}


@router.get("/{journey}/results", responses=_UNKNOWN)
async def results(
    journey: Annotated[str, Path(examples=["cart-abandonment"], pattern=r"^[^\x00]*$")],
    here: Here,
    _caller: Viewer,
    lang: Annotated[Language, Query()] = "en",
) -> ResultsAnswer:
    """Entered, sent, opened, clicked, converted, revenue; and the difference to the holdout.

    Over all versions. An entry whose goal is still open counts as not converted in both groups.
    """
    async with reading(here.engine) as connection:
        flow = await published_flow(connection, journey)
        counts = await queries.counts_of(connection, journey)
        converted = await connection.execute(_CONVERSIONS.where(conversions.c.journey == journey))
        rows = [dict(row) for row in converted.mappings()]
        decided = await connection.execute(_MESSAGES.where(messages.c.journey == journey))
        sent = [dict(row) for row in decided.mappings()]
    return results_answer(flow, [dict(row) for row in counts], rows, sent, lang)
