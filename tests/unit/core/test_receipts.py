"""Receipts: what became of a message that was sent, for its step and as an event."""

from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest

from services.journey.core.book import Book, Edition
from services.journey.core.effects import Convert, QueueMessage
from services.journey.core.history import Needs
from services.journey.core.state import pack, unpack
from services.journey.language.model.journey import ReceiptWord
from shared.clock import EPOCH
from shared.event import RECEIPTS, receipt_event
from tests.unit.core.flows import HOUR, NOON, Person, event
from tests.unit.core.test_steps import SEND, person, reached

MINUTE = timedelta(minutes=1)
ASKED = f"""
{SEND % "hello"}
- wait: 1d
- branch:
    - when: steps.hello.clicked
      steps: [{SEND[2:] % "clicked"}]
    - when: steps.hello.opened
      steps: [{SEND[2:] % "opened"}]
    - when: steps.hello.reason == "undeliverable"
      steps: [{SEND[2:] % "bounced"}]
    - when: steps.hello.opened == false
      steps: [{SEND[2:] % "ignored"}]
"""


def told(
    found: Person, message: QueueMessage, outcome: str, at: datetime, name: str = "", **more: Any
) -> None:
    receipt = receipt_event(
        receipt_id=name or f"{message.id}:{outcome}", customer="u1", at=at, outcome=outcome,
        channel="email", details=more,
        message={"message_id": message.id, "run_id": message.run_id, "step": message.step},
    )  # fmt: skip
    found.take(msgspec.structs.replace(receipt, received_at=at))


@pytest.mark.parametrize(
    ("outcomes", "step"),
    [
        ([], "ignored"),
        (["delivered"], "ignored"),
        (["opened"], "opened"),
        (["delivered", "opened", "opened"], "opened"),
        (["clicked"], "clicked"),
        (["opened", "clicked"], "clicked"),
        (["bounced"], "bounced"),
        (["complained"], "ignored"),
    ],
)
def test_a_step_knows_what_became_of_its_message(outcomes: list[str], step: str) -> None:
    found = person(ASKED)
    found.take(event())
    (message,) = found.messages
    found.decided(message, NOON + MINUTE)
    for number, outcome in enumerate(outcomes):
        told(found, message, outcome, NOON + (2 + number) * MINUTE, name=f"r{number}")
    assert unpack(pack(found.customer.state)) == found.customer.state
    found.tick(NOON + 30 * HOUR)
    assert reached(found) == ["hello", step]


def test_a_click_is_an_opening_too() -> None:
    found = person(ASKED.replace("steps.hello.clicked", "false"))
    found.take(event())
    found.decided(found.messages[0], NOON + MINUTE)
    told(found, found.messages[0], "clicked", NOON + 2 * MINUTE)
    found.tick(NOON + 30 * HOUR)
    assert reached(found) == ["hello", "opened"]


def test_a_receipt_may_come_before_the_messages_own_outcome() -> None:
    found = person(ASKED)
    found.take(event())
    told(found, found.messages[0], "opened", NOON + MINUTE)
    found.decided(found.messages[0], NOON + 2 * MINUTE)
    result = found.customer.state.runs[0].steps["hello"]
    assert (result.outcome, result.opened) == ("sent", True)
    found.tick(NOON + 30 * HOUR)
    assert reached(found) == ["hello", "opened"]


ROUNDS = """
- repeat:
    times: 2
    every: 1h
    steps:
      - {send: email, template: t, id: again}
- branch: [{when: steps.again.opened, steps: [{exit: seen}]}]
- wait: 1h
"""


@pytest.mark.parametrize(("number", "outcome"), [(0, 0), (1, 1)])
def test_a_receipt_counts_for_the_round_whose_message_it_names(number: int, outcome: int) -> None:
    found = person(ROUNDS)
    found.take(event())
    found.decided(found.messages[0], NOON + MINUTE)
    found.tick(NOON + HOUR)
    told(found, found.messages[number], "opened", NOON + HOUR + MINUTE)
    found.decided(found.messages[1], NOON + HOUR + 2 * MINUTE)
    assert found.counted("ended:seen") == outcome


def test_the_same_receipt_again_is_no_second_event() -> None:
    twice = "count('Message Opened') >= 2"
    found = person(ASKED, head=f'exit: [{{event: Message Opened, where: "{twice}"}}]')
    flow = found.book.flow("cart", 1)
    found.book = Book([Edition.of(EPOCH, [flow])], {("cart", 1): flow}, needs=Needs(flow.needs))
    found.take(event())
    (message,) = found.messages
    found.decided(message, NOON + MINUTE)
    told(found, message, "opened", NOON + 2 * MINUTE)
    told(found, message, "opened", NOON + 3 * MINUTE)
    assert found.counted("ended:exit") == 0
    told(found, message, "opened", NOON + 4 * MINUTE, name="another")
    assert found.counted("ended:exit") == 1


def test_a_wait_for_hears_of_a_receipt() -> None:
    steps = f"""
{SEND % "hello"}
- wait_for:
    event: Message Clicked
    where: event.step == "hello" and event.url == "https://shop.example/a"
    timeout: 1d
  then: [{SEND[2:] % "thanks"}]
"""
    found = person(steps)
    found.take(event())
    (message,) = found.messages
    found.decided(message, NOON + MINUTE)
    told(found, message, "clicked", NOON + 2 * MINUTE, name="a", url="https://shop.example/b")
    assert reached(found) == ["hello"]
    told(found, message, "clicked", NOON + 3 * MINUTE, name="b", url="https://shop.example/a")
    assert reached(found) == ["hello", "thanks"]


def test_an_exit_may_ask_for_a_receipt_and_sees_what_it_changed() -> None:
    found = person(
        f"{SEND % 'hello'}\n- wait: 1d\n{SEND % 'again'}",
        head="exit: [{event: Message Opened, where: steps.hello.opened}]",
    )
    found.take(event())
    found.decided(found.messages[0], NOON + MINUTE)
    told(found, found.messages[0], "opened", NOON + HOUR)
    assert found.counted("ended:exit") == 1


def test_a_goal_may_ask_for_a_receipt_after_the_run_has_ended() -> None:
    found = person(
        SEND % "hello", head="goal: {event: Bought, where: steps.hello.clicked, within: 3d}"
    )
    found.take(event())
    found.decided(found.messages[0], NOON + MINUTE)
    assert found.customer.state.runs == ()
    found.take(event("Bought", NOON + 2 * MINUTE))
    told(found, found.messages[0], "clicked", NOON + 3 * MINUTE)
    found.take(event("Bought", NOON + 4 * MINUTE))
    converted = [effect for effect in found.effects if isinstance(effect, Convert)]
    assert [effect.at for effect in converted] == [NOON + 4 * MINUTE]


def test_a_receipt_of_nobodys_message_changes_nothing_but_counts_as_an_event() -> None:
    found = person(ASKED)
    found.take(event())
    found.decided(found.messages[0], NOON + MINUTE)
    before = found.customer.state.runs
    stray = msgspec.structs.replace(found.messages[0], run_id="another", id="another")
    told(found, stray, "opened", NOON + 2 * MINUTE)
    assert found.customer.state.runs == before


def test_a_receipt_does_not_say_that_the_customer_is_known() -> None:
    found = person(ASKED)
    found.take(msgspec.structs.replace(event(), user_id=None, anonymous_id="u1"))
    told(found, found.messages[0], "opened", NOON + MINUTE)
    assert not found.customer.state.known


def test_the_words_of_tests_and_of_receipts_are_the_same() -> None:
    assert set(get_args(ReceiptWord)) == set(RECEIPTS)
