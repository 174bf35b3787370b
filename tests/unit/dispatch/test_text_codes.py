"""The providers' codes: every one of them, and whatever else may come, has an outcome."""

import inspect

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.channels import (
    aligo,
    bizgo,
    bizgo_codes,
    nhn,
    nhn_codes,
    registry,
    sens,
    solapi,
    solapi_codes,
    twilio,
)
from services.dispatch.channels.port import Outcome, Outgoing
from services.dispatch.channels.provider import Answer
from shared.clock import Clock
from shared.templates import Rendered

MESSAGE = Outgoing(
    *("m1", 1, "sms", "+821012345678", "transactional"),
    *(Rendered({}, "Hi", html=False), Clock().now()),
)
NAMES = [
    *("header", "body", "data", "message", "resultCode", "result_code", "code"),
    *("messages", "requestStatusCode", "requestId", "error", "statusName"),
    *("common", "authCode", "destinations"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("2000", Outcome.ACCEPTED),
        ("4000", Outcome.DELIVERED),
        ("3032", Outcome.UNDELIVERABLE_ADDRESS),
        ("3104", Outcome.REJECTED_MESSAGE),
        ("1029", Outcome.REJECTED_MESSAGE),
        ("1062", Outcome.BROKEN_CONNECTION),
        ("3108", Outcome.RETRYABLE),
        ("3040", Outcome.RETRYABLE),
        ("", Outcome.REJECTED_MESSAGE),
    ],
)
def test_solapi(code: str, outcome: Outcome) -> None:
    assert solapi_codes.meaning_of_code(code) is outcome


@pytest.mark.parametrize(
    ("code", "text", "kakao"),
    [
        (1000, Outcome.DELIVERED, Outcome.DELIVERED),
        (2003, Outcome.RETRYABLE, Outcome.REJECTED_MESSAGE),
        (3001, Outcome.UNDELIVERABLE_ADDRESS, Outcome.REJECTED_MESSAGE),
        (3005, Outcome.REJECTED_MESSAGE, Outcome.UNKNOWN),
        (3018, Outcome.BROKEN_CONNECTION, Outcome.REJECTED_MESSAGE),
        (3019, Outcome.BROKEN_CONNECTION, Outcome.REJECTED_MESSAGE),
        (3022, Outcome.REJECTED_MESSAGE, Outcome.RETRYABLE),
        (4131, Outcome.REJECTED_MESSAGE, Outcome.ACCEPTED),
    ],
)
def test_nhn(code: int, text: Outcome, kakao: Outcome) -> None:
    assert nhn_codes.meaning_of_report(code, kakao=False) is text
    assert nhn_codes.meaning_of_report(code, kakao=True) is kakao


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("A000", Outcome.ACCEPTED),
        ("A301", Outcome.ACCEPTED),
        ("A020", Outcome.THROTTLED),
        ("A910", Outcome.UNKNOWN),
        ("A920", Outcome.RETRYABLE),
        ("A327", Outcome.BROKEN_CONNECTION),
        ("A110", Outcome.BROKEN_CONNECTION),
        ("A322", Outcome.REJECTED_MESSAGE),
        ("A328", Outcome.REJECTED_MESSAGE),
        ("", Outcome.REJECTED_MESSAGE),
    ],
)
def test_bizgo(code: str, outcome: Outcome) -> None:
    assert bizgo_codes.meaning_of_code(code) is outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("10000", Outcome.DELIVERED),
        ("22003", Outcome.RETRYABLE),
        ("23001", Outcome.UNDELIVERABLE_ADDRESS),
        ("33003", Outcome.UNDELIVERABLE_ADDRESS),
        ("23006", Outcome.REJECTED_MESSAGE),
        ("23023", Outcome.BROKEN_CONNECTION),
        ("61007", Outcome.BROKEN_CONNECTION),
        ("63001", Outcome.REJECTED_MESSAGE),
        ("63005", Outcome.UNKNOWN),
        ("6ME09", Outcome.UNKNOWN),
        ("63019", Outcome.REJECTED_MESSAGE),
        ("63022", Outcome.RETRYABLE),
        ("99999", Outcome.REJECTED_MESSAGE),
    ],
)
def test_bizgo_s_reports(code: str, outcome: Outcome) -> None:
    assert bizgo_codes.meaning_of_report(code) is outcome


@pytest.mark.parametrize("module", [aligo, bizgo, nhn, sens, twilio, solapi])
@given(status=st.integers(100, 599), body=JSON)
def test_every_answer_has_an_outcome(module: object, status: int, body: object) -> None:
    """Whatever a provider says, an adapter makes one of the outcomes of it, and never more of a
    failure than is certain: an error of the server alone never counts as refused."""
    import msgspec

    answer = Answer(status, httpx.Headers(), msgspec.json.encode(body))
    result = module.meaning_of(answer, MESSAGE)  # type: ignore[attr-defined]
    assert isinstance(result.outcome, Outcome)
    if status >= 500 and not isinstance(body, dict):
        assert result.outcome in (Outcome.UNKNOWN, Outcome.RETRYABLE)


@given(st.integers(-(10**5), 10**5))
def test_every_code_has_an_outcome(code: int) -> None:
    assert isinstance(nhn_codes.meaning_of_api_code(code), Outcome)
    assert isinstance(nhn_codes.meaning_of_report(code, kakao=True), Outcome)
    assert isinstance(solapi_codes.meaning_of_code(str(code)), Outcome)
    assert isinstance(bizgo_codes.meaning_of_code(f"A{code}"), Outcome)
    assert isinstance(bizgo_codes.meaning_of_report(str(code)), Outcome)
    assert twilio.meaning_of_code(code) is None or isinstance(twilio.meaning_of_code(code), Outcome)


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_an_adapter_is_a_short_module(name: str) -> None:
    """What CONTRIBUTING asks of a new one holds for ours."""
    lines = inspect.getsource(inspect.getmodule(registry.BUILT_IN[name])).count("\n")  # type: ignore[arg-type]
    assert lines <= 200
