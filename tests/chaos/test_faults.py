"""Faults, one by one: each befalls a house under load, and the oracle judges what that came to.

Nothing is lost, nothing doubled, and nobody does anything by hand. docs/chaos.md has the table.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.db.connect import Pool
from shared.log.kafka_settings import KafkaSettings
from tests.chaos.house import CONCURRENCY, Kept, Shape
from tests.chaos.running import Options, Scenario, Stage, run
from tests.chaos.test_chaos import told
from tests.chaos.traffic import traits_of
from tests.patience import SOON, in_time
from tests.processes import WRITE_KEY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OUTAGE = float(os.environ.get("FAULTS_OUTAGE_SECONDS", "7"))
"""How long PostgreSQL stays away: past every lease; a minute where time does not matter."""
_BROKERS = int(os.environ.get("FAULTS_BROKERS", "0"))
"""Of a Kafka beside that outage; none: the log goes away with PostgreSQL."""
_FAILOVER = 25.0
"""Seconds: Kafka misses a broker after 9; its client has to learn who leads instead."""
_RELIEVED = 15.0
"""Seconds: a leader that has not looked for 10 is taken to hang, and others look each second."""
_ORDER = "Order Completed"
_BUYER = 900_001
"""None of the visitors; has an address."""
_SHAPE = Shape(ingest=1, journey=2, dispatch=1, console=1)


async def survived(
    folder: Path,
    scenario: Scenario,
    seed: int,
    *,
    most_unknown: int = 0,
    brokers: int = 0,
    shape: Shape = _SHAPE,
) -> None:
    options = Options(
        folder, seed=seed, events=1500, seconds=12, shape=shape, most_unknown=most_unknown,
        kafka=brokers > 0, brokers=brokers,
    )  # fmt: skip
    outcome = await run(options, print, scenario)
    assert outcome.verdict.is_good, told(options, outcome.verdict)
    assert outcome.told["figures"]["mails"] > 50


async def until(true: Callable[[], Awaitable[bool]], stage: Stage | None = None) -> None:
    """With a stage, somebody buys all the while, should the visitors be through."""
    async with asyncio.timeout(SOON):
        while not await true():
            if stage is not None:
                await post(stage)
            await asyncio.sleep(0.1)


async def under_load(pool: Pool) -> None:
    await until(lambda: _true(pool, "SELECT count(*) > 20 FROM messages WHERE decision = 'sent'"))


async def goes_on(stage: Stage, pool: Pool) -> None:
    """Everything takes part again: an event comes in, is decided, and a message goes out."""
    for what in (
        "SELECT count(*) FROM history",
        "SELECT count(*) FROM messages WHERE decision = 'sent'",
    ):
        before = await pool.fetchval(what)
        await until(lambda: _more(pool, what, before), stage)  # noqa: B023 - waited for here


async def _true(pool: Pool, query: str) -> bool:
    return bool(await pool.fetchval(query))


async def _more(pool: Pool, query: str, before: int) -> bool:
    return int(await pool.fetchval(query)) > before


async def post(stage: Stage) -> httpx.Response:
    """A purchase, of which a receipt is due."""
    whose = {"userId": f"u{_BUYER}"}
    events = [
        {"type": "identify", "traits": traits_of(_BUYER)} | whose,
        {"type": "track", "event": _ORDER, "properties": {"order_id": token_hex(8)}} | whose,
    ]
    async with httpx.AsyncClient(timeout=SOON) as client:
        url = stage.house.urls["ingest"][0]
        return await client.post(f"{url}/v1/batch", json={"batch": events}, auth=(WRITE_KEY, ""))


async def told_to_wait(stage: Stage) -> None:
    answer = await post(stage)
    assert answer.status_code == 503, answer.text
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.json()["code"] == "unavailable"


async def taken(stage: Stage) -> bool:
    return (await post(stage)).status_code == 200


# PostgreSQL ---------------------------------------------------------------------------------


async def test_postgres_is_gone_for_a_while(tmp_path: Path) -> None:
    async def gone(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        await stage.postgres.stop()
        await (goes_in(stage) if _BROKERS else told_to_wait(stage))
        await asyncio.sleep(OUTAGE)
        await (goes_in(stage) if _BROKERS else told_to_wait(stage))
        await stage.postgres.restart()
        stage.house.point(stage.postgres.address)
        await until(lambda: taken(stage))

    async def goes_in(stage: Stage) -> None:
        assert await taken(stage)  # into Kafka, which is all that ingest needs

    await survived(tmp_path, gone, 31, most_unknown=CONCURRENCY, brokers=_BROKERS)


async def test_a_full_disk_is_an_outage_until_there_is_room(tmp_path: Path) -> None:
    """PostgreSQL's own error, raised where rows are written: a disk that is really full is no
    other to its clients, and no test can fill one everywhere."""

    async def full(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        await pool.execute(
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device'"
            " USING ERRCODE = '53100'; END $$"
        )
        tables = ("log", "history", "messages", "attempts", "timers")
        for table in tables:
            await pool.execute(
                f"CREATE TRIGGER disk_full BEFORE INSERT ON {table} EXECUTE FUNCTION disk_full()"
            )
        await told_to_wait(stage)
        await asyncio.sleep(2)
        await told_to_wait(stage)
        for table in tables:
            await pool.execute(f"DROP TRIGGER disk_full ON {table}")
        await goes_on(stage, pool)
        assert (await post(stage)).status_code == 200

    await survived(tmp_path, full, 32)


@dataclass(frozen=True)
class Conflicts:
    """The first so many commits that write into a table fail as they are carried out."""

    pool: Pool
    table: str
    count: int = 6

    async def arrange(self) -> None:
        await self.pool.execute(
            f"CREATE SEQUENCE conflicts_{self.table};"
            f"CREATE FUNCTION conflict_{self.table}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" DECLARE n bigint := nextval('conflicts_{self.table}'); BEGIN"
            f" IF n > {self.count} THEN RETURN NULL; END IF;"
            " RAISE EXCEPTION 'conflict %', n USING ERRCODE ="
            " CASE WHEN n % 2 = 0 THEN '40001' ELSE '40P01' END; END $$;"
            f"CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON {self.table}"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION conflict_{self.table}()"
        )

    async def over(self) -> bool:
        return await _true(
            self.pool, f"SELECT last_value > {self.count} FROM conflicts_{self.table}"
        )


async def test_commits_that_conflict_are_tried_again(tmp_path: Path) -> None:
    """Serialization failures and deadlocks, of the engine's commits, dispatch's and the log's."""

    async def conflicting(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        for table in ("history", "attempts", "log"):
            conflicts = Conflicts(pool, table)
            await conflicts.arrange()
            await until(conflicts.over, stage)
        await goes_on(stage, pool)

    await survived(tmp_path, conflicting, 33)


# Clocks -------------------------------------------------------------------------------------


async def test_clocks_are_an_hour_off(tmp_path: Path) -> None:
    """Half of the machines an hour ahead, half behind: all go by the database's clock, so nothing
    fires early or late, and nobody takes another's lease for run out."""
    names = ("ingest", "journey", "dispatch")
    off = {f"{name}-1": 3600 for name in names} | {f"{name}-2": -3600 for name in names}

    async def wrong(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        await goes_on(stage, pool)
        for name in off:
            log = stage.options.folder / "logs" / f"{name}.log"
            assert "clock_corrected" in log.read_text(), name

    await survived(tmp_path, wrong, 36, shape=Shape(clocks_off=off))


# The lead -----------------------------------------------------------------------------------


async def leads(kept: Kept) -> bool:
    async with httpx.AsyncClient(timeout=SOON) as client:
        page = (await client.get(f"{kept.service.url}/metrics")).text
    return "dangol_journey_leading 1.0" in page.splitlines()


async def test_a_leader_that_hangs_is_relieved(tmp_path: Path) -> None:
    """It keeps its lock and tells nobody; another takes over, and when it wakes it steps down."""

    async def hung(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        one, two = stage.house.of("journey")
        await until(lambda: _any(leads(one), leads(two)))
        leader, other = (one, two) if await leads(one) else (two, one)
        stage.house.stop(leader)
        began = time.monotonic()
        await until(lambda: leads(other))
        assert in_time(time.monotonic() - began, _RELIEVED)
        stage.house.wake(leader)
        await until(lambda: _not(leads(leader)))
        assert await leads(other)
        await goes_on(stage, pool)

    await survived(tmp_path, hung, 39)


async def _any(*some: Awaitable[bool]) -> bool:
    return any(await asyncio.gather(*some))


async def _not(one: Awaitable[bool]) -> bool:
    return not await one


# Answers that are lost ----------------------------------------------------------------------

_COMMIT = r"^Q....COMMIT"
_APPENDED = f'"{_ORDER}"'
"""An append of few events is one statement, which bears them."""


async def loses(stage: Stage, kept: Kept, pattern: str, times: int) -> None:
    """So many times the server has carried it out, and the service does not hear of it."""
    for _ in range(times):
        before = kept.database.lost
        kept.database.lose_answer(pattern)

        async def lost() -> bool:
            return kept.database.lost > before  # noqa: B023 - waited for here

        await until(lost, stage)


async def test_the_answer_to_a_commit_is_lost(tmp_path: Path) -> None:
    async def cut(stage: Stage, pool: Pool) -> None:
        await under_load(pool)
        (ingest,), engines, (dispatch,) = map(stage.house.of, ("ingest", "journey", "dispatch"))
        await asyncio.gather(
            loses(stage, ingest, _APPENDED, 6),
            *(loses(stage, engine, _COMMIT, 6) for engine in engines),
            loses(stage, dispatch, _COMMIT, 6),
        )
        await goes_on(stage, pool)

    await survived(tmp_path, cut, 34)


# Apache Kafka -------------------------------------------------------------------------------


async def in_sync(settings: KafkaSettings, brokers: int) -> bool:
    """Every partition of the log is whole on so many brokers."""
    admin = AIOKafkaAdminClient(**settings.client(), request_timeout_ms=3000)
    try:
        await admin.start()
        [topic] = await admin.describe_topics([settings.topic])
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return all(len(partition["isr"]) == brokers for partition in topic["partitions"])


async def test_one_kafka_broker_is_lost_and_then_the_quorum(tmp_path: Path) -> None:
    """Three brokers, `min.insync.replicas=2`: without one all goes on, without two nothing is
    answered for that could be lost."""

    async def lost(stage: Stage, pool: Pool) -> None:
        kafka, settings = stage.kafka, stage.log
        assert kafka is not None
        assert settings is not None
        await under_load(pool)
        began = time.monotonic()
        await asyncio.to_thread(kafka.kill, 0)
        for _ in range(4):
            await until(lambda: taken(stage))
        print(f"went on {time.monotonic() - began:.1f} s after a broker was killed")
        assert in_time(time.monotonic() - began, _FAILOVER)
        await kafka.restart(0)
        await until(lambda: in_sync(settings, 3))
        await asyncio.gather(*(asyncio.to_thread(kafka.kill, n) for n in (1, 2)))
        for _ in range(3):
            await told_to_wait(stage)
        await asyncio.gather(*(kafka.restart(n) for n in (1, 2)))
        await until(lambda: taken(stage))
        await goes_on(stage, pool)

    await survived(tmp_path, lost, 35, brokers=3)
