"""Every clause of `expect`: what it looks at, and what it says when it is not met."""

import pytest

from services.console.testing import trace
from services.journey.language.workspace import load_workspace
from tests.unit.console.test_testing_shop import (
    ADDED,
    CART,
    CUSTOMER,
    attempt,
    case,
    files,
    one,
    run,
    said,
)

VIP = CUSTOMER.replace("traits: {", "traits: {tier: vip, ")
BOUGHT = "{after: 30m, event: Bought, properties: {cart_id: c1}}"
CHEAP = "{event: Added, properties: {cart_id: c1, price: 5}}"


# Entered -------------------------------------------------------------------------------------


def test_what_is_not_written_is_not_checked() -> None:
    assert said("{}") == []


def test_an_entry_is_expected() -> None:
    assert said("{entered: true}") == []
    assert said("{entered: true}", CHEAP) == [("entered", "true", "false")]


def test_no_entry_is_expected() -> None:
    assert said("{entered: false}", CHEAP) == []
    assert said("{entered: false}") == [("entered", "false", "true")]


# Messages ------------------------------------------------------------------------------------


def test_an_empty_list_means_that_nothing_was_sent() -> None:
    assert said("{sent: []}", ADDED, BOUGHT) == []
    assert said("{sent: []}") == [
        ("sent 1", "nothing", "email hello (mail) at 2026-03-02T13:00+09:00")
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "expected", "got"),
    [
        ("step: mail", "step: nudge", "nudge", "mail"),
        ("channel: email", "channel: push", "push", "email"),
        ("template: hello", "template: other", "other", "hello"),
        (
            "at: 2026-03-02T04:00Z",
            "at: 2026-03-02T12:00+09:00",
            "2026-03-02T12:00+09:00",
            "2026-03-02T13:00+09:00",
        ),
        ("after: 3h", "after: 1h", "1h", "3h"),
        ("decision: sent", "decision: failed", "failed", "sent"),
    ],
)
def test_each_field_of_a_message_is_compared_if_it_is_written(
    right: str, wrong: str, expected: str, got: str
) -> None:
    assert said(f"{{sent: [{{{right}}}]}}") == []
    field = wrong.partition(":")[0]
    assert said(f"{{sent: [{{{wrong}}}]}}") == [(f"sent 1 {field}", expected, got)]


def test_after_counts_from_the_message_before() -> None:
    welcome = CART.replace('profile.tier == "vip"', "true").replace("- exit: told", "- wait: 1h")
    expect = "{sent: [{after: 1h}, {after: 3h}]}"
    (result,) = run(files(case(expect), cart=welcome)).results
    assert result.passed, result.differences


def test_a_message_that_was_not_sent_is_told_with_its_reason() -> None:
    nobody = CUSTOMER.replace("email: true, push: true", "email: false")
    assert said("{sent: [{channel: email, step: mail}]}", customer=nobody) == [
        ("sent 1", "email (mail)", "nothing (mail dropped: unsubscribed)")
    ]


def test_a_missing_message_does_not_shift_the_others() -> None:
    expect = "{sent: [{channel: push, template: nothing-like-it}, {channel: email, step: mail}]}"
    assert said(expect) == [("sent 1", "push nothing-like-it", "nothing")]


def test_decisions_are_compared_with_their_reasons() -> None:
    nobody = CUSTOMER.replace("email: true, push: true", "email: false")
    assert said("{decided: [{decision: dropped, reason: unsubscribed}]}", customer=nobody) == []
    assert said("{decided: [{decision: sent, reason: no_consent}]}", customer=nobody) == [
        ("decided 1 decision", "sent", "dropped"),
        ("decided 1 reason", "no_consent", "unsubscribed"),
    ]
    assert said("{decided: [{reason: no_consent}]}") == [("decided 1 reason", "no_consent", "none")]


def test_a_held_message_is_decided_in_the_morning() -> None:
    expect = "{sent: [{channel: push, at: 2026-03-03T08:00+09:00}]}"
    assert said(expect, at="2026-03-02T20:30+09:00", customer=VIP) == []


def test_a_messages_withdrawn_by_an_exit_is_a_decision() -> None:
    bought = "{after: 2h, event: Bought, properties: {cart_id: c1}}"
    expect = "{sent: [], decided: [{step: nudge, reason: run_ended, after: 2h}]}"
    assert said(expect, ADDED, bought, at="2026-03-02T20:30+09:00", customer=VIP) == []


def test_the_caps_of_the_whole_workspace_hold_and_only_this_journey_is_compared() -> None:
    other = (
        "journey: other\ntrigger: {event: Added}\n"
        "steps: [{send: email, template: hello}, {send: push, template: hello}]\n"
    )
    expect = "{sent: [], decided: [{step: mail, reason: frequency_cap}]}"
    (result,) = run(files(case(expect), other=other)).results
    assert result.passed, result.differences
    assert [line.text for line in result.lines if not line.own] == [
        "other sends email (send-1)",
        "other sends push (send-2)",
    ]


# The end -------------------------------------------------------------------------------------


def test_the_end_is_compared_by_reason_step_and_time() -> None:
    right = "{ended: {reason: exit, step: wait-1, at: 2026-03-02T10:30+09:00}}"
    assert said(right, ADDED, BOUGHT) == []
    wrong = "{ended: {reason: told, step: mail, at: 2026-03-02T11:00+09:00}}"
    assert said(wrong, ADDED, BOUGHT) == [
        ("ended reason", "told", "exit"),
        ("ended step", "mail", "wait-1"),
        ("ended at", "2026-03-02T11:00+09:00", "2026-03-02T10:30+09:00"),
    ]


def test_a_run_that_lives_is_said_to_be_where_it_waits() -> None:
    assert said("{ended: {reason: completed}}", until="2h") == [
        ("ended", "completed", "still at look until 2026-03-02T13:00+09:00")
    ]
    assert said("{ended: {}}", CHEAP) == [("ended", "an end", "never entered")]


def test_a_restart_is_an_end_only_for_who_asks_for_it() -> None:
    again = "{after: 10m, event: Added, properties: {cart_id: c1, price: 300}}"
    assert said("{ended: {reason: restart}}", ADDED, again) == []
    assert said("{ended: {reason: completed}}", ADDED, again) == []


# The script ----------------------------------------------------------------------------------


def test_an_item_may_have_traits_alone_and_events_at_a_time() -> None:
    expect = "{sent: [{channel: push}], ended: {reason: told, at: 2026-03-02T11:00+09:00}}"
    assert said(expect, ADDED, "{at: 2026-03-02T10:59+09:00, traits: {tier: vip}}") == []


def test_an_item_with_both_states_the_traits_first() -> None:
    added = "{event: Added, properties: {cart_id: c1, price: 300}, traits: {email: b@shop.example}}"
    assert said("{entered: true}", added, customer="{id: u1}") == []


def test_a_customer_may_be_anonymous_or_nobody_in_particular() -> None:
    for customer in ("anonymous_id: a1, ", ""):
        traits = "traits: {email: a@shop.example}"
        assert said("{entered: true}", customer=f"{{{customer}{traits}}}") == []


@pytest.mark.parametrize(
    ("test", "line", "message"),
    [
        (case("{}", ADDED, "{at: 2026-03-01T10:00+09:00, event: X}"), 32, "earlier than the line"),
        (case("{}", ADDED, "{after: 2d, event: X}", until="1d"), 33, "before its last event"),
        (case("{sent: [{step: mial}]}"), 32, "no step `mial`"),
        (case("{ended: {step: mial}}"), 32, "no step `mial`"),
        (case("{}", f"{{event: X, properties: {{a: {'y' * 70_000}}}}}"), 31, "unusable"),
    ],
)
def test_a_test_that_cannot_be_played_is_a_problem_with_its_place(
    test: str, line: int, message: str
) -> None:
    _report, problems = attempt(files(test))
    (problem,) = problems
    assert problem.file == "journeys/cart.yaml"
    assert message in problem.message
    assert problem.line == line


def test_journeys_that_start_each_other_without_end_fail_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "MOST_DECISIONS", 200)
    circle = "journey: circle\ntrigger: {event: Added}\nsteps: [{wait: 1h}, {emit: Added}]\n"
    (result,) = run(files(case("{}"), circle=circle)).results
    assert [each.what for each in result.differences] == ["an end"]
    (result,) = run(files(case("{}", until="1d"), circle=circle)).results
    assert result.passed


def test_a_failure_names_the_line_of_the_clause() -> None:
    (difference,) = one("{entered: true}", CHEAP).differences
    assert difference.line == 32


# Logins --------------------------------------------------------------------------------------

GUEST = (
    "{anonymous_id: d1, traits: {email: a@shop.example, push_token: t,"
    " consent: {email: true, push: true}}}"
)
LATER = "{after: 90m, user: u1, traits: {tier: vip}}"


def test_a_login_takes_the_run_along() -> None:
    assert said("{sent: [{step: mail}]}", ADDED, "{after: 90m, user: u1}", customer=GUEST) == []
    lines = [line.text for line in one("{}", ADDED, LATER, customer=GUEST).lines]
    assert "d1 belongs to u1 from now on" in lines
    assert "what d1 was joins u1" in lines
    assert [line for line in lines if "waits for Seen" in line] == [
        "reaches look, waits for Seen until +3h, 2026-03-02T13:00+09:00"
    ]


def test_what_the_user_does_afterwards_meets_the_guests_run() -> None:
    bought = "{after: 10m, event: Bought, properties: {cart_id: c1}}"
    ended = "{sent: [], ended: {reason: exit}}"
    assert said(ended, ADDED, "{after: 30m, user: u1}", bought, customer=GUEST) == []
    from_elsewhere = bought.replace("event:", "anonymous: d2, user: u1, event:")
    assert said(ended, ADDED, "{after: 30m, user: u1}", from_elsewhere, customer=GUEST) == []
    somebody = bought.replace("event:", "anonymous: d3, event:")
    assert said("{sent: [{}]}", ADDED, "{after: 30m, user: u1}", somebody, customer=GUEST) == []


def test_a_guest_who_logs_in_is_not_reached_twice() -> None:
    traits = "traits: {email: a@shop.example, consent: {email: true}}"
    guest = ADDED.replace("{event:", f"{{after: 1m, anonymous: d1, {traits}, event:")
    assert said("{sent: [{step: mail}, {step: mail}]}", ADDED, guest) == []
    assert said("{sent: [{step: mail}]}", ADDED, guest, "{after: 5m, user: u1}") == []


@pytest.mark.parametrize(
    "line",
    ["{anonymous: d1}", "{user: u1, receipt: opened, channel: email}", "{user: u1, catalog: X}"],
)
def test_a_line_that_is_no_login_is_refused(line: str) -> None:
    assert load_workspace(files(case("{}", ADDED, line))).problems != ()
