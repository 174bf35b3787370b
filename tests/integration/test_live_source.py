"""Templates that ask a live source before each sending: what is no longer true is not sent."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from math import ceil
from typing import Any

import msgspec
import pytest

from services.cli.checkup import check_database
from services.dispatch.worker import Dispatcher
from shared.db.connect import Pool
from shared.message import MessageContext
from shared.templates import live
from tests.integration.dispatching import House, until
from tests.patience import stretched
from tests.receiving import SECRET, Receiver, answer, hang, hang_up, receiver

pytestmark = pytest.mark.usefixtures("pool")
TRUE = answer(body=b'{"still_true": true, "stock": 3}')
FALSE = answer(body=b'{"still_true": false}')


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as found:
        yield found


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


def asking(source: Receiver, **fields: str) -> dict[str, bytes]:
    more = "".join(f"  {name}: {value}\n" for name, value in {"timeout": "5s", **fields}.items())
    front = (
        f'call:\n  url: {source.url("/stock")}\n  with: {{sku: "{{{{ trigger.sku }}}}"}}\n{more}'
    )
    body = f"---\n{front}---\nOnly {{{{ live.stock }}}} left"
    return {"templates/hello/sms.liquid": body.encode()}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> str:
    """A time-out during which something may be seen, however slow the machine is."""
    monkeypatch.setitem(live._LONGEST, "timeout", timedelta(minutes=1))
    return f"{ceil(stretched(5))}s"


def dispatcher(house: House, source: Receiver, **fields: Any) -> Dispatcher:
    environment = {"DANGOL_WEBHOOK_SECRET": SECRET, "DANGOL_PRIVATE_HOSTS": source.host}
    return house.dispatcher(**{"environment": environment, **fields})


async def message(house: House, name: str = "m1", sku: str = "A1", **fields: Any) -> None:
    context = MessageContext(trigger={"sku": sku})
    await house.message(name, channels=("sms",), context=context, **fields)


async def test_what_is_still_true_is_sent_with_what_the_source_said(
    house: House, source: Receiver
) -> None:
    source.otherwise = TRUE
    await house.publish(templates=asking(source))
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        assert await house.decided() == [("sent", None, "sms")]
    assert house.provider.sent[0].content.body == "Only 3 left"
    (asked,) = source.requests
    assert asked.is_signed()
    told = msgspec.json.decode(asked.body)
    assert told["type"] == "message.check"
    assert told["data"] == {"with": {"sku": "A1"}}, "nothing about the customer leaves the house"


async def test_what_is_no_longer_true_is_dropped_without_an_attempt_or_a_place(
    house: House, source: Receiver
) -> None:
    source.otherwise = FALSE
    await house.publish(
        templates=asking(source),
        policies={"frequency_caps": [{"limit": 1, "per": "24h"}]},
    )
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        assert await house.decided() == [("dropped", "no_longer_true", "sms")]
    assert house.provider.sent == []
    assert await house.attempts() == []
    assert await house.places() == []


async def test_one_question_stands_for_all_who_have_it(house: House, source: Receiver) -> None:
    source.otherwise = TRUE
    await house.publish(templates=asking(source, cache="60s"))
    names = [f"m{n}" for n in range(40)]
    for number, name in enumerate(names):
        await house.customer(name)
        await message(house, name, "A1" if number % 2 else "B2", customer=name)
    async with house.dispatching(dispatcher(house, source)):
        assert set(await house.decided(*names)) == {("sent", None, "sms")}
    assert len(source.requests) == 2


@pytest.mark.parametrize(
    ("failing", "on_error"),
    [
        (hang, "drop"),
        (answer("503 No"), "drop"),
        (answer("404 No"), "drop"),
        (answer(body=b'{"stock": 3}'), "drop"),
        (answer(body=b"["), "drop"),
        (hang_up, "send"),
    ],
)
async def test_what_cannot_be_verified_is_dropped_unless_the_template_says_otherwise(
    house: House, source: Receiver, failing: Any, on_error: str
) -> None:
    source.otherwise = failing
    sends = on_error == "send"
    expected = ("sent", None, "sms") if sends else ("dropped", "not_verified", "sms")
    await house.publish(templates=asking(source, on_error=on_error, timeout="1s"))
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        assert await house.decided() == [expected]
    assert [sent.content.body for sent in house.provider.sent] == (["Only  left"] if sends else [])


async def test_a_source_that_stumbles_once_is_asked_again(house: House, source: Receiver) -> None:
    source.script = [answer("503 No"), TRUE]
    await house.publish(templates=asking(source))
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        assert await house.decided() == [("sent", None, "sms")]


async def test_without_a_secret_nothing_can_be_verified(house: House, source: Receiver) -> None:
    await house.publish(templates=asking(source))
    await message(house)
    async with house.dispatching(dispatcher(house, source, environment={})):
        assert await house.decided() == [("dropped", "not_verified", "sms")]
    assert source.requests == []


async def test_the_doctor_says_that_nothing_can_be_verified(house: House, source: Receiver) -> None:
    await house.publish(templates=asking(source))
    for environment, expected in (({}, ["live sources"]), ({"DANGOL_WEBHOOK_SECRET": SECRET}, [])):
        found = [finding async for finding in check_database(house.dsn, environment)]
        assert [each.check for each in found if "not_verified" in each.message] == expected


async def test_an_answer_is_used_no_longer_than_the_template_says(
    house: House, source: Receiver
) -> None:
    source.script = [TRUE, FALSE]
    await house.publish(templates=asking(source, cache="1s"))
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        await house.decided()
        await asyncio.sleep(1.05)
        await message(house, "m2")
        house.ring()
        assert await house.decided("m2") == [("dropped", "no_longer_true", "sms")]


async def test_a_slow_source_holds_nobody_else_up_and_keeps_her_order(
    house: House, source: Receiver, patient: str
) -> None:
    """The message behind hers waits, since it may need her place under the cap; others do not."""
    go = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(FALSE)

    source.otherwise = slowly
    await house.publish(
        templates=asking(source, timeout=patient),
        policies={"frequency_caps": [{"limit": 1, "per": "24h"}]},
    )
    await house.customer("ben")
    await message(house, "first", priority=90)
    await house.message("behind", channels=("email",))
    await house.message("ben's", customer="ben", channels=("email",))
    async with house.dispatching(dispatcher(house, source)):
        assert await house.decided("ben's") == [("sent", None, "email")]
        await until(lambda: _waits(house, "behind"))
        go.set()
        assert await house.decided("first", "behind") == [
            ("dropped", "no_longer_true", "sms"),
            ("sent", None, "email"),
        ]


async def _waits(house: House, name: str) -> bool:
    return str((await house.row(name))["waits_for"] or "").startswith("ask:")


async def test_an_exit_reaches_a_message_that_waits_for_an_answer(
    house: House, source: Receiver, patient: str
) -> None:
    source.otherwise = hang
    await house.publish(templates=asking(source, timeout=patient))
    await message(house)
    async with house.dispatching(dispatcher(house, source)):
        await until(lambda: _waits(house, "m1"))
        done = await house.pool.execute(
            "UPDATE messages SET status = 'decided', decision = 'dropped', reason = 'run_ended',"
            " decided_at = now()"
            " WHERE id = 'm1' AND status = 'queued'"
        )
        assert done == "UPDATE 1"
    assert house.provider.sent == []


async def test_two_dispatchers_send_each_message_once(house: House, source: Receiver) -> None:
    source.otherwise = TRUE
    await house.publish(templates=asking(source, cache="60s"))
    names = [f"m{n}" for n in range(60)]
    for number, name in enumerate(names):
        await house.customer(name)
        await message(house, name, f"sku {number % 7}", customer=name)
    two = [dispatcher(house, source, lease=3.0) for _ in range(2)]
    async with house.dispatching(*two):
        assert set(await house.decided(*names)) == {("sent", None, "sms")}
    assert sorted(house.provider.ids) == sorted(names)
    assert len(source.requests) <= 2 * 7


async def test_who_waits_for_an_answer_that_nobody_asks_for_is_asked_for_anew(
    house: House, source: Receiver
) -> None:
    """The dispatcher that had asked is gone."""
    source.otherwise = TRUE
    await house.publish(templates=asking(source))
    await message(house, waits_for="ask:0123456789abcdef")
    async with house.dispatching(dispatcher(house, source, lease=1.5)):
        assert await house.decided() == [("sent", None, "sms")]
