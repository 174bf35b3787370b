"""What a receiver's answer makes of a call."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.dispatch.calls.answers import DEEPEST, MOST, Verdict, delay_after, of_error, of_reply
from services.dispatch.outbound.client import Refused, Reply, Unreachable
from services.dispatch.policy.retry import LADDER
from shared.decisions import Reason

NOW = datetime(2026, 4, 6, 12, tzinfo=UTC)
JSON = "application/json; charset=utf-8"


def verdict(
    status: int = 200, body: bytes = b"", kind: str = JSON, whole: bool = True, wish: str = ""
) -> Verdict:
    return of_reply(Reply(status, {"content-type": kind, "retry-after": wish}, body, whole), NOW)


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b'{"code": "A", "n": [1, 2.5, null, true]}', {"code": "A", "n": [1, 2.5, None, True]}),
        (b"[1]", [1]),
        (b'"text"', "text"),
        (b"7", 7),
        (b"null", None),
        (b"", None),
        (b"  \n", None),
        (b'{"a\\u0000b": "c\\u0000"}', {"a\ufffdb": "c\ufffd"}),
        (b"99999999999999999999", None),
        (b"[9223372036854775807, -9223372036854775809]", [9223372036854775807, None]),
    ],
)
def test_the_answer_of_a_taken_call_is_its_response(body: bytes, response: Any) -> None:
    found = verdict(body=body)
    assert (found.outcome, found.reason, found.response) == ("sent", None, response)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_sent(status: int) -> None:
    assert verdict(status).outcome == "sent"


def test_a_receiver_that_answers_no_json_has_taken_the_call() -> None:
    found = verdict(body=b"OK, thanks!", kind="text/plain")
    assert (found.outcome, found.response) == ("sent", None)


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"{", True),
        (b'{"a": "\\ud800"}', True),
        (b"\xff\xfe", True),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), True),
        (b"[" * 5000 + b"]" * 5000, True),
        (b"1e999", True),
        (b" " * MOST, False),
    ],
)
def test_an_answer_that_cannot_be_used_ends_the_call(body: bytes, whole: bool) -> None:
    found = verdict(body=body, whole=whole)
    assert (found.outcome, found.reason, found.response) == ("failed", Reason.BAD_ANSWER, None)
    assert found.detail.startswith("HTTP 200, an answer")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 301, 302, 307, 308])
def test_what_would_be_answered_the_same_again_is_not_tried_again(status: int) -> None:
    found = verdict(status)
    assert (found.outcome, found.reason) == ("failed", Reason.REJECTED)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_says_not_now_is_tried_again(status: int) -> None:
    assert verdict(status).outcome is None


def test_no_answer_is_tried_again_and_a_refused_address_is_not() -> None:
    assert of_error(Unreachable("no answer within 5 s", sent=True)).outcome is None
    refused = of_error(Refused("the host's address is not of the public internet"))
    assert (refused.outcome, refused.reason) == ("failed", Reason.UNDELIVERABLE)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("120", timedelta(minutes=2)),
        ("Mon, 06 Apr 2026 12:30:00 GMT", timedelta(minutes=30)),
        ("0", LADDER[0]),
        ("Mon, 06 Apr 2026 11:00:00 GMT", LADDER[0]),
        ("-5", LADDER[0]),
        ("soon", LADDER[0]),
        ("99999999999999", LADDER[-1]),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LADDER[-1]),
        ("\u00b2", LADDER[0]),
    ],
)
def test_a_receiver_may_ask_for_patience_within_bounds(text: str, least: timedelta) -> None:
    delay = delay_after(verdict(503, wish=text), 1, "c")
    assert delay is not None
    assert least <= delay <= max(least, LADDER[0] * 1.25)


def test_the_ladder_has_an_end() -> None:
    delays = [delay_after(Verdict(None), used, "c") for used in range(1, len(LADDER) + 2)]
    assert delays[-1] is None
    assert None not in delays[:-1]
