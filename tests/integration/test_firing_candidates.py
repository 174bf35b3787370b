"""Whom the database names for a date's firing: everybody whom the core means, and few others."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.journey.core.anniversaries import next_date
from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow, Moment, OnDate, Scope
from services.journey.core.occasions import Due, due_firings
from services.journey.core.state import State, pack
from services.journey.firings.candidates import statement
from services.journey.firings.rows import Open
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from shared.db.connect import Pool
from shared.local_time import zone_of

SEOUL = ZoneInfo("Asia/Seoul")
START = datetime(2027, 2, 26, 3, tzinfo=UTC)
ZONES = [None, "Asia/Seoul", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Niue", "Mars/X", 5]
OFFSETS = ["Z", "+14:00", "-12:00", ""]


def values() -> Iterator[Any]:
    """Dates and instants around the end of February, and what is neither."""
    for year, day in itertools.product((1992, 2027), range(-4, 6)):
        moment = datetime(year, 2, 28, 12, 30, 15) + timedelta(days=day)  # noqa: DTZ001
        yield moment.date().isoformat()
        yield from (moment.isoformat() + offset for offset in OFFSETS)
    yield from ("20270228", "2027-W08-7", "soon", "", 228, None, ["2027-02-28"], "2027-02-30")


@pytest.mark.parametrize("every", ["", ", every: year"])
@pytest.mark.parametrize("time", ["", ', time: "10:00"', ', time: "00:00"'])
@pytest.mark.parametrize("offset", ["", ", offset: -3d", ", offset: 1d6h"])
async def test_nobody_who_is_meant_is_left_out(
    pool: Pool, every: str, time: str, offset: str
) -> None:
    source = (
        f"journey: j\ntrigger: {{date: profile.x.on{offset}{time}{every}}}\nsteps: [{{wait: 1d}}]"
    )
    flow = compile_journey(source, 1)
    assert isinstance(flow.plan, OnDate)
    book = Book([Edition.of(EPOCH, [flow])], {("j", 1): flow}, zone=SEOUL)
    people = [
        (f"c{n:04}", {"x": {"on": value}} | ({} if zone is None else {"timezone": zone}))
        for n, (value, zone) in enumerate(itertools.product(values(), ZONES))
    ]
    await pool.executemany(
        "INSERT INTO customers (partition, id, traits, state) VALUES (0, $1, $2, $3)",
        [(name, traits, pack(State(seen={1: 0}))) for name, traits in people],
    )
    found = due_firings(book, "j", START, START + timedelta(hours=30))
    asked = named = right = 0
    for due in found:
        selected = await _selected(pool, due, flow)
        meant = {name for name, traits in people if _is_meant(flow.plan, due, traits)}
        assert meant <= selected, due.firing.label
        asked += len(people)
        named += len(selected)
        right += len(meant)
    assert named < asked / 3
    assert right


def _is_meant(plan: OnDate, due: Due, traits: dict[str, Any]) -> bool:
    firing = due.firing
    value = plan.date.evaluate(Scope(firing.fired_at, traits, Moment("$date", {})))
    occasion = next_date(plan, value, zone_of(traits.get("timezone"), SEOUL), firing.after)
    if occasion is None or occasion.at > firing.at:
        return False
    return ("T" in occasion.label) == ("/" in firing.label) and (
        "/" in firing.label or occasion.label == firing.label
    )


async def _selected(pool: Pool, due: Due, flow: Flow) -> set[str]:
    zones = None if due.zones is None else tuple(due.zones)
    asks = statement(Open(due.firing.id, due.firing, zones, due.rest), flow, {})
    places = asks.parameters(partition=0, after="", until="z", most=100_000)
    return {row["id"] for row in await pool.fetch(asks.text, *places)}
