"""`call` in a template's front matter: the live source that is asked before each sending."""

from datetime import timedelta

import pytest

from shared.decisions import Reason
from shared.templates import TemplateFailed, TemplateInvalid, parse_template
from shared.templates.live import Answer, LiveCall, answer_of

SMS = "templates/hello/sms.liquid"


def call_of(front: str) -> LiveCall:
    call = parse_template(SMS, f"---\n{front}\n---\nHi").call
    assert call is not None
    return call


def test_a_template_without_it_asks_nobody() -> None:
    assert parse_template(SMS, "Hi").call is None


def test_the_address_alone_is_enough() -> None:
    call = call_of("call: https://shop.example/stock")
    assert (call.timeout, call.cache, call.on_error) == (
        timedelta(seconds=2),
        timedelta(seconds=10),
        "drop",
    )


def test_the_whole_form_and_its_question() -> None:
    call = call_of(
        "call:\n"
        "  url: https://shop.example/stock\n"
        '  with: {sku: "{{ trigger.sku }}", shop: north}\n'
        "  timeout: 1s\n"
        "  cache: 1m\n"
        "  on_error: send"
    )
    question = call.question({"trigger": {"sku": "A1"}})
    assert question.values == {"sku": "A1", "shop": "north"}
    assert (call.timeout.seconds, call.cache.seconds, call.on_error) == (1, 60, "send")
    assert question.line == call.question({"trigger": {"sku": "A1"}}).line
    assert question.line != call.question({"trigger": {"sku": "A2"}}).line


def test_its_parts_are_none_of_the_message() -> None:
    template = parse_template(SMS, "---\nlink: x\ncall: https://a.example\n---\nHi")
    assert set(template.parts) == {"link"}


@pytest.mark.parametrize(
    ("front", "line", "said"),
    [
        ("call: nowhere", 2, "no address"),
        ("call: https://kim:secret@a.example", 2, "no name or password"),
        ('call: "https://{{ trigger.host }}/"', 2, "written out"),
        ("call: {}", 2, "empty"),
        ("call: [https://a.example]", 2, "one text"),
        ("call:\n  with: {a: b}", 3, "`url` of the call is missing"),
        ("call:\n  url: https://a.example\n  retries: 3", 4, "no `retries`"),
        ("call:\n  url: https://a.example\n  with: x", 4, "no `with`"),
        ("call:\n  url: https://a.example\n  timeout: 30s", 4, "between 1s and 5s"),
        ("call:\n  url: https://a.example\n  cache: 1h", 4, "between 1s and 1m"),
        ("call:\n  url: https://a.example\n  cache: 10", 4, "no duration"),
        ("call:\n  url: https://a.example\n  on_error: hold", 4, "no `on_error`"),
        ("call:\n  url: https://a.example\n  with: {a: {b: c}}", 4, "one text"),
        ("call:\n  url: https://a.example\n  with: {a: '{{'}", 4, "Liquid"),
        ("call:\n  url: https://a.example\n  url: https://b.example", 4, "twice"),
        ("call: https://a.example\ncall: https://b.example", 3, "twice"),
        ("subject: {a: b}", 2, "one text"),
    ],
)
def test_mistakes_are_told_in_their_place(front: str, line: int, said: str) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        parse_template(SMS, f"---\n{front}\n---\nHi")
    assert [problem.line for problem in caught.value.problems] == [line]
    assert said in str(caught.value)


def test_a_question_without_end_fails_the_message() -> None:
    call = call_of('call: {url: "https://a.example", with: {a: "{{ trigger.a }}"}}')
    with pytest.raises(TemplateFailed):
        call.question({"trigger": {"a": "x" * 5_000}})


@pytest.mark.parametrize(
    ("response", "drop", "send"),
    [
        ({"still_true": True, "stock": 1}, None, None),
        ({"still_true": False}, Reason.NO_LONGER_TRUE, Reason.NO_LONGER_TRUE),
        ({"still_true": "true"}, Reason.NOT_VERIFIED, None),
        ({"stock": 1}, Reason.NOT_VERIFIED, None),
        ([True], Reason.NOT_VERIFIED, None),
        (None, Reason.NOT_VERIFIED, None),
    ],
)
def test_only_true_or_false_is_an_answer(
    response: object, drop: Reason | None, send: Reason | None
) -> None:
    answer = answer_of(response)
    assert answer.refusal(LiveCall("https://a.example", {})) is drop
    assert answer.refusal(LiveCall("https://a.example", {}, on_error="send")) is send


def test_what_failed_leaves_nothing_behind() -> None:
    assert answer_of({"stock": 1}) == Answer(None, {}, answer_of({"stock": 1}).why)
