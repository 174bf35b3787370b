"""Bands and named segments."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from services.journey.language.expressions.context import RFM_FIELDS
from shared.rfm import DAY, SEGMENTS, Purchase, Score, scores, segment_of, worth
from shared.rfm_scoring import is_due
from shared.workspace import RfmSettings

NOW = datetime(2026, 4, 6, 18, tzinfo=UTC)
YEAR = 365 * DAY


def bought(days: float, value: int = 0) -> Purchase:
    return Purchase(NOW - timedelta(days=days), Fraction(value))


def test_every_pair_of_bands_has_one_named_segment_and_every_segment_is_somebodys() -> None:
    found = Counter(segment_of(r, f) for r in range(1, 6) for f in range(1, 6))
    assert found == {
        "champions": 2, "loyal": 4, "potential-loyalist": 4, "new": 1, "promising": 1,
        "need-attention": 1, "about-to-sleep": 2, "at-risk": 4, "cant-lose": 2, "hibernating": 4,
    }  # fmt: skip
    assert set(found) == set(SEGMENTS)
    assert all(title.en and title.ko for title in SEGMENTS.values())


def test_five_who_differ_in_all_take_a_band_each() -> None:
    purchases = {
        f"c{n}": [bought(10 * n + k, 100 * (6 - n)) for k in range(6 - n)] for n in range(1, 6)
    }
    found = scores(purchases, NOW, YEAR, valued=True)
    bands = {name: (s.recency, s.frequency, s.monetary) for name, s in found.items()}
    # 1 + floor(5 × 0, 0.25, 0.5, 0.75, 1) = 1, 2, 3, 4, 6, and never more than 5.
    assert bands == {
        "c1": (5, 5, 5), "c2": (4, 4, 4), "c3": (3, 3, 3), "c4": (2, 2, 2), "c5": (1, 1, 1),
    }  # fmt: skip


def test_equal_customers_score_alike_and_ties_take_the_lower_band() -> None:
    purchases = {f"c{n}": [bought(3)] for n in range(7)} | {"often": [bought(3)] * 4}
    found = scores(purchases, NOW, YEAR, valued=False)
    assert {found[f"c{n}"].frequency for n in range(7)} == {1}
    assert found["often"].frequency == 5
    assert {score.recency for score in found.values()} == {1}


def test_the_same_day_is_the_same_recency() -> None:
    found = scores(
        {"a": [bought(1.1)], "b": [bought(1.9)], "c": [bought(2)]}, NOW, YEAR, valued=False
    )
    assert found["a"].recency == found["b"].recency > found["c"].recency


def test_what_is_out_of_the_window_or_still_to_come_does_not_count() -> None:
    window = 30 * DAY
    purchases = {"edge": [bought(30)], "in": [bought(29.9), bought(31)], "ahead": [bought(-1)]}
    assert list(scores(purchases, NOW, window, valued=False)) == ["in"]


def test_what_is_given_back_lowers_the_next_score() -> None:
    """A return is a negative value of the same event, and comes after a night has been scored."""
    others = {f"c{n}": [bought(5, 10 * n)] for n in range(1, 5)}
    before = scores({**others, "a": [bought(5, 100)]}, NOW, YEAR, valued=True)
    purchases = {**others, "a": [bought(5, 100), bought(0.5, -100)]}
    after = scores(purchases, NOW + DAY, YEAR, valued=True)
    assert (before["a"].monetary, after["a"].monetary) == (5, 1)


def test_one_buyer_alone_is_compared_with_nobody() -> None:
    (score,) = scores({"a": [bought(1, 5)]}, NOW, YEAR, valued=True).values()
    assert (score.recency, score.frequency, score.monetary) == (1, 1, 1)


def test_without_a_value_there_is_no_monetary_band() -> None:
    assert scores({"a": [bought(1)]}, NOW, YEAR, valued=False)["a"].monetary is None
    assert scores({}, NOW, YEAR, valued=True) == {}


@pytest.mark.parametrize("value", [None, True, "12", [1], {"a": 1}])
def test_what_is_no_number_is_worth_nothing(value: object) -> None:
    assert worth(value) == 0
    assert worth(0.1) * 3 == worth(0.3)


def test_a_score_has_the_fields_that_conditions_may_name() -> None:
    score = Score(5, 4, "champions", NOW, 3)
    assert set(score.bands) == set(RFM_FIELDS)
    assert all(getattr(score, name) == value for name, value in score.bands.items())


SEOUL = ZoneInfo("Asia/Seoul")


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-04-06T12:00", True),
        ("2026-04-06T03:00:01", "2026-04-06T03:00:30", False),
        ("2026-04-06T03:00:01", "2026-04-07T02:59:59", False),
        ("2026-04-06T03:00:01", "2026-04-07T03:00", True),
        ("2026-04-06T12:00", "2026-04-06T23:00", False),
        ("2026-04-06T12:00", "2026-04-07T03:00", True),
        ("2026-04-01T03:00", "2026-04-06T12:00", True),
    ],
)
def test_a_night_is_missed_by_nobody_and_counted_once(
    last: str | None, now: str, due: bool
) -> None:
    settings = RfmSettings(event="Order Completed", at=time(3))
    before = None if last is None else datetime.fromisoformat(last).replace(tzinfo=SEOUL)
    at = datetime.fromisoformat(now).replace(tzinfo=SEOUL)
    before = None if before is None else before.astimezone(UTC)
    assert is_due(settings, SEOUL, before, at.astimezone(UTC)) is due
