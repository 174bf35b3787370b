"""A restored database beside a log that went on, was trimmed, or was made anew; a real broker."""

import pytest

from services.cli.log_checkup import check_log
from services.cli.restoring import EPOCHS, Gap, gaps, make_fit
from services.journey.store import Store
from shared.clock import REAL
from shared.db.connect import Pool
from shared.errors import ConfigurationError
from shared.log import kafka_topic
from shared.log.kafka import KafkaLog
from shared.log.kafka_settings import KafkaSettings, read_url
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS
from tests.contract.test_kafka_log import U1, event


def test_a_gap_is_what_lies_outside_of_the_log() -> None:
    ends = {0: 9, 1: 9, 2: 9, 3: 0}
    assert list(gaps({0: 3, 1: 9, 2: 0, 3: 0}, {0: 3}, ends)) == []
    assert list(gaps({0: 2, 1: 10}, {0: 3}, ends)) == [Gap(0, 2, 3, 9), Gap(1, 10, 0, 9)]


@pytest.fixture
async def topic(kafka_url: str) -> KafkaSettings:
    """Ten records in one partition."""
    settings = read_url(kafka_url)
    await kafka_topic.prepare(settings, PARTITIONS)
    log = KafkaLog(settings, PARTITIONS)
    await log.append([event(f"e{number}") for number in range(10)])
    await log.close()
    return settings


async def place(pool: Pool, offset: int) -> None:
    await pool.execute("UPDATE partitions SET log_offset = $2 WHERE id = $1", U1, offset)


async def placed(pool: Pool) -> int:
    offset: int = await pool.fetchval("SELECT log_offset FROM partitions WHERE id = $1", U1)
    return offset


async def restored(pool: Pool, topic: KafkaSettings, offset: int) -> None:
    """As a backup leaves it: bound to the log, some of it read."""
    await make_fit(pool, topic, accept_loss=False)
    await place(pool, offset)


async def test_what_the_log_still_has_is_only_read(pool: Pool, topic: KafkaSettings) -> None:
    await restored(pool, topic, 4)
    found = await make_fit(pool, topic, accept_loss=False)
    assert (found.accepted, found.unread) == ((), 6)
    assert await placed(pool) == 4


async def test_records_that_were_trimmed_are_missed_until_it_is_accepted(
    pool: Pool, topic: KafkaSettings
) -> None:
    await restored(pool, topic, 4)
    await kafka_topic.trim(topic, {U1: 7})
    epochs = await pool.fetch("SELECT id, epoch FROM partitions ORDER BY id")
    with pytest.raises(ConfigurationError, match="3 records are gone") as caught:
        await make_fit(pool, topic, accept_loss=False)
    assert "--accept-loss" in caught.value.hint
    assert await placed(pool) == 4
    assert await pool.fetch("SELECT id, epoch FROM partitions ORDER BY id") == epochs
    said = [finding async for finding in check_log(pool, topic) if finding.verdict == "fail"]
    assert "3 records are gone" in said[0].message

    found = await make_fit(pool, topic, accept_loss=True)
    assert (found.accepted, found.unread) == ((Gap(U1, 4, 7, 10),), 3)
    assert await placed(pool) == 7


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_once_that_is_accepted(
    pool: Pool, topic: KafkaSettings
) -> None:
    await restored(pool, topic, 50)
    with pytest.raises(ConfigurationError, match="ends at 10, and was read up to 50"):
        await make_fit(pool, topic, accept_loss=False)
    found = await make_fit(pool, topic, accept_loss=True)
    assert found.unread == 10
    assert await placed(pool) == 0
    again = await make_fit(pool, topic, accept_loss=False)
    assert again.accepted == ()


async def test_an_owner_of_before_can_never_have_the_epoch_of_one_after(pool: Pool) -> None:
    """The restored row is older than the owner: counted on, the numbers would meet."""
    store = Store(pool)
    of_before = await store.take(0, "old")
    await pool.execute("UPDATE partitions SET epoch = epoch - 1, owner = NULL")  # the backup
    await make_fit(pool, None, accept_loss=False)
    taken = await store.take(0, "new")
    assert taken.epoch == of_before.epoch + EPOCHS


async def test_a_log_in_postgres_is_as_old_as_its_database(pool: Pool) -> None:
    await PostgresLog(pool, PARTITIONS, REAL).append([event("e1"), event("e2")])
    found = await make_fit(pool, None, accept_loss=False)
    assert (found.accepted, found.unread, found.waiting, found.calls) == ((), 2, 0, 0)
