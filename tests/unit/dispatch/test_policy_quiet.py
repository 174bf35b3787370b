from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.dispatch.policy import quiet_until
from services.dispatch.policy.quiet import quiet_block
from shared.decisions import Reason
from shared.local_time import zone_of
from shared.workspace import Policies

SEOUL = ZoneInfo("Asia/Seoul")
NEW_YORK = ZoneInfo("America/New_York")
NIGHT = (time(20, 50), time(8, 0))


def local(zone: ZoneInfo, text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def policies(*rules: Mapping[str, object]) -> Policies:
    return Policies.model_validate({"quiet_hours": list(rules)})


@pytest.mark.parametrize(
    ("clock", "until"),
    [
        pytest.param("2026-04-06T20:49:59.999999", None, id="the last moment before it begins"),
        pytest.param("2026-04-06T20:50:00", "2026-04-07T08:00", id="its first moment is quiet"),
        pytest.param("2026-04-06T23:59:59", "2026-04-07T08:00", id="before midnight"),
        pytest.param("2026-04-07T00:00:00", "2026-04-07T08:00", id="after midnight"),
        pytest.param("2026-04-07T07:59:59.999999", "2026-04-07T08:00", id="its last moment"),
        pytest.param("2026-04-07T08:00:00", None, id="its end is open"),
    ],
)
def test_hours_that_cross_midnight_are_half_open(clock: str, until: str | None) -> None:
    found = quiet_until(local(SEOUL, clock), SEOUL, *NIGHT)
    assert found == (None if until is None else local(SEOUL, until))


def test_hours_within_one_day() -> None:
    lunch = (time(12), time(13, 30))
    assert quiet_until(local(SEOUL, "2026-04-06T11:59:59"), SEOUL, *lunch) is None
    assert quiet_until(local(SEOUL, "2026-04-06T12:00"), SEOUL, *lunch) == local(
        SEOUL, "2026-04-06T13:30"
    )
    assert quiet_until(local(SEOUL, "2026-04-06T13:30"), SEOUL, *lunch) is None


def test_an_end_that_the_clock_shows_twice_is_its_second_pass() -> None:
    hours = (time(22), time(1, 30))  # 2026-11-01: 02:00 EDT becomes 01:00 EST
    second = local(NEW_YORK, "2026-11-01T01:30", fold=1)
    assert quiet_until(local(NEW_YORK, "2026-10-31T23:00"), NEW_YORK, *hours) == second
    assert quiet_until(local(NEW_YORK, "2026-11-01T01:45"), NEW_YORK, *hours) == second
    assert quiet_until(second, NEW_YORK, *hours) is None


def test_a_start_that_the_clock_shows_twice_is_its_first_pass() -> None:
    hours = (time(1, 30), time(5))
    first = local(NEW_YORK, "2026-11-01T01:30")
    assert quiet_until(first - timedelta(seconds=1), NEW_YORK, *hours) is None
    again_before = local(NEW_YORK, "2026-11-01T01:10", fold=1)
    for at in (first, again_before):
        assert quiet_until(at, NEW_YORK, *hours) == local(NEW_YORK, "2026-11-01T05:00")


def test_an_end_in_the_skipped_hour_is_the_first_instant_behind_it() -> None:
    hours = (time(22), time(2, 30))  # 2026-03-08: 02:00 EST becomes 03:00 EDT
    end = local(NEW_YORK, "2026-03-08T03:00")
    assert quiet_until(local(NEW_YORK, "2026-03-08T01:59:59"), NEW_YORK, *hours) == end
    assert quiet_until(end, NEW_YORK, *hours) is None


def test_a_start_in_the_skipped_hour_is_the_first_instant_behind_it() -> None:
    hours = (time(2, 30), time(6))
    end = local(NEW_YORK, "2026-03-08T06:00")
    assert quiet_until(local(NEW_YORK, "2026-03-08T01:59:59"), NEW_YORK, *hours) is None
    assert quiet_until(local(NEW_YORK, "2026-03-08T03:00"), NEW_YORK, *hours) == end


def test_a_clock_that_moves_by_half_an_hour() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # 2026-10-04: 02:00 becomes 02:30
    end = quiet_until(local(lord_howe, "2026-10-04T01:00"), lord_howe, time(22), time(2, 15))
    assert end == local(lord_howe, "2026-10-04T02:30")


def test_a_date_that_does_not_exist() -> None:
    apia = ZoneInfo("Pacific/Apia")  # there was no 30 December 2011
    end = quiet_until(local(apia, "2011-12-29T23:00"), apia, *NIGHT)
    assert end == local(apia, "2011-12-31T00:00")
    assert end is not None
    assert quiet_until(end, apia, *NIGHT) == local(apia, "2011-12-31T08:00")


def test_a_clock_set_back_over_midnight_stays_quiet() -> None:
    st_johns = ZoneInfo("America/St_Johns")  # 2006-10-29: 00:01 became 23:01 of the day before
    again = local(st_johns, "2006-10-28T23:30", fold=1)
    assert again.astimezone(st_johns).date() == date(2006, 10, 28)
    assert quiet_until(again, st_johns, time(0), time(8)) == local(st_johns, "2006-10-29T08:00")


@pytest.mark.parametrize(
    ("trait", "zone"),
    [
        pytest.param("America/New_York", NEW_YORK, id="a known name"),
        pytest.param("Mars/Olympus", SEOUL, id="an unknown name counts as absent"),
        pytest.param("../../etc/passwd", SEOUL, id="a path is no name"),
        pytest.param("", SEOUL, id="empty"),
        pytest.param(None, SEOUL, id="absent"),
        pytest.param(9, SEOUL, id="a number"),
    ],
)
def test_the_zone_is_the_customers_or_the_workspaces(trait: object, zone: ZoneInfo) -> None:
    assert zone_of(trait, SEOUL) is zone


MIDNIGHT = local(SEOUL, "2026-04-07T00:00")
RULE = {"from": "20:50", "to": "08:00"}


@pytest.mark.parametrize(
    ("rules", "channel", "quiet"),
    [
        pytest.param([RULE], "sms", True, id="a rule without filters covers all"),
        pytest.param([RULE | {"category": "marketing"}], "sms", True, id="its category"),
        pytest.param([RULE | {"category": "transactional"}], "sms", False, id="another category"),
        pytest.param([RULE | {"channels": ["sms"]}], "sms", True, id="its channel"),
        pytest.param([RULE | {"channels": ["push"]}], "sms", False, id="another channel"),
        pytest.param(
            [{"channels": ["email"], "never": True}, RULE], "email", False, id="exception first"
        ),
        pytest.param(
            [RULE, {"channels": ["email"], "never": True}], "email", False, id="exception last"
        ),
        pytest.param(
            [RULE, {"channels": ["email"], "never": True}], "sms", True, id="not its exception"
        ),
        pytest.param(
            [RULE, {"category": "transactional", "never": True}], "sms", True, id="nor its category"
        ),
    ],
)
def test_which_rules_cover_a_message(
    rules: list[dict[str, object]], channel: str, quiet: bool
) -> None:
    block = quiet_block(policies(*rules).quiet_hours, "marketing", channel, MIDNIGHT, SEOUL)
    assert (block is not None) == quiet
    if block is not None:
        assert block.reason is Reason.QUIET_HOURS
        assert block.until == local(SEOUL, "2026-04-07T08:00")


def test_of_several_rules_the_latest_end_holds_and_a_drop_wins() -> None:
    later = {"from": "22:00", "to": "09:00", "channels": ["sms"]}
    held = quiet_block(policies(RULE, later).quiet_hours, "marketing", "sms", MIDNIGHT, SEOUL)
    assert held is not None
    assert held.until == local(SEOUL, "2026-04-07T09:00")
    assert not held.goes_on, "one of the rules names no channel"
    dropping = policies(RULE, later | {"then": "drop"}).quiet_hours
    dropped = quiet_block(dropping, "marketing", "sms", MIDNIGHT, SEOUL)
    assert dropped is not None
    assert dropped.until is None
    named = quiet_block(policies(later).quiet_hours, "marketing", "sms", MIDNIGHT, SEOUL)
    assert named is not None
    assert named.goes_on
