"""One run: set up, trade while things break, heal, come to rest, judge."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import LOST, Pool, open_pool
from shared.errors import Unavailable
from shared.log.kafka import KafkaLog
from shared.log.kafka_settings import KafkaSettings, kafka_settings
from shared.settings import Settings
from shared.workspace_store import pack_files
from tests.chaos import checking
from tests.chaos.faults import Breaker, Fault, plan
from tests.chaos.given import Given
from tests.chaos.house import CONCURRENCY, House, Servers, Shape
from tests.chaos.links import Link
from tests.chaos.posting import Shop
from tests.chaos.recorded import WATCH, keep_kafka
from tests.chaos.servers import Kafka, Postgres
from tests.chaos.sink import RecordingSink
from tests.chaos.verdict import Verdict
from tests.chaos.workspace import files
from tests.processes import ADMIN_TOKEN

Say = Callable[[str], None]
TOPIC = "dangol.chaos"
PAUSES_FROM = 600.0


@dataclass(frozen=True)
class Options:
    folder: Path
    seed: int = 1
    events: int = 6000
    seconds: float = 40.0
    kafka: bool = False
    brokers: int = 1
    pace: float = 4.0
    """Mean seconds between two faults of services; a server's come a third as often."""
    partitions: int = 8
    shape: Shape = field(default_factory=Shape)
    rest: float = 240.0
    """Seconds that it may take to come to rest."""
    most_unknown: int = 0
    """What a scenario may leave besides what the faults of a plan may."""
    given: Given | None = None
    """The database of an operator; None: one of the run's own."""
    given_log: str | None = None
    """The URL of an operator's Kafka, with a topic that is new."""
    discard: bool = False
    """Whether what Dangol has in the given database may be deleted first."""

    @property
    def own_kafka(self) -> bool:
        return self.kafka and self.given_log is None


@dataclass
class Outcome:
    verdict: Verdict
    told: dict[str, Any]
    """What happened, for the result file."""


class RestlessError(Exception):
    """The house did not come to rest in time."""


@dataclass
class Stage:
    options: Options
    database: Postgres | Given
    kafka: Kafka | None
    broker_links: list[Link]
    log: KafkaSettings | None
    sink: RecordingSink
    house: House
    say: Say

    @property
    def dsn(self) -> str:
        """The database, past every link; another one once our own server has been restarted."""
        return self.database.dsn

    @property
    def own(self) -> Postgres | None:
        return self.database if isinstance(self.database, Postgres) else None

    @property
    def postgres(self) -> Postgres:
        assert self.own is not None, "the run has a server of its own"
        return self.own


def log_url(links: list[Link]) -> str | None:
    if not links:
        return None
    return f"kafka://{','.join(f'127.0.0.1:{link.port}' for link in links)}?topic={TOPIC}"


async def run(options: Options, say: Say, scenario: "Scenario | None" = None) -> Outcome:
    """Break it by the seed's plan, or as the scenario says. Raises RestlessError."""
    began = time.monotonic()
    async with _stage(options, say) as stage:
        ready = time.monotonic() - began
        shop = Shop(stage.house.urls["ingest"], options.seed)
        faults = plan(
            options.seed, options.seconds, kafka=options.own_kafka, pace=options.pace,
            given=options.given is not None,
        )  # fmt: skip
        breaker = Breaker(stage.house, stage.own, stage.kafka, stage.broker_links)
        await _trade(stage, shop, breaker, faults, scenario)
        await stage.house.heal()
        say(f"{shop.posted.events} events posted; coming to rest")
        rested = await _rest(stage)
        if stage.log is not None:
            await keep_kafka(stage.log, stage.options.partitions, options.folder / "log.kafka")
        crashes = list(stage.house.crashes)
        most_unknown = options.most_unknown + _most_unknown(breaker.done)
        told: dict[str, Any] = {
            "seed": options.seed,
            "log": "kafka" if options.kafka else "postgres",
            "given": [*(["database"] * (stage.own is None)), *(["log"] * bool(options.given_log))],
            "brokers": len(stage.broker_links),
            "partitions": stage.options.partitions,
            "services": asdict(options.shape),
            "faults": dict(sorted(breaker.done.items())),
            "most_unknown": most_unknown,
            "events": shop.posted.events,
            "requests": shop.posted.tries,
            "slowest_answer_seconds": round(shop.posted.slowest, 1),
            "seconds_to_start": round(ready, 1),
            "seconds_to_rest": round(rested, 1),
        }
        note = {**told, "timeline": breaker.told}
        (options.folder / "run.json").write_text(json.dumps(note, indent=2))
        say("judging")
        verdict = await checking.check_on(
            stage.dsn, options.folder, shop.posted.answered, most_unknown
        )
        for refused in shop.posted.refused:
            verdict.find("refused by ingest", "-", "200, 429 or 503", refused)
        for crash in crashes:
            said = crash.said[-1500:]
            verdict.find("crash", "-", f"{crash.name} goes on", f"status {crash.status}: {said}")
    told["seconds"] = round(time.monotonic() - began, 1)
    return Outcome(verdict, told | {"figures": verdict.figures})


@asynccontextmanager
async def _stage(options: Options, say: Say) -> AsyncIterator[Stage]:
    options.folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        options, database, url = await _database(options, stack)
        sink = await stack.enter_async_context(RecordingSink(options.folder / "mails"))
        kafka, links = None, list[Link]()
        if options.own_kafka:
            kafka, links = await _kafka(options, stack)
        await _publish(database.dsn)
        log = options.given_log or log_url(links)
        servers = Servers(database.address, url, ("127.0.0.1", sink.port), log)
        say("starting the services")
        house = await stack.enter_async_context(
            House(options.shape, servers, options.folder / "logs")
        )
        settings = kafka_settings(Settings(log_url=log)) if log is not None else None
        yield Stage(options, database, kafka, links, settings, sink, house, say)


async def _database(
    options: Options, stack: AsyncExitStack
) -> tuple[Options, Postgres | Given, str]:
    """Options with its partitions, the database, and the services' URL with `{port}` for that of
    their link."""
    if options.given is not None:
        given = options.given
        partitions = await given.prepare(options.partitions, discard=options.discard)
        options = replace(options, partitions=partitions)
        return options, given, given.through_link
    own = Postgres(options.folder / "data")
    stack.push_async_callback(own.stop)
    await own.start()
    await own.create(options.partitions)
    url = "postgresql://postgres@127.0.0.1:{port}/chaos?sslmode=disable"
    return options, own, url


async def _kafka(options: Options, stack: AsyncExitStack) -> tuple[Kafka, list[Link]]:
    kafka, links = Kafka(options.folder / "kafka", options.brokers), list[Link]()
    for broker in kafka.brokers:
        link = Link(("127.0.0.1", broker.port))
        links.append(await stack.enter_async_context(link))
    kafka.advertise([link.port for link in links])
    stack.push_async_callback(kafka.stop)
    await kafka.start()
    return kafka, links


async def _publish(dsn: str) -> None:
    pool = await open_pool(dsn, size=1, name="chaos")
    try:
        await pool.execute(WATCH)
        await apply(pool, files(), "chaos", REAL)
    finally:
        await pool.close()


Scenario = Callable[[Stage, Pool], Awaitable[None]]
"""What is done to the house instead of faults, and what is to be seen in its database then."""


async def _trade(
    stage: Stage, shop: Shop, breaker: Breaker, faults: list[Fault], scenario: Scenario | None
) -> None:
    options = stage.options
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(shop.trade(options.events, options.seconds))
        if scenario is None:
            tasks.create_task(breaker.carry_out(faults))
        else:
            tasks.create_task(_act(stage, scenario))
        tasks.create_task(_marketer(stage, options.seconds))
        tasks.create_task(_progress(stage, shop, breaker, options))


async def _act(stage: Stage, scenario: Scenario) -> None:
    pool = await open_pool(stage.dsn, size=1, name="chaos")
    try:
        await scenario(stage, pool)
    finally:
        await pool.close()


async def _progress(stage: Stage, shop: Shop, breaker: Breaker, options: Options) -> None:
    began, every = time.monotonic(), max(10.0, options.seconds / 60)
    while (spent := time.monotonic() - began) < options.seconds or (
        shop.posted.events < options.events * 0.9 and not shop.posted.refused
    ):
        await asyncio.sleep(min(every, 2.0) if spent > options.seconds else every)
        stage.say(
            f"{time.monotonic() - began:6.0f} s  {shop.posted.events} events answered,"
            f" {stage.sink.mails} mails, {breaker.done.total()} faults,"
            f" {len(stage.house.crashes)} crashes"
        )
        if spent > options.seconds + options.rest:
            return


async def _marketer(stage: Stage, seconds: float) -> None:
    """Pauses a journey, publishes a change, and resumes, through a console that may be away.

    A short run has no pause: what falls due in one is spread over minutes behind it.
    """
    url = stage.house.urls["console"][0]
    async with httpx.AsyncClient(
        base_url=url, timeout=5, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    ) as client:
        await asyncio.sleep(seconds * 0.2)
        if seconds > PAUSES_FROM:
            await _insist(client, "POST", "/api/journeys/browse/pause")
        await asyncio.sleep(seconds * 0.2)
        changed = pack_files(files(second=True))
        await _insist(client, "PUT", "/api/workspace?in_flight=migrate", changed)
        await asyncio.sleep(seconds * 0.1)
        if seconds > PAUSES_FROM:
            await _insist(client, "POST", "/api/journeys/browse/resume")


async def _insist(client: httpx.AsyncClient, method: str, path: str, body: bytes = b"") -> None:
    while True:
        try:
            answer = await client.request(method, path, content=body)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 200:
            return
        if answer is not None and answer.status_code < 500:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        await asyncio.sleep(0.5)


async def _rest(stage: Stage) -> float:
    """Seconds until nothing waits any more, twice in a row. Raises RestlessError."""
    began, calm, said = time.monotonic(), 0, ""
    log = None if stage.log is None else KafkaLog(stage.log, stage.options.partitions)
    pool = await open_pool(stage.dsn, size=2, name="chaos")
    try:
        while calm < 2:
            if time.monotonic() - began > stage.options.rest:
                raise RestlessError(said)
            await asyncio.sleep(0.5)
            try:
                said = await waits(pool, log)
            except (Unavailable, *LOST) as error:
                said = repr(error)
            calm = calm + 1 if not said else 0
    finally:
        if log is not None:
            await log.close()
        await pool.close()
    return time.monotonic() - began


async def waits(pool: Pool, log: KafkaLog | None) -> str:
    """What is still to be done, in words; empty when there is nothing."""
    counts = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM timers) AS timers,"
        " (SELECT count(*) FROM log_outbox) AS outbox,"
        " (SELECT count(*) FROM messages WHERE status <> 'decided') AS messages,"
        " (SELECT count(*) FROM partitions WHERE settled_revision < (SELECT max(revision)"
        "  FROM workspaces WHERE in_flight <> '{}')) AS unsettled"
    )
    assert counts is not None
    read = {r["id"]: r["log_offset"] for r in await pool.fetch("SELECT * FROM partitions")}
    if log is not None:
        ends = dict(await log.ends())
    else:
        rows = await pool.fetch("SELECT partition, next_offset - 1 AS last FROM log_heads")
        ends = {row["partition"]: row["last"] for row in rows}
    unread = sum(ends[number] - read[number] for number in ends)
    left = {**dict(counts), "unread records": unread}
    return ", ".join(f"{n} {what}" for what, n in left.items() if n)


def _most_unknown(done: Counter[str]) -> int:
    """Each fault that takes a dispatcher's answers away may leave as many as it has under way."""
    of_dispatch = sum(n for what, n in done.items() if "dispatch" in what)
    of_all = sum(n for what, n in done.items() if what.endswith("postgres"))
    return CONCURRENCY * (of_dispatch + Shape().dispatch * of_all)
