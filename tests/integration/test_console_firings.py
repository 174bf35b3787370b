"""What the API shows of firings."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from shared.clock import wall_clock
from shared.db.connect import Pool
from tests.integration.consoling import client, zipped

FILES = {
    "dangol.yaml": b"timezone: Asia/Seoul\nchannels: {email: {adapter: log}}\n",
    "segments/all.yaml": b"segment: all\nwhere: profile.x != 1\n",
    "journeys/news.yaml": b"journey: news\ntrigger: {schedule: '0 10 * * *', segment: all}\n"
    b"steps: [{wait: 1h}]\n",
    "journeys/born.yaml": b"journey: born\ntrigger: {date: profile.birthday, time: '10:00'}\n"
    b"steps: [{wait: 1h}]\n",
    "journeys/plain.yaml": b"journey: plain\ntrigger: {event: A}\nsteps: [{wait: 1h}]\n",
}
ROW = """
INSERT INTO firings (id, journey, version, kind, label, since, at, fired_at, missed, trigger,
  done_at, skipped)
VALUES ($1, 'news', 1, 'schedule', $1, $2, $2, $3, $4, '{"name": "$scheduled"}', $5, $6)
"""


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        answer = await api.put("/api/workspace", content=zipped(FILES))
        assert answer.status_code == 200, answer.text
        yield api


async def test_what_is_to_come(api: httpx.AsyncClient) -> None:
    found = (await api.get("/api/journeys/news/firings")).json()
    assert len(found["upcoming"]) == 5
    assert all(each["at"].endswith("T01:00:00Z") for each in found["upcoming"])
    assert found["past"] == []
    assert (await api.get("/api/journeys/born/firings")).json()["upcoming"]
    assert (await api.get("/api/journeys/plain/firings")).json() == {"upcoming": [], "past": []}
    await api.post("/api/journeys/news/pause")
    assert (await api.get("/api/journeys/news/firings")).json()["upcoming"] == []
    assert (await api.get("/api/journeys/none/firings")).status_code == 404


async def test_what_has_been(api: httpx.AsyncClient, pool: Pool) -> None:
    now = wall_clock()
    day = timedelta(days=1)
    await pool.execute(ROW, "old", now - 2 * day, now - day, 3, now, None)
    await pool.execute(ROW, "skipped", now - day, now, 0, now, "too_old")
    await pool.execute(ROW, "running", now, now, 0, None, None)
    await pool.executemany(
        "INSERT INTO firing_cursors (partition, firing, put, done) VALUES ($1, $2, $3, $4)",
        [(0, "running", 10, True), (1, "running", 5, False), (0, "old", 7, True)],
    )
    past = (await api.get("/api/journeys/news/firings")).json()["past"]
    shown = [(p["label"], p["reached"], p["progress"], p["missed"], p["skipped"]) for p in past]
    assert shown == [
        ("running", 15, 0.25, 0, None),
        ("skipped", 0, 0.0, 0, "too_old"),
        ("old", 7, 1.0, 3, None),
    ]
    assert past[2]["late_seconds"] == pytest.approx(86400)
    assert len((await api.get("/api/journeys/news/firings?limit=1")).json()["past"]) == 1
