"""Receipts in simulations and tests: the newest message sent on a channel."""

import json
from typing import Any

import pytest

from services.console.simulate import simulate
from services.journey.language.workspace import load_workspace
from shared.errors import BadInput
from tests.unit.console.test_testing_shop import ADDED, case, files, run

READ = """journey: cart
trigger: {event: Added}
steps:
  - {send: email, template: hello, id: first}
  - wait_for: {event: Message Clicked, where: event.step == "first", timeout: 1d}
    then: [{send: push, template: hello, id: thanks}]
  - branch: [{when: steps.first.opened, steps: [{exit: opened}]}, {otherwise: [{exit: ignored}]}]
"""
AT = "2026-03-02T01:%02d:00Z"


def rows(*receipts: dict[str, Any]) -> list[tuple[str, str]]:
    loaded = load_workspace(files(cart=READ))
    assert loaded.problems == ()
    traits = {
        "email": "a@shop.example",
        "push_token": "t",
        "consent": {"email": 1 > 0, "push": 1 > 0},
    }
    events = [
        {"type": "identify", "userId": "u1", "traits": traits, "timestamp": AT % 0},
        {"type": "track", "userId": "u1", "event": "Added", "timestamp": AT % 1},
        *({"type": "receipt", "customer": "u1", **receipt} for receipt in receipts),
    ]
    lines = [json.dumps(event).encode() for event in events]
    return [(row["step"], row["at"]) for row in simulate(loaded.flows, loaded.settings, lines)]


def test_a_receipt_in_the_file_belongs_to_the_newest_message_of_its_channel() -> None:
    sent = [("first", AT % 1)]
    assert rows() == sent
    clicked = {"channel": "email", "outcome": "clicked", "timestamp": AT % 5}
    assert rows(clicked) == [*sent, ("thanks", AT % 5)]
    assert rows({**clicked, "channel": "push"}) == sent
    assert rows({**clicked, "timestamp": AT % 0}) == sent, "nothing had been sent yet"
    assert rows({**clicked, "customer": "u2"}) == sent
    assert rows(clicked, {"channel": "push", "outcome": "opened", "timestamp": AT % 6}) == [
        *sent,
        ("thanks", AT % 5),
    ]


@pytest.mark.parametrize(
    ("receipt", "message"),
    [
        ({"channel": "emial", "outcome": "opened"}, "`channel` is none"),
        ({"channel": "email", "outcome": "read"}, "`outcome` is none"),
        ({"channel": ["email"], "outcome": "opened"}, "`channel` is none"),
        ({"channel": "email", "outcome": "opened", "customer": ""}, "without a `customer`"),
        ({"channel": "email", "outcome": "opened", "timestamp": "soon"}, "no time of receipt"),
        ({"channel": "email", "outcome": "opened", "timestamp": "9999-12-31"}, "the year 9999"),
        ({"channel": "email", "outcome": "opened", "timestamp": "0001-01-01"}, "the year 1"),
    ],
)
def test_a_receipt_that_is_none_is_told_with_its_line(
    receipt: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match="line 3") as caught:
        rows({"timestamp": AT % 5, **receipt})
    assert message in str(caught.value)


OPENED = "{after: 1h, receipt: opened, channel: email}"


@pytest.mark.parametrize(
    ("lines", "expect"),
    [
        ((), "{sent: [{step: first}], ended: {reason: ignored}}"),
        ((OPENED,), "{sent: [{step: first}], ended: {reason: opened}}"),
        (
            ("{after: 1h, receipt: clicked, channel: email}",),
            "{sent: [{step: first}, {after: 1h}]}",
        ),
        (("{after: 1h, receipt: opened, channel: push}",), "{ended: {reason: ignored}}"),
    ],
)
def test_a_test_says_what_becomes_of_a_message(lines: tuple[str, ...], expect: str) -> None:
    (result,) = run(files(case(expect, ADDED, *lines), cart=READ)).results
    assert result.passed, result.differences


def test_the_timeline_tells_of_the_receipt() -> None:
    (result,) = run(files(case("{}", ADDED, OPENED), cart=READ)).results
    assert any("Message Opened" in line.text for line in result.lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{receipt: opened}", "belong together"),
        ("{channel: email, event: A}", "belong together"),
        ("{receipt: opened, channel: email, event: A}", "on a line of its own"),
        ("{receipt: read, channel: email}", "not one of"),
    ],
)
def test_a_line_that_is_no_receipt_is_a_problem(line: str, message: str) -> None:
    problems = load_workspace(files(case("{}", ADDED, line), cart=READ)).problems
    assert any(message in problem.message for problem in problems), problems
