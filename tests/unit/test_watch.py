"""How long a partition is said to be behind, from looks at it that are some seconds apart."""

from datetime import UTC, datetime, timedelta

from services.journey.watch import Behind

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(hours=9)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_who_keeps_up_is_not_behind_however_many_events_pass() -> None:
    behind = Behind()
    for look in range(10):
        found = behind.look(at(5 * look), 100 * look, 100 * look + 7, at(5 * look - 0.01))
        assert found == (7, 0.0)


def test_who_stands_still_is_behind_since_the_first_look_that_saw_more() -> None:
    behind = Behind()
    assert behind.look(at(0), 50, 50, LONG_AGO) == (0, 0.0)
    assert behind.look(at(5), 50, 51, LONG_AGO) == (1, 0.0)
    assert behind.look(at(10), 50, 60, LONG_AGO) == (10, 5.0)
    assert behind.look(at(15), 50, 60, LONG_AGO) == (10, 10.0)
    assert behind.look(at(20), 51, 60, at(4)) == (9, 10.0)  # the rest was seen at 10 s first
    assert behind.look(at(25), 60, 60, at(10)) == (0, 0.0)
    assert behind.look(at(30), 60, 61, at(10)) == (1, 0.0)


def test_a_lag_that_was_there_before_anybody_looked_is_as_old_as_the_last_event_taken_in() -> None:
    behind = Behind()
    assert behind.look(at(0), 50, 5000, at(-3600)) == (4950, 0.0)  # it may have come just now
    assert behind.look(at(5), 60, 5000, at(-3590)) == (4940, 3595.0)
    assert behind.look(at(10), 5000, 5001, at(9)) == (1, 0.0)


def test_what_is_too_old_to_be_remembered_is_as_old_as_the_last_event_taken_in() -> None:
    behind = Behind()
    behind.look(at(0), 0, 0, LONG_AGO)
    for look in range(1, 5000):
        _events, seconds = behind.look(at(5 * look), 0, look, at(0))
        assert seconds == 5 * look - (5 if look <= 4096 else 0)
