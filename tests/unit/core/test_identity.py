"""Two ids, one customer: each sentence of the language's rule 7 and of the design, told once."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.journey.core import dedupe, identity
from services.journey.core.decide import decide
from services.journey.core.effects import Effect, SpillSeen
from services.journey.core.identity_effects import Forward, Link, MoveOut
from services.journey.core.merge import PART_BYTES, Merge, Record, parts
from services.journey.core.state import Customer, Run, State
from services.journey.language.compile import compile_journey
from shared.event import Event, forwarded, link_event
from tests.property.engine_journeys import START, book_of
from tests.property.identity_world import World

CART = """
journey: cart
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
goal: {event: Bought, where: event.cart == trigger.cart, within: 3d}
steps:
  - {send: push, template: a, id: nudge}
  - wait: 1h
"""
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Shop:
    """A world in which everything settles behind each event, unless it is told to wait."""

    def __init__(self, *journeys: str) -> None:
        self.world = World(book_of([compile_journey(text, 1) for text in journeys or (CART,)]), 3)
        self._number = 0

    def send(
        self, name: str, user: str | None = None, device: str | None = None, **more: Any
    ) -> Event:
        self._number += 1
        kind = name if name in ("identify", "alias") else "track"
        fields = {"id": f"m{self._number}", "timestamp": self.world.now, "kind": kind}
        fields |= {"user_id": user, "anonymous_id": device, "name": "" if kind == name else name}
        for known in ("traits", "previous_id", "id", "timestamp"):
            if known in more:
                fields[known] = more.pop(known)
        event = msgspec.convert({**fields, "properties": more}, Event)
        self.world.append([event])
        return event

    def settle(self, later: timedelta = timedelta(0)) -> None:
        self.world.settle()
        self.world.now += later
        self.world.settle()

    def happens(
        self, name: str, user: str | None = None, device: str | None = None, **more: Any
    ) -> None:
        self.send(name, user, device, **more)
        self.settle()

    def runs(self, name: str) -> dict[str, Run]:
        return {f"{run.journey}/{run.key}": run for run in self.world.state(name).runs}

    def traits(self, name: str) -> dict[str, Any]:
        return self.world.customers()[name].traits

    def sent(self) -> dict[str, str]:
        return {f"{m.customer} {m.queued.step}": m.status for m in self.world.messages().values()}


# Who belongs to whom --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Viewed", "identify"])
def test_any_event_that_carries_both_ids_links_them(name: str) -> None:
    shop = Shop()
    shop.happens("Viewed", device="a1")
    shop.happens(name, "u1", "a1")
    assert shop.world.root("a1") == "u1"


def test_an_alias_links_what_was_to_what_is() -> None:
    shop = Shop()
    shop.happens("identify", "old", traits={"tier": "gold"})
    shop.happens("alias", "new", previous_id="old")
    assert shop.world.root("old") == "new"
    assert shop.traits("new") == {"tier": "gold"}
    assert shop.traits("old") == {}


def test_a_shared_device_belongs_to_whoever_logged_in_first() -> None:
    shop = Shop()
    shop.happens("Added", "u1", "a1", cart="c1")
    shop.happens("Added", "u2", "a1", cart="c2")
    assert shop.world.root("a1") == "u1"
    assert list(shop.runs("u2")) == ["cart/c2"]
    shop.happens("Added", device="a1", cart="c3")
    assert list(shop.runs("u1")) == ["cart/c1", "cart/c3"]


def test_a_users_id_is_nobodys_anonymous_id() -> None:
    shop = Shop()
    shop.happens("identify", "u1", traits={"email": "a@shop.example"})
    shop.happens("Viewed", "stranger", "u1")
    assert shop.world.root("u1") == "u1"
    assert "stranger" not in shop.world.customers() or shop.traits("stranger") == {}


def test_a_chain_ends_at_its_last() -> None:
    shop = Shop()
    shop.happens("Added", device="a", cart="c1")
    shop.happens("alias", "b", previous_id="a")
    shop.happens("alias", "c", previous_id="b")
    assert shop.world.root("a") == "c"
    assert list(shop.runs("c")) == ["cart/c1"]
    shop.happens("Bought", device="a", cart="c1")
    assert shop.runs("c") == {}


@pytest.mark.parametrize("circle", [("u1", "u2"), ("u3", "u1", "u2")])
def test_aliases_in_a_circle_end_at_the_lowest_id(circle: tuple[str, ...]) -> None:
    shop = Shop()
    for place, name in enumerate(circle):
        shop.send("Added", name, cart=f"c{place}")
    for name, previous in zip(circle, (*circle[1:], circle[0]), strict=True):
        shop.send("alias", name, previous_id=previous)
    shop.settle()
    assert {shop.world.root(name) for name in circle} == {"u1"}
    assert len(shop.runs("u1")) == len(circle)


def test_no_event_travels_further_than_a_bound() -> None:
    event = Event(id="m1", kind="track", name="Viewed", timestamp=START, anonymous_id="a")
    event = msgspec.structs.replace(event, received_at=START)
    for number in range(identity.MOST_PASSED):
        event = forwarded(event, f"id-{number}", "z")
    far = Customer("z", {}, State(forward="further", seen={1: 1}))
    decision = decide(book_of([]), far, event, START)
    assert decision.taken_in
    assert decision.customer.state.forward == ""


def test_what_is_linked_already_is_not_told_again() -> None:
    def told(customer: Customer, number: int) -> tuple[Customer, tuple[Effect, ...]]:
        event = Event(
            id=f"m{number}", kind="track", name="Viewed", timestamp=START, user_id="u1",
            anonymous_id="a1", received_at=START,
        )  # fmt: skip
        decision = decide(book_of([]), customer, event)
        return decision.customer, decision.effects

    customer, effects = told(Customer("u1", {}, State()), 1)
    assert effects == (Link("a1", False, START),)
    customer, effects = told(customer, 2)
    assert effects == ()


def test_remembered_links_are_bounded() -> None:
    customer = Customer("u1", {}, State())
    for number in range(identity.MOST_LINKS + 10):
        event = Event(
            id=f"m{number}", kind="track", name="Viewed", timestamp=START, user_id="u1",
            anonymous_id=f"a{number}", received_at=START,
        )  # fmt: skip
        customer = decide(book_of([]), customer, event).customer
    assert len(customer.state.links) == identity.MOST_LINKS
    assert customer.state.links[0] == f"a{number}"


def test_a_forwarded_event_keeps_its_id_and_its_receipt() -> None:
    state = State(forward="u1")
    event = Event(
        id="m1", kind="track", name="Viewed", timestamp=START, anonymous_id="a1", received_at=START
    )
    (effect,) = decide(book_of([]), Customer("a1", {}, state), event, START + HOUR).effects
    assert isinstance(effect, Forward)
    assert (effect.event.id, effect.event.received_at) == ("m1", START)
    assert (effect.event.customer, effect.event.passed) == ("u1", ("a1",))


# What comes along -----------------------------------------------------------------------------


def test_the_newest_statement_wins_and_on_a_tie_the_known_ones() -> None:
    shop = Shop()
    at = shop.world.now
    for user, device, traits, later in (
        ("u1", None, {"tier": "known", "plan": "known", "name": "known"}, 1),
        (None, "a1", {"tier": "guest", "name": "guest"}, 1),
        (None, "a1", {"plan": "guest"}, 2),
        (None, "a1", {"name": "older"}, 0),
    ):
        shop.happens("identify", user, device, traits=traits, timestamp=at + later * MINUTE)
    shop.happens("Viewed", "u1", "a1")
    assert shop.traits("u1") == {"tier": "known", "plan": "guest", "name": "known"}


def test_a_guests_purchase_ends_the_users_cart_run() -> None:
    shop = Shop()
    shop.happens("Added", "u1", "laptop", cart="c1")
    shop.happens("Bought", device="phone", cart="c1")
    assert list(shop.runs("u1")) == ["cart/c1"]
    shop.happens("identify", "u1", "phone")  # a browser's SDK says it behind the purchase
    assert shop.runs("u1") == {}
    assert shop.sent() == {"u1 nudge": "run_ended"}
    assert sum(tables.conversions.total() for tables in shop.world.tables) == 1


def test_the_users_purchase_ends_the_run_that_comes_along() -> None:
    shop = Shop()
    shop.happens("Added", device="phone", cart="c1")
    shop.happens("Bought", "u1", cart="c1")
    shop.happens("identify", "u1", "phone")
    assert shop.runs("u1") == {}


def test_a_purchase_from_before_the_run_began_ends_nothing() -> None:
    shop = Shop()
    shop.happens("Bought", "u1", cart="c1")
    shop.happens("Added", device="phone", cart="c1")
    shop.happens("identify", "u1", "phone")
    assert list(shop.runs("u1")) == ["cart/c1"]


def test_of_two_runs_with_one_key_the_known_ones_stays() -> None:
    shop = Shop()
    shop.happens("Added", "u1", cart="c1")
    stays = shop.runs("u1")["cart/c1"].id
    shop.happens("Added", device="a1", cart="c1")
    shop.happens("Viewed", "u1", "a1")
    assert shop.runs("u1")["cart/c1"].id == stays
    assert sorted(m.status for m in shop.world.messages().values()) == ["queued", "run_ended"]
    assert len(shop.world.state("u1").goals) == 1


@pytest.mark.parametrize(("reentry", "stays"), [("never", False), ("1h", False), ("always", True)])
def test_a_run_that_reentry_forbids_ends(reentry: str, stays: bool) -> None:
    shop = Shop(CART.replace("key: event.cart", f"key: event.cart, reentry: {reentry}"))
    shop.happens("Added", "u1", cart="c1")
    shop.happens("Bought", "u1", cart="c1")
    shop.happens("Added", device="a1", cart="c1")
    shop.happens("Viewed", "u1", "a1")
    assert bool(shop.runs("u1")) is stays


def test_entries_join() -> None:
    shop = Shop(CART.replace("key: event.cart", "key: event.cart, reentry: never"))
    shop.happens("Added", device="a1", cart="c1")
    shop.happens("Bought", device="a1", cart="c1")
    shop.happens("Viewed", "u1", "a1")
    shop.happens("Added", "u1", cart="c1")
    assert shop.runs("u1") == {}


def test_a_run_moves_with_its_id_its_variant_and_its_holdout() -> None:
    text = """
journey: split
trigger: {event: Added}
entry: {key: event.cart, holdout: 50%}
steps:
  - id: rounds
    repeat:
      times: 3
      steps:
        - id: coin
          split:
            - {variant: heads, weight: 1, steps: [{wait: 10m}]}
            - {variant: tails, weight: 1, steps: [{wait: 10m}]}
"""
    kept: set[tuple[Any, ...]] = set()
    for number in range(8):
        shop = Shop(text)
        shop.happens("Added", device=f"a{number}", cart="c1")
        (before,) = shop.runs(f"a{number}").values()
        shop.happens("Viewed", "u1", f"a{number}")
        (after,) = shop.runs("u1").values()
        assert (after.id, after.held_out, after.steps) == (before.id, before.held_out, before.steps)
        shop.settle(11 * MINUTE)
        (later,) = shop.runs("u1").values()
        assert later.rounds["rounds"].number == 2
        assert later.steps["coin"].variant == before.steps["coin"].variant
        kept.add((later.held_out, later.steps["coin"].variant))
    assert len(kept) == 4, "all of them, or the test shows nothing"


def test_a_message_not_yet_attempted_moves_and_one_with_an_attempt_stays() -> None:
    shop = Shop()
    shop.happens("Added", device="a1", cart="c1")
    shop.happens("Added", device="a1", cart="c2")
    tables = next(t for t in shop.world.tables if t.messages)
    attempted = next(iter(tables.messages))
    shop.world.attempt(shop.world.tables.index(tables), attempted)
    shop.happens("Viewed", "u1", "a1")
    found = {m.customer: m.status for m in shop.world.messages().values()}
    assert found == {"a1": "attempting", "u1": "queued"}


def test_one_message_by_two_ways_is_taken_in_once() -> None:
    shop = Shop()
    first = shop.send("Added", device="a1", cart="c1")
    shop.settle()
    shop.world.append([msgspec.structs.replace(first, user_id="u1")])  # tried again after a login
    shop.settle()
    assert shop.world.history()["u1"][first.id] == 1
    assert len(shop.runs("u1")) == 1


def test_a_timer_that_is_due_when_it_comes_along_is_decided_at_once() -> None:
    slow = "journey: slow\ntrigger: {event: Added}\nsteps: [{wait: 10m}, {send: push, template: a}]"
    shop = Shop(slow)
    added = shop.send("Added", device="a1")
    shop.settle()
    world, entered_at = shop.world, shop.runs("a1")["slow/"].entered_at
    assert entered_at > added.timestamp
    shop.send("Viewed", "u1", "a1")
    for moved in range(3):  # the link is told, what a1 was is on its way, but has not arrived
        if not shop.runs("a1"):
            break
        for partition in range(3):
            world.step(partition, 10)
        if moved == 0:
            for partition in range(3):
                world.relay(partition, 10)
    assert shop.runs("a1") == {}
    assert shop.runs("u1") == {}
    world.now += HOUR
    shop.settle()
    (message,) = world.messages().values()
    assert (message.customer, message.queued.at) == ("u1", entered_at + 10 * MINUTE)


# Size -----------------------------------------------------------------------------------------


def test_a_large_past_is_cut_into_parts_of_a_bounded_size() -> None:
    events = tuple(
        Event(
            id=f"m{number}", kind="track", name="Viewed", timestamp=START, anonymous_id="a1",
            properties={"text": "x" * 5000}, received_at=START,
        )
        for number in range(300)
    )  # fmt: skip
    records = tuple(
        Record("consents", {"channel": f"c{n}", "text": "y" * 3000}) for n in range(200)
    )
    whole = Merge("a1", traits={"name": "Kim"}, stated={"name": 1}, records=records, events=events)
    cut = list(parts(whole))
    assert len(cut) > 5
    assert all(len(msgspec.json.encode(part)) <= PART_BYTES * 1.1 for part in cut)
    assert tuple(event for part in cut for event in part.events) == events
    assert tuple(record for part in cut for record in part.records) == records


def test_an_id_without_a_past_sends_nothing() -> None:
    link = link_event(anonymous_id="a1", user_id="u1", alias=False, at=START)
    link = msgspec.structs.replace(link, received_at=START)
    effects = decide(book_of([]), Customer("a1", {}, State()), link).effects
    (out,) = [effect for effect in effects if isinstance(effect, MoveOut)]
    assert list(parts(out.packed)) == []


def test_an_id_that_knows_many_messages_forgets_none_of_them_when_it_is_linked() -> None:
    second = int(START.timestamp())
    full = State(seen=dict.fromkeys(range(dedupe.BOUND), second))
    link = link_event(anonymous_id="a1", user_id="u1", alias=False, at=START)
    link = msgspec.structs.replace(link, received_at=START)
    decision = decide(book_of([]), Customer("a1", {}, full), link)
    (spilled,) = [effect for effect in decision.effects if isinstance(effect, SpillSeen)]
    kept = {digest for digest, _ in spilled.ids} | set(decision.customer.state.seen)
    assert kept >= set(range(dedupe.BOUND))
    assert decision.customer.state.spilled
