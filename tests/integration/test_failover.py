"""A channel's second provider, and messages whose provider sends in two steps or tells later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import pytest

from services.dispatch import outcomes
from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.policy.retry import LADDER
from tests.integration.dispatching import House, Provider, until

SMS = {"sms": {"adapter": "one", "from": "02-1", "failover": ["two"], "two": {"from": "+1"}}}


@dataclass
class Two(House):
    one: Provider = field(default_factory=lambda: Provider("one"))
    two: Provider = field(default_factory=lambda: Provider("two"))
    setups: dict[str, Setup] = field(default_factory=dict)

    def create(self, setup: Setup) -> Adapter:
        adapter = setup.settings.adapter
        self.setups[adapter] = setup
        return {"one": self.one, "two": self.two}.get(adapter, self.provider)

    async def by(self, name: str = "m1") -> list[tuple[str, str]]:
        return [(a["adapter"], a["outcome"]) for a in await self.attempts(name)]


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[Two]:
    async with Two.open(dsn) as house:
        assert isinstance(house, Two)
        await house.publish(channels=SMS)
        yield house


@asynccontextmanager
async def running(house: Two) -> AsyncIterator[None]:
    async with house.dispatching(create=house.create):
        yield


async def test_the_second_provider_sends_what_the_first_has_refused(house: Two) -> None:
    house.one.otherwise = Outcome.REJECTED_MESSAGE
    await house.message(channels=("sms",))
    async with running(house):
        assert await house.decided() == [("sent", None, "sms")]
    assert await house.by() == [("one", "rejected_message"), ("two", "accepted")]
    row = await house.row()
    assert row["passed_over"] == [{"channel": "sms", "reason": "rejected", "adapter": "one"}]
    assert row["decidable_at"] == house.clock.now()
    assert house.setups["one"].settings.sender == "02-1"
    assert house.setups["two"].settings.sender == "+1"


async def test_a_broken_connection_leads_to_the_second_provider_at_once(house: Two) -> None:
    house.one.otherwise = Outcome.BROKEN_CONNECTION
    await house.message(channels=("sms",))
    async with running(house):
        assert await house.decided() == [("sent", None, "sms")]
        await house.message("m2", channels=("sms",), at=house.clock.now())
        house.ring()
        assert await house.decided("m2") == [("sent", None, "sms")]
    assert await house.by() == [("one", "broken_connection"), ("two", "accepted")]
    assert (await house.row())["held_reason"] is None
    # The first is paused: nobody asks it for every message.
    assert await house.by("m2") == [("two", "accepted")]


async def test_where_both_are_broken_the_message_waits(house: Two) -> None:
    house.one.otherwise = house.two.otherwise = Outcome.BROKEN_CONNECTION
    await house.message(channels=("sms",))
    async with running(house):
        row = await house.held()
        assert row["held_reason"] == "channel_paused"
        house.two.otherwise = Outcome.ACCEPTED
        house.move(timedelta(seconds=1))
        assert await house.decided() == [("sent", None, "sms")]


async def test_what_may_have_been_sent_is_never_sent_by_another(house: Two) -> None:
    house.one.otherwise = Outcome.UNKNOWN
    await house.message(channels=("sms",))
    async with running(house):
        assert await house.decided() == [("unknown", None, "sms")]
    assert not house.two.sent


async def test_a_repetition_waits_for_the_provider_that_may_have_sent_it(house: Two) -> None:
    house.one.deduplicates = True
    house.one.answers["m1"] = [Outcome.UNKNOWN, Outcome.BROKEN_CONNECTION, Outcome.ACCEPTED]
    await house.message(channels=("sms",))
    async with running(house):
        await house.held()
        house.move(LADDER[0] * 2)
        await until(lambda: _count(house, 2))
        await house.held()
        house.move(timedelta(minutes=1))
        assert await house.decided() == [("sent", None, "sms")]
    assert [adapter for adapter, _ in await house.by()] == ["one", "one", "one"]
    assert not house.two.sent


@pytest.mark.parametrize("later", [timedelta(minutes=8), timedelta(minutes=10)])
async def test_a_provider_that_remembers_for_a_while_is_asked_again_within_it_alone(
    house: Two, later: timedelta
) -> None:
    house.one = Remembering("one", answers={"m1": [Outcome.UNKNOWN]})
    await house.message(channels=("sms", "email"))
    async with running(house):
        await house.held()
        house.move(later)
        decided = await house.decided()
    if later < Remembering.deduplicates_for:
        assert decided == [("sent", None, "sms")]
        assert [o.repeats for o in house.one.sent] == [None, 1]
    else:
        assert decided == [("unknown", None, "sms")]
        assert len(house.one.sent) == 1
    assert not house.two.sent


async def test_a_repetition_that_would_come_too_late_is_not_waited_for(house: Two) -> None:
    house.one = Remembering("one", otherwise=Outcome.UNKNOWN)
    await house.message(channels=("sms", "email"))
    async with running(house):
        for _ in range(3):  # 5 s, 30 s, 2 min: the next would come after 10 min
            await house.held()
            house.move((await house.row())["not_before"] - house.clock.now())
        assert await house.decided() == [("unknown", None, "sms")]
    assert [o.repeats for o in house.one.sent] == [None, 1, 1, 1]
    assert not house.two.sent


@pytest.mark.parametrize("deduplicates", [False, True])
@pytest.mark.parametrize("then", [Outcome.REJECTED_MESSAGE, Outcome.UNDELIVERABLE_ADDRESS])
async def test_a_refused_repetition_goes_to_no_other_provider_or_channel(
    house: Two, then: Outcome, deduplicates: bool
) -> None:
    house.one.deduplicates = deduplicates
    await house.publish(channels={"sms": {**SMS["sms"], "on_unknown": "retry"}})
    house.one.answers["m1"] = [Outcome.UNKNOWN, then]
    await house.message(channels=("sms", "email"))
    async with running(house):
        await house.held()
        house.move(LADDER[0] * 2)
        assert await house.decided() == [("unknown", None, "sms")]
    assert not house.two.sent
    assert not house.provider.sent


async def test_retries_that_are_used_up_behind_an_unknown_lead_nowhere(house: Two) -> None:
    house.one.deduplicates = True
    house.one.answers["m1"] = [Outcome.UNKNOWN]
    house.one.otherwise = Outcome.RETRYABLE
    await house.message(channels=("sms", "email"))
    async with running(house):
        for _ in LADDER:
            await house.held()
            house.move(timedelta(hours=3))
        assert await house.decided() == [("unknown", None, "sms")]
    assert len(house.one.sent) == len(LADDER) + 1
    assert not house.two.sent
    assert not house.provider.sent


async def test_a_refusal_leads_on_where_the_provider_is_asked_what_became_of_the_first(
    house: Two,
) -> None:
    answers: list[Outcome] = [Outcome.UNKNOWN, Outcome.REJECTED_MESSAGE]
    house.one = Grouping("one", answers={"m1": [*answers]})
    await house.publish(channels={"sms": {"adapter": "one"}})
    await house.message(channels=("sms", "email"))
    async with running(house):
        await house.held()
        house.move(LADDER[0] * 2)
        assert await house.decided() == [("sent", None, "email")]


async def test_what_may_have_been_sent_goes_to_no_other_channel_whatever_has_closed_its_own(
    house: Two,
) -> None:
    house.one.deduplicates = True
    house.one.answers["m1"] = [Outcome.UNKNOWN]
    await house.publish(channels=SMS, policies={"consent": "required"})
    await house.customer("ann", consents={"sms": True, "email": True})
    await house.message(channels=("sms", "email"))
    async with running(house):
        await house.held()
        await house.pool.execute("UPDATE consents SET granted = false WHERE channel = 'sms'")
        house.move(LADDER[0] * 2)
        assert await house.decided() == [("unknown", None, "sms")]
        assert await house.places(), "it counts as sent"
    assert not house.provider.sent


@dataclass
class Remembering(Provider):
    deduplicates: bool = True
    deduplicates_for: ClassVar[timedelta] = timedelta(minutes=9)


async def _count(house: Two, wanted: int) -> bool:
    return len([a for a in await house.by() if a[1]]) >= wanted


async def test_each_provider_has_its_own_retries_and_then_the_next_channel_comes(
    house: Two,
) -> None:
    house.one.otherwise = house.two.otherwise = Outcome.RETRYABLE
    await house.message(channels=("sms", "email"))
    async with running(house):
        for _ in range(2 * len(LADDER)):
            await house.held()
            house.move(timedelta(hours=3))
        assert await house.decided() == [("sent", None, "email")]
    tried = [adapter for adapter, _ in await house.by()]
    assert tried == ["one"] * 7 + ["two"] * 7 + ["fake"]


# Two steps ----------------------------------------------------------------------------------


@dataclass
class Grouping(Provider):
    deduplicates: bool = True
    groups: int = 0

    async def prepare(self, _message: Outgoing) -> str | Result:
        self.groups += 1
        return f"G{self.groups}"


async def test_what_is_prepared_is_recorded_before_it_is_sent(house: Two) -> None:
    recorded: list[str | None] = []

    async def send(_message: Outgoing) -> Result:
        (attempt, *_rest) = await house.attempts()
        recorded.append(attempt["provider_id"])
        return Result(Outcome.UNKNOWN)

    house.one = Grouping("one", answers={"m1": [send]})
    await house.message(channels=("sms",))
    async with running(house):
        await house.held()
        assert recorded == ["G1"]
        house.move(LADDER[0] * 2)
        assert await house.decided() == [("sent", None, "sms")]
    assert house.one.groups == 1
    assert [(o.token, o.resumes) for o in house.one.sent] == [("G1", False), ("G1", True)]


async def test_what_cannot_be_prepared_is_not_sent(house: Two) -> None:
    class Away(Grouping):
        async def prepare(self, _message: Outgoing) -> str | Result:
            return Result(Outcome.REJECTED_MESSAGE)

    house.one = Away("one")
    await house.message(channels=("sms",))
    async with running(house):
        assert await house.decided() == [("sent", None, "sms")]
    assert not house.one.sent
    assert await house.by() == [("one", "rejected_message"), ("two", "accepted")]


# Told later ---------------------------------------------------------------------------------


async def test_a_message_waits_for_its_report_and_counts_as_sent_without_one(
    house: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "REPORT_WITHIN", timedelta(seconds=1))
    house.one.otherwise = Result(Outcome.ACCEPTED, "p1", awaits_report=True)
    await house.message(channels=("sms",))
    async with running(house):
        await until(lambda: _waits(house))
        await house.dispatcher().settle_all()
        assert (await house.row())["status"] == "attempting"  # nobody's death, so not unknown
    async with house.dispatching(create=house.create, lease=3.0):
        assert await house.decided() == [("sent", None, "sms")]
    assert await house.by() == [("one", "accepted")]
    assert len([e for e in await house.events() if e.kind == "outcome"]) == 1


async def _waits(house: Two) -> bool:
    row = await house.row()
    return bool(row["status"] == "attempting" and row["claimed_by"] == "report")
