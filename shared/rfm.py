"""RFM: how recently, how often and for how much a customer has bought, beside everybody else.

Each of the three is a band from 1 to 5, `1 + floor(5 × percent_rank)` and at most 5, where
percent_rank is (rank − 1) / (buyers − 1) as in SQL. Customers who are equal score alike, and ties
take the lower band: where most have bought once, all of these score 1 for frequency, which the
quantiles of NTILE would spread over four bands. Recency is counted in whole days. Pure; the same as
one SQL statement is `rfm_scoring.py`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import msgspec

BANDS = 5
SMALL = 50
"""Buyers below which bands say little: quintiles of so few are a matter of chance."""
DAY = timedelta(days=1)


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `rfm.x` shows of a customer who has bought within the window."""

    recency: int
    frequency: int
    segment: str
    at: datetime
    """When it was scored."""
    monetary: int | None = None
    """None where no value is configured."""

    @property
    def bands(self) -> dict[str, int | str | None]:
        """The fields as conditions name them."""
        return {
            "recency": self.recency,
            "frequency": self.frequency,
            "monetary": self.monetary,
            "segment": self.segment,
        }


@dataclass(frozen=True, slots=True)
class Title:
    en: str
    ko: str


SEGMENTS: Mapping[str, Title] = {
    "champions": Title("Champions", "최우수 고객"),
    "loyal": Title("Loyal", "충성 고객"),
    "potential-loyalist": Title("Potential loyalists", "잠재 충성 고객"),
    "new": Title("New", "신규 고객"),
    "promising": Title("Promising", "유망 고객"),
    "need-attention": Title("Need attention", "관심 필요 고객"),
    "about-to-sleep": Title("About to sleep", "휴면 임박 고객"),
    "at-risk": Title("At risk", "이탈 위험 고객"),
    "cant-lose": Title("Can't lose", "놓치면 안 될 고객"),
    "hibernating": Title("Hibernating", "휴면·이탈 고객"),
}
"""Id → its names. The ids are stable: journeys and segments name them."""


def segment_of(recency: int, frequency: int) -> str:
    """The named segment of these bands; every pair belongs to exactly one."""
    match recency, frequency:
        case 5, 4 | 5:
            return "champions"
        case 3 | 4, 4 | 5:
            return "loyal"
        case 4 | 5, 2 | 3:
            return "potential-loyalist"
        case 5, _:
            return "new"
        case 4, _:
            return "promising"
        case 3, 3:
            return "need-attention"
        case 3, _:
            return "about-to-sleep"
        case _, 5:
            return "cant-lose"
        case _, 3 | 4:
            return "at-risk"
        case _:
            return "hibernating"


def score_of(recency: int, frequency: int, monetary: int | None, at: datetime) -> Score:
    return Score(recency, frequency, segment_of(recency, frequency), at, monetary)


@dataclass(frozen=True, slots=True)
class Purchase:
    at: datetime
    value: Fraction = Fraction(0)


def worth(value: Any) -> Fraction:
    """A purchase's value; what is no number is worth nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fraction(0)
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def scores(
    purchases: Mapping[str, Iterable[Purchase]], at: datetime, window: timedelta, *, valued: bool
) -> dict[str, Score]:
    """Customer → score, of those who have bought within `(at − window, at]`.

    `valued`: whether purchases have a value, by which `monetary` is scored.
    """
    bought = {
        name: kept
        for name, all_of_them in purchases.items()
        if (kept := [p for p in all_of_them if at - window < p.at <= at])
    }
    recent = {name: -((at - max(p.at for p in kept)) // DAY) for name, kept in bought.items()}
    often = {name: len(kept) for name, kept in bought.items()}
    spent = {name: sum((p.value for p in kept), Fraction(0)) for name, kept in bought.items()}
    by_recency, by_count, by_value = (sorted(each.values()) for each in (recent, often, spent))
    return {
        name: score_of(
            _band(by_recency, recent[name]),
            _band(by_count, often[name]),
            _band(by_value, spent[name]) if valued else None,
            at,
        )
        for name in bought
    }


def _band(ordered: Sequence[Any], value: Any) -> int:
    below, others = bisect_left(ordered, value), len(ordered) - 1
    return min(BANDS, 1 + BANDS * below // others) if others else 1
