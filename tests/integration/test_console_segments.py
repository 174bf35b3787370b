"""What the API shows of segments: their conditions, who is inside now, and who watches."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.journey.core.state import State, pack
from shared.clock import wall_clock
from shared.db.connect import Pool
from shared.event import partition_of
from tests.integration.consoling import PARTITIONS, client, workspace, zipped

FILES = workspace("welcome") | {
    "segments/gold.yaml": b"segment: gold\ntitle: VIP\nwhere: profile.tier == 'gold'\n",
    "segments/idle.yaml": b'segment: idle\nwhere: \'not did("Bought", within="3d")\'\n',
    "segments/both.yaml": b"segment: both\nwhere: in_segment('gold') and in_segment('idle')\n",
    "journeys/hello.yaml": b"journey: hello\ntrigger: {segment: gold, on: enter}\n"
    b"steps: [{send: email, template: hello}]\n",
    "journeys/bye.yaml": b"journey: bye\ntrigger: {segment: gold, on: exit}\n"
    b"steps: [{send: email, template: hello}]\n",
}


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        yield api


async def add(
    pool: Pool, name: str, *events: str, forwarded_to: str | None = None, **traits: str
) -> None:
    partition, now = partition_of(name, PARTITIONS), wall_clock()
    await pool.execute(
        "INSERT INTO customers (partition, id, traits, state, forwarded_to)"
        " VALUES ($1, $2, $3, $4, $5)",
        *(partition, name, traits, pack(State(seen={1: 1})), forwarded_to),
    )
    for number, event in enumerate(events):
        await pool.execute(
            "INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at,"
            " event) VALUES ($1, $2, $3, $4, 'track', $5, $3, '{}')",
            *(partition, name, now, f"{name}-{number}", event),
        )


async def test_nothing_is_published(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/segments")).json() == []


async def test_segments_are_listed_with_their_members_and_watchers(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    response = await api.put("/api/workspace", content=zipped(FILES))
    assert response.status_code == 200, response.text
    await add(pool, "u1", "Bought", tier="gold")
    await add(pool, "u2", tier="gold")
    await add(pool, "u3", tier="silver")
    await add(pool, "device", forwarded_to="u1")
    await api.post("/api/journeys/bye/archive")
    both, gold, idle = (await api.get("/api/segments")).json()
    assert gold == {
        "name": "gold",
        "title": "VIP",
        "where": "profile.tier == 'gold'",
        "members": 2,
        "exact": True,
        "watched_by": [{"journey": "hello", "on": "enter"}],
    }
    assert (both["name"], both["members"]) == ("both", 1)
    assert (idle["name"], idle["members"], idle["watched_by"]) == ("idle", 2, [])


async def test_counting_is_left_out_on_request(api: httpx.AsyncClient) -> None:
    await api.put("/api/workspace", content=zipped(FILES))
    rows = (await api.get("/api/segments", params={"count": "false"})).json()
    assert [row["members"] for row in rows] == [None, None, None]
