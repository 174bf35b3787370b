"""What only the moment of sending can tell of a pack's rules."""

from collections.abc import AsyncIterator

import pytest

from shared.db.connect import Pool
from tests.integration.dispatching import House

pytestmark = pytest.mark.usefixtures("pool")
TEXT = "(광고)[상점] 02-000-0000\n무료수신거부 080-000-0000"


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as found:
        yield found


async def test_an_advertisement_whose_label_was_left_out_is_not_sent(house: House) -> None:
    text = (
        '---\ntitle: "(광고) 상점"\n---\n'
        "봄{% unless profile.short %}. 수신거부: 설정{% endunless %}"
    )
    await house.publish(
        policies={"packs": ["kr-marketing"], "consent": "required"},
        templates={"templates/hello/push.liquid": text.encode()},
    )
    for name, short in (("ann", True), ("ben", False)):
        traits = {"push_token": name, "short": short, "timezone": "UTC"}
        await house.customer(name, traits=traits, consents={"push": True})
        await house.message(name, customer=name, channels=("push",))
        told = f"{name} told"
        await house.message(told, customer=name, channels=("push",), category="transactional")
    async with house.dispatching():
        assert await house.decided("ann", "ben", "ann told") == [
            ("dropped", "template_error", "push"),
            ("sent", None, "push"),
            ("sent", None, "push"),
        ]
    rows = await house.pool.fetch("SELECT id, detail FROM messages WHERE detail IS NOT NULL")
    assert list(map(tuple, rows)) == [("ann", "kr-marketing/push-refusal")]


async def test_an_existing_customer_is_told_until_six_months_are_over(house: House) -> None:
    exempt = {"journeys": ["welcome"], "goods": "coffee", "bought_at": "profile.coffee_bought_at"}
    await house.publish(
        policies={"packs": ["kr-marketing"], "consent": "required", "existing_customers": [exempt]},
        templates={"templates/hello/sms.liquid": TEXT.encode()},
    )
    for name, bought in (("ann", "2025-10-07"), ("ben", "2025-10-05"), ("cho", "2025-10-06")):
        traits = {"phone": "+821012345678", "coffee_bought_at": bought, "timezone": "UTC"}
        await house.customer(name, traits=traits)
        await house.message(name, customer=name, channels=("sms",))
    async with house.dispatching():
        assert await house.decided("ann", "ben", "cho") == [
            ("sent", None, "sms"),
            ("dropped", "no_consent", "sms"),
            ("sent", None, "sms"),  # 21:00 in Seoul: three hours are left of the last day
        ]
