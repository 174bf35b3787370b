"""Intervals of shares and means: known figures, edges, and how often they keep their promise."""

import random
from itertools import combinations
from math import sqrt

import pytest

from services.console.lift import Group, Interval, entries_needed, lift_of, newcombe, wilson


def rounded(interval: Interval, digits: int = 4) -> tuple[float, float]:
    return round(interval.low, digits), round(interval.high, digits)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        # Newcombe 1998, table II: examples (a), (c), (e) and (g) of method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_as_published(
    one: tuple[int, int], two: tuple[int, int], expected: tuple[float, float]
) -> None:
    treated, held = Group(one[1], one[0]), Group(two[1], two[0])
    assert rounded(newcombe(treated, held)) == expected


@pytest.mark.parametrize(("converted", "entered"), [(0, 0), (0, 5), (5, 5), (1, 1), (3, 1000)])
def test_a_share_stays_within_nothing_and_all(converted: int, entered: int) -> None:
    interval = wilson(converted, entered)
    assert 0 <= interval.low <= interval.high <= 1


@pytest.mark.parametrize(
    ("treated", "held", "verdict"),
    [
        (Group(0, 0), Group(0, 0), "no_holdout"),
        (Group(500, 50), Group(0, 0), "no_holdout"),
        (Group(20, 3), Group(3, 0), "too_early"),
        (Group(900, 200), Group(100, 5), "more"),
        (Group(900, 50), Group(100, 25), "less"),
        (Group(9000, 900), Group(1000, 101), "no_difference_shown"),
    ],
)
def test_the_verdict(treated: Group, held: Group, verdict: str) -> None:
    assert lift_of(treated, held).verdict == verdict


def test_without_a_goal_there_is_nothing_to_measure() -> None:
    assert lift_of(Group(10, 0), Group(10, 0), has_goal=False).verdict == "no_goal"


def test_revenue_is_shown_only_with_enough_purchases() -> None:
    few = lift_of(Group(900, 90, 90.0, 90.0), Group(100, 10, 10.0, 10.0))
    assert few.revenue_difference == pytest.approx(0.0)
    assert few.revenue_interval is None
    many = lift_of(Group(900, 300, 3000.0, 30000.0), Group(300, 60, 600.0, 6000.0))
    assert many.revenue_interval is not None
    assert many.revenue_interval.low < many.revenue_difference < many.revenue_interval.high  # type: ignore[operator]


def test_a_smaller_difference_needs_more_entries() -> None:
    near = entries_needed(Group(1000, 110), Group(1000, 100))
    far = entries_needed(Group(1000, 200), Group(1000, 100))
    assert near is not None
    assert far is not None
    assert near > far > 100
    assert entries_needed(Group(100, 10), Group(100, 10)) is None
    assert entries_needed(Group(29, 0), Group(900, 300)) is None, "too few to go by"
    assert entries_needed(Group(30, 0), Group(900, 300)) is not None


def binomial(generator: random.Random, n: int, share: float) -> int:
    return (
        generator.binomialvariate(n, share)
        if hasattr(generator, "binomialvariate")
        else sum(generator.random() < share for _ in range(n))
    )


@pytest.mark.parametrize(
    ("treated", "held", "shares"),
    [
        (90, 10, (0.10, 0.05)),
        (450, 50, (0.05, 0.05)),
        (900, 100, (0.02, 0.01)),
        (180, 20, (0.30, 0.25)),
    ],
)
def test_the_interval_holds_what_it_promises(
    treated: int, held: int, shares: tuple[float, float]
) -> None:
    """95 % is promised; a simulation of 2,000 journeys must find at least 93.5 %."""
    generator = random.Random(7)
    true, within, rounds = shares[0] - shares[1], 0, 2000
    for _ in range(rounds):
        groups = [
            Group(n, binomial(generator, n, share))
            for n, share in zip((treated, held), shares, strict=True)
        ]
        interval = newcombe(groups[0], groups[1])
        within += interval.low <= true <= interval.high
    assert within / rounds >= 0.935


def test_the_interval_of_revenue_holds_what_it_promises() -> None:
    """Lognormal baskets, one entry in ten buys: at least 93 % where 95 % is promised."""
    generator = random.Random(11)
    within, rounds, mean = 0, 400, 30_000 * 1.6487212707

    def group(n: int, share: float) -> Group:
        values = [
            30_000 * generator.lognormvariate(0, 1) for _ in range(binomial(generator, n, share))
        ]
        return Group(n, len(values), sum(values), sum(value * value for value in values))

    shown = 0
    for _ in range(rounds):
        found = lift_of(group(2700, 0.12), group(600, 0.10)).revenue_interval
        if found is not None:
            shown += 1
            within += found.low <= mean * 0.02 <= found.high
    assert shown > rounds * 0.9
    assert within / shown >= 0.93 - 2 * sqrt(0.93 * 0.07 / shown)


def test_of_several_comparisons_hardly_one_promises_a_difference_that_is_not_there() -> None:
    """Four variants alike, six pairs: in 95 % of journeys none of them may say otherwise."""
    generator = random.Random(13)
    rounds, wrong = 1000, 0
    for _ in range(rounds):
        groups = [Group(400, binomial(generator, 400, 0.08)) for _ in range(4)]
        verdicts = {
            lift_of(one, other, comparisons=6).verdict for one, other in combinations(groups, 2)
        }
        wrong += bool(verdicts & {"more", "less"})
    assert wrong / rounds <= 0.06
