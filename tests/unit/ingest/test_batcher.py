import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from services.ingest.batcher import BatchingLog
from services.ingest.metrics import IngestMetrics
from shared.errors import Unavailable
from shared.event import Event
from tests.patience import SOON
from tests.unit.ingest.doubles import RecordingLog

AT = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)


def event(ident: object) -> Event:
    return Event(id=str(ident), kind="track", name="Added", timestamp=AT, user_id="u1")


@pytest.fixture
def batching(log: RecordingLog, metrics: IngestMetrics) -> BatchingLog:
    return BatchingLog(log, metrics, most_waiting=10, most_together=6, timeout=SOON)


def appending(batching: BatchingLog, *idents: object) -> asyncio.Task[None]:
    return asyncio.create_task(batching.append([event(ident) for ident in idents]))


async def settled(*tasks: asyncio.Task[None]) -> list[str]:
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return ["ok" if result is None else type(result).__name__ for result in results]


def ids(log: RecordingLog) -> list[list[str]]:
    return [[event.id for event in events] for events in log.appends]


async def under_way(log: RecordingLog, batching: BatchingLog) -> asyncio.Task[None]:
    """An append that waits for the log."""
    log.open.clear()
    first = appending(batching, "first")
    for _ in range(3):
        await asyncio.sleep(0)
    return first


async def test_it_has_the_partitions_of_the_log_behind_it(batching: BatchingLog) -> None:
    assert batching.partitions == RecordingLog.partitions


async def test_what_arrives_while_an_append_is_under_way_goes_out_together_and_in_order(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    rest = [appending(batching, "a1", "a2"), appending(batching, "b"), appending(batching, "c")]
    await asyncio.sleep(0)
    assert log.appends == []
    log.open.set()
    assert await settled(first, *rest) == ["ok"] * 4
    assert ids(log) == [["first"], ["a1", "a2", "b", "c"]]


async def test_one_append_has_a_bound_that_no_request_is_split_by(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    rest = [appending(batching, 1, 2, 3), appending(batching, 4, 5, 6), appending(batching, 7)]
    await asyncio.sleep(0)
    log.open.set()
    await settled(first, *rest)
    assert ids(log) == [["first"], ["1", "2", "3", "4", "5", "6"], ["7"]]


async def test_under_load_two_appends_are_under_way_and_no_more(
    log: RecordingLog, metrics: IngestMetrics
) -> None:
    under_way, most = 0, 0

    class Counting(RecordingLog):
        async def append(self, events: Sequence[Event]) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await log.open.wait()
            under_way -= 1
            await super().append(events)

    counting = Counting()
    batching = BatchingLog(counting, metrics, most_together=3, worth_a_second=3)
    log.open.clear()
    tasks = [appending(batching, "first")]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks += [appending(batching, 1), appending(batching, 2)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert under_way == 1, "two events are worth no append of their own"
    tasks += [appending(batching, number) for number in range(3, 12)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert under_way == 2
    log.open.set()
    assert await settled(*tasks) == ["ok"] * 12
    assert most == 2
    assert sorted(event.id for event in counting.events) == sorted(
        ["first", *map(str, range(1, 12))]
    )


async def test_nothing_is_appended_for_nothing(batching: BatchingLog, log: RecordingLog) -> None:
    await batching.append([])
    assert log.appends == []


async def test_a_full_queue_is_unavailable_and_takes_again_later(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    second = appending(batching, *range(9))
    await asyncio.sleep(0)
    assert await settled(appending(batching, "too much")) == ["Unavailable"]
    log.open.set()
    assert await settled(first, second) == ["ok", "ok"]
    assert await settled(appending(batching, "later")) == ["ok"]


async def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits(
    batching: BatchingLog, log: RecordingLog
) -> None:
    await batching.append([event(number) for number in range(25)])
    assert len(log.events) == 25


async def test_trouble_of_the_log_reaches_exactly_those_that_were_in_it(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    rest = [appending(batching, "a"), appending(batching, "b")]
    await asyncio.sleep(0)
    log.failures.append(Unavailable("gone"))
    log.open.set()
    assert await settled(first, *rest) == ["Unavailable", "ok", "ok"]


async def test_an_event_that_no_log_takes_fails_its_own_request_only(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    rest = [appending(batching, "a"), appending(batching, "bad", "b"), appending(batching, "c")]
    await asyncio.sleep(0)
    log.poison = "bad"
    log.open.set()
    assert await settled(first, *rest) == ["ok", "ok", "ValueError", "ok"]
    assert ids(log) == [["first"], ["a"], ["c"]]
    assert await settled(appending(batching, "d"), appending(batching, "e")) == ["ok", "ok"]
    assert ids(log)[-1] == ["d", "e"]


async def test_a_log_that_does_not_answer_fails_all_that_wait(
    log: RecordingLog, metrics: IngestMetrics
) -> None:
    batching = BatchingLog(log, metrics, timeout=0.05)
    first = await under_way(log, batching)
    assert await settled(first, appending(batching, "a")) == ["Unavailable", "Unavailable"]
    log.open.set()
    assert await settled(appending(batching, "b")) == ["ok"]
    assert ids(log) == [["b"]]


async def test_after_a_log_that_does_not_answer_nobody_is_suspected_any_more(
    metrics: IngestMetrics,
) -> None:
    class Moody(RecordingLog):
        mood = "angry"

        async def append(self, events: Sequence[Event]) -> None:
            if self.mood == "angry":
                self.mood = "silent"
                raise ValueError
            if self.mood == "silent":
                await asyncio.Event().wait()
            await super().append(events)

    moody = Moody()
    batching = BatchingLog(moody, metrics, timeout=0.01)
    together = [appending(batching, ident) for ident in "abc"]
    assert await settled(*together) == ["Unavailable"] * 3
    moody.mood = "good"
    assert await settled(appending(batching, "d"), appending(batching, "e")) == ["ok", "ok"]
    assert ids(moody) == [["d", "e"]]


async def test_a_request_that_goes_away_takes_none_with_it(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    leaver, other = appending(batching, "a"), appending(batching, "b")
    await asyncio.sleep(0)
    leaver.cancel()
    first.cancel()
    await asyncio.sleep(0)
    log.open.set()
    assert await settled(other) == ["ok"]
    assert ids(log) == [["first"], ["a", "b"]]


async def test_stopping_finishes_what_was_taken_and_takes_no_more(
    batching: BatchingLog, log: RecordingLog
) -> None:
    first = await under_way(log, batching)
    second = appending(batching, "a")
    await asyncio.sleep(0)
    stopping = asyncio.create_task(batching.stop())
    await asyncio.sleep(0)
    assert await settled(appending(batching, "late")) == ["Unavailable"]
    assert not stopping.done()
    log.open.set()
    await stopping
    assert await settled(first, second) == ["ok", "ok"]
    assert ids(log) == [["first"], ["a"]]


async def test_cut_off_it_fails_what_waits(batching: BatchingLog, log: RecordingLog) -> None:
    first = await under_way(log, batching)
    second = appending(batching, "a")
    await asyncio.sleep(0)
    [drain] = batching._drains
    drain.cancel()
    assert await settled(first, second) == ["Unavailable", "Unavailable"]


async def test_the_queues_depth_is_shown_and_returns_to_nothing(
    batching: BatchingLog, log: RecordingLog, registry: CollectorRegistry
) -> None:
    first = await under_way(log, batching)
    second = appending(batching, 1, 2, 3)
    await asyncio.sleep(0)
    assert registry.get_sample_value("dangol_ingest_queue_depth") == 4
    log.failures.append(Unavailable())
    log.open.set()
    await settled(first, second)
    assert registry.get_sample_value("dangol_ingest_queue_depth") == 0
    assert registry.get_sample_value("dangol_ingest_append_seconds_count") == 2
    assert registry.get_sample_value("dangol_ingest_append_failures_total") == 1
