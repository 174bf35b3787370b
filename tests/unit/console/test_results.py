"""A journey's results from its counters, and the sentence beside them."""

from typing import Any

import pytest

from services.console.lift import Group, lift_of
from services.console.results import results_answer
from services.console.results_models import ResultsAnswer
from services.console.words import Language
from services.journey.language.compile import compile_journey

SOURCE = """journey: cart
trigger: {event: X}
GOAL
steps:
  - split:
      - {variant: a, weight: 1, steps: [{send: email, template: t, id: mail}]}
      - {variant: b, weight: 1, steps: []}
    id: test
"""
GOAL = "goal: {event: Order Completed, value: event.total}"


def answer(
    entered: int, held: int, treated: int, of_held: int, language: Language = "en", goal: str = GOAL
) -> ResultsAnswer:
    def conversion(n: int, held_out: bool, variant: str) -> dict[str, Any]:
        split = {"test": variant}
        return {
            "held_out": held_out, "variants": split, "n": n, "revenue": 10.0 * n,
            "squares": 100.0 * n,
        }  # fmt: skip

    counts: list[dict[str, Any]] = [
        {"step": "", "what": "entered", "n": entered},
        {"step": "", "what": "held_out:journey", "n": held},
        {"step": "test", "what": "variant:a", "n": (entered - held) // 2},
        {"step": "test", "what": "variant:b", "n": (entered - held) // 2},
        {"step": "test", "what": "held_variant:a", "n": held},
        {"step": "mail", "what": "receipt:opened", "n": 7},
    ]
    messages: list[dict[str, Any]] = [
        {"step": "mail", "decision": "sent", "n": 40},
        {"step": "mail", "decision": "dropped", "n": 2},
        {"step": "mail", "decision": None, "n": 5},
    ]
    rows = [conversion(treated - 1, False, "a"), conversion(1, False, "b")]
    rows += [conversion(of_held, True, "a")] if of_held else []
    flow = compile_journey(SOURCE.replace("GOAL", goal), 1)
    return results_answer(flow, counts, rows, messages, language)


def test_who_was_held_out_is_no_part_of_who_was_sent_to() -> None:
    found = answer(1000, 100, 90, 3)
    assert (found.treated.entered, found.treated.converted) == (900, 90)
    assert (found.held_out.entered, found.held_out.converted) == (100, 3)
    assert found.treated.revenue_per_entry == pytest.approx(1.0)
    assert found.lift.verdict == "more"
    assert found.lift.sentence.startswith(
        "Those who were sent the messages convert 7.0 points more"
    )


def test_variants_are_told_apart() -> None:
    a, b = answer(1000, 100, 90, 3).variants
    assert (a.step, a.variant, a.group.entered, a.group.converted) == ("test", "a", 450, 89)
    assert (b.variant, b.group.converted) == ("b", 1)


def test_a_variant_has_the_messages_that_only_it_sends() -> None:
    a, b = answer(1000, 100, 90, 3).variants
    assert (a.sent, a.opened, a.clicked) == (40, 7, 0)
    assert (b.sent, b.opened) == (0, 0)


def test_each_variant_is_beside_those_held_out_and_the_others() -> None:
    found = answer(1000, 100, 90, 3).comparisons
    assert [(each.step, each.variant, each.other) for each in found] == [
        ("test", "a", None), ("test", "b", None), ("test", "a", "b"),
    ]  # fmt: skip
    of_held, _, of_b = found
    assert of_held.lift.difference == pytest.approx(89 / 450 - 3 / 100)
    assert of_b.lift.difference == pytest.approx(88 / 450)
    assert of_b.lift.interval is not None
    assert of_b.lift.interval.low > 0
    assert of_b.lift.sentence.startswith("`a` converts 19.6 points more often than `b`")
    assert of_b.lift.revenue_difference == pytest.approx(880 / 450)
    assert of_b.lift.revenue_interval is None, "one purchase is too few"


def test_comparisons_beside_each_other_are_wider() -> None:
    """Two with those held out hold together in 95 %; the one pair needs nothing."""
    two, _, pair = answer(1000, 100, 90, 3).comparisons
    alone = lift_of(Group(450, 89), Group(100, 3)).interval
    assert alone is not None
    assert two.lift.interval is not None
    assert two.lift.interval.low < alone.low < alone.high < two.lift.interval.high
    exact = lift_of(Group(450, 89), Group(450, 1)).interval
    assert exact is not None
    assert pair.lift.interval is not None
    assert (pair.lift.interval.low, pair.lift.interval.high) == (exact.low, exact.high)


def test_a_comparison_is_told_in_a_sentence() -> None:
    english = [each.lift.sentence for each in answer(40, 4, 3, 1).comparisons]
    korean = [each.lift.sentence for each in answer(40, 4, 3, 1, "ko").comparisons]
    assert english[2].startswith("It is too early to tell `a` from `b`: 18 beside 18; the diff")
    assert korean[2].startswith("`a` 대 `b`: 아직 판단하기 이릅니다. 지금까지 각각 18명, 18명이")
    assert "those held out" in english[0]
    assert "비교 그룹" in korean[0]
    [pair] = answer(0, 0, 1, 0).comparisons
    assert pair.lift.sentence == "Nobody has come to `a` yet."
    assert pair.lift.verdict == "too_early"
    assert "no goal" in answer(1000, 100, 90, 3, goal="").comparisons[0].lift.sentence


def test_without_anybody_held_out_the_variants_are_beside_each_other_only() -> None:
    found = answer(1000, 0, 90, 0).comparisons
    assert [(each.variant, each.other) for each in found] == [("a", "b")]


def test_sends_have_what_became_of_them() -> None:
    (send,) = answer(1000, 100, 90, 3).sends
    assert (send.step, send.sent, send.dropped, send.opened, send.clicked) == ("mail", 40, 2, 7, 0)


@pytest.mark.parametrize(
    ("entered", "held", "treated", "of_held", "english", "korean"),
    [
        (50, 5, 5, 0, "It is too early to tell", "아직 판단하기 이릅니다"),
        (1000, 0, 90, 0, "Nobody has been held out", "비교 그룹이 없어"),
        (10000, 1000, 900, 101, "No difference shows so far", "차이가 보이지 않습니다"),
        (1000, 100, 20, 20, "less often", "낮습니다"),
    ],
)
def test_a_sentence_says_what_may_be_said(
    entered: int, held: int, treated: int, of_held: int, english: str, korean: str
) -> None:
    assert english in answer(entered, held, treated, of_held).lift.sentence
    assert korean in answer(entered, held, treated, of_held, "ko").lift.sentence


def test_without_a_goal_there_is_nothing_to_measure() -> None:
    assert "no goal" in answer(1000, 100, 90, 3, goal="").lift.sentence
