"""The log's topic: made if it is missing, checked at every start, trimmed of what is done with.

What must be so is refused when it is not; what makes it weak is told by `dangol doctor`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import TopicPartition

from shared.errors import ConfigurationError, LogUnreachable
from shared.log.kafka_settings import KafkaSettings

MAX_BATCH = 1024 * 1024
"""Bytes of the largest batch that we send. One event is far smaller (64 KiB), but what a merge
carries over may not be."""

_MADE_WITH = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(2 * MAX_BATCH),
    "segment.ms": str(24 * 60 * 60 * 1000),
    "unclean.leader.election.enable": "false",
}
"""Kafka deletes by age alone, whether a record was read or not; so it does not, and `trim` does.
Only whole segments leave the disk: a new one each day keeps that near to what was asked."""

_NOT_YET = (3, 5)
"""Unknown topic; leader not available: what a broker says just after its making."""
_PATIENCE = 15.0
_REQUEST = 10_000
_HINT = "check DANGOL_LOG_URL, DANGOL_KAFKA_USER and DANGOL_KAFKA_PASSWORD, and that a broker is up"


@dataclass(frozen=True, slots=True)
class Topic:
    cluster: str
    """The cluster's own id."""
    partitions: int
    replication: int
    """Of the partition that has the fewest."""
    configs: Mapping[str, str]


async def prepare(settings: KafkaSettings, partitions: int) -> Topic:
    """The topic, made if it was missing. Raises ConfigurationError (LogUnreachable too)."""
    async with _admin(settings) as admin:
        topic = await _describe(admin, settings)
        if topic is None:
            await _make(admin, settings, partitions)
            while (topic := await _describe(admin, settings)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the other brokers have yet to learn of it
    _refuse(topic, settings, partitions)
    return topic


async def look(settings: KafkaSettings) -> Topic | None:
    """None: it does not exist yet. Raises ConfigurationError."""
    async with _admin(settings) as admin:
        return await _describe(admin, settings)


async def trim(settings: KafkaSettings, before: Mapping[int, int]) -> None:
    """Delete, by partition, what lies before the Kafka offset. Raises LogUnreachable."""
    async with _admin(settings) as admin:
        await admin.delete_records(
            {
                TopicPartition(settings.topic, partition): RecordsToDelete(before_offset=offset)
                for partition, offset in before.items()
            },
            timeout_ms=_REQUEST,
        )


def faults(topic: Topic, settings: KafkaSettings, partitions: int) -> Iterator[tuple[str, str]]:
    """What must be so and is not, with how to mend it."""
    name, configs = settings.topic, topic.configs
    if topic.partitions != partitions:
        yield (
            f"the topic {name} has {topic.partitions} partitions, the database {partitions}",
            (
                "they must agree, and cannot be changed later: name another topic in"
                " DANGOL_LOG_URL, which is then made as it must be"
            ),
        )
    if configs.get("message.timestamp.type") != "LogAppendTime":
        yield (
            f"the topic {name} stamps its records with the clocks of those who send them",
            _alter(name, "message.timestamp.type=LogAppendTime"),
        )
    if "compact" in configs.get("cleanup.policy", ""):
        yield (
            f"the topic {name} is compacted, which loses events",
            _alter(name, "cleanup.policy=delete"),
        )
    if int(configs.get("max.message.bytes", MAX_BATCH)) < MAX_BATCH:
        yield (
            f"the topic {name} refuses batches of {MAX_BATCH} bytes",
            _alter(name, f"max.message.bytes={2 * MAX_BATCH}"),
        )


def weaknesses(topic: Topic, settings: KafkaSettings) -> Iterator[tuple[str, str]]:
    """What works until something else breaks, with how to mend it."""
    name, configs = settings.topic, topic.configs
    if topic.replication < 3:
        yield (
            (
                f"the topic {name} is kept on {topic.replication} broker(s): if a disk is lost,"
                " events are"
            ),
            "three brokers and replication=3; kafka-reassign-partitions.sh adds replicas",
        )
    elif int(configs.get("min.insync.replicas", 1)) < 2:
        yield (
            f"the topic {name} takes events that one broker alone has",
            _alter(name, "min.insync.replicas=2"),
        )
    if configs.get("unclean.leader.election.enable") == "true":
        yield (
            f"the topic {name} may lose events that were answered 200 when a broker fails",
            _alter(name, "unclean.leader.election.enable=false"),
        )
    for limit in ("retention.ms", "retention.bytes"):
        if configs.get(limit, "-1") != "-1":
            yield (
                (
                    f"the topic {name} has {limit}={configs[limit]}: Kafka deletes events whether"
                    " they were read or not"
                ),
                _alter(name, f"{limit}=-1") + "; Dangol deletes what it has read, after 7 days",
            )


def _alter(topic: str, config: str) -> str:
    return (
        "kafka-configs.sh --bootstrap-server … --alter --entity-type topics"
        f" --entity-name {topic} --add-config {config}"
    )


def _refuse(topic: Topic, settings: KafkaSettings, partitions: int) -> None:
    for what, hint in faults(topic, settings, partitions):
        raise ConfigurationError(what, hint=hint)


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**settings.client(), request_timeout_ms=_REQUEST)
    try:
        async with asyncio.timeout(_PATIENCE):
            await admin.start()
            yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise LogUnreachable(
            f"Kafka cannot be used ({settings.where}): {said}", hint=_HINT
        ) from error
    finally:
        await admin.close()


async def _describe(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> Topic | None:
    [found] = await admin.describe_topics([settings.topic])
    if found["error_code"] in _NOT_YET:
        return None
    if found["error_code"]:
        raise for_code(found["error_code"])(settings.topic)
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic)
    [answer] = await admin.describe_configs([resource])
    configs: dict[str, str] = {}
    for code, message, _kind, _name, entries in answer.resources:
        if code in _NOT_YET:  # another broker answers this, which may learn of the topic later
            return None
        if code:
            raise for_code(code)(message)
        configs |= {entry[0]: entry[1] or "" for entry in entries}
    cluster: dict[str, Any] = await admin.describe_cluster()
    return Topic(
        cluster=str(cluster.get("cluster_id")),
        partitions=len(found["partitions"]),
        replication=min((len(p["replicas"]) for p in found["partitions"]), default=0),
        configs=configs,
    )


async def _make(admin: AIOKafkaAdminClient, settings: KafkaSettings, partitions: int) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    replication = settings.replication or min(3, brokers)
    least = "2" if replication >= 3 else "1"
    new = NewTopic(
        name=settings.topic,
        num_partitions=partitions,
        replication_factor=replication,
        topic_configs={**_MADE_WITH, "min.insync.replicas": least},
    )
    answer = await admin.create_topics([new])
    for _name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another process was faster
            raise ConfigurationError(
                f"the topic {settings.topic} cannot be made: {rest[0] if rest else error.__name__}",
                hint="make it by hand, or name one that exists; docs/operations.md says how it"
                " must be",
            )
