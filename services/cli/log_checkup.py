"""What `dangol doctor` looks at in the event log, in Postgres or in Kafka."""

from collections.abc import AsyncIterator, Mapping

from services.cli.event_log import name_of
from services.cli.findings import Finding
from services.cli.restoring import gaps
from shared.db.connect import Pool
from shared.errors import DangolError
from shared.log.kafka_settings import KafkaSettings
from shared.log.postgres import PostgresLog

_BEHIND = 10_000
_HINT = "is the journey service running? give it time or more"


async def check_log(pool: Pool, kafka: KafkaSettings | None) -> AsyncIterator[Finding]:
    offsets = {row["id"]: row["log_offset"] for row in await pool.fetch("SELECT * FROM partitions")}
    bound = await pool.fetchval("SELECT value #>> '{}' FROM meta WHERE key = 'log'")
    if kafka is None:
        if bound is not None:
            yield Finding(
                "log", "fail", f"this database's events are in {bound}", "set DANGOL_LOG_URL"
            )
            return
        ends = await PostgresLog(pool, len(offsets)).ends()
        yield _behind("in Postgres", ends, offsets)
        return
    try:
        async for finding in _kafka(kafka, offsets, bound):
            yield finding
    except DangolError as error:
        yield Finding.of("log", error)


def _behind(where: str, ends: Mapping[int, int], offsets: Mapping[int, int]) -> Finding:
    behind = sum(max(0, ends.get(p, 0) - offset) for p, offset in offsets.items())
    said = f"{where}, {len(offsets)} partitions, {behind} events not yet taken in"
    if behind > _BEHIND:
        return Finding("log", "warn", said, _HINT)
    return Finding("log", "ok", said)


async def _kafka(
    kafka: KafkaSettings, offsets: Mapping[int, int], bound: str | None
) -> AsyncIterator[Finding]:
    from shared.log import kafka_topic
    from shared.log.kafka import KafkaLog

    topic = await kafka_topic.look(kafka)
    if topic is None:
        verdict = Finding("log", "warn", f"{kafka.where} does not exist yet", "a start makes it")
        if bound is not None:
            verdict = Finding("log", "fail", f"{kafka.where} is gone; it was {bound}")
        yield verdict
        return
    if bound not in (None, name_of(kafka, topic.cluster)):
        yield Finding("log", "fail", f"this database's events are in {bound}", "name that log")
        return
    faults = list(kafka_topic.faults(topic, kafka, len(offsets)))
    for what, hint in faults:
        yield Finding("log", "fail", what, hint)
    for what, hint in kafka_topic.weaknesses(topic, kafka):
        yield Finding("log", "warn", what, hint)
    if faults:
        return
    log = KafkaLog(kafka, len(offsets))
    try:
        starts, ends = await log.starts(), await log.ends()
    finally:
        await log.close()
    found = [str(gap) for gap in gaps(offsets, starts, ends)]
    if found:
        yield Finding(
            "log",
            "fail",
            f"{kafka.where}: {'; '.join(found)}",
            "these partitions stand still; `dangol restored --accept-loss` lets them go on",
        )
        return
    yield _behind(f"in Kafka, {kafka.where}", ends, offsets)
