"""An erasure at awkward moments: dispatch holds the message, ids are joined, a fan-out runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.console import erasures
from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.database import open_dispatch_pool
from services.dispatch.worker import WAKEUPS, Dispatcher
from services.journey.firings import fanout
from services.journey.library import Library
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.worker import Worker
from shared import workspace_store
from shared.clock import REAL
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import Event, catalog_event, partition_of
from shared.log.outbox import CHANNEL as OUTBOX
from shared.log.outbox import Relay
from shared.log.postgres import CHANNEL, PostgresLogReader
from tests.conftest import PARTITIONS
from tests.integration import test_firings as firings
from tests.integration.consoling import client, zipped
from tests.integration.dispatching import Provider
from tests.integration.test_erasure import FILES, House, house, said
from tests.integration.test_firings import MONDAY, journey
from tests.patience import SOON

__all__ = ["house"]

ALL_DAY = b"""policies:
  consent: assumed
  quiet_hours:
    - {category: marketing, from: "00:00", to: "12:00"}
    - {category: marketing, from: "12:00", to: "00:00"}
channels:
  email: {adapter: log}
"""
CALLED = "SELECT count(*) = 1 FROM messages WHERE status = 'attempting'"


@asynccontextmanager
async def dispatching(house: House, provider: Provider) -> AsyncIterator[None]:
    wakeups = Wakeups(house.dsn, WAKEUPS)
    pool = await open_dispatch_pool(house.dsn, size=4)
    dispatcher = Dispatcher(
        pool,
        REAL,
        wakeups,
        partitions=PARTITIONS,
        environment={},
        concurrency=4,
        create=provider.create,
    )
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(run(stopping)) for run in (wakeups.run, dispatcher.run)]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
        await pool.close()


async def a_message(house: House) -> None:
    await house.log.append(
        [
            said("identify", traits={"email": "Zoe@shop.example"}),
            said(name="Added", properties={"cart": "Zoe 1"}),
        ]
    )


# Dispatch holds the message -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [(Outcome.ACCEPTED, ("sent", None)), (Outcome.RETRYABLE, ("dropped", "run_ended"))],
)
async def test_the_provider_is_being_called(
    house: House, outcome: Outcome, decision: tuple[str, str | None]
) -> None:
    """Past recall; nothing of it is kept, it is not tried again, and no run goes on from it."""
    called, answering = asyncio.Event(), asyncio.Event()

    async def slowly(_message: Outgoing) -> Result:
        called.set()
        await answering.wait()
        return Result(outcome, provider_id="Zoe-77", detail="Zoe does not answer")

    provider = Provider(otherwise=slowly)
    async with dispatching(house, provider):
        await a_message(house)
        await asyncio.wait_for(called.wait(), SOON)
        await house.until(CALLED)
        receipt = await house.erase()
        answering.set()
        await house.until("SELECT bool_and(status = 'decided') FROM messages")
        await house.caught_up()
    assert len(provider.sent) == 1
    row = await house.pool.fetchrow("SELECT * FROM messages")
    assert row is not None
    assert (row["decision"], row["reason"]) == decision
    assert (row["customer"], row["provider_id"]) == (receipt["customer_hash"], None)
    attempt = await house.pool.fetchrow("SELECT * FROM attempts")
    assert attempt is not None
    assert (attempt["detail"], attempt["provider_id"]) == (None, None)
    assert attempt["outcome"] is not None
    assert await house.mentions("Zoe") == []


async def test_it_waits_for_the_end_of_quiet_hours(house: House) -> None:
    files = {**FILES, "dangol.yaml": ALL_DAY}
    assert (await house.api.put("/api/workspace", content=zipped(files))).status_code == 200
    provider = Provider()
    async with dispatching(house, provider):
        await house.until("SELECT max(active_from) < now() FROM workspaces")
        await a_message(house)
        await house.until(
            "SELECT count(*) = 1 FROM messages WHERE status = 'queued' AND not_before > now()"
        )
        await house.erase()
    row = await house.pool.fetchrow("SELECT status, decision, reason FROM messages")
    assert tuple(row or ()) == ("decided", "dropped", "run_ended")
    assert provider.sent == []
    assert await house.mentions("Zoe") == []


# Two ids are being joined -------------------------------------------------------------------------


@pytest.fixture
async def api(pool: Pool, dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        assert (await api.put("/api/workspace", content=zipped(FILES))).status_code == 200
        yield api


class ByHand(House):
    """Its relay moves only what it is told to."""

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[None]:
        wakeups = Wakeups(self.dsn, [CHANNEL, workspace_store.CHANNEL])
        reader = PostgresLogReader(self.pool, wakeups, PARTITIONS, "w2")
        engine = Engine(
            "w2", reader, Store(self.pool), Library(self.pool), REAL, PARTITIONS, 500, 1000
        )
        worker = Worker(engine, wakeups.listen(workspace_store.CHANNEL))
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(run(stopping)) for run in (wakeups.run, worker.run)]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)

    async def read(self) -> None:
        await self.until(
            "SELECT bool_and(p.log_offset = h.next_offset - 1)"
            " FROM partitions p JOIN log_heads h ON h.partition = p.id"
        )

    async def relay(self, rows: int | None = None) -> None:
        """Until nothing waits any more, or only so many rows; the engine reads them."""
        relay = Relay(self.pool, self.log, asyncio.Event(), limit=rows or 500)
        while await relay.step():
            await self.read()
            if rows is not None:
                return


@pytest.mark.parametrize("relayed", [0, 1, 2], ids=["link", "merge", "behind it"])
async def test_an_anonymous_past_is_on_its_way(
    pool: Pool, dsn: str, api: httpx.AsyncClient, relayed: int
) -> None:
    """With the link, or the past itself, still to be relayed when she asks to be erased."""
    house = ByHand(pool, dsn, api)
    device = next(
        name
        for name in (f"device-{n}" for n in range(99))
        if partition_of(name, PARTITIONS) != partition_of("ann-42", PARTITIONS)
    )
    async with house.deciding():
        guest: dict[str, Any] = {"who": None, "anonymous_id": device}
        await house.log.append(
            [
                said("identify", traits={"email": "zoe@Zoe"}, **guest),
                said(name="Added", properties={"cart": "Zoe"}, **guest),
            ]
        )
        await house.read()
        await house.relay()
        assert "messages" in await house.mentions("Zoe")
        await house.log.append([said("identify", traits={"tier": "Zoe"}, anonymous_id=device)])
        await house.read()
        for _ in range(relayed):
            await house.relay(1)
        asked = (await api.delete("/api/customers/ann-42")).json()
        await house.relay()
        receipt = (await api.get(f"/api/erasures/{asked['id']}")).json()
        assert receipt["state"] == "erased"
        assert await house.mentions("Zoe") == []
        # What the device did before, and what it does from now on, is another's.
        await house.log.append([said(name="Added", properties={"cart": "new"}, **guest)])
        await house.read()
        await house.relay()
        assert await house.mentions("Zoe") == []
        runs = [m["customer"] for m in (await api.get("/api/messages")).json() if not m["decision"]]
        assert len(runs) == 1


async def test_whoever_comes_by_an_id_of_hers_from_before_is_not_brought_back(house: House) -> None:
    """An SDK's forgotten queue: events of the device, made before the erasure, received behind."""
    await house.log.append(
        [
            said("identify", traits={"email": "zoe@Zoe"}, anonymous_id="device-1"),
            said(name="Added", properties={"cart": "Zoe"}, who=None, anonymous_id="device-1"),
        ]
    )
    await house.until("SELECT count(*) = 1 FROM customers WHERE forwarded_to = 'ann-42'")
    await house.caught_up()
    await house.erase()
    await house.until("SELECT bool_and(forwarded_to IS NULL) FROM customers")
    await house.log.append(
        [said(name="Added", properties={"cart": "late"}, who=None, anonymous_id="device-1")]
    )
    await house.until("SELECT count(*) = 1 FROM messages WHERE customer = 'device-1'")
    await house.caught_up()
    found = (await house.api.get("/api/customers/ann-42")).json()
    assert (found["traits"], found["runs"]) == ({}, [])
    assert (await house.api.get("/api/customers/device-1")).json()["traits"] == {}


# A fan-out runs -----------------------------------------------------------------------------------


@pytest.fixture
async def shop(pool: Pool, dsn: str) -> AsyncIterator[firings.House]:
    wakeups = Wakeups(dsn, [CHANNEL, workspace_store.CHANNEL, OUTBOX])
    stopping = asyncio.Event()
    listening = asyncio.create_task(wakeups.run(stopping))
    yield firings.House(pool, wakeups)
    stopping.set()
    await listening


RESTOCKED = """{event: Restocked, audience: 'did("Viewed", where=e.sku == trigger.sku)'}"""


async def test_a_fan_out_runs_over_the_audience_that_she_is_in(
    shop: firings.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has been reached by it when she asks, the other not yet: neither is in a journey behind
    it, and everybody else is."""
    monkeypatch.setattr(fanout, "CHUNK", 3)
    monkeypatch.setattr(fanout, "IN_FLIGHT", 3)
    names = [n for n in (f"c{i:03}" for i in range(200)) if partition_of(n, PARTITIONS) == 0][:20]
    first, last = names[0], names[-1]
    await shop.publish(journey(RESTOCKED))
    shop.at(MONDAY)

    def viewed(who: str) -> Event:
        return Event(
            f"v-{who}", "track", shop.clock.now(), "Viewed", user_id=who, properties={"sku": "A1"}
        )

    async with shop.running():
        await shop.log.append([viewed(name) for name in names])
        await shop.caught_up()
        restocked = catalog_event(
            message_id="r1", name="Restocked", properties={"sku": "A1"}, at=shop.clock.now(),
            source="server",
        )  # fmt: skip
        await shop.log.append([restocked])
        await shop.caught_up()
    await shop.library.refresh()
    streaming = asyncio.create_task(shop.fanout.turn())  # nobody reads: it stops at the first chunk
    reached: Any = "SELECT count(*) FROM log_outbox"
    async with asyncio.timeout(SOON):
        while await shop.pool.fetchval(reached) < 3:
            await asyncio.sleep(0.01)
    for name in (first, last):
        await erasures.ask(shop.pool, name, "kim", shop.clock)
    async with shop.running():
        await asyncio.wait_for(streaming, SOON)
        await shop.caught_up()
    assert await shop.entered() == names[1:-1]
    assert await shop.counted("entered") == 19, "the first had entered, and was ended"
    assert await shop.counted("ended:erased") == 1
    rows = await shop.pool.fetch(
        "SELECT customer FROM history WHERE customer = ANY($1)", [first, last]
    )
    assert rows == []
