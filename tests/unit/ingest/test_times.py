from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.times import as_utc, parse_time

MOMENT = datetime(2026, 11, 22, 10, 40, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-22T10:40:12Z", MOMENT),
        ("2026-11-22T10:40:12+00:00", MOMENT),
        ("2026-11-22T19:40:12+09:00", MOMENT),
        ("2026-11-22T19:40:12+0900", MOMENT),
        ("2026-11-22T19:40:12+09", MOMENT),
        ("2026-11-22T05:10:12-05:30", MOMENT),
        ("2026-11-22 10:40:12", MOMENT),
        ("2026-11-22T10:40:12", MOMENT),
        (" 2026-11-22T10:40:12Z ", MOMENT),
        ("2026-11-22 10:40:12 UTC", MOMENT),
        ("2026-11-22T10:40:12.199Z", MOMENT + timedelta(milliseconds=199)),
        ("2026-11-22T10:40:12.974308+00:00", MOMENT + timedelta(microseconds=974308)),
        ("2026-11-22T10:40:12,5Z", MOMENT + timedelta(milliseconds=500)),
        ("2015-2-02T00:30:08.276Z", datetime(2015, 2, 2, 0, 30, 8, 276000, tzinfo=UTC)),
        ("2026-11-22T10:40Z", MOMENT.replace(second=0)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        (1795344012, MOMENT),
        (1795344012.5, MOMENT + timedelta(milliseconds=500)),
        (1795344012000, MOMENT),
        (1795344012000000, MOMENT),
        ("1795344012", MOMENT),
        ("1795344012000", MOMENT),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_however_it_is_written(written: object, meant: datetime) -> None:
    instant = parse_time(written)
    assert instant is not None
    assert as_utc(instant) == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "yesterday", "2026-13-01", "2026-11-22T25:00:00Z", "2026-11-22T10:40:12+99:00"),
        *(True, None, [], {}, 10**30, 1e300, -9e16, "9" * 40, "0000-01-01T00:00:00Z", "١٧٩٥٣٤٤٠١٢"),
    ],
)
def test_what_is_no_time_is_none_and_no_error(written: object) -> None:
    assert parse_time(written) is None


def test_an_instant_outside_the_calendar_in_utc_is_none() -> None:
    assert as_utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))) is None


@settings(deadline=None)
@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_every_iso_time_comes_back(instant: datetime) -> None:
    read = parse_time(instant.isoformat())
    offset = instant.utcoffset() or timedelta()
    if offset.seconds % 60 == 0:  # ISO 8601 knows no seconds of offset
        assert read is not None
        assert read.replace(tzinfo=None) - (read.utcoffset() or timedelta()) == (
            instant.replace(tzinfo=None) - offset
        )


@settings(deadline=None)
@given(st.text() | st.floats() | st.integers())
def test_reading_a_time_never_fails(written: object) -> None:
    instant = parse_time(written)
    assert instant is None or as_utc(instant) is None or isinstance(as_utc(instant), datetime)
