"""Reports that have to be asked for (Aligo): within a rate, by one of many, for a bounded time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.cli.fakes.serving import serving
from services.cli.fakes.texters import FakeAligo
from services.dispatch.channels import registry
from services.dispatch.channels.aligo_reports import meaning_of_state
from services.dispatch.channels.port import Outcome
from services.dispatch.receipts.texts.polls import OLDEST, PAUSES, Polls, sources_of
from services.dispatch.receipts.texts.store import Reports
from shared.event import partition_of
from tests.conftest import PARTITIONS
from tests.integration.dispatching import House

ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
KEYS = {"DANGOL_ALIGO_API_KEY": "fake-key", "DANGOL_ALIGO_USER_ID": "shop"}


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(channels={"sms": {"adapter": "aligo", "from": "02-123-4567"}})
        yield house


@asynccontextmanager
async def aligo(house: House, *numbers: str) -> AsyncIterator[tuple[FakeAligo, Polls]]:
    """Texts that Aligo has taken, and who asks for their reports."""
    fake = FakeAligo("fake-key", "shop")
    async with serving(fake, fake.asgi()) as url:
        environment = {**KEYS, "DANGOL_ALIGO_BASE_URL": url}
        for n, number in enumerate(numbers, 1):
            customer = ANN if n == 1 else f"{ANN}-{n}"
            await house.customer(customer, traits={"phone": number})
            await house.message(f"m{n}", customer=customer, channels=("sms",))
        async with house.dispatching(environment=environment, create=registry.create):
            names = [f"m{n}" for n in range(1, len(numbers) + 1)]
            assert {decision for decision, *_ in await house.decided(*names)} == {"sent"}
        sources = sources_of(environment)
        polls = Polls(house.pool, house.clock, Reports(house.pool, PARTITIONS), sources, rate=100)
        yield fake, polls
        for source in sources:
            await source.close()


async def waiting(house: House) -> list[Any]:
    return await house.pool.fetch("SELECT * FROM report_polls ORDER BY message_id")


async def test_a_report_is_asked_for_until_it_is_told(house: House) -> None:
    async with aligo(house, "+821000000000") as (fake, polls):
        await polls.turn()
        assert not fake.asked_for, "not before its time"
        house.clock.move(PAUSES[0])
        await polls.turn()
        (poll,) = await waiting(house)
        assert (poll["tries"], poll["due_at"] - house.clock.now()) == (1, PAUSES[1])
        house.clock.move(PAUSES[1])
        await polls.turn()
        assert not await waiting(house)
    assert len(fake.asked_for) == 2
    assert [e.name for e in await house.events() if e.kind == "receipt"] == ["Message Delivered"]
    assert "report: 발송완료" in (await house.attempts())[0]["detail"]


async def test_a_number_that_is_nobody_s_is_closed(house: House) -> None:
    async with aligo(house, "+821000000404") as (_fake, polls):
        for pause in PAUSES[:2]:
            house.clock.move(pause)
            await polls.turn()
    rows = await house.pool.fetch("SELECT scope, reason FROM suppressions")
    assert [tuple(row) for row in rows] == [("all", "undeliverable")]
    assert [e.name for e in await house.events() if e.kind == "receipt"] == ["Message Bounced"]


async def test_what_is_older_than_any_report_is_given_up(house: House) -> None:
    async with aligo(house, "+821000000000") as (fake, polls):
        fake.taken.clear()  # it knows nothing of the message
        asked = 0
        while await waiting(house):
            house.clock.move(PAUSES[-1])
            await polls.turn()
            asked += 1
        assert asked == len(fake.asked_for)
    assert asked <= OLDEST / PAUSES[-1] + 1
    assert (await house.decision())[0] == "sent"


async def test_it_is_asked_within_the_rate(house: House) -> None:
    numbers = [f"+8210000{n:05d}" for n in range(10100, 10108)]
    async with aligo(house, *numbers) as (fake, polls):
        house.clock.move(PAUSES[0])
        polls._gap = 0.05
        await polls.turn()
    gaps = [b - a for a, b in zip(fake.asked_for, fake.asked_for[1:], strict=False)]
    assert len(gaps) == 7
    assert min(gaps) >= 0.05


async def test_a_provider_that_is_away_is_left_alone_until_the_next_turn(house: House) -> None:
    async with aligo(house, "+821000000000", "+821000000001") as (fake, polls):
        house.clock.move(PAUSES[0])
        fake._account = ("another-key", "shop")
        await polls.turn()
        assert len(fake.asked_for) == 1
        assert [poll["tries"] for poll in await waiting(house)] == [0, 0]
        fake._account = ("fake-key", "shop")
        await polls.turn()
    assert len(fake.asked_for) == 3


async def test_a_text_of_an_erased_customer_is_not_asked_for(house: House) -> None:
    async with aligo(house, "+821000000000") as (fake, polls):
        await house.pool.execute("UPDATE messages SET erased = true")
        house.clock.move(timedelta(minutes=1))
        await polls.turn()
    assert not fake.asked_for
    assert not await waiting(house)


def test_without_a_key_nobody_is_asked() -> None:
    assert sources_of({}) == []


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("발송완료", Outcome.DELIVERED),
        ("전송중", None),
        ("", None),
        ("전송실패(결번)", Outcome.UNDELIVERABLE_ADDRESS),
        ("전송실패", Outcome.REJECTED_MESSAGE),
        ("수신거부", Outcome.REJECTED_MESSAGE),
    ],
)
def test_aligo_s_words_have_outcomes(state: str, outcome: Outcome | None) -> None:
    assert meaning_of_state(state) is outcome
