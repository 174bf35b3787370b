"""What a journey brought: who was sent something against who was held out. Pure statistics.

**Conversion.** The difference of two shares, with Newcombe's hybrid score interval ("Interval
estimation for the difference between independent proportions", Statistics in Medicine 17, 1998,
method 10), which keeps its promise at small samples and never leaves [-1, 1]. The interval of one
share is Wilson's (1927), from which it is made.

**Revenue an entry.** The difference of two means, with Welch's interval. Most entries bring
nothing and a few bring much, so it is only shown from `ENOUGH_PURCHASES` conversions in each group.

**Reading it.** Both are 95 % intervals of one look. Entries are taken as independent, so where one
customer may enter often they are somewhat too narrow; looking every day and stopping at the first
good one promises more than they hold.

**Several comparisons.** Where a split has more than two variants, the intervals of its comparisons
are widened so that all of them hold at once in 95 % (Bonferroni: each is one of 1 - 0.05/n).
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

Z = NormalDist().inv_cdf(0.975)
ENOUGH_PURCHASES = 30
"""Conversions in each group from which a mean of revenue is near enough to normal."""
ENOUGH_TO_PLAN = 30
"""Entries in each group below which the difference says nothing of how many would show it."""
FEW = 100
"""Entries in a group below which a share says little."""

Verdict = Literal["no_goal", "no_holdout", "too_early", "no_difference_shown", "more", "less"]


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one kind, and what came of them."""

    entered: int
    converted: int
    revenue: float = 0.0
    squares: float = 0.0
    """Sum of the squared values, for the interval of their mean."""

    @property
    def rate(self) -> float | None:
        return self.converted / self.entered if self.entered else None

    @property
    def revenue_per_entry(self) -> float | None:
        return self.revenue / self.entered if self.entered else None


@dataclass(frozen=True, slots=True)
class Lift:
    verdict: Verdict
    difference: float | None = None
    """Share of the treated that converted, less that of the held out."""
    interval: Interval | None = None
    relative: float | None = None
    """The difference by the held-out share; None where that is 0."""
    revenue_difference: float | None = None
    """Revenue an entry, treated less held out."""
    revenue_interval: Interval | None = None


def z_of(comparisons: int) -> float:
    """How many standard errors an interval reaches, so that so many hold at once in 95 %."""
    return NormalDist().inv_cdf(1 - 0.025 / comparisons)


def wilson(converted: int, entered: int, z: float = Z) -> Interval:
    """The interval of a share; everything where nobody entered."""
    if not entered:
        return Interval(0.0, 1.0)
    share, z2 = converted / entered, z * z
    middle = (share + z2 / (2 * entered)) / (1 + z2 / entered)
    reach = sqrt(share * (1 - share) / entered + z2 / (4 * entered**2)) * z / (1 + z2 / entered)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def newcombe(treated: Group, held: Group, z: float = Z) -> Interval:
    """The interval of the difference of two shares."""
    one, two = treated.rate or 0.0, held.rate or 0.0
    first = wilson(treated.converted, treated.entered, z)
    second = wilson(held.converted, held.entered, z)
    difference = one - two
    low = difference - sqrt((one - first.low) ** 2 + (second.high - two) ** 2)
    high = difference + sqrt((first.high - one) ** 2 + (two - second.low) ** 2)
    return Interval(max(-1.0, low), min(1.0, high))


def lift_of(treated: Group, held: Group, *, has_goal: bool = True, comparisons: int = 1) -> Lift:
    """`comparisons`: how many there are beside each other, this one included."""
    if not has_goal:
        return Lift("no_goal")
    if not treated.entered or not held.entered:
        return Lift("no_holdout")
    one, two = treated.converted / treated.entered, held.converted / held.entered
    z = z_of(comparisons)
    interval = newcombe(treated, held, z)
    return Lift(
        verdict=_verdict(treated, held, interval),
        difference=one - two,
        interval=interval,
        relative=(one - two) / two if two else None,
        revenue_difference=treated.revenue / treated.entered - held.revenue / held.entered,
        revenue_interval=_revenue_interval(treated, held, z),
    )


def _verdict(treated: Group, held: Group, interval: Interval) -> Verdict:
    if interval.low > 0:
        return "more"
    if interval.high < 0:
        return "less"
    if min(treated.entered, held.entered) < FEW or min(treated.converted, held.converted) < 10:
        return "too_early"
    return "no_difference_shown"


def _revenue_interval(treated: Group, held: Group, z: float) -> Interval | None:
    if min(treated.converted, held.converted) < ENOUGH_PURCHASES:
        return None
    difference = treated.revenue / treated.entered - held.revenue / held.entered
    reach = z * sqrt(sum(_variance(g) / g.entered for g in (treated, held)))
    return Interval(difference - reach, difference + reach)


def _variance(group: Group) -> float:
    """Of the value of one entry: nothing where it did not convert."""
    mean = group.revenue / group.entered
    return (
        max(group.squares / group.entered - mean * mean, 0.0) * group.entered / (group.entered - 1)
    )


def entries_needed(treated: Group, held: Group, comparisons: int = 1) -> int | None:
    """How many entries in each group would show a difference as large as this one, four times out
    of five; None where there is none, or a group is too small to go by its difference."""
    one, two = treated.rate, held.rate
    if (
        min(treated.entered, held.entered) < ENOUGH_TO_PLAN
        or one is None
        or two is None
        or one == two
    ):
        return None
    power = NormalDist().inv_cdf(0.8)
    spread = one * (1 - one) + two * (1 - two)
    return max(1, round(spread * ((z_of(comparisons) + power) / (one - two)) ** 2))
