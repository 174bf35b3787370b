"""`call`: made once a visit, waited for, withdrawn with its run, spared for the held out."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.journey.core.effects import MakeCall, WithdrawCall
from services.journey.core.state import pack, unpack
from shared.event import answer_event
from tests.unit.core.flows import HOUR, NOON, Person, event
from tests.unit.core.test_steps import SEND, person, reached

CALL = "- {call: 'https://shop.example/stock', id: ask, with: {sku: trigger.sku, at: now}}"
TOLD = f"""
{CALL}
- branch:
    - when: steps.ask.response.left > 3
      steps: [{{send: email, template: t, id: many}}]
    - when: steps.ask.outcome == "failed"
      steps: [{{send: email, template: t, id: failed}}]
    - otherwise: [{{send: email, template: t, id: few}}]
"""


def calls(found: Person) -> list[MakeCall]:
    return [effect for effect in found.effects if isinstance(effect, MakeCall)]


def withdrawn(found: Person) -> list[str]:
    return [effect.call_id for effect in found.effects if isinstance(effect, WithdrawCall)]


def answered(
    found: Person, made: MakeCall, *, after: timedelta = HOUR, learnt: timedelta = timedelta(0),
    outcome: str = "sent", response: Any = None,
) -> None:  # fmt: skip
    told = answer_event(
        call_id=made.id, customer="u1", at=made.at + after, step=made.step, run_id=made.run_id,
        outcome=outcome, reason=None if outcome == "sent" else "rejected", response=response,
    )  # fmt: skip
    found.take(msgspec.structs.replace(told, received_at=made.at + after + learnt))


def test_a_call_gives_along_what_it_says_and_holds_the_run() -> None:
    found = person(TOLD)
    found.take(event(sku="A1"))
    (made,) = calls(found)
    assert (made.url, made.step, made.at) == ("https://shop.example/stock", "ask", NOON)
    assert made.values == {"sku": "A1", "at": "2026-04-06T12:00:00Z"}
    found.tick(NOON + 30 * HOUR)
    assert reached(found) == []


@pytest.mark.parametrize(
    ("outcome", "response", "step"),
    [
        ("sent", {"left": 4}, "many"),
        ("sent", {"left": 1}, "few"),
        ("sent", None, "few"),
        ("sent", [1], "few"),
        ("failed", None, "failed"),
    ],
)
def test_the_run_goes_on_with_the_answer(outcome: str, response: Any, step: str) -> None:
    found = person(TOLD)
    found.take(event(sku="A1"))
    answered(found, calls(found)[0], outcome=outcome, response=response)
    (message,) = found.messages
    assert (message.step, message.at) == (step, NOON + HOUR)
    assert message.context.steps["ask"]["response"] == response


def test_an_answer_counts_once_and_only_for_its_own_call() -> None:
    found = person(f"{CALL}\n- wait: 1h\n{SEND % 'end'}")
    found.take(event())
    (made,) = calls(found)
    answered(found, msgspec.structs.replace(made, id="another"))
    assert found.customer.state.runs[0].step == "ask"
    answered(found, made)
    answered(found, made, after=5 * HOUR)
    found.tick(NOON + 2 * HOUR)
    assert reached(found) == ["end"]


def test_waits_behind_a_call_count_from_its_answer() -> None:
    found = person(f"{CALL}\n- wait: 1h\n{SEND % 'end'}")
    found.take(event())
    answered(found, calls(found)[0], after=timedelta(minutes=1), learnt=3 * HOUR)
    found.tick(NOON + 5 * HOUR)
    assert found.messages[0].at == NOON + HOUR + timedelta(minutes=1)


def test_a_wait_for_behind_a_call_hears_what_came_before_the_answer_was_learnt() -> None:
    found = person(
        f"{CALL}\n- wait_for: {{event: Viewed, timeout: 1d}}\n  then: [{SEND % 'yes'}]".replace(
            "[- ", "["
        )
    )
    found.take(event())
    (made,) = calls(found)
    found.take(event("Viewed", NOON + timedelta(minutes=30)))
    found.take(event("Viewed", NOON + 2 * HOUR))
    answered(found, made, after=HOUR, learnt=2 * HOUR)
    (message,) = found.messages
    assert (message.step, message.at) == ("yes", NOON + 2 * HOUR)


@pytest.mark.parametrize("ending", ["Bought", "Added"])
def test_an_exit_or_a_restart_withdraws_the_call(ending: str) -> None:
    found = person(TOLD, head="exit: [{event: Bought}]\nentry: {when_active: restart}")
    found.take(event())
    (made,) = calls(found)
    found.take(event(ending, NOON + HOUR))
    assert withdrawn(found) == [made.id]
    assert len(calls(found)) == (1 if ending == "Bought" else 2)
    answered(found, made, after=2 * HOUR, response={"left": 9})
    assert reached(found) == []


def test_for_the_held_out_no_call_is_made() -> None:
    steps = f"""{CALL}
- branch:
    - when: steps.ask.reason == "held_out" and steps.ask.response == null
      steps: [{{send: email, template: t, id: spared}}]
"""
    found = person(steps, head="entry: {holdout: 100%}")
    found.take(event())
    assert calls(found) == []
    assert reached(found) == ["spared"]


def test_each_round_calls_by_itself() -> None:
    found = person(f"- repeat:\n    times: 2\n    steps:\n      {CALL}")
    found.take(event())
    answered(found, calls(found)[0], response={"n": 1})
    answered(found, calls(found)[1], response={"n": 2})
    first, second = calls(found)
    assert first.id != second.id
    assert found.customer.state.runs == ()


def test_a_waiting_call_and_its_answer_are_stored_and_read_again() -> None:
    found = person(f"{CALL}\n- wait: 1h")
    found.take(event())
    assert unpack(pack(found.customer.state)) == found.customer.state
    answered(found, calls(found)[0], response={"a": [1, 2.5, None, {"b": "x"}]})
    assert unpack(pack(found.customer.state)) == found.customer.state
