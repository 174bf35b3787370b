"""A journey's picture over HTTP: the version that new entries start, with its steps' counts."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console import queries
from services.console.auth import Viewer
from services.console.context import Console, Here
from services.console.graph import Counts, chart_of, to_mermaid, to_svg
from services.console.graph.wording import Names
from services.console.in_flight import count_in_flight
from services.console.models import Failure, GraphAnswer
from services.console.reading import reading
from services.console.views import flows_of
from services.console.words import Language
from services.journey.core.flow import Flow
from services.journey.language.problems import nearest
from shared.db.connect import unavailable_when_lost
from shared.errors import NotFound

router = APIRouter(prefix="/api/journeys", tags=["journeys"])


@router.get(
    "/{journey}/graph", responses={404: {"model": Failure, "description": "No such journey"}}
)
async def graph(
    journey: Annotated[str, Path(examples=["cart-abandonment"], pattern=r"^[^\x00]*$")],
    here: Here,
    _caller: Viewer,
    lang: Annotated[Language, Query()] = "en",
    live: Annotated[bool, Query()] = False,
) -> GraphAnswer:
    """The flow as SVG and as Mermaid text.

    With `live`, each step also says how many runs wait there now; that reads every customer who
    has a run, a few seconds per million.
    """
    async with reading(here.engine) as connection:
        flow = await published_flow(connection, journey)
        reached: Counter[str] = Counter()
        for row in await queries.counts_of(connection, journey):
            if row["what"] == "reached":
                reached[row["step"]] += int(row["n"])
    waiting = await _waiting(here, journey) if live else None
    counts = {
        step: Counts(reached[step], None if waiting is None else waiting.get(step, 0))
        for step in flow.steps
    }
    return await asyncio.to_thread(drawn, flow, lang, counts)


def drawn(flow: Flow, language: Language, counts: Mapping[str, Counts] | None) -> GraphAnswer:
    names, chart = Names.of(language), chart_of(flow, language, counts)
    return GraphAnswer(
        journey=flow.journey,
        version=flow.version or None,
        svg=to_svg(chart, names),
        mermaid=to_mermaid(chart, names),
    )


async def published_flow(connection: AsyncConnection, journey: str) -> Flow:
    """The version that new entries start; raises NotFound with the nearest name."""
    workspace = await queries.newest_workspace(connection)
    versions: dict[str, int] = {} if workspace is None else dict(workspace["journeys"])
    if journey not in versions:
        raise NotFound(f"no journey `{journey}` is published", hint=nearest(journey, versions))
    sources = await queries.sources(connection, [(journey, versions[journey])])
    flow = (await flows_of(sources)).get((journey, versions[journey]))
    if flow is None:
        raise NotFound(
            f"the published version of `{journey}` cannot be read by this release",
            hint="apply the workspace again",
        )
    return flow


async def _waiting(here: Console, journey: str) -> Mapping[str, int]:
    """Runs of all versions, by step."""
    async with (
        unavailable_when_lost(),
        here.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        found = await count_in_flight(connection)
    waiting: Counter[str] = Counter()
    for row in found.get(journey, ()):
        waiting[row.step] += row.runs
    return waiting
