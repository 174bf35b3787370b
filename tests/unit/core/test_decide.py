"""The order of things for one customer: events, timers, exits, entries, messages."""

from datetime import timedelta

import msgspec
import pytest

from services.journey.core import dedupe
from services.journey.core.decide import next_due
from services.journey.core.flow import Arm, Branch, Entry, EventMatch, Exit, Send, Step, Wait
from shared.event import Event
from tests.unit.core.flows import (
    HOUR,
    NOON,
    SAME_CART,
    Person,
    book,
    event,
    expression,
    flow,
    prop,
    wait_then_send,
)

INSTANT = timedelta(microseconds=1)


def test_a_trigger_starts_a_run_that_waits() -> None:
    person = Person(book(wait_then_send()))
    person.take(event())
    assert next_due(person.customer) == NOON + HOUR
    assert person.messages == []


def test_a_timer_fires_at_its_due_time_and_not_before() -> None:
    person = Person(book(wait_then_send()))
    person.take(event())
    person.tick(NOON + HOUR - INSTANT)
    assert person.messages == []
    person.tick(NOON + HOUR)
    assert [message.at for message in person.messages] == [NOON + HOUR]


def test_a_late_tick_decides_at_the_due_time() -> None:
    person = Person(book(wait_then_send()))
    person.take(event())
    person.tick(NOON + 5 * HOUR)
    assert [message.at for message in person.messages] == [NOON + HOUR]


def test_an_event_received_at_the_due_time_comes_before_the_timer() -> None:
    person = Person(book(wait_then_send(exits=(EventMatch("Bought"),))))
    person.take(event())
    person.take(event("Bought", NOON + HOUR))
    person.tick(NOON + HOUR)
    assert person.messages == []
    assert person.counted("ended:exit") == 1


def test_an_event_received_after_the_due_time_comes_after_the_timer() -> None:
    person = Person(book(wait_then_send(exits=(EventMatch("Bought"),))))
    person.take(event())
    person.take(event("Bought", NOON + HOUR + INSTANT))
    assert len(person.messages) == 1, "the timer came first, whatever the batch"
    assert person.withdrawn == [person.messages[0].id]


def test_an_exit_whose_condition_does_not_hold_ends_nothing() -> None:
    person = Person(book(wait_then_send(exits=(EventMatch("Bought", SAME_CART),))))
    person.take(event(cart="a"))
    person.take(event("Bought", NOON + INSTANT, cart="b"))
    assert person.counted("ended:exit") == 0
    person.take(event("Bought", NOON + 2 * INSTANT, cart="a"))
    assert person.counted("ended:exit") == 1


def test_one_live_run_per_key() -> None:
    person = Person(book(wait_then_send(entry=Entry(key=prop("cart")))))
    person.take(event(cart="a"))
    person.take(event(at=NOON + INSTANT, cart="b"))
    person.take(event(at=NOON + 2 * INSTANT, cart="a"))
    assert person.counted("entered") == 2
    assert person.counted("refused:already_running") == 1
    person.tick(NOON + 2 * HOUR)
    assert len(person.messages) == 2


def test_restart_begins_the_steps_again_and_withdraws_what_is_undecided() -> None:
    start = Entry(key=prop("cart"), when_active="restart")
    person = Person(book(wait_then_send(entry=start)))
    person.take(event(cart="a"))
    person.tick(NOON + HOUR)
    first = person.messages[0]
    person.take(event(at=NOON + 2 * HOUR, cart="a"))
    assert person.withdrawn == [first.id]
    person.tick(NOON + 3 * HOUR)
    assert len(person.messages) == 2
    assert person.messages[1].id != first.id
    assert person.counted("entered") == 1


def test_restart_skips_reentry_and_the_entry_condition() -> None:
    never = Entry(when_active="restart", reentry="never", where=prop("welcome"))
    person = Person(book(wait_then_send(entry=never)))
    person.take(event(welcome=True))
    person.take(event(at=NOON + INSTANT, welcome=False))
    assert person.counted("ended:restart") == 1
    assert next_due(person.customer) == NOON + INSTANT + HOUR


@pytest.mark.parametrize(
    ("reentry", "after", "entered"),
    [
        ("always", INSTANT, 2),
        ("never", 1000 * HOUR, 1),
        (timedelta(days=3), timedelta(days=3) - INSTANT, 1),
        (timedelta(days=3), timedelta(days=3), 2),
    ],
)
def test_reentry_counts_from_the_last_entry(
    reentry: object, after: timedelta, entered: int
) -> None:
    short = flow(steps=[Exit("out", None, "done")], entry=Entry(reentry=reentry))  # type: ignore[arg-type]
    person = Person(book(short))
    person.take(event())
    person.take(event(at=NOON + after))
    assert person.counted("entered") == entered
    assert person.counted("refused:reentry") == 2 - entered


def test_a_trigger_that_happened_too_long_ago_starts_nothing() -> None:
    person = Person(book(wait_then_send(entry=Entry(max_age=HOUR))))
    old = msgspec.structs.replace(event(), timestamp=NOON - HOUR - INSTANT)
    person.take(old)
    assert person.counted("refused:too_old") == 1
    person.take(msgspec.structs.replace(old, id="another", timestamp=NOON - HOUR))
    assert person.counted("entered") == 1


def test_a_paused_journey_is_not_entered() -> None:
    person = Person(book(wait_then_send(), paused=["cart"]))
    person.take(event())
    assert person.counted("refused:paused") == 1


def test_nobody_enters_before_the_journey_is_published() -> None:
    person = Person(book(wait_then_send(), active_from=NOON + INSTANT))
    person.take(event())
    assert person.effects == []
    person.take(event(at=NOON + INSTANT))
    assert person.counted("entered") == 1


def test_the_same_message_id_is_taken_in_once_within_seven_days() -> None:
    person = Person(book(flow(steps=[Exit("out", None, "done")])))
    again = event()
    assert person.take(again).taken_in
    later = msgspec.structs.replace(again, received_at=NOON + timedelta(days=7))
    assert not person.take(later).taken_in
    much_later = msgspec.structs.replace(again, received_at=NOON + timedelta(days=7, seconds=1))
    assert person.take(msgspec.structs.replace(much_later, timestamp=NOON)).taken_in


def test_a_customer_with_very_many_events_keeps_a_bounded_number_of_ids() -> None:
    seen: dict[int, int] = {}
    spilled = 0
    for number in range(3 * dedupe.BOUND):
        seen, gone = dedupe.remember(seen, number, NOON)
        spilled += len(gone)
    assert len(seen) <= dedupe.BOUND
    assert len(seen) + spilled == 3 * dedupe.BOUND


def test_a_run_holds_at_its_message_and_goes_on_from_the_moment_of_sending() -> None:
    steps: list[Step] = [
        Send("one", "wait", ("email",), "hello"),
        Wait("wait", "two", HOUR),
        Send("two", None, ("email",), "hello"),
    ]
    person = Person(book(flow(steps=steps)))
    person.take(event())
    assert next_due(person.customer) is None
    sent_at = NOON + 10 * HOUR
    person.decided(person.messages[0], sent_at)
    assert next_due(person.customer) == sent_at + HOUR
    assert person.customer.state.runs[0].steps["one"].outcome == "sent"


def test_an_outcome_told_twice_moves_the_run_once() -> None:
    steps: list[Step] = [
        Send("one", "two", ("email",), "hello"),
        Send("two", None, ("email",), "hello"),
    ]
    person = Person(book(flow(steps=steps)))
    person.take(event())
    person.decided(person.messages[0], NOON + INSTANT)
    person.decided(person.messages[0], NOON + INSTANT)
    assert [message.step for message in person.messages] == ["one", "two"]


def test_a_branch_takes_the_first_arm_that_holds_and_otherwise_goes_on() -> None:
    vip = Arm(expression(lambda s: s.profile.get("tier") == "vip"), "gold")
    big = Arm(prop("big"), "gold")
    steps: list[Step] = [
        Branch("branch", "rest", (vip, big)),
        Send("gold", "rest", ("email",), "gold"),
        Send("rest", None, ("email",), "rest"),
    ]
    chosen = Person(book(flow(steps=steps)))
    chosen.take(event(big=True))
    assert [message.step for message in chosen.messages] == ["gold"]
    other = Person(book(flow(steps=steps)))
    other.take(event(big="true"))
    assert [message.step for message in other.messages] == ["rest"], "only true holds"


def test_an_event_may_end_a_run_and_start_a_new_one() -> None:
    person = Person(book(wait_then_send(exits=(EventMatch("Added"),))))
    person.take(event())
    person.take(event(at=NOON + INSTANT))
    assert person.counted("ended:exit") == 1
    assert person.counted("entered") == 2


def test_the_newest_statement_of_a_trait_wins_whatever_the_order() -> None:
    def identify(ident: str, at: timedelta, **traits: object) -> Event:
        return Event(
            id=ident, kind="identify", timestamp=NOON + at, received_at=NOON, user_id="u1",
            traits=traits,
        )  # fmt: skip

    person = Person(book())
    person.take(identify("1", HOUR, tier="gold", name="Kim"))
    person.take(identify("2", -HOUR, tier="silver", city="Seoul"))
    assert person.customer.traits == {"tier": "gold", "name": "Kim", "city": "Seoul"}
    person.take(identify("3", 2 * HOUR, name=None, consent={"email": True, "sms": "maybe"}))
    assert person.customer.traits == {
        "tier": "gold", "city": "Seoul", "consent": {"email": True},
    }  # fmt: skip


def test_a_trait_stated_once_fills_a_gap_and_replaces_nothing() -> None:
    def identify(ident: str, **once: object) -> Event:
        return Event(
            id=ident, kind="identify", timestamp=NOON, received_at=NOON, user_id="u1",
            traits={"plan": "pro"} if ident == "1" else {}, traits_once=once,
        )  # fmt: skip

    person = Person(book())
    person.take(identify("1", plan="free", first="ad", consent={"email": True}))
    assert person.customer.traits == {"plan": "pro", "first": "ad"}
    person.take(identify("2", first="search", since=2026))
    assert person.customer.traits == {"plan": "pro", "first": "ad", "since": 2026}


def test_holdout_is_sticky_by_customer() -> None:
    person = Person(book(flow(steps=[Send("s", None, ("email",), "t")], entry=Entry(holdout=1.0))))
    person.take(event())
    assert person.messages[0].held_out
