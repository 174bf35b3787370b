"""Segments over HTTP: what they ask, how many are inside now, who watches them."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from fastapi import APIRouter

from services.console import queries
from services.console.auth import Viewer
from services.console.context import Console, Here
from services.console.models import SegmentRow, WatcherRow
from services.console.reading import reading
from services.console.views import flows_of
from services.journey.language.compile_segments import parse_segments, read_sources
from services.journey.language.expressions import Node
from services.journey.language.sql.counting import count_members
from shared.db.connect import Connection, unavailable_when_lost

router = APIRouter(prefix="/api/segments", tags=["segments"])

_LONGEST = 10.0
"""Real seconds that the counting may take, over all partitions."""
_SETTINGS = "SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
"""As for a sweep, whose statement this one resembles."""


@router.get("")
async def segments(here: Here, _caller: Viewer, count: bool = True) -> list[SegmentRow]:
    """The segments of the newest workspace, by name.

    `members` is counted anew at each call: over very many customers it may take longer than ten
    seconds, and is null then. `count=false` leaves it out.
    """
    async with reading(here.engine) as connection:
        newest = await queries.newest_workspace(connection)
        if newest is None:
            return []
        versions = dict(newest["journeys"])
        sources = await queries.sources(connection, versions.items())
        statuses = {r["id"]: r["status"] for r in await queries.journeys_with_totals(connection)}
    stored = read_sources(newest["segments"])
    watchers: dict[str, list[WatcherRow]] = {}
    for (journey, _), flow in sorted((await flows_of(sources)).items()):
        if flow.watches is not None and statuses.get(journey) != "archived":
            row = WatcherRow(journey=journey, on=flow.watches.on)
            watchers.setdefault(flow.watches.segment, []).append(row)
    nodes = await asyncio.to_thread(parse_segments, stored)
    members, inexact = await _count(here, nodes) if count and nodes else ({}, frozenset[str]())
    return [
        SegmentRow(
            name=name,
            title=stored[name].title,
            where=stored[name].where,
            members=members.get(name),
            exact=name not in inexact,
            watched_by=watchers.get(name, []),
        )
        for name in sorted(stored)
    ]


async def _count(
    here: Console, nodes: Mapping[str, Node]
) -> tuple[Mapping[str, int], frozenset[str]]:
    """Raises Unavailable."""
    total: Counter[str] = Counter(dict.fromkeys(nodes, 0))
    inexact: frozenset[str] = frozenset()
    deadline = time.perf_counter() + _LONGEST
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        for row in await connection.fetch("SELECT id FROM partitions ORDER BY id"):
            left = deadline - time.perf_counter()
            try:
                found, inexact = await _of_partition(
                    connection, nodes, row["id"], here.clock.now(), max(left, 0.01)
                )
            except TimeoutError:
                return {}, inexact
            total.update(found)
    return total, inexact


async def _of_partition(
    connection: Connection,
    nodes: Mapping[str, Node],
    partition: int,
    now: datetime,
    left: float,
) -> tuple[Mapping[str, int], frozenset[str]]:
    asked = await asyncio.to_thread(count_members, nodes, partition, now)
    async with connection.transaction(readonly=True):
        await connection.execute(_SETTINGS)
        row = await connection.fetchrow(asked.text, *asked.arguments, timeout=left)
    assert row is not None
    return dict(zip(asked.segments, row.values(), strict=True)), asked.inexact
