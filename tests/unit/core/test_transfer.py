"""What an apply does to runs in flight: pinned, moved by step id, or ended."""

from datetime import timedelta

import msgspec
import pytest

from services.journey.core.book import Book, Edition, Transfer
from services.journey.core.decide import Tick, decide, next_due
from services.journey.core.effects import Convert
from services.journey.core.flow import Flow
from services.journey.core.spans import Span
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from tests.unit.core.flows import HOUR, NOON, Person, event

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
AT = NOON + 2 * HOUR
"""When the second version comes into force."""
HEAD = "journey: cart\ntrigger: {event: Added}\nentry: {key: event.cart, when_active: restart}\n"
SEND = "  - {send: email, template: t, id: %s}\n"


def version(number: int, steps: str, head: str = "") -> Flow:
    return compile_journey(f"{HEAD}{head}steps:\n{steps}", number)


def two(before: Flow, after: Flow | None, rule: str = "migrate") -> Book:
    editions = [Edition.of(EPOCH, [before]), Edition.of(AT, [after] if after else [])]
    versions = {(f.journey, f.version): f for f in (before, after) if f is not None}
    number = after.version if after is not None else None
    transfers = {} if rule == "pin" else {"cart": (Transfer(AT, number, rule == "end"),)}
    return Book(editions, versions, transfers=transfers)


def steps_of(person: Person) -> list[tuple[int, str]]:
    return [(message.version, message.step) for message in person.messages]


NAMED = "  - {wait: 1d, id: patience}\n" + SEND % "one"
LONGER = SEND % "hello" + "  - {wait: 3d, id: patience}\n" + SEND % "two"


def test_a_pinned_run_ends_on_the_version_that_it_began_with() -> None:
    person = Person(two(version(1, NAMED), version(2, LONGER), "pin"))
    person.take(event())
    person.tick(NOON + 5 * DAY)
    assert steps_of(person) == [(1, "one")]


def test_a_run_moves_by_the_id_of_its_step_and_keeps_its_due_time() -> None:
    person = Person(two(version(1, NAMED), version(2, LONGER)))
    person.take(event())
    person.tick(AT)
    assert next_due(person.customer) == NOON + DAY
    assert person.counted("migrated") == 1
    person.tick(NOON + 5 * DAY)
    assert steps_of(person) == [(2, "two")]
    assert person.messages[0].at == NOON + DAY


def test_it_makes_no_difference_when_the_customer_is_met() -> None:
    """Ahead of the apply the old version acts, however late; behind it the new one."""
    early = "  - {wait: 1h, id: a}\n" + SEND % "old" + "  - {wait: 1d, id: b}\n"
    late = early.replace("old", "new") + SEND % "end"
    met, unmet = (Person(two(version(1, early), version(2, late))) for _ in range(2))
    for person in (met, unmet):
        person.take(event())
    met.tick(NOON + HOUR)
    met.tick(AT)
    for person in (met, unmet):
        person.tick(NOON + 3 * HOUR)
        person.decided(person.messages[0], NOON + 4 * HOUR)
        person.tick(NOON + 3 * DAY)
    assert steps_of(met) == steps_of(unmet) == [(1, "old")]
    assert met.customer == unmet.customer


def test_an_event_at_the_very_moment_meets_the_new_version() -> None:
    gone = "exit: [{event: Bought}]\n"
    person = Person(two(version(1, NAMED), version(2, NAMED + SEND % "more", gone)))
    person.take(event())
    person.take(event("Bought", AT - INSTANT))
    assert person.counted("ended:exit") == 0
    person.take(event("Bought", AT))
    assert person.counted("ended:exit") == 1


def test_end_ends_runs_of_other_versions_and_withdraws_their_messages() -> None:
    person = Person(two(version(1, SEND % "one"), version(2, NAMED), "end"))
    person.take(event(cart="a"))
    person.take(event(at=AT, cart="b"))
    assert person.counted("ended:superseded") == 1
    assert person.withdrawn == [person.messages[0].id]
    assert [run.version for run in person.customer.state.runs] == [2]


def test_end_ends_the_runs_of_a_journey_that_is_removed_and_migrate_leaves_them() -> None:
    for rule, ended in (("end", 1), ("migrate", 0)):
        person = Person(two(version(1, NAMED), None, rule))
        person.take(event())
        person.tick(AT)
        assert person.counted("ended:superseded") == ended


def test_a_run_that_has_the_version_that_comes_stays_as_it_is() -> None:
    """Content that was published before gets its old number back."""
    before, after = version(1, NAMED), version(2, LONGER)
    transfers = {"cart": (Transfer(AT, 1, ends=True),)}
    editions = [Edition.of(EPOCH, [before]), Edition.of(NOON + HOUR, [after])]
    person = Person(Book(editions, {("cart", 1): before, ("cart", 2): after}, transfers=transfers))
    person.take(event(cart="a"))
    person.take(event(at=NOON + HOUR, cart="b"))
    person.tick(AT)
    assert [(run.key, run.version) for run in person.customer.state.runs] == [("a", 1)]


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ("  - wait: 1d\n", "  - wait: 1d\n" + SEND % "new", True),
        ("  - wait: 1d\n", "  - wait: 2d\n", False),
        ("  - wait: 1d\n", SEND % "new" + "  - wait: 1d\n", False),
        ("  - wait: 1d\n", "  - {wait: 2d, id: wait-1}\n", True),
        ("  - {wait: 1d, id: pause}\n", "  - wait: 1d\n", False),
        ("  - {wait: 1d, id: pause}\n", "  - {wait_until: {time: '09:00'}, id: pause}\n", True),
        ("  - {wait: 1d, id: pause}\n", "  - {send: email, template: t, id: pause}\n", False),
        (
            "  - {wait: 1d, id: pause}\n",
            "  - {id: pause, then: [], timed_out: [], wait_for: {event: Bought, timeout: 1d}}\n",
            False,
        ),
    ],
)
def test_a_step_without_an_id_is_found_where_place_and_content_are_the_same(
    before: str, after: str, moves: bool
) -> None:
    person = Person(two(version(1, before), version(2, after)))
    person.take(event())
    person.tick(AT)
    (run,) = person.customer.state.runs
    assert run.version == (2 if moves else 1)
    assert person.counted("migrated") == int(moves)


def test_a_run_that_was_left_where_it_is_stays_there_for_good() -> None:
    before = "  - wait: 3h\n  - {wait: 1d, id: named}\n"
    after = "  - wait: 4h\n  - {wait: 1d, id: named}\n"
    person = Person(two(version(1, before), version(2, after)))
    person.take(event())
    person.tick(NOON + 4 * HOUR)
    (run,) = person.customer.state.runs
    assert (run.step, run.version) == ("named", 1)


def test_a_wait_for_keeps_its_timeout_and_listens_to_what_the_new_version_names() -> None:
    waits = "  - wait_for: {event: %s, timeout: %s}\n    id: answer\n    then:\n    %s"
    before = version(1, waits % ("Bought", "1d", SEND % "bought") + "    timed_out: []\n")
    after = version(2, waits % ("Viewed", "9d", SEND % "viewed") + "    timed_out: []\n")
    person = Person(two(before, after))
    person.take(event())
    person.take(event("Bought", AT))
    assert next_due(person.customer) == NOON + DAY
    person.take(event("Viewed", AT + HOUR))
    assert steps_of(person) == [(2, "viewed")]


def test_a_message_under_way_leads_on_to_what_stands_behind_it_in_the_new_version() -> None:
    person = Person(two(version(1, SEND % "one"), version(2, SEND % "one" + SEND % "two")))
    person.take(event())
    person.decided(person.messages[0], AT + HOUR)
    assert steps_of(person) == [(1, "one"), (2, "two")]
    assert len({message.id for message in person.messages}) == 2


def test_the_rounds_of_a_loop_are_counted_on() -> None:
    loop = (
        "  - id: loop\n    repeat:\n      times: %d\n      steps:\n        - {wait: 1h, id: w}\n"
        "        - {send: email, template: t, id: again}\n"
    )
    person = Person(two(version(1, loop % 2), version(2, loop % 3)))
    person.take(event())
    for hours in range(1, 9):
        person.tick(NOON + hours * HOUR)
        open_ones = [m for m in person.messages if m.at == NOON + hours * HOUR]
        for message in open_ones:
            person.decided(message, message.at)
    assert len(person.messages) == 3
    assert len({message.id for message in person.messages}) == 3


GOAL = "goal: {event: %s, within: %s, value: event.total}\n"


@pytest.mark.parametrize(
    ("before", "after", "bought", "reached"),
    [
        (GOAL % ("Bought", "1d"), GOAL % ("Bought", "5d"), 3, 1),
        (GOAL % ("Bought", "5d"), GOAL % ("Bought", "1d"), 3, 0),
        (GOAL % ("Bought", "5d"), GOAL % ("Viewed", "5d"), 3, 0),
        (GOAL % ("Bought", "5d"), "", 3, 0),
        ("", GOAL % ("Bought", "5d"), 3, 1),
        ("", GOAL % ("Bought", "1h"), 1, 0),
    ],
)
def test_the_goal_of_a_run_that_moved_is_the_new_versions(
    before: str, after: str, bought: int, reached: int
) -> None:
    steps = "  - {wait: 30d, id: rest}\n"
    person = Person(two(version(1, steps, before), version(2, steps, after)))
    person.take(event())
    person.tick(AT)
    person.take(event("Bought", NOON + bought * DAY, total=7))
    found = [effect for effect in person.effects if isinstance(effect, Convert)]
    assert len(found) == reached
    assert all((c.version, c.value, c.entered_at) == (2, 7, NOON) for c in found)


def test_a_goal_is_counted_once_however_often_its_run_moves() -> None:
    steps = "  - {wait: 30d, id: rest}\n"
    goal = GOAL % ("Bought", "30d")
    person = Person(two(version(1, steps, goal), version(2, steps + SEND % "x", goal)))
    person.take(event())
    person.take(event("Bought", NOON + HOUR, total=1))
    person.take(event("Bought", AT + HOUR, total=2))
    assert [e.value for e in person.effects if isinstance(e, Convert)] == [1]


def test_the_goal_of_a_run_that_was_ended_by_an_apply_is_counted_still() -> None:
    steps, goal = "  - {wait: 30d, id: rest}\n", GOAL % ("Bought", "30d")
    person = Person(two(version(1, steps, goal), version(2, steps + SEND % "x", goal), "end"))
    person.take(event())
    person.take(event("Bought", AT + HOUR, total=2))
    assert person.counted("ended:superseded") == 1
    assert [(e.version, e.value) for e in person.effects if isinstance(e, Convert)] == [(1, 2.0)]


def test_a_second_apply_moves_the_run_on() -> None:
    flows = [version(n, "  - {wait: 30d, id: rest}\n" + SEND % f"s{n}") for n in (1, 2, 3)]
    editions = [Edition.of(NOON + n * HOUR, [flow]) for n, flow in enumerate(flows)]
    transfers = {"cart": tuple(Transfer(NOON + n * HOUR, n + 1, ends=False) for n in (1, 2))}
    book = Book(editions, {("cart", f.version): f for f in flows}, transfers=transfers)
    person = Person(book)
    person.take(event())
    person.tick(NOON + 40 * DAY)
    assert steps_of(person) == [(3, "s3")]
    assert person.counted("migrated") == 2


def test_a_run_moves_while_its_journey_is_paused_and_takes_no_step() -> None:
    before, after = version(1, NAMED), version(2, LONGER)
    book = two(before, after)
    book.pauses = {"cart": (Span(NOON + HOUR, None),)}
    person = Person(book)
    person.take(event())
    person.tick(NOON + 9 * DAY)
    assert [run.version for run in person.customer.state.runs] == [2]
    assert person.messages == []


def test_who_has_met_the_rule_is_not_changed_by_meeting_it_again() -> None:
    person = Person(two(version(1, NAMED), version(2, LONGER)))
    person.take(event())
    person.tick(AT)
    again = decide(person.book, person.customer, Tick(AT + HOUR))
    assert again.customer is person.customer
    assert again.effects == ()


def test_what_a_step_left_behind_goes_unless_another_has_its_name_now() -> None:
    before = SEND % "kept" + "  - split:\n    - {variant: a, weight: 1, steps: []}\n"
    before += "  - {wait: 9d, id: rest}\n"
    after = SEND % "kept" + "  - split:\n    - {variant: b, weight: 1, steps: []}\n"
    after += "  - {wait: 9d, id: rest}\n"
    person = Person(two(version(1, before), version(2, after)))
    person.take(event())
    person.decided(person.messages[0], NOON + HOUR)
    person.tick(AT)
    (run,) = person.customer.state.runs
    assert set(run.steps) == {"kept"}
    assert msgspec.to_builtins(run)["version"] == 2
