"""Eight o'clock: a hundred thousand messages become due at once, and nobody's receipt waits."""

from collections.abc import AsyncIterator

import pytest

from shared import message
from shared.message import MessageContext
from tests.integration.dispatching import NOON, House, until

CAMPAIGN = 100_000
AT_ONCE = 8
"""Of each of two dispatchers."""

RELEASED = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, held_reason, status)
SELECT i % 4, 'm' || i, 'c' || i, 'r', 'j', 1, 's', 'marketing', 50, '{slack}', 'hello', $1,
  $2, $2, $2, 'quiet_hours', 'queued' FROM generate_series(1, $3::int) i
"""


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(
            channels={"slack": {"adapter": "fake"}},
            templates={"templates/hello/slack.liquid": b"Hi"},
        )
        yield house


async def test_receipts_go_before_a_hundred_thousand_that_were_released(house: House) -> None:
    await house.pool.execute(RELEASED, message.pack(MessageContext()), NOON, CAMPAIGN)
    before: dict[str, int] = {}
    sent = house.provider.sent
    async with house.dispatching(*(house.dispatcher(concurrency=AT_ONCE) for _ in range(2))):
        for number in range(5):
            wanted = (number + 1) * 100

            async def the_campaign_flows(wanted: int = wanted) -> bool:
                return len(sent) > wanted

            await until(the_campaign_flows)
            receipt = f"receipt {number}"
            await house.message(
                receipt, customer="zoe", channels=("slack",), category="transactional"
            )
            before[receipt] = len(sent)
            house.ring()
            assert await house.decided(receipt) == [("sent", None, "slack")]
    places = {name: place for place, name in enumerate(house.provider.ids)}
    # What was in somebody's hands already, and what others claimed until it was committed.
    overtaken = [places[receipt] - count for receipt, count in before.items()]
    assert max(overtaken) < 10 * AT_ONCE, overtaken
    left = await house.pool.fetchval("SELECT count(*) FROM messages WHERE status = 'queued'")
    assert left > CAMPAIGN * 0.9, "they did not wait for the campaign's end"
    assert len(places) == len(sent), "each was sent once"
