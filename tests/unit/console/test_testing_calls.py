"""Calls in a workspace's tests: nothing leaves the house, and a test says what is answered."""

import json
from pathlib import Path

import pytest

from services.console.simulate import simulate
from services.journey.language.workspace import load_workspace
from tests.unit.console.test_testing_shop import ADDED, attempt, case, files, run

STOCK = """journey: cart
trigger: {event: Added}
steps:
  - {call: "https://shop.example/stock", id: stock, with: {cart: trigger.cart_id}}
  - branch:
      - when: steps.stock.response.left > 3
        steps: [{send: email, template: hello, id: many}]
      - when: steps.stock.outcome == "failed"
        steps: [{exit: no-stock}]
  - exit: over
"""


def written(expect: str, calls: str = "") -> str:
    text = case(expect, ADDED, at="2026-03-02T10:00+09:00")
    return text + (f"    calls: {calls}\n" if calls else "")


@pytest.mark.parametrize(
    ("calls", "expect"),
    [
        ("", "{sent: [], ended: {reason: over}}"),
        ("{stock: {response: {left: 4}}}", "{sent: [{step: many}]}"),
        ("{stock: {response: {left: 1}}}", "{sent: [], ended: {reason: over}}"),
        ("{stock: {status: 404}}", "{ended: {reason: no-stock}}"),
        ("{stock: {status: 503}}", "{ended: {reason: no-stock}}"),
    ],
)
def test_a_test_says_what_a_call_is_answered(calls: str, expect: str) -> None:
    (result,) = run(files(written(expect, calls), cart=STOCK)).results
    assert result.passed, result.differences


def test_the_timeline_tells_of_the_call() -> None:
    calls = "{stock: {response: {left: 4}}}"
    (result,) = run(files(written("{}", calls), cart=STOCK)).results
    texts = [line.text for line in result.lines]
    assert "reaches stock: call https://shop.example/stock" in texts
    assert 'stock: the call is sent, answered {"left":4}' in texts
    (failed,) = run(files(written("{}", "{stock: {status: 503}}"), cart=STOCK)).results
    assert "stock: the call is failed: retries_exhausted" in [line.text for line in failed.lines]


def test_a_stub_for_a_step_that_is_no_call_is_a_problem() -> None:
    for name, hint in (("stok", "`stock`"), ("many", "`stock`")):
        _, (problem,) = attempt(files(written("{}", f"{{{name}: {{status: 500}}}}"), cart=STOCK))
        assert f"the journey has no call `{name}`" in problem.message
        assert hint in problem.hint


@pytest.mark.parametrize(
    ("stub", "message"),
    [
        ("{status: 500, response: {}}", "only an answer with a status of 2xx has a `response`"),
        ("{status: 99}", "the least is 100"),
        ("{answer: 1}", "no field `answer`"),
    ],
)
def test_a_stub_that_cannot_be_is_a_problem(stub: str, message: str) -> None:
    content = files(written("{}", f"{{stock: {stub}}}"), cart=STOCK)
    problems = load_workspace(content).problems
    assert any(message in problem.message for problem in problems), problems


ASKING = """---
subject: Only {{ live.stock }} left
call: {url: "https://shop.example/stock", with: {cart: "{{ trigger.cart_id }}"}%s}
---
<p>{{ live.stock | plus: 1 }}</p>
"""
ONE_SEND = """journey: cart
trigger: {event: Added}
steps: [{send: email, else: push, template: hello, id: nudge}]
"""


def asking(calls: str, expect: str, more: str = "") -> dict[str, bytes]:
    found = files(written(expect, calls), cart=ONE_SEND)
    return found | {"templates/hello/email.liquid": (ASKING % more).encode()}


@pytest.mark.parametrize(
    ("calls", "more", "expect"),
    [
        ("", "", "{sent: [{channel: email}]}"),
        ("{nudge: {response: {still_true: true, stock: 3}}}", "", "{sent: [{channel: email}]}"),
        (
            "{nudge: {response: {still_true: false}}}",
            "",
            "{decided: [{channel: email, decision: dropped, reason: no_longer_true}]}",
        ),
        ("{nudge: {status: 503}}", "", "{decided: [{decision: dropped, reason: not_verified}]}"),
        ("{nudge: {response: {}}}", "", "{decided: [{decision: dropped, reason: not_verified}]}"),
        ("{nudge: {status: 503}}", ", on_error: send", "{sent: [{channel: email}]}"),
    ],
)
def test_a_test_says_what_the_live_source_of_a_template_answers(
    calls: str, more: str, expect: str
) -> None:
    (result,) = run(asking(calls, expect, more)).results
    assert result.passed, result.differences


def test_the_timeline_tells_why_a_claim_was_not_sent() -> None:
    calls = "{nudge: {response: {still_true: false}}}"
    (result,) = run(asking(calls, "{}")).results
    texts = [line.text for line in result.lines]
    assert "nudge: email is dropped: no_longer_true" in texts, texts


def test_a_stub_for_a_send_whose_template_asks_nobody_is_a_problem() -> None:
    content = files(written("{}", "{nudge: {status: 503}}"), cart=ONE_SEND)
    _, (problem,) = attempt(content)
    assert "the journey has no call `nudge`" in problem.message
    assert "`call`" in problem.hint


def test_in_a_simulation_every_call_is_taken_and_answered_with_nothing(tmp_path: Path) -> None:
    loaded = load_workspace(files(cart=STOCK.replace("left > 3", "left == null")))
    assert loaded.problems == ()
    events = [
        {"type": "identify", "userId": "u1", "traits": {"email": "a@shop.example",
         "consent": {"email": True}}, "timestamp": "2026-03-02T01:00:00Z"},
        {"type": "track", "userId": "u1", "event": "Added", "timestamp": "2026-03-02T01:00:01Z"},
    ]  # fmt: skip
    lines = [json.dumps(event).encode() for event in events]
    (row,) = simulate(loaded.flows, loaded.settings, lines)
    assert (row["step"], row["decision"], row["at"]) == ("many", "sent", "2026-03-02T01:00:01Z")
