"""When schedules fire: crontab's meaning, clock changes, the ends of the calendar."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from services.journey.core.calendar import next_occasion, occasions
from services.journey.language.model.cron import read_cron

SEOUL, BERLIN, NEW_YORK = (
    ZoneInfo("Asia/Seoul"),
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("America/New_York"),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def firings(text: str, zone: ZoneInfo, after: str, count: int) -> list[str]:
    found = islice(occasions(read_cron(text), zone, at(after)), count)
    return [each.at.astimezone(zone).strftime("%a %Y-%m-%d %H:%M%z") for each in found]


def test_mondays_at_ten_in_seoul() -> None:
    assert firings("0 10 * * mon", SEOUL, "2026-03-02T10:00+09:00", 2) == [
        "Mon 2026-03-09 10:00+0900",
        "Mon 2026-03-16 10:00+0900",
    ]
    assert firings("0 10 * * 1", SEOUL, "2026-03-02T09:59:59+09:00", 1) == [
        "Mon 2026-03-02 10:00+0900"
    ]


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("sun", "Sun"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("MON-fri", "Mon Tue Wed Thu Fri"),
        ("fri-7", "Sun Fri Sat"),
        ("sat-sun", "Sun Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("3/2", "Wed Fri"),
        ("1,3", "Mon Wed"),
    ],
)
def test_weekdays_count_from_sunday(weekday: str, days: str) -> None:
    found = firings(f"0 10 * * {weekday}", SEOUL, "2026-02-28T23:00+09:00", len(days.split()))
    assert [each[:3] for each in found] == days.split()


def test_either_day_is_enough_where_both_are_restricted() -> None:
    assert firings("0 9 13 * fri", SEOUL, "2026-03-01T00:00+09:00", 4) == [
        "Fri 2026-03-06 09:00+0900",
        "Fri 2026-03-13 09:00+0900",
        "Fri 2026-03-20 09:00+0900",
        "Fri 2026-03-27 09:00+0900",
    ]
    assert firings("0 9 14 4 fri", SEOUL, "2026-04-09T00:00+09:00", 2) == [
        "Fri 2026-04-10 09:00+0900",
        "Tue 2026-04-14 09:00+0900",
    ]
    # A field that begins with a star restricts nothing by itself, as in crontab.
    assert firings("0 9 */2 * mon", SEOUL, "2026-03-01T00:00+09:00", 2) == [
        "Mon 2026-03-09 09:00+0900",
        "Mon 2026-03-23 09:00+0900",
    ]


def test_a_time_that_the_clocks_skip_fires_when_they_have_jumped_past_it() -> None:
    assert firings("30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", 2) == [
        "Sun 2026-03-29 03:30+0200",
        "Mon 2026-03-30 02:30+0200",
    ]


def test_a_time_that_comes_twice_fires_at_its_first_pass() -> None:
    assert firings("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", 2) == [
        "Sun 2026-10-25 02:30+0200",
        "Mon 2026-10-26 02:30+0100",
    ]


def test_every_hour_is_every_hour_whatever_the_clocks_do() -> None:
    for after, offset in (("2026-10-25T00:00+02:00", 5), ("2026-03-29T00:00+01:00", 5)):
        found = list(islice(occasions(read_cron("0 * * * *"), BERLIN, at(after)), offset))
        gaps = {b.at - a.at for a, b in pairwise(found)}
        assert gaps == {timedelta(hours=1)}
        assert len({each.label for each in found}) == len(found)


def test_a_skipped_midnight_fires_once_on_its_day() -> None:
    beirut = ZoneInfo("Asia/Beirut")
    assert firings("0 0 * * *", beirut, "2026-03-28T12:00+02:00", 2) == [
        "Sun 2026-03-29 01:00+0300",
        "Mon 2026-03-30 00:00+0300",
    ]


def test_a_day_that_a_country_left_out_does_not_fire_twice() -> None:
    apia = ZoneInfo("Pacific/Apia")
    assert firings("0 10 * * *", apia, "2011-12-29T11:00-10:00", 2) == [
        "Sat 2011-12-31 10:00+1400",
        "Sun 2012-01-01 10:00+1400",
    ]


def test_the_label_is_the_same_in_every_zone() -> None:
    after = at("2026-03-01T12:00+00:00")
    found = [next_occasion(read_cron("0 10 * * mon"), zone, after) for zone in (SEOUL, BERLIN)]
    assert [each and each.label for each in found] == ["2026-03-02T10:00"] * 2


def test_leap_days_and_the_end_of_the_calendar() -> None:
    assert firings("0 0 29 2 *", SEOUL, "2026-01-01T00:00+09:00", 2) == [
        "Tue 2028-02-29 00:00+0900",
        "Sun 2032-02-29 00:00+0900",
    ]
    assert next_occasion(read_cron("0 0 1 1 *"), NEW_YORK, at("9999-12-31T20:00+00:00")) is None


FIELD = st.sampled_from(["*", "*/2", "1", "1-5", "2,4", "3/2"])


@given(
    minute=st.sampled_from(["0", "*/20", "5,50", "59"]),
    hour=st.sampled_from(["*", "0", "9-17/4", "23"]),
    day=FIELD,
    month=FIELD,
    weekday=st.sampled_from(["*", "0", "1-5", "mon", "6,7", "*/3"]),
    hours=st.integers(0, 3 * 366 * 24),
)
def test_it_means_what_apscheduler_means_where_both_agree_on_crontab(
    minute: str, hour: str, day: str, month: str, weekday: str, hours: int
) -> None:
    cron = read_cron(f"{minute} {hour} {day} {month} {weekday}")
    names = ",".join(("sun", "mon", "tue", "wed", "thu", "fri", "sat")[n] for n in cron.weekdays)

    def trigger(day: str, weekday: str) -> CronTrigger:
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone="UTC"
        )

    theirs = trigger(day, names)
    if cron.either_day:  # APScheduler asks for both days
        theirs = OrTrigger([trigger(day, "*"), trigger("*", names)])
    start = at("2024-01-01T00:00+00:00") + timedelta(hours=hours)
    expected = theirs.get_next_fire_time(None, start + timedelta(microseconds=1))
    found = next_occasion(cron, ZoneInfo("UTC"), start)
    assert found is not None
    assert found.at == expected
