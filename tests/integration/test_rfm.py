"""Scores from the history to the customers' rows, and what journeys make of them."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.journey.core.state import unpack
from shared.clock import REAL, wall_clock
from shared.db.connect import Pool
from shared.errors import Conflict
from shared.event import scored_event
from shared.rfm import score_of
from shared.rfm_scoring import _LOCK, Nightly, NotConfigured, last_scored, score_now
from tests.conftest import PARTITIONS
from tests.integration.consoling import client
from tests.integration.test_identity import USER, elsewhere, guest, identify, relaying, settled
from tests.integration.test_journey_worker import SETTINGS, TEMPLATE, House, house, track

__all__ = ["house"]

RFM = "rfm: {event: Bought, value: total, window: 365d}\n"
VIP = """
journey: vip
trigger: {segment: vip, on: enter}
steps: [{send: email, template: hello, id: thanks}]
"""
SEEN = """
journey: seen
trigger: {event: Seen}
entry: {where: rfm.frequency == 5 and rfm.monetary >= 4}
steps: [{send: email, template: hello, id: hi}]
"""


async def publish(house: House, settings: str = SETTINGS + RFM) -> None:
    from services.console.publish import apply

    files = {
        "dangol.yaml": settings,
        "templates/hello/email.liquid": TEMPLATE,
        "journeys/vip.yaml": VIP,
        "journeys/seen.yaml": SEEN,
        "segments/vip.yaml": 'segment: vip\nwhere: rfm.segment == "champions"\n',
    }
    if "rfm" not in settings:
        files = {name: text for name, text in files.items() if name.startswith(("dan", "temp"))}
    await apply(house.pool, {name: text.encode() for name, text in files.items()}, "test", REAL)


def bought(customer: str, total: Any, days: int = 0) -> Any:
    at = wall_clock() - timedelta(days=days)
    return msgspec.structs.replace(track("Bought", customer, total=total), timestamp=at)


async def shop(house: House) -> None:
    """Somebody who buys today, often and for much, and five who do not."""
    events = [bought("best", 1000) for _ in range(5)]
    events += [bought(f"u{n}", 10 * n, days=10 * n) for n in range(1, 6)]
    await house.log.append([*events, track("Looked", "browser")])
    await house.caught_up()


async def rfm_of(house: House) -> dict[str, Any]:
    rows = await house.pool.fetch("SELECT id, rfm, state FROM customers")
    for row in rows:
        kept = unpack(row["state"]).rfm
        assert (row["rfm"] or None) == (None if kept is None else kept.bands), row["id"]
    return {row["id"]: row["rfm"] for row in rows}


async def scored(house: House) -> int:
    done = await score_now(house.pool, REAL)
    await settled(house)
    return done.changed


async def test_scores_come_to_the_customers_and_move_journeys(house: House) -> None:
    await publish(house)
    async with relaying(house), house.running():
        await shop(house)
        assert await scored(house) == 6
        found = await rfm_of(house)
        assert found["browser"] is None
        assert found["best"] == {
            "recency": 5, "frequency": 5, "monetary": 5, "segment": "champions",
        }  # fmt: skip
        assert found["u5"]["recency"] == 1
        # Who enters a segment by a score enters the journey that watches it.
        await house.until("SELECT count(*) = 1 FROM messages WHERE customer = 'best'")
        await house.log.append(
            [track("Seen", "best"), track("Seen", "u5"), track("Seen", "browser")]
        )
        await house.until("SELECT count(*) = 2 FROM messages WHERE customer = 'best'")
        assert await house.pool.fetchval("SELECT count(*) FROM messages") == 2
        history = await house.pool.fetchval("SELECT count(*) FROM history WHERE kind = 'scored'")
        assert history == 0


async def test_only_who_has_another_score_is_told(house: House) -> None:
    await publish(house)
    async with relaying(house), house.running():
        await shop(house)
        assert await scored(house) == 6
        assert await scored(house) == 0
        await house.log.append([bought("browser", 5)])
        await house.caught_up()
        assert await scored(house) > 0
        assert (await rfm_of(house))["browser"]["frequency"] == 1


async def test_who_falls_out_of_the_window_has_no_score_any_more(house: House) -> None:
    await publish(house)
    async with relaying(house), house.running():
        await shop(house)
        await scored(house)
        await publish(house, SETTINGS + RFM.replace("365d", "15d"))
        await scored(house)
        found = await rfm_of(house)
        assert [name for name, score in sorted(found.items()) if score] == ["best", "u1"]


async def test_a_score_makes_nobody(house: House) -> None:
    await publish(house)
    async with house.running():
        told = scored_event(customer="gone", score=score_of(5, 5, 5, wall_clock()), at=wall_clock())
        await house.log.append([told, track("Looked", "here")])
        await house.caught_up()
        assert list(await rfm_of(house)) == ["here"]


async def test_an_older_score_that_comes_late_changes_nothing(house: House) -> None:
    await publish(house)
    now = wall_clock()
    async with house.running():
        await house.log.append([track("Looked", "ann")])
        for recency, at in ((5, now), (1, now - timedelta(hours=1))):
            score = score_of(recency, 5, None, at)
            await house.log.append([scored_event(customer="ann", score=score, at=at)])
        await house.caught_up()
        assert (await rfm_of(house))["ann"]["recency"] == 5


async def test_a_merged_customer_is_scored_by_what_both_have_bought(house: House) -> None:
    await publish(house)
    anon = elsewhere(USER)
    async with relaying(house), house.running():
        await house.log.append([guest("Bought", anon, total=5), bought(USER, 5), bought("x", 9)])
        await house.caught_up()
        await scored(house)
        late = scored_event(customer=anon, score=score_of(1, 1, 1, wall_clock()), at=wall_clock())
        await house.log.append([identify(USER, anon)])
        await settled(house)
        await house.log.append([late])  # told while the id was becoming the user's
        await scored(house)
        found = await rfm_of(house)
        assert found[anon] is None
        assert found[USER]["frequency"] == 5
        assert found["x"]["frequency"] == 1


async def test_without_a_purchase_named_there_is_nothing_to_score(house: House) -> None:
    await publish(house, SETTINGS)
    with pytest.raises(NotConfigured) as caught:
        await score_now(house.pool, REAL)
    assert "rfm:" in caught.value.hint
    await Nightly(house.pool, REAL, PARTITIONS).run()
    async with house.pool.acquire() as connection:
        assert await last_scored(connection) is None


async def test_two_scorings_do_not_meet(house: House, pool: Pool) -> None:
    await publish(house)
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        with pytest.raises(Conflict):
            await score_now(pool, REAL)
        await Nightly(pool, REAL, PARTITIONS).run()
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    await Nightly(pool, REAL, PARTITIONS).run()
    async with pool.acquire() as connection:
        last = await last_scored(connection)
    assert last is not None
    before = await pool.fetchval("SELECT value FROM meta WHERE key = 'rfm_scored'")
    await Nightly(pool, REAL, PARTITIONS).run()  # the night has been
    assert await pool.fetchval("SELECT value FROM meta WHERE key = 'rfm_scored'") == before


async def test_more_than_the_outbox_should_hold_waits_for_the_relay(house: House) -> None:
    await publish(house)
    await house.pool.execute(
        "INSERT INTO customers (partition, id, state) SELECT 0, 'c' || n, '' FROM"
        " generate_series(1, 12000) n"
    )
    await house.pool.execute(
        "INSERT INTO history SELECT 0, 'c' || n, now(), 'e' || n, 'track', 'Bought', now(),"
        ' \'{"properties": {"total": 1}}\' FROM generate_series(1, 12000) n'
    )
    most = 0

    async def watch(done: asyncio.Event) -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, await house.pool.fetchval("SELECT count(*) FROM log_outbox"))
            await asyncio.sleep(0.01)

    done = asyncio.Event()
    watching = asyncio.create_task(watch(done))
    async with relaying(house):
        assert (await score_now(house.pool, REAL)).changed == 12_000
    done.set()
    await watching
    assert most < 10_000


async def test_the_api_shows_the_spread_and_scores(house: House, dsn: str) -> None:
    await publish(house)
    async with client(dsn, house.pool) as api, relaying(house), house.running():
        await shop(house)
        empty = (await api.get("/api/rfm")).json()
        assert (empty["scored_at"], empty["customers"]) == (None, 0)
        done = await api.post("/api/rfm/score")
        assert done.status_code == 200
        assert done.json()["changed"] == 6
        await settled(house)
        found = (await api.get("/api/rfm")).json()
        assert found["scored_at"] == done.json()["at"]
        assert (found["customers"], found["small_sample"]) == (6, True)
        champions = found["segments"][0]
        assert champions["id"] == "champions"
        assert (champions["title_en"], champions["title_ko"]) == ("Champions", "최우수 고객")
        assert champions["customers"] == 1
        assert sum(row["customers"] for row in found["segments"]) == 6
        assert sum(row["share"] for row in found["segments"]) == pytest.approx(1)
        await publish(house, SETTINGS)
        refused = await api.post("/api/rfm/score")
        assert (refused.status_code, refused.json()["code"]) == (409, "rfm_not_configured")
