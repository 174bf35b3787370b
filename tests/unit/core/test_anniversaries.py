"""When a date trigger fires for one customer."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.journey.core.anniversaries import next_date
from services.journey.core.flow import Expression, OnDate

SEOUL, BERLIN, NEW_YORK = (
    ZoneInfo(name) for name in ("Asia/Seoul", "Europe/Berlin", "America/New_York")
)
TEN = time(10)
DAY = timedelta(days=1)


def plan(offset: timedelta = timedelta(0), at: time | None = TEN, *, yearly: bool = True) -> OnDate:
    return OnDate(Expression("profile.birthday", lambda scope: None), offset, at, yearly)


def dates(plan: OnDate, value: object, zone: ZoneInfo, after: str, count: int) -> list[str]:
    found: list[str] = []
    last = datetime.fromisoformat(after).astimezone(UTC)
    while len(found) < count:
        occasion = next_date(plan, value, zone, last)
        if occasion is None:
            break
        found.append(f"{occasion.at.astimezone(zone).isoformat()} {occasion.label}")
        last = occasion.at
    return found


def test_a_birthday_comes_every_year_on_the_local_day() -> None:
    assert dates(plan(), "1990-03-05", SEOUL, "2026-01-01T00:00+09:00", 2) == [
        "2026-03-05T10:00:00+09:00 2026-03-05",
        "2027-03-05T10:00:00+09:00 2027-03-05",
    ]
    assert dates(plan(), "1990-03-05", NEW_YORK, "2026-03-05T14:59:59+00:00", 1) == [
        "2026-03-05T10:00:00-05:00 2026-03-05"
    ]


def test_29_february_falls_on_28_february_in_other_years() -> None:
    assert dates(plan(), "2000-02-29", SEOUL, "2026-01-01T00:00+09:00", 3) == [
        "2026-02-28T10:00:00+09:00 2026-02-28",
        "2027-02-28T10:00:00+09:00 2027-02-28",
        "2028-02-29T10:00:00+09:00 2028-02-29",
    ]
    before = plan(-3 * DAY)
    assert dates(before, "2000-02-29", SEOUL, "2027-01-01T00:00+09:00", 2) == [
        "2027-02-25T10:00:00+09:00 2027-02-28",
        "2028-02-26T10:00:00+09:00 2028-02-29",
    ]


def test_offsets_reach_over_the_turn_of_the_year() -> None:
    assert dates(plan(-3 * DAY), "1990-01-02", SEOUL, "2026-12-01T00:00+09:00", 1) == [
        "2026-12-30T10:00:00+09:00 2027-01-02"
    ]
    assert dates(plan(40 * DAY), "1990-12-20", SEOUL, "2026-01-01T00:00+09:00", 1) == [
        "2026-01-29T10:00:00+09:00 2025-12-20"
    ]


def test_days_of_an_offset_follow_the_calendar_and_hours_the_clock() -> None:
    assert dates(plan(-DAY), "1990-03-30", BERLIN, "2026-03-28T12:00+01:00", 1) == [
        "2026-03-29T10:00:00+02:00 2026-03-30"
    ]
    assert dates(plan(timedelta(hours=-12)), "1990-03-29", BERLIN, "2026-03-27T12:00+01:00", 1) == [
        "2026-03-28T22:00:00+01:00 2026-03-29"
    ]


def test_a_skipped_time_of_day_moves_and_one_that_comes_twice_is_the_first() -> None:
    half_past_two = plan(at=time(2, 30))
    assert dates(half_past_two, "1990-03-29", BERLIN, "2026-03-01T00:00+01:00", 1) == [
        "2026-03-29T03:30:00+02:00 2026-03-29"
    ]
    assert dates(half_past_two, "1990-10-25", BERLIN, "2026-10-01T00:00+01:00", 1) == [
        "2026-10-25T02:30:00+02:00 2026-10-25"
    ]


def test_without_a_time_a_day_begins_at_midnight() -> None:
    assert dates(plan(at=None), "1990-03-05", SEOUL, "2026-01-01T00:00+09:00", 1) == [
        "2026-03-05T00:00:00+09:00 2026-03-05"
    ]


def test_an_instant_beside_a_time_is_its_local_day() -> None:
    assert dates(plan(), "1990-03-04T20:00:00Z", SEOUL, "2026-01-01T00:00+09:00", 1) == [
        "2026-03-05T10:00:00+09:00 2026-03-05"
    ]


def test_an_instant_by_itself_is_moved_by_elapsed_time() -> None:
    once = plan(timedelta(days=-1), None, yearly=False)
    assert dates(once, "2026-03-29T12:00:00+02:00", BERLIN, "2026-03-01T00:00+01:00", 2) == [
        "2026-03-28T11:00:00+01:00 2026-03-29T12:00:00+02:00"
    ]
    yearly = plan(at=None)
    assert dates(yearly, "2024-02-29T08:30:00+09:00", SEOUL, "2026-01-01T00:00+09:00", 1) == [
        "2026-02-28T08:30:00+09:00 2026-02-27T23:30:00+00:00"
    ]


def test_once_is_once_and_a_year_that_has_not_come_has_no_anniversary() -> None:
    once = plan(yearly=False)
    assert dates(once, "2026-03-05", SEOUL, "2026-03-05T10:00+09:00", 1) == []
    assert dates(once, "2026-03-05", SEOUL, "2026-03-05T09:59+09:00", 2) == [
        "2026-03-05T10:00:00+09:00 2026-03-05"
    ]
    assert dates(plan(), "2028-03-05", SEOUL, "2026-01-01T00:00+09:00", 1) == [
        "2028-03-05T10:00:00+09:00 2028-03-05"
    ]


@pytest.mark.parametrize("value", [None, "", "soon", "2026-02-30", 20260305, True, ["2026-03-05"]])
def test_what_is_no_date_never_fires(value: object) -> None:
    assert dates(plan(), value, SEOUL, "2026-01-01T00:00+09:00", 1) == []


@pytest.mark.parametrize("value", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize(
    "offset", [timedelta(days=-400_000), timedelta(0), timedelta(days=400_000)]
)
@pytest.mark.parametrize("at", [TEN, None])
@pytest.mark.parametrize("yearly", [True, False])
def test_the_ends_of_the_calendar_are_no_mistake(
    value: str, offset: timedelta, at: time | None, yearly: bool
) -> None:
    for after in ("0001-01-02T00:00+00:00", "2026-01-01T00:00+00:00", "9999-12-30T00:00+00:00"):
        dates(plan(offset, at, yearly=yearly), value, NEW_YORK, after, 3)
