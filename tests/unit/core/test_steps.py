"""Each kind of step, written as a marketer writes it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.journey.core.book import Book, Edition
from services.journey.core.decide import next_due, next_look
from services.journey.core.effects import Convert, EmitEvent
from services.journey.core.spans import RESUME_SPREAD, Span
from services.journey.core.state import Customer, State
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from shared.event import Event, enter_event
from tests.unit.core.flows import HOUR, NOON, Person, event

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


def person(steps: str, *, head: str = "", zone: str | None = None, **traits: Any) -> Person:
    """Somebody who meets a journey of these steps; `Added` starts it."""
    lines = "\n".join(f"  {line}" for line in steps.strip("\n").splitlines())
    source = f"journey: cart\ntrigger: {{event: Added}}\n{head}\nsteps:\n{lines}\n"
    flow = compile_journey(source, 1)
    made = Person(Book([Edition.of(EPOCH, [flow])], {("cart", 1): flow}))
    if zone is not None:
        traits["timezone"] = zone
    made.customer = Customer("u1", traits, State())
    return made


def reached(found: Person) -> list[str]:
    return [message.step for message in found.messages]


SEND = "- {send: email, template: t, id: %s}"

# wait_until ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "at", "when", "due"),
    [
        ("UTC", "2026-04-06T10:00", 'time: "09:00"', "2026-04-07T09:00"),
        ("UTC", "2026-04-06T08:00", 'time: "09:00"', "2026-04-06T09:00"),
        ("UTC", "2026-04-06T08:00", 'time: "09:00", weekdays: [fri]', "2026-04-10T09:00"),
        ("UTC", "2026-04-06T09:01", 'time: "09:00", weekdays: [mon]', "2026-04-13T09:00"),
        ("Asia/Seoul", "2026-04-06T01:00", 'time: "09:00"', "2026-04-07T00:00"),
        ("America/New_York", "2026-03-08T00:00", 'time: "02:30"', "2026-03-08T07:30"),
        ("America/New_York", "2026-11-01T00:00", 'time: "01:30"', "2026-11-01T05:30"),
        ("Nowhere/Land", "2026-04-06T08:00", 'time: "09:00"', "2026-04-06T09:00"),
    ],
)
def test_wait_until_a_time_of_day(zone: str, at: str, when: str, due: str) -> None:
    start = datetime.fromisoformat(at).replace(tzinfo=UTC)
    found = person(f"- wait_until: {{{when}}}", zone=zone)
    found.take(event(at=start))
    assert next_due(found.customer) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_customer_who_changes_zone_while_waiting_keeps_the_moment_she_waits_for() -> None:
    found = person(
        '- wait_until: {time: "09:00"}\n- wait_until: {time: "10:00"}', zone="Asia/Seoul"
    )
    found.take(event())
    due = next_due(found.customer)
    assert due == datetime(2026, 4, 7, 0, 0, tzinfo=UTC)
    moved = msgspec.structs.replace(
        event("", NOON + HOUR), kind="identify", traits={"timezone": "America/New_York"}
    )
    found.take(moved)
    assert next_due(found.customer) == due
    found.tick(due)
    assert next_due(found.customer) == datetime(2026, 4, 7, 14, 0, tzinfo=UTC), "the next is hers"


@pytest.mark.parametrize("length", ["365d", "3650d"])
def test_a_wait_of_years_is_as_long_as_it_says(length: str) -> None:
    found = person(f"- wait: {length}\n" + SEND % "late")
    found.take(event())
    due = NOON + timedelta(days=int(length[:-1]))
    assert next_due(found.customer) == due
    found.tick(due)
    assert reached(found) == ["late"]


def test_a_wait_of_a_day_is_24_hours_across_a_clock_change() -> None:
    start = datetime(2026, 3, 7, 12, tzinfo=UTC)
    found = person("- wait: 1d", zone="America/New_York")
    found.take(event(at=start))
    assert next_due(found.customer) == start + DAY


@pytest.mark.parametrize("value", ["20260420", "2026-W17-1", "2026-02-29", "2026-04-20T25:00"])
def test_a_text_is_a_date_by_the_rule_of_conditions(value: str) -> None:
    found = person("- wait_until: {date: profile.due}\n" + SEND % "now", due=value)
    found.take(event())
    assert reached(found) == ["now"], "absent, so passed over"


def test_wait_until_passes_at_once_while_the_clock_reads_that_minute() -> None:
    found = person('- wait_until: {time: "12:00"}\n' + SEND % "now")
    found.take(event(at=NOON + timedelta(seconds=59)))
    assert reached(found) == ["now"]


@pytest.mark.parametrize(
    ("value", "form", "due"),
    [
        ("2026-04-20", "offset: -3d, time: '10:00'", "2026-04-17T01:00"),
        ("2026-04-20", "", "2026-04-19T15:00"),
        ("2026-04-20T12:00:00+00:00", "offset: -1h", "2026-04-20T11:00"),
        ("2026-04-20T23:00:00Z", "time: '10:00'", "2026-04-21T01:00"),
    ],
)
def test_wait_until_a_date(value: str, form: str, due: str) -> None:
    comma = ", " if form else ""
    found = person(
        f"- wait_until: {{date: profile.expires_at{comma}{form}}}",
        zone="Asia/Seoul",
        expires_at=value,
    )
    found.take(event())
    assert next_due(found.customer) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "soon", 5, "2026-04-01"])
def test_a_date_that_is_missing_or_past_is_skipped(value: object) -> None:
    found = person("- wait_until: {date: profile.expires_at}\n" + SEND % "then", expires_at=value)
    found.take(event())
    assert reached(found) == ["then"]


def test_a_missing_date_may_end_the_run() -> None:
    found = person("- wait_until: {date: profile.x, missing: exit}\n" + SEND % "then")
    found.take(event())
    assert reached(found) == []
    assert found.counted("ended:missing") == 1


# wait_for ------------------------------------------------------------------------------------

ORDER = """
- wait_for: {event: Bought, where: event.total > 0, timeout: 2d}
  id: order
  then:
    - branch:
        - {when: event.total >= 100, steps: [{send: email, template: t, id: big}]}
        - otherwise: [{send: email, template: t, id: small}]
  timed_out:
    - {send: email, template: t, id: nudge}
- branch:
    - {when: steps.order.event.total == 100, steps: [{send: email, template: t, id: after}]}
"""


def test_wait_for_goes_on_at_the_first_matching_event() -> None:
    found = person(ORDER)
    found.take(event())
    found.take(event("Bought", NOON + HOUR, total=0))
    assert reached(found) == []
    found.take(event("Bought", NOON + 2 * HOUR, total=100))
    assert reached(found) == ["big"]
    found.decided(found.messages[0], NOON + 3 * HOUR)
    assert reached(found) == ["big", "after"], "the event stays readable afterwards"


def test_wait_for_times_out() -> None:
    found = person(ORDER)
    found.take(event())
    found.tick(NOON + 2 * DAY)
    assert reached(found) == ["nudge"]
    assert found.messages[0].at == NOON + 2 * DAY


def test_an_event_received_at_the_timeout_comes_first() -> None:
    found = person(ORDER)
    found.take(event())
    found.take(event("Bought", NOON + 2 * DAY, total=1))
    found.tick(NOON + 2 * DAY)
    assert reached(found) == ["small"]


def test_the_event_that_brought_the_run_there_is_not_waited_for() -> None:
    found = person("- wait_for: {event: Added, timeout: 1d}\n  then: [{send: email, template: t}]")
    found.take(event())
    assert reached(found) == []
    found.take(event(at=NOON + HOUR))
    assert len(found.messages) == 1


def test_behind_a_send_it_listens_from_the_moment_of_sending() -> None:
    found = person(
        SEND % "first"
        + "\n- wait_for: {event: Bought, timeout: 1d}\n  id: order\n"
        + "  then: [{send: email, template: t, id: thanks}]\n"
        + "  timed_out: [{send: email, template: t, id: nudge}]"
    )
    found.take(event())
    found.take(event("Bought", NOON + timedelta(minutes=1)))
    found.take(event("Bought", NOON + timedelta(minutes=3), total=3))
    # The outcome is learnt only now, and says that the message went out at 12:02.
    told = found.messages[0]
    found.decided(told, NOON + timedelta(minutes=2))
    assert reached(found) == ["first", "thanks"]
    kept = found.customer.state.runs[0].steps["order"].event
    assert kept is not None
    assert kept.properties == {"total": 3}


def test_a_run_that_an_event_ends_is_not_also_woken_by_it() -> None:
    found = person(ORDER, head="exit: [{event: Bought}]")
    found.take(event())
    found.take(event("Bought", NOON + HOUR, total=100))
    assert reached(found) == []


# split, set, emit ----------------------------------------------------------------------------


def test_a_split_is_sticky_and_keeps_its_weights() -> None:
    source = compile_journey(
        "journey: cart\ntrigger: {event: Added}\nsteps:\n  - split:\n"
        "      - {variant: a, weight: 1, steps: [{exit: a}]}\n"
        "      - {variant: b, weight: 3, steps: [{exit: b}]}\n    id: test\n",
        1,
    )
    book = Book([Edition.of(EPOCH, [source])], {("cart", 1): source})
    chosen: dict[str, list[str]] = {}
    for number in range(2000):
        name = f"u{number % 1000}"
        one = Person(book)
        one.customer = Customer(name, {}, State())
        one.take(msgspec.structs.replace(event(), user_id=name))
        chosen.setdefault(name, []).append("a" if one.counted("variant:a") else "b")
    assert all(len(set(both)) == 1 for both in chosen.values()), "the same customer, the same way"
    share = sum(both[0] == "a" for both in chosen.values()) / len(chosen)
    assert 0.2 < share < 0.3


def test_set_writes_a_trait_that_later_steps_see() -> None:
    found = person(
        "- set: {profile.tier: gold, profile.address.city: trigger.city}\n"
        '- branch: [{when: profile.tier == "gold", steps: [{send: email, template: t, id: yes}]}]'
    )
    found.take(event(city="Seoul"))
    assert reached(found) == ["yes"]
    assert found.customer.traits == {"tier": "gold", "address": {"city": "Seoul"}}


def test_an_older_statement_does_not_undo_a_set() -> None:
    found = person("- set: {profile.tier: gold}")
    found.take(event())
    older = Event(
        id="i", kind="identify", timestamp=NOON - HOUR, received_at=NOON + HOUR, user_id="u1",
        traits={"tier": "silver"},
    )  # fmt: skip
    found.take(older)
    assert found.customer.traits["tier"] == "gold"


def test_emit_makes_an_event_with_a_deterministic_id() -> None:
    emitted = []
    for _ in range(2):
        found = person("- emit: Tier Reached\n  properties: {tier: gold, price: trigger.price}")
        found.take(event(price=5))
        emitted += [effect for effect in found.effects if isinstance(effect, EmitEvent)]
    first, second = emitted
    assert first == second
    assert (first.name, first.properties) == ("Tier Reached", {"tier": "gold", "price": 5})


# repeat --------------------------------------------------------------------------------------

LOOP = """
- repeat:
    times: 3
    every: 1d
    until: profile.done
    steps: [{send: email, template: t, id: round}]
- {send: email, template: t, id: behind}
"""


def test_a_loop_runs_its_rounds_from_the_start_of_each() -> None:
    found = person(LOOP)
    found.take(event())
    for number in range(3):
        started = NOON + number * DAY
        found.tick(started)
        assert reached(found) == ["round"] * (number + 1)
        found.decided(found.messages[-1], started + 5 * HOUR)
    assert reached(found) == ["round", "round", "round", "behind"]
    assert len({message.id for message in found.messages}) == 4


def test_until_is_tested_before_each_round() -> None:
    found = person(LOOP)
    found.take(event())
    found.decided(found.messages[0], NOON + HOUR)
    done = Event(
        id="i", kind="identify", timestamp=NOON + 2 * HOUR, received_at=NOON + 2 * HOUR,
        user_id="u1", traits={"done": True},
    )  # fmt: skip
    found.take(done)
    assert reached(found) == ["round"]
    found.tick(NOON + DAY)
    assert reached(found) == ["round", "behind"]


def test_a_loop_whose_condition_holds_has_no_round_at_all() -> None:
    found = person(LOOP, done=True)
    found.take(event())
    assert reached(found) == ["behind"]


# goals ---------------------------------------------------------------------------------------

GOAL = """
goal:
  event: Bought
  where: event.cart == trigger.cart
  within: 3d
  value: event.total
entry: {key: event.cart}
"""


def converted(found: Person) -> list[Convert]:
    return [effect for effect in found.effects if isinstance(effect, Convert)]


def test_a_goal_outlives_its_run_and_counts_once() -> None:
    found = person("- {exit: done}", head=GOAL)
    found.take(event(cart="a"))
    assert found.counted("ended:done") == 1
    found.take(event("Bought", NOON + HOUR, cart="b", total=1))
    found.take(event("Bought", NOON + 2 * HOUR, cart="a", total=30))
    found.take(event("Bought", NOON + 3 * HOUR, cart="a", total=99))
    [conversion] = converted(found)
    assert (conversion.value, conversion.at) == (30.0, NOON + 2 * HOUR)


def test_a_goal_counts_until_the_end_of_its_window_and_no_longer() -> None:
    found = person("- {exit: done}", head=GOAL)
    found.take(event(cart="a"))
    found.take(event("Bought", NOON + 3 * DAY + INSTANT, cart="a"))
    assert converted(found) == []
    other = person("- {exit: done}", head=GOAL)
    other.take(event(cart="a"))
    other.take(event("Bought", NOON + 3 * DAY, cart="a"))
    assert len(converted(other)) == 1


def test_the_event_that_ends_a_run_may_reach_its_goal() -> None:
    found = person("- wait: 1d", head=GOAL + "exit: [{event: Bought}]")
    found.take(event(cart="a"))
    found.take(event("Bought", NOON + HOUR, cart="a", total=7))
    assert found.counted("ended:exit") == 1
    assert converted(found)[0].value == 7.0


def test_a_restart_opens_a_new_window() -> None:
    head = GOAL.replace("key: event.cart", "key: event.cart, when_active: restart")
    found = person("- wait: 30d", head=head)
    found.take(event(cart="a"))
    found.take(event(at=NOON + 2 * DAY, cart="a"))
    found.take(event("Bought", NOON + 4 * DAY, cart="a", total=1))
    assert len(converted(found)) == 1


# pause ---------------------------------------------------------------------------------------


def paused(found: Person, start: datetime, end: datetime | None = None) -> None:
    """Between two moments of the log; without an end it lasts."""
    flow = found.book.flow("cart", 1)
    pauses = {"cart": (Span(start, end),)}
    found.book = Book([Edition.of(EPOCH, [flow])], {("cart", 1): flow}, pauses)


def test_a_paused_journey_takes_no_step_and_looks_again_every_minute_or_two() -> None:
    found = person("- wait: 1h\n" + SEND % "then")
    found.take(event())
    paused(found, NOON)
    found.tick(NOON + 3 * HOUR)
    assert reached(found) == []
    look = next_look(found.book, found.customer, NOON + 3 * HOUR)
    assert look is not None
    assert timedelta(minutes=1) <= look - (NOON + 3 * HOUR) <= timedelta(minutes=2)
    resumed = NOON + 3 * HOUR
    paused(found, NOON, resumed)
    moment = next_look(found.book, found.customer, resumed)
    assert moment is not None
    assert resumed < moment < resumed + RESUME_SPREAD
    found.tick(moment - INSTANT)
    assert reached(found) == []
    found.tick(moment + HOUR)
    assert reached(found) == ["then"]
    assert found.messages[0].at == moment, "it is made at the resume, not when it was due"


def test_what_was_due_before_a_pause_is_no_concern_of_it() -> None:
    found = person("- wait: 1h\n" + SEND % "then")
    found.take(event())
    paused(found, NOON + 2 * HOUR)
    found.tick(NOON + 3 * HOUR)
    assert [message.at for message in found.messages] == [NOON + HOUR]


def test_a_message_that_is_decided_in_a_pause_takes_the_run_no_further() -> None:
    found = person(SEND % "one" + "\n" + SEND % "two")
    found.take(event())
    paused(found, NOON + HOUR, NOON + 3 * HOUR)
    found.decided(found.messages[0], NOON + 2 * HOUR)
    assert reached(found) == ["one"]
    found.tick(NOON + 4 * HOUR)
    assert reached(found) == ["one", "two"]
    assert NOON + 3 * HOUR < found.messages[1].at < NOON + 3 * HOUR + RESUME_SPREAD


def test_a_wait_behind_a_message_that_is_decided_in_a_pause_counts_from_the_decision() -> None:
    found = person(SEND % "one" + "\n- wait: 1d\n" + SEND % "two")
    found.take(event())
    paused(found, NOON + HOUR, NOON + 3 * HOUR)
    found.decided(found.messages[0], NOON + 2 * HOUR)
    found.tick(NOON + 3 * DAY)
    assert found.messages[1].at == NOON + 2 * HOUR + DAY


def test_what_came_behind_a_message_that_is_decided_in_a_pause_is_heard_at_the_resume() -> None:
    found = person(SEND % "one" + "\n" + ORDER)
    found.take(event())
    paused(found, NOON + HOUR, NOON + 3 * DAY)
    found.take(event("Bought", NOON + 90 * timedelta(minutes=1), total=1))
    found.take(event("Bought", NOON + 3 * HOUR, total=100))
    found.decided(found.messages[0], NOON + 2 * HOUR)
    assert reached(found) == ["one"]
    found.tick(NOON + 4 * DAY)
    assert reached(found) == ["one", "big"], "the order came before the sending was learnt"


def test_what_comes_in_a_pause_behind_the_timeout_is_no_match() -> None:
    found = person(ORDER)
    found.take(event())
    paused(found, NOON + HOUR, NOON + 5 * DAY)
    found.take(event("Bought", NOON + 4 * DAY, total=100))
    found.tick(NOON + 6 * DAY)
    assert reached(found) == ["nudge"]


def test_a_paused_wait_for_keeps_its_match_for_the_resume() -> None:
    found = person(ORDER)
    found.take(event())
    paused(found, NOON)
    found.take(event("Bought", NOON + HOUR, total=100))
    found.take(event("Bought", NOON + 2 * HOUR, total=1))
    found.tick(NOON + 3 * DAY)
    assert reached(found) == []
    paused(found, NOON, NOON + 2 * DAY)
    found.tick(NOON + 3 * DAY)
    assert reached(found) == ["big"], "the first match counts, not the timeout"


def test_exits_and_goals_count_while_paused() -> None:
    found = person("- wait: 1d", head=GOAL + "exit: [{event: Bought}]")
    found.take(event(cart="a"))
    paused(found, NOON)
    found.take(event("Bought", NOON + HOUR, cart="a", total=7))
    assert found.counted("ended:exit") == 1
    assert len(converted(found)) == 1


# the API -------------------------------------------------------------------------------------


def test_a_call_to_the_api_starts_a_run_with_what_it_gave_along() -> None:
    flow = compile_journey(
        "journey: cart\ntrigger: {api: true}\nentry: {key: trigger.order, reentry: never}\n"
        "steps:\n  - {send: email, template: t, id: hi}\n",
        1,
    )
    found = Person(Book([Edition.of(EPOCH, [flow])], {("cart", 1): flow}))
    for call, order in (("1", "a"), ("1", "a"), ("2", "a"), ("3", "b")):
        told = enter_event(
            call=call, journey="cart", customer="u1", properties={"order": order}, at=NOON, by="api"
        )
        found.take(msgspec.structs.replace(told, received_at=NOON))
    assert found.counted("entered") == 2
    assert found.counted("refused:already_running") == 1
    assert found.messages[0].context.trigger == {"order": "a"}
    found.take(event())
    assert found.counted("entered") == 2, "an event starts nothing here"
