"""Quiet hours against the naive reading of a wall clock, in zones with every kind of change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from services.dispatch.policy import Hold, Message, SendBy, contact_of, decide, quiet_until
from services.dispatch.policy.quiet import _quiet_near_a_change
from shared.workspace import Policies

ZONES = [
    ZoneInfo(name)
    for name in (
        "Asia/Seoul",
        "UTC",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "Africa/Casablanca",
        "Pacific/Apia",
        "Pacific/Chatham",
        "Asia/Kathmandu",
    )
]
CHANGES = [  # around clock changes, where errors live
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2006, 10, 29, 2, 31, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]

SINCE = datetime(1987, 1, 1, tzinfo=UTC)  # Seoul still had summer time
zones = st.sampled_from(ZONES)
clocks = st.times(timezones=st.none()).map(lambda t: t.replace(second=0, microsecond=0))
instants = st.one_of(
    st.integers(0, 53 * 365 * 86400).map(lambda s: SINCE + timedelta(seconds=s)),
    st.builds(
        lambda change, seconds: change + timedelta(seconds=seconds),
        st.sampled_from(CHANGES),
        st.integers(-2 * 86400, 2 * 86400),
    ),
)


def shows_quiet(now: datetime, zone: ZoneInfo, start: time, end: time) -> bool:
    """What anybody who looks at a clock on the wall would say."""
    wall = now.astimezone(zone).time()
    return start <= wall < end if start < end else wall >= start or wall < end


@settings(max_examples=400, deadline=None)
@given(now=instants, zone=zones, start=clocks, end=clocks)
@example(CHANGES[1], ZONES[2], time(22), time(1, 30))
@example(CHANGES[5] - timedelta(hours=3), ZONES[6], time(20, 50), time(8))
def test_a_clock_that_shows_quiet_hours_is_never_taken_for_open(
    now: datetime, zone: ZoneInfo, start: time, end: time
) -> None:
    assume(start != end)
    until = quiet_until(now, zone, start, end)
    if shows_quiet(now, zone, start, end):
        assert until is not None
    if until is not None:
        assert until > now
        # It ends at an open moment, or where the next night's hours follow without a gap ...
        following = quiet_until(until, zone, start, end)
        assert shows_quiet(until, zone, start, end) == (following is not None)
        # ... and not a second late: the moment before is still quiet.
        assert quiet_until(until - timedelta(microseconds=1), zone, start, end) is not None


@settings(max_examples=400, deadline=None)
@given(now=instants, zone=zones, start=clocks, end=clocks)
def test_open_moments_are_called_quiet_only_within_an_hour_that_comes_twice(
    now: datetime, zone: ZoneInfo, start: time, end: time
) -> None:
    assume(start != end)
    if shows_quiet(now, zone, start, end) or quiet_until(now, zone, start, end) is None:
        return
    window = [now + timedelta(hours=hours) for hours in range(-26, 27)]
    offsets = {moment.astimezone(zone).utcoffset() for moment in window}
    assert len(offsets) > 1, "the clock was not changed, so what it shows decides"


@settings(max_examples=300, deadline=None)
@given(
    now=instants,
    zone=st.one_of(st.none(), zones),
    start=clocks,
    end=clocks,
    name=st.text(max_size=12),
)
def test_nothing_is_ever_sent_while_the_customers_clock_shows_quiet_hours(
    now: datetime, zone: ZoneInfo | None, start: time, end: time, name: str
) -> None:
    assume(start != end)
    rule = {"from": f"{start:%H:%M}", "to": f"{end:%H:%M}"}
    policies = Policies.model_validate({"consent": "assumed", "quiet_hours": [rule]})
    seoul = ZoneInfo("Asia/Seoul")
    traits = {"email": "ann@shop.example", "timezone": zone.key if zone else name}
    contact = contact_of("u1", traits, channels=("email",), zone=seoul)
    message = Message("m", "j", "s", "marketing", 50, ("email",), now, now)
    at = now
    for _ in range(4):  # decide again at the end of each hold, as the dispatcher does
        verdict = decide(message, contact, policies, at, ())
        if isinstance(verdict, SendBy):
            assert not shows_quiet(at, contact.zone, start, end)
            return
        assert isinstance(verdict, Hold)
        assert verdict.until > at
        at = verdict.until
    raise AssertionError("it was held more often than a clock can change")


@settings(max_examples=600, deadline=None)
@given(now=instants, zone=zones, start=clocks, end=clocks)
def test_the_short_way_far_from_clock_changes_agrees_with_the_long_one(
    now: datetime, zone: ZoneInfo, start: time, end: time
) -> None:
    assume(start != end)
    assert quiet_until(now, zone, start, end) == _quiet_near_a_change(now, zone, start, end)
