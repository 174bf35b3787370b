from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.outcomes import (
    LONGEST_DETAIL,
    LONGEST_WISH,
    THROTTLED_FOR,
    Circumstances,
    change_after,
)
from services.dispatch.pending import Attempt, Key, Pending
from services.dispatch.policy import Message, PassedOver
from services.dispatch.policy.retry import LADDER
from shared.decisions import Reason
from shared.templates import Rendered

NOON = datetime(2026, 4, 6, 12, tzinfo=UTC)
NOW = NOON + timedelta(seconds=1)


def attempt(*channels: str, by: str = "email", number: int = 1, **message: Any) -> Attempt:
    whole = Message("m1", "welcome", "hi", "marketing", 50, channels or ("email",), NOON, NOON)
    pending = Pending(
        key=Key(3, "m1"),
        customer="ann",
        run_id="r1",
        message=replace(whole, **message),
        template="hello",
        context=b"",
        attempts=number - 1,
        journey_paused=False,
        traits={},
        consents={},
        places=(),
        waits_for=None,
        elsewhere=(),
    )
    content = Rendered({}, "Hi", html=False)
    outgoing = Outgoing("m1", number, by, "a@b.example", "marketing", content, NOON)
    passed = pending.message.failed
    return Attempt(pending, number, "fake", passed, True, outgoing)


def so(**fields: Any) -> Circumstances:
    return Circumstances(now=NOW, **fields)


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.DELIVERED])
def test_what_was_taken_is_sent(outcome: Outcome) -> None:
    change = change_after(attempt(number=2), Result(outcome, "p1", "ok"), so())
    assert (change.decision, change.reason, change.channel) == ("sent", None, "email")
    assert (change.key, change.number, change.decided_at) == (Key(3, "m1"), 2, NOW)
    assert not change.gives_back
    assert change.call is not None
    assert (change.call.outcome, change.call.provider_id, change.call.detail) == (
        *(outcome, "p1", "ok"),
    )


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.REJECTED_MESSAGE, Reason.REJECTED),
        (Outcome.UNDELIVERABLE_ADDRESS, Reason.UNDELIVERABLE),
    ],
)
def test_a_final_failure_goes_on_to_the_channels_behind(outcome: Outcome, reason: Reason) -> None:
    onward = change_after(attempt("email", "sms"), Result(outcome), so())
    assert onward.decision is None
    assert (onward.not_before, onward.decidable_at) == (NOW, NOW)
    assert onward.passed_over == (PassedOver("email", reason),)
    assert not onward.gives_back
    end = change_after(attempt("sms", "email"), Result(outcome), so())
    assert (end.decision, end.reason, end.channel) == ("failed", reason, "email")
    assert end.gives_back


def test_channels_behind_that_have_failed_before_are_no_way_on() -> None:
    failed = (PassedOver("sms", Reason.REJECTED),)
    change = change_after(
        attempt("email", "sms", failed=failed), Result(Outcome.REJECTED_MESSAGE), so()
    )
    assert change.decision == "failed"


def test_each_retry_waits_longer_and_the_last_is_final() -> None:
    for retries, step in enumerate(LADDER):
        change = change_after(attempt(), Result(Outcome.RETRYABLE), so(retries=retries))
        assert change.not_before is not None
        assert step <= change.not_before - NOW <= step * 1.25
        assert change.decidable_at is None, "a retry keeps its place in the order"
    end = change_after(attempt(), Result(Outcome.RETRYABLE), so(retries=len(LADDER)))
    assert (end.decision, end.reason) == ("failed", Reason.RETRIES_EXHAUSTED)


@pytest.mark.parametrize(
    ("wish", "wait"),
    [
        (timedelta(seconds=1), timedelta(seconds=1)),
        (timedelta(seconds=-5), timedelta(0)),
        (timedelta(days=400), LONGEST_WISH),
    ],
)
def test_the_providers_wish_wins_within_reason(wish: timedelta, wait: timedelta) -> None:
    for outcome in (Outcome.RETRYABLE, Outcome.THROTTLED):
        change = change_after(attempt(), Result(outcome, retry_after=wish), so())
        assert change.not_before == NOW + wait


def test_being_throttled_uses_up_no_retry_but_has_an_end() -> None:
    again = change_after(attempt(number=50), Result(Outcome.THROTTLED), so(retries=50))
    assert again.decision is None
    late = replace(so(), now=NOON + THROTTLED_FOR)
    end = change_after(attempt(), Result(Outcome.THROTTLED), late)
    assert (end.decision, end.reason) == ("failed", Reason.RETRIES_EXHAUSTED)


def test_a_broken_connection_waits_for_its_channel_and_never_fails() -> None:
    until = NOW + timedelta(seconds=40)
    change = change_after(
        attempt("email", "sms", number=99),
        Result(Outcome.BROKEN_CONNECTION),
        so(retries=99, paused_until=until),
    )
    assert change.decision is None
    assert (change.not_before, change.decidable_at) == (until, until)
    assert change.held_reason is Reason.CHANNEL_PAUSED
    works_again = change_after(attempt(), Result(Outcome.BROKEN_CONNECTION), so())
    assert works_again.not_before == NOW + LADDER[0]


def test_unknown_is_final_unless_the_operator_chose_otherwise() -> None:
    end = change_after(attempt("email", "sms"), Result(Outcome.UNKNOWN), so())
    assert (end.decision, end.reason, end.channel) == ("unknown", None, "email")
    assert not end.gives_back, "it may have been sent"
    again = change_after(attempt(), Result(Outcome.UNKNOWN), so(retry_unknown=True))
    assert again.decision is None
    last = change_after(
        attempt("email", "sms"),
        Result(Outcome.UNKNOWN),
        so(retry_unknown=True, retries=len(LADDER)),
    )
    assert last.decision == "unknown", "and never goes on"


def test_what_the_provider_said_is_bounded_and_can_be_stored() -> None:
    said = "a\0b" + "x" * LONGEST_DETAIL
    change = change_after(attempt(), Result(Outcome.ACCEPTED, detail=said), so())
    assert change.call is not None
    assert change.call.detail.startswith("a\ufffdb")
    assert len(change.call.detail) == LONGEST_DETAIL
