"""A version that cannot be read stops itself alone; once it can be read its runs catch up, and it
makes no difference that they rested."""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import pytest

from services.journey.core.book import Book, Edition, Transfer
from services.journey.core.decide import next_look
from services.journey.core.effects import Convert
from services.journey.core.flow import Flow
from services.journey.core.resting import MOST_MISSED
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from shared.event import Event
from tests.unit.core.flows import HOUR, NOON, Person, event

MINUTE = timedelta(minutes=1)
CART = """
journey: cart
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
goal: {event: Bought, where: event.cart == trigger.cart, within: 1d}
steps:
  - {wait: 1h, id: patience}
  - {send: email, template: t, id: nudge}
  - {wait: 1h, id: more}
  - {send: email, template: t, id: last}
"""
ASKED = """
journey: cart
trigger: {event: Added}
steps:
  - {send: email, template: t, id: ask}
  - wait_for: {event: Answered, timeout: 2h}
    then: [{send: email, template: t, id: thanks}]
    timed_out: [{send: email, template: t, id: pity}]
"""
OTHER = "journey: other\ntrigger: {event: Added}\nsteps: [{send: email, template: t, id: one}]\n"


def of(*flows: Flow, unreadable: bool = False, transfers: tuple[Transfer, ...] = ()) -> Book:
    """One edition after the other, an hour apart; `unreadable`: the first one's cart is."""
    known = {(f.journey, f.version): f for f in flows}
    lost = frozenset({("cart", 1)} if unreadable else ())
    others = [f for f in flows if f.journey == "other"]
    editions = [
        Edition.of(EPOCH if f.version == 1 else NOON + HOUR, [f, *others])
        for f in flows
        if f.journey == "cart" and (f.journey, f.version) not in lost
    ]
    return Book(
        editions or [Edition.of(EPOCH, others)],
        {key: flow for key, flow in known.items() if key not in lost},
        unreadable=lost,
        transfers={"cart": transfers} if transfers else None,
    )


Act = Callable[[Person], None]


class NotMadeError(Exception):
    """What has not been made cannot be decided."""


def take(name: str, at: datetime, **properties: str) -> Act:
    return lambda person: void(person.take(event(name, at, **properties)))


def tick(at: datetime) -> Act:
    return lambda person: void(person.tick(at))


def sent(step: str, at: datetime) -> Act:
    def decided(person: Person) -> None:
        made = [m for m in person.messages if m.step == step]
        if not made:
            raise NotMadeError
        person.decided(made[0], at)

    return decided


def void(_decision: object) -> None:
    return None


def lived(source: str, acts: list[Act], *, rests: tuple[int, int]) -> Person:
    """Somebody whose version cannot be read from one act up to another."""
    flow = compile_journey(source, 1)
    person = Person(of(flow))
    for place, act in enumerate(acts):
        person.book = of(flow, unreadable=rests[0] <= place < rests[1])
        act(person)
    return person


def story(person: Person) -> tuple[object, ...]:
    """What became of everything, however it came to be decided."""
    withdrawn = set(person.withdrawn)
    return (
        person.customer,
        {m.id: (m.step, m.at, m.id in withdrawn) for m in person.messages},
        [e for e in person.effects if isinstance(e, Convert)],
    )


LIVES: dict[str, tuple[str, int, list[Act]]] = {
    "bought before it is due": (
        CART,
        2,
        [
            take("Added", NOON, cart="a"),
            take("Added", NOON + MINUTE, cart="b"),
            take("Bought", NOON + 10 * MINUTE, cart="a"),
            take("Viewed", NOON + 20 * MINUTE),
            tick(NOON + 3 * HOUR),
            tick(NOON + 4 * HOUR),
        ],
    ),
    "bought between two reminders": (
        CART,
        1,
        [
            take("Added", NOON, cart="a"),
            tick(NOON + HOUR),
            sent("nudge", NOON + HOUR + MINUTE),
            take("Bought", NOON + HOUR + 2 * MINUTE, cart="b"),
            take("Bought", NOON + HOUR + 30 * MINUTE, cart="a"),
            tick(NOON + 5 * HOUR),
        ],
    ),
    "answered in time": (
        ASKED,
        1,
        [
            take("Added", NOON),
            sent("ask", NOON + MINUTE),
            take("Answered", NOON + HOUR),
            tick(NOON + 4 * HOUR),
            tick(NOON + 5 * HOUR),
        ],
    ),
    "answered while the question was on its way": (
        ASKED,
        1,
        [
            take("Added", NOON),
            take("Answered", NOON + MINUTE),
            sent("ask", NOON + 2 * MINUTE),
            tick(NOON + 4 * HOUR),
            tick(NOON + 5 * HOUR),
        ],
    ),
    "answered too late": (
        ASKED,
        1,
        [
            take("Added", NOON),
            sent("ask", NOON + MINUTE),
            take("Answered", NOON + 3 * HOUR),
            tick(NOON + 4 * HOUR),
        ],
    ),
}


@pytest.mark.parametrize("name", LIVES)
def test_it_makes_no_difference_that_a_run_rested(name: str) -> None:
    source, begun, acts = LIVES[name]
    whole = story(lived(source, acts, rests=(0, 0)))
    compared = 0
    for start in range(begun, len(acts)):  # meanwhile nobody enters
        for end in range(start + 1, len(acts)):
            with contextlib.suppress(NotMadeError):
                assert story(lived(source, acts, rests=(start, end))) == whole, (start, end)
                compared += 1
    assert compared > 2


def test_the_customers_other_journeys_go_on() -> None:
    cart, other = compile_journey(CART, 1), compile_journey(OTHER, 1)
    person = Person(of(cart, other))
    person.take(event("Added", NOON, cart="a"))
    person.book = of(cart, other, unreadable=True)
    person.take(event("Added", NOON + MINUTE, cart="b"))
    person.tick(NOON + 5 * HOUR)
    (first,) = {m.id for m in person.messages}
    assert [m.journey for m in person.messages] == ["other"], first
    assert [run.journey for run in person.customer.state.runs] == ["cart", "other"]


def test_who_is_due_is_looked_at_again_soon_and_then_more_seldom() -> None:
    cart = compile_journey(CART, 1)
    person = Person(of(cart))
    person.take(event("Added", NOON, cart="a"))
    resting, due = of(cart, unreadable=True), NOON + HOUR
    assert next_look(resting, person.customer, NOON) == due
    for late, least, most in ((0, 2, 4), (20, 10, 20), (10_000, 60, 120)):
        now = due + timedelta(seconds=late)
        looks = next_look(resting, person.customer, now)
        assert looks is not None
        assert timedelta(seconds=least) <= looks - now <= timedelta(seconds=most)


def test_a_run_that_has_missed_too_much_ends_rather_than_remind_wrongly() -> None:
    cart = compile_journey(CART, 1)
    person = Person(of(cart))
    person.take(event("Added", NOON, cart="a"))
    person.book = of(cart, unreadable=True)
    for second in range(MOST_MISSED + 20):
        person.take(event("Viewed", NOON + timedelta(seconds=second + 1)))
    (run,) = person.customer.state.runs
    assert len(run.missed) == MOST_MISSED + 1
    person.book = of(cart)
    person.tick(NOON + 2 * HOUR)
    assert person.counted("ended:unreadable") == 1
    assert not person.messages
    assert not person.customer.state.runs


@pytest.mark.parametrize("rule", ["migrate", "end"])
def test_a_mended_version_takes_over_runs_of_one_that_cannot_be_read(rule: str) -> None:
    old = compile_journey(CART, 1)
    new = compile_journey(CART.replace("{wait: 1h, id: more}", "{wait: 2h, id: more}"), 2)
    person = Person(of(old))
    person.take(event("Added", NOON, cart="a"))
    person.take(event("Added", NOON, cart="b"))
    person.book = of(old, unreadable=True)
    person.take(event("Bought", NOON + MINUTE, cart="a"))
    moved = Transfer(NOON + HOUR, 2, rule == "end")
    person.book = of(old, new, unreadable=True, transfers=(moved,))
    person.tick(NOON + 2 * HOUR)
    if rule == "end":
        assert person.counted("ended:superseded") == 2
        assert not person.messages
        return
    assert person.counted("migrated") == 2
    converted = {e.run_id for e in person.effects if isinstance(e, Convert)}
    (left,) = person.customer.state.runs
    assert left.trigger.properties == {"cart": "b"}
    kept = [m.run_id for m in person.messages if m.id not in person.withdrawn]
    assert kept == [left.id]
    assert len(converted) == 1
    assert left.id not in converted


def test_a_run_waits_for_a_version_that_cannot_be_read_yet() -> None:
    old = compile_journey(CART, 1)
    person = Person(of(old))
    person.take(event("Added", NOON, cart="a"))
    ahead = Transfer(NOON + MINUTE, 2, ends=False)
    book = of(old, transfers=(ahead,))
    book.unreadable = frozenset({("cart", 2)})
    person.book = book
    person.tick(NOON + HOUR)
    assert [(m.version, m.step) for m in person.messages] == [(1, "nudge")]


def test_what_was_missed_is_packed_as_any_state() -> None:
    cart = compile_journey(CART, 1)
    person = Person(of(cart))
    person.take(event("Added", NOON, cart="a"))
    person.book = of(cart, unreadable=True)
    person.take(Event(
        id="e", kind="track", name="Bought", timestamp=NOON, received_at=NOON + MINUTE,
        user_id="u1", properties={"cart": "b"}, context={"page": {"url": "/"}},
    ))  # fmt: skip
    state = person.customer.state
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state)) == state
    assert [len(goal.missed) for goal in state.goals] == [1]
