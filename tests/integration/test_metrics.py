"""Gauges that are asked of the database say what is there, and counters count what was decided."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from services.dispatch import leases
from services.journey import metrics as journey_metrics
from services.journey.watch import Watch
from shared.db.connect import Pool
from shared.event import Event, partition_of
from shared.log import outbox
from shared.log.postgres import PostgresLog
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, HandClock, House


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


async def test_the_leader_sees_how_far_each_partition_is_behind(pool: Pool) -> None:
    clock, log = HandClock(), PostgresLog(pool, PARTITIONS)
    watch = Watch(pool, log, clock)
    await watch.turn()
    name = next(f"c{n}" for n in range(100) if partition_of(f"c{n}", PARTITIONS) == 2)
    events = [Event(id=f"e{n}", user_id=name, kind="track", timestamp=NOON) for n in range(3)]
    await log.append(events)
    async with pool.acquire() as connection:
        await outbox.put(connection, events[:2], PARTITIONS)
    await pool.execute(
        "INSERT INTO timers SELECT 1, $1, 'x' FROM generate_series(1, 3)",
        clock.now() + timedelta(seconds=2),
    )
    await watch.turn()
    clock.move(timedelta(seconds=10))
    await watch.turn()
    for partition in range(PARTITIONS):
        behind, overdue = partition == 2, partition == 1
        label = str(partition)
        assert value("dangol_journey_lag_events", partition=label) == (3 if behind else 0)
        assert value("dangol_journey_lag_seconds", partition=label) == (10 if behind else 0)
        late = value("dangol_journey_timers_overdue_seconds", partition=label)
        assert late == (8 if overdue else 0)
    assert value("dangol_journey_outbox_events") == 2
    journey_metrics.leads(False)
    assert value("dangol_journey_lag_events", partition="2") is None
    assert value("dangol_journey_outbox_events") == 0


async def test_what_is_due_is_told_by_channel_but_not_what_a_paused_journey_keeps(
    house: House,
) -> None:
    await house.pool.execute("INSERT INTO journeys VALUES ('stopped', 'paused')")
    for number in range(3):
        await house.message(f"m{number}", channels=("push", "email"))
    await house.message("m3", channels=("push", "email"), channel="email")
    await house.message("m4", category="transactional", at=NOON - timedelta(seconds=30))
    await house.message("m5", journey="stopped", at=NOON - timedelta(hours=3))
    await house.message("m6", not_before=NOON + timedelta(hours=1))
    await house.dispatcher()._measure(NOON)
    found = {
        channel: (
            value("dangol_dispatch_due_messages", channel=channel),
            value("dangol_dispatch_due_age_seconds", channel=channel),
        )
        for channel in ("push", "email", "sms")
    }
    assert found == {"push": (3, 0), "email": (2, 30), "sms": (0, 0)}


async def test_decisions_are_counted_by_channel_and_by_journey(house: House) -> None:
    def counts() -> tuple[float, float]:
        sent = {"channel": "email", "decision": "sent", "reason": ""}
        return (
            value("dangol_dispatch_decisions_total", **sent) or 0,
            value("dangol_dispatch_journey_decisions_total", journey="welcome", decision="sent")
            or 0,
        )

    before = counts()
    await house.message()
    async with house.dispatching():
        await house.decided("m1")
    assert counts() == (before[0] + 1, before[1] + 1)


async def test_an_attempt_of_a_lost_dispatcher_is_counted_as_unknown(house: House) -> None:
    def counts() -> tuple[float, float]:
        lost = {"channel": "email", "decision": "unknown", "reason": ""}
        return (
            value("dangol_dispatch_decisions_total", **lost) or 0,
            value("dangol_dispatch_unknown_total", adapter="smtp") or 0,
        )

    before = counts()
    await house.message(
        status="attempting", claimed_by="gone", claim_until=NOON, attempts=1, channel="email"
    )
    await house.pool.execute(
        "INSERT INTO attempts VALUES (0, 'm1', 1, 'email', 'smtp', 'gone', $1)", NOON
    )
    await leases.settle(
        house.pool, NOON, PARTITIONS, lambda _channel, _adapter: False, everything=True
    )
    assert counts() == (before[0] + 1, before[1] + 1)
