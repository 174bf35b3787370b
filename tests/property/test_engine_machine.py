"""The engine on a real database under everything that may befall it, held to the recorded log
decided record by record: each event once, each message once, every count exact.

`ENGINE_SEEDS=1-200 pytest …` runs these seeds instead.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from services.console import erasures
from services.console.publish import Status, set_status
from services.journey.core.effects import MakeCall, QueueMessage
from services.journey.core.state import State
from services.journey.library import Library
from shared.clock import Clock, wall_clock
from shared.db.connect import Pool
from shared.db.installation import installation_key
from shared.db.wakeups import Wakeups
from shared.erasure import hash_of_customer
from shared.errors import DangolError, Unavailable
from shared.event import Event, decode
from shared.log.postgres import CHANNEL
from shared.message import MessageContext
from shared.message import pack as pack_context
from tests.conftest import PARTITIONS
from tests.patience import SOON
from tests.property.engine_house import (
    CODES,
    House,
    Node,
    context_in_order,
    differences,
    in_order,
    without_timers,
)
from tests.property.engine_journeys import MINUTE, NAMES, SOURCES, Input
from tests.property.engine_model import Alone, shown

SPEED = 1200
"""A virtual day in 72 seconds: a wait of ten minutes is half a second."""
STEPS = 70
CUSTOMERS = [f"u{number}" for number in range(12)]
DEVICES = {f"u{number}": f"device-{number}" for number in range(6)}
JOURNEYS = {n: text for n, text in SOURCES.items() if n != "thanks"}  # which waits for the morning
_EARLIER = "steps:\n  - {wait: 1m}\n"
_DORMANT = """
journey: dormant
title: number %d
trigger: {event: Never}
steps: [{send: push, template: a}]
"""


def seeds() -> list[int]:
    first, _, last = os.environ.get("ENGINE_SEEDS", "1-4").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    now = wall_clock()
    wakeups = Wakeups(dsn, [CHANNEL])
    stopping = asyncio.Event()
    listening = asyncio.create_task(wakeups.run(stopping))
    house = House(pool, dsn, wakeups, Clock(now, now, SPEED))
    yield house
    await house.close()
    stopping.set()
    await listening


class Driver:
    """One thing after another, as the seed has it."""

    def __init__(self, house: House, chance: random.Random, *, erases: bool) -> None:
        """With erasures, or with devices whose ids turn out to be somebody's."""
        self._house = house
        self._erases = erases
        self._chance = chance
        self._sent: list[Event] = []
        self._numbers = iter(range(1_000_000))
        self._published = dict(JOURNEYS)
        self.done: list[str] = []

    async def step(self) -> None:
        chance = self._chance
        doing = chance.choices(
            [self.append, self.own, self.stop, self.kill, self.disconnect, self.trap, self.tell,
             self.relay, self.publish, self.pause, self.erase, self.rest],
            [10, 8, 2, 3, 1, 3, 5, 3, 2, 2, 2 if self._erases else 0, 4],
        )[0]  # fmt: skip
        self.done.append(f"{doing.__name__} {await doing() or ''}")
        for node in self._house.nodes:
            await node.reap()
        await self._house.promise()

    async def append(self) -> str:
        events = [self._event() for _ in range(self._chance.randint(1, 8))]
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            await self._append(events)
        return ", ".join(f"{event.customer} {event.name or event.kind}" for event in events)

    async def _append(self, events: list[Event]) -> None:
        """As a producer does: what may not have been appended is appended again."""
        for _ in range(3):
            try:
                return await self._house.log.append(events)
            except Unavailable:  # the trap was for it, or its connection
                continue
        raise AssertionError("the log stays away")

    def _event(self) -> Event:
        chance = self._chance
        if self._sent and chance.random() < 0.2:
            return chance.choice(self._sent)
        given = Input(
            gap=timedelta(0),
            name=chance.choice((*NAMES[:3], *NAMES[:3], "identify")),
            cart=chance.choice(("a", "b", None)),
            total=chance.randint(1, 3),
            skew=chance.choice((0, 0, 0, 5, 30)) * MINUTE,
        )
        customer = chance.choice(CUSTOMERS)
        event = given.event(next(self._numbers), self._house.clock.now(), customer)
        self._sent.append(self._by_a_device(event, customer))
        return self._sent[-1]

    def _by_a_device(self, event: Event, customer: str) -> Event:
        """Some customers have a device that tells its own id, and theirs after a login."""
        device = None if self._erases else DEVICES.get(customer)
        if device is None or self._chance.random() < 0.3:
            return event
        user = customer if self._chance.random() < 0.3 else None
        return msgspec.structs.replace(event, user_id=user, anonymous_id=device)

    async def own(self) -> str:
        """Whoever owns it already goes on believing so."""
        node, partition = self._chance.choice(self._house.nodes), self._partition()
        if partition not in node.owners:
            node.own(partition)
        return f"{partition} by {node.name}"

    async def stop(self) -> str:
        for node, partition in self._owned():
            await node.stop(partition)
            return f"{partition} of {node.name}"
        return "nobody"

    async def kill(self) -> str:
        """At some moment behind an append: often enough while a commit is under way."""
        for node, partition in self._owned():
            what = await self.append()
            await asyncio.sleep(self._chance.random() * 0.02)
            if partition in node.owners:
                await node.kill(partition)
            return f"{partition} of {node.name} behind {what}"
        return "nobody"

    async def disconnect(self) -> str:
        node = self._chance.choice(self._house.nodes)
        await self._house.disconnect(node)
        return node.name

    async def trap(self) -> str:
        statements, code = self._chance.randint(1, 12), self._chance.choice(CODES)
        await self._house.set_trap(statements, code)
        return f"{statements} statements on, {code}"

    async def tell(self) -> None:
        await self._house.tell(self._chance, 0.6)

    async def relay(self) -> None:
        with contextlib.suppress(Unavailable, asyncpg.RaiseError):  # the trap may be for it
            await self._house.relay.step()

    async def publish(self) -> str:
        """Another version of one journey, with any rule for runs in flight; or one that concerns
        nobody: batches under way must be decided anew."""
        chance = self._chance
        sources = {**self._published, "dormant": _DORMANT % len(self.done)}
        rule = chance.choice(("pin", "migrate", "end"))
        name = chance.choice((*JOURNEYS, "dormant"))
        if name in JOURNEYS:
            old, new = chance.choice((("10m", "5m"), ("5m", "10m"), ("steps:\n", _EARLIER)))
            sources[name] = chance.choice((JOURNEYS[name], JOURNEYS[name].replace(old, new, 1)))
        with contextlib.suppress(Unavailable, asyncpg.RaiseError):
            await self._house.publish(sources, rule)
            self._published = sources
        return f"{name}, {rule}"

    async def pause(self) -> str:
        """Pause or resume; sometimes one and the other at once."""
        name = self._chance.choice(list(JOURNEYS))
        ways: tuple[tuple[Status, ...], ...] = (("paused",), ("active",), ("paused", "active"))
        for status in self._chance.choice(ways):
            with contextlib.suppress(Unavailable, asyncpg.RaiseError):
                await set_status(self._house.pool, name, status, self._house.clock)
        return name

    async def erase(self) -> str:
        customer = self._chance.choice(CUSTOMERS)
        with contextlib.suppress(Unavailable, asyncpg.RaiseError):
            await erasures.ask(self._house.pool, customer, "test", self._house.clock)
        return customer

    async def rest(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.1)

    async def settle(self) -> None:
        """Let everything end: owners that nobody disturbs, every message told."""
        await self._house.pool.execute("DELETE FROM trap_set")
        for name in JOURNEYS:
            await set_status(self._house.pool, name, "active", self._house.clock)
        for node, partition in self._owned():
            await node.stop(partition)
        for node in self._house.nodes:
            await node.reap()
        last = await self._house.node("last", batch=3, cache=100)
        for partition in range(PARTITIONS):
            last.own(partition)
        async with asyncio.timeout(SOON):
            while await self._house.tell(self._chance, 1.0) or not await self._house.is_settled():
                await self._house.relay.step()
                await last.reap()
                await asyncio.sleep(0.02)
        for partition in range(PARTITIONS):
            await last.stop(partition)

    def _partition(self) -> int:
        return self._chance.randrange(PARTITIONS)

    def _owned(self) -> list[tuple[Node, int]]:
        owned = [(node, number) for node in self._house.nodes for number in node.owners]
        self._chance.shuffle(owned)
        return owned


async def modelled(house: House) -> dict[str, Any]:
    """What the recorded log comes to when each record is decided alone."""
    book = (await Library(house.pool).refresh()).book
    models: dict[str, Alone] = {}
    async with house.pool.acquire() as connection:
        key = await installation_key(connection)
    for record in await house.records():
        name = decode(record.payload, record.received_at).customer
        models.setdefault(name, Alone(book, name)).record(record)
    # What is told to an erased customer's hash may change nothing: then there is no row.
    fresh = without_timers(State(needs=book.needs.id))
    for name in {hash_of_customer(name, key) for name in models} & models.keys():
        if without_timers(models[name].customer.state) == fresh:
            del models[name]
    counts: Counter[tuple[str, int, str, str]] = Counter()
    for model in models.values():
        model.tick(house.end)
        counts += model.told.counts
    each = [(name, model.told, model.told.end(model.customer)) for name, model in models.items()]
    made = {one: what for model in models.values() for one, what in model.made.items()}
    held = [(name, made[one]) for name, model in models.items() for one in model.holds]
    return {
        "traits": {name: in_order(told.traits) for name, told, _ in each},
        "state": {name: without_timers(model.customer.state) for name, model in models.items()},
        "messages": {
            (
                *(name, m.journey, m.step, m.id, m.run_id, m.held_out, m.at),
                context_in_order(pack_context(m.context)),
            )
            for name, m in held
            if isinstance(m, QueueMessage)
        },
        "calls": {
            (name, c.journey, c.step, c.id, c.run_id, c.at)
            for name, c in held
            if isinstance(c, MakeCall)
        },
        "withdrawn calls": {
            effect.call_id for _, told, _ in each for effect in told.withdrawn_calls
        },
        "withdrawn": {effect.message_id for _, told, _ in each for effect in told.withdrawn},
        "erased": {
            (name, pack_context(MessageContext()), "decided", "run_ended")
            for model in models.values()
            for name in model.erased
        },
        "counts": dict(counts),
        "consents": {
            (name, channel, granted, at)
            for name, model in models.items()
            for channel, (at, granted) in model.consents.items()
        },
        "conversions": {
            (models[name].hidden(c.at, key), c.run_id, c.at, c.value): c.variants
            for name, told, _ in each
            for c in told.conversions
        },
        "history": Counter((name, event) for name, told, _ in each for event in told.history),
    }


@pytest.mark.parametrize("erases", [False, True], ids=["devices", "erasures"])
@pytest.mark.parametrize("seed", seeds())
async def test_whatever_befalls_the_workers_the_log_decides(
    house: House, seed: int, erases: bool
) -> None:
    chance = random.Random(seed)
    driver = Driver(house, chance, erases=erases)
    await house.open(JOURNEYS)
    for name in ("one", "two", "three"):
        await house.node(name, batch=chance.choice((2, 5, 500)), cache=chance.choice((0, 3, 1000)))
    try:
        for _ in range(STEPS):
            await driver.step()
        await driver.settle()
        kinds = Counter(decode(r.payload, r.received_at).kind for r in await house.records())
        assert kinds["merge"] or erases, "no two ids have met"
        found = differences(await modelled(house), await house.stored())
        assert not found, "\n".join(found)
    except BaseException as error:
        log = "\n".join(shown(await house.records()))
        steps = "\n".join(f"  {step}" for step in driver.done)
        error.add_note(f"seed {seed}\n{steps}\nthe log:\n{log}")
        raise


@pytest.mark.parametrize(
    "step",
    [
        r'set: {profile.name: "a\0b"}',
        r'set: {profile.name: "\ud800"}',
        r'exit: "a\0b"',
        r'{send: push, template: a, with: {name: "\ud800"}}',
    ],
)
async def test_no_journey_stops_its_partition(house: House, step: str) -> None:
    """Refused, or decided and set aside: anything but a commit that can never happen."""
    source = rf"""{{journey: odd, trigger: {{event: Added}}, steps: [{step}]}}"""
    with contextlib.suppress(DangolError):
        await house.open({"odd": source})
    node = await house.node("one", batch=10, cache=10)
    now = house.clock.now()
    await house.log.append([Input(MINUTE, "Added", "a", 1, MINUTE).event(1, now)])
    for partition in range(PARTITIONS):
        node.own(partition)
    async with asyncio.timeout(SOON):
        while not await house.is_settled():
            await node.reap()
            await asyncio.sleep(0.02)
