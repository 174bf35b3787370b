"""What is done to the house, and when: a plan that the seed decides, and its carrying out.

Faults come in three lines that know nothing of each other, for the engines, for the other services
and for what all stand on, so that they meet in every combination.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.clock import wall_clock
from tests.chaos.house import House, Kept
from tests.chaos.links import Link
from tests.chaos.servers import Kafka, Postgres

_Kinds = tuple[tuple[str, int, tuple[float, float]], ...]
"""What, how often among the others of its line, and for how long in seconds."""
_OF_ENGINES: _Kinds = (
    ("kill", 5, (0.0, 2.0)),
    ("stop", 4, (7.0, 11.0)),  # past the 5 s of a worker, and Kafka's session of 6 s
    ("retire", 2, (0.0, 1.0)),
    ("cut-database", 2, (0.2, 5.0)),
    ("freeze-database", 2, (2.0, 9.0)),
    ("all-engines", 1, (4.0, 25.0)),
)
_OF_OTHERS: _Kinds = (
    ("kill", 6, (0.0, 2.0)),
    ("stop", 4, (6.0, 10.0)),  # past a dispatcher's lease
    ("retire", 2, (0.0, 1.0)),
    ("cut-database", 2, (0.2, 5.0)),
    ("freeze-database", 2, (2.0, 9.0)),
    ("cut-smtp", 1, (0.2, 2.0)),
    ("freeze-smtp", 1, (1.0, 4.0)),
)
_OF_SERVERS: _Kinds = (
    ("kill-postgres", 2, (0.0, 4.0)),
    ("restart-postgres", 1, (0.0, 2.0)),
    ("kill-broker", 4, (0.5, 6.0)),
    ("cut-broker", 2, (0.5, 4.0)),
    ("freeze-broker", 2, (1.0, 7.0)),
)
_OF_GIVEN_SERVERS: _Kinds = (("cut-postgres", 2, (0.2, 6.0)), ("freeze-postgres", 1, (2.0, 9.0)))
"""All services' ways to a database whose server is not ours."""
_LINES = (("engines", _OF_ENGINES, 1.0), ("others", _OF_OTHERS, 1.0), ("servers", _OF_SERVERS, 2.5))
"""Each with how seldom its faults come, in the run's pace."""
_OTHERS = (("dispatch", 4), ("ingest", 2), ("console", 1))
T = TypeVar("T")
QUIET_AT_LAST = 0.15
"""Of the time: the end has no new faults, so that the last ones are over when the traffic is."""


@dataclass(frozen=True)
class Fault:
    at: float
    """Seconds from the start."""
    what: str
    whom: int
    """Which of those it may befall, counted round."""
    part: str
    """The service; empty for a fault of a server."""
    seconds: float


def plan(
    seed: int, seconds: float, *, kafka: bool, pace: float, given: bool = False
) -> list[Fault]:
    """In order of time. `pace` is the mean time between two faults of a line, in seconds; a fault
    of a server is more seldom. `given`: the database's server is an operator's."""
    found: list[Fault] = []
    for line, kinds, seldom in _LINES:
        chance = random.Random(f"{seed}/faults/{line}")
        if given and line == "servers":
            kinds = (*_OF_GIVEN_SERVERS, *kinds[2:])
        usable = [kind for kind in kinds if kafka or not kind[0].endswith("broker")]
        mean = pace * seldom
        at = mean * chance.uniform(0.3, 1.0)
        while at < seconds * (1 - QUIET_AT_LAST):
            what, _, (least, most) = chance.choices(usable, [weight for _, weight, _ in usable])[0]
            part = "" if line == "servers" else _part_of(line, what, chance)
            lasts = chance.uniform(least, most)
            found.append(Fault(at, what, chance.randrange(1000), part, lasts))
            at += max(lasts, mean * chance.uniform(0.4, 1.6))
    return sorted(found, key=lambda fault: fault.at)


def _part_of(line: str, what: str, chance: random.Random) -> str:
    if line == "engines":
        return "journey"
    if what.endswith("smtp"):
        return "dispatch"
    return chance.choices([part for part, _ in _OTHERS], [weight for _, weight in _OTHERS])[0]


@dataclass
class Breaker:
    """Carries faults out; two of one thing at a time are left out, not queued."""

    house: House
    postgres: Postgres | None
    kafka: Kafka | None
    broker_links: Sequence[Link]
    done: Counter[str] = field(default_factory=Counter)
    told: list[dict[str, object]] = field(default_factory=list)
    _busy: set[int] = field(default_factory=set)

    async def carry_out(self, faults: Sequence[Fault]) -> None:
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                await asyncio.sleep(max(0.0, started + fault.at - time.monotonic()))
                tasks.create_task(self._one(fault), name=fault.what)

    async def _one(self, fault: Fault) -> None:
        if fault.part:
            kept = self.house.of(fault.part)
            targets: list[object] = [*kept] if fault.what == "all-engines" else [_of(kept, fault)]
            await self._exclusively(fault, targets, lambda: self._of_service(fault, kept))
        elif fault.what in ("cut-postgres", "freeze-postgres"):
            links = [kept.database for kept in self.house.kept.values()]
            await self._exclusively(fault, [self.house], lambda: self._of_links(fault, links))
        elif fault.what.endswith("postgres"):
            if self.postgres is not None:
                await self._exclusively(fault, [self.postgres], lambda: self._of_postgres(fault))
        elif self.broker_links:
            link = _of(self.broker_links, fault)
            await self._exclusively(fault, [link], lambda: self._of_broker(fault))

    async def _exclusively(
        self, fault: Fault, targets: Sequence[object], do: Callable[[], Awaitable[None]]
    ) -> None:
        names = {id(target) for target in targets}
        if names & self._busy:
            return
        self._busy |= names
        self.done[f"{fault.what} {fault.part}".strip()] += 1
        self.told.append(
            {"at": round(fault.at, 1), "what": fault.what, "part": fault.part,
             "whom": fault.whom, "seconds": round(fault.seconds, 1),
             "clock": wall_clock().isoformat()}
        )  # fmt: skip
        try:
            await do()
        finally:
            self._busy -= names

    async def _of_service(self, fault: Fault, all_of_it: Sequence[Kept]) -> None:
        house, kept = self.house, _of(all_of_it, fault)
        match fault.what:
            case "kill":
                await house.kill(kept)
                await asyncio.sleep(fault.seconds)
                house.revive(kept)
            case "retire":
                await house.retire(kept)
                await asyncio.sleep(fault.seconds)
                house.revive(kept)
            case "stop":
                house.stop(kept)
                await asyncio.sleep(fault.seconds)
                house.wake(kept)
            case "all-engines":
                await asyncio.gather(*(house.kill(engine) for engine in all_of_it))
                await asyncio.sleep(fault.seconds)
                for engine in all_of_it:
                    house.revive(engine)
            case _:
                link = kept.smtp if fault.what.endswith("smtp") else kept.database
                if link is not None:
                    await _break(link, fault)

    async def _of_links(self, fault: Fault, links: Sequence[Link]) -> None:
        await asyncio.gather(*(_break(link, fault) for link in links))

    async def _of_postgres(self, fault: Fault) -> None:
        assert self.postgres is not None
        await (self.postgres.kill() if fault.what == "kill-postgres" else self.postgres.stop())
        await asyncio.sleep(fault.seconds)
        await self.postgres.restart()
        self.house.point(self.postgres.address)

    async def _of_broker(self, fault: Fault) -> None:
        link = _of(self.broker_links, fault)
        if fault.what != "kill-broker":
            await _break(link, fault)
        elif self.kafka is not None:
            number = fault.whom % len(self.kafka.brokers)
            await asyncio.to_thread(self.kafka.kill, number)
            await asyncio.sleep(fault.seconds)
            await self.kafka.restart(number)


def _of(some: Sequence[T], fault: Fault) -> T:
    return some[fault.whom % len(some)]


async def _break(link: Link, fault: Fault) -> None:
    (link.freeze if fault.what.startswith("freeze") else link.cut)()
    await asyncio.sleep(fault.seconds)
    if fault.what.startswith("freeze") and fault.whom % 2:
        link.cut()  # half of the frozen connections are never heard of again
        await asyncio.sleep(0.1)
    link.mend()
