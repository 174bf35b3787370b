"""Whatever the order in which partitions come to what concerns two ids of one customer, however
often it is repeated and whoever is killed meanwhile, the same becomes of the customer."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.journey.core.book import Book
from services.journey.core.dedupe import digest
from services.journey.core.state import ForOutcome, Run
from shared.event import CONSENT_CHANGED, Event, decode
from tests.property.engine_journeys import (
    MINUTE,
    SECOND,
    SOURCES,
    START,
    book_of,
    compiled,
    profile,
)
from tests.property.identity_world import World

_TICK = timedelta(milliseconds=1)
"""Between two events from outside; what owners and relays append meanwhile takes microseconds."""
OWNERS = {"a1": "u1", "a2": "u1", "a3": "u2"}
"""Each anonymous id meets one user."""
JOURNEYS = [
    """
journey: cart
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
goal: {event: Bought, where: event.cart == trigger.cart, within: 30m, value: event.total}
steps:
  - {send: push, template: a, id: first}
  - wait: 10m
  - {send: push, template: a, id: second}
""",
    """
journey: asked
trigger: {event: Added}
entry: {key: event.cart, reentry: 30m}
steps:
  - wait_for: {event: Viewed, where: event.cart == trigger.cart, timeout: 20m}
    id: answer
    then: [{send: sms, template: a, id: thanks, with: {total: event.total}}, {wait: 1h}]
    timed_out: [{send: sms, template: a, id: nudge}]
""",
    """
journey: steps
trigger: {event: Viewed}
entry: {key: event.cart}
exit: [{event: Left, where: event.cart == trigger.cart}]
steps:
  - wait_for: {event: Added, where: event.cart == trigger.cart, timeout: 20m}
    then:
      - wait_for: {event: Bought, where: event.cart == trigger.cart, timeout: 20m}
        then: [{send: sms, template: a, id: bought}]
        timed_out: []
    timed_out: []
""",
]


def said(number: int, who: str | None, device: str | None, **more: Any) -> Event:
    """`who` is logged in on `device`."""
    more = {"kind": "track", "timestamp": START + number * SECOND, **more}
    return Event(id=f"m{number}", user_id=who, anonymous_id=device, **more)


# Worlds in which the order cannot matter ----------------------------------------------------------


class Script:
    """What happens: each cart is filled, bought and viewed at most once, in any order and by any of
    its owner's ids; no two anonymous ids of a user state a trait at the same time."""

    def __init__(self, seed: int) -> None:
        chance = self._chance = random.Random(seed)
        self.events: list[Event] = []
        self._stated: set[tuple[str | None, int]] = set()
        device: str | None
        for device, user in OWNERS.items():
            self._put(user, device, kind="identify", traits={"joined": len(self.events)})
        for number in range(chance.randint(1, 5)):
            user = chance.choice(("u1", "u1", "u2"))
            for name in ("Added", "Bought", "Viewed")[: chance.choice((1, 2, 3, 3))]:
                properties = {"cart": f"c{number}", "total": len(self.events)}
                self._put(*self._somebody(user), name=name, properties=properties)
        for _ in range(chance.randint(0, 5)):
            who, device = self._somebody(chance.choice(("u1", "u2")))
            second = chance.randint(0, 2)
            if who is None and (device, second) in self._stated:
                continue
            self._stated.add((device if who is None else None, second))
            late = timedelta(milliseconds=500) if who is None and device == "a2" else timedelta(0)
            at = START + second * SECOND + late
            consent = {chance.choice(("email", "sms")): chance.random() < 0.5}
            traits = {chance.choice(("tier", "plan")): len(self.events), "consent": consent}
            self._put(who, device, kind="identify", traits=traits, timestamp=at)

    def _somebody(self, user: str) -> tuple[str | None, str | None]:
        chance = self._chance
        device = chance.choice([name for name, owner in OWNERS.items() if owner == user])
        return chance.choice(((None, device), (None, device), (user, device), (user, None)))

    def _put(self, who: str | None, device: str | None, **more: Any) -> None:
        event = said(len(self.events), who, device, **more)
        self.events.insert(self._chance.randint(0, len(self.events)), event)


def live(book: Book, script: Script, seed: int, partitions: int) -> World:
    """The events of one id come in their order, at their time; everything else as the seed has it.

    Time stands still until all is at rest, so that no timer fires in between.
    """
    chance = random.Random(seed)
    world = World(book, partitions)
    for number, event in enumerate(script.events, 1):
        at = START + number * _TICK
        assert world.now < at
        world.append([event] * chance.choice((1, 1, 1, 2)), at)
        for _ in range(chance.randint(0, 6)):
            befall(world, chance)
    world.settle()
    return world


def befall(world: World, chance: random.Random) -> None:
    partition = chance.randrange(len(world.tables))
    match chance.choice(("step", "step", "step", "kill", "relay", "relay", "repeat")):
        case "step":
            world.step(partition, chance.randint(1, 4))
        case "kill":
            world.step(partition, chance.randint(1, 4), is_stored=False)
        case "relay":
            world.relay(partition, chance.randint(1, 4))
        case "repeat":
            world.relay(partition, chance.randint(1, 4), twice=True)


def shown(run: Run) -> tuple[Any, ...]:
    """A run without the names that come of the id it began under."""
    waits = "a message" if isinstance(run.waiting, ForOutcome) else run.waiting
    stamps = {name: step.outcome for name, step in run.steps.items()}
    return (run.journey, run.key, run.step, waits, run.trigger, tuple(stamps.items()))


def outcome_of(world: World) -> dict[str, Any]:
    """What it came to for the users, in a form that does not depend on the order."""
    found: dict[str, Any] = {}
    states = {user: world.state(user) for user in ("u1", "u2")}
    for user, state in states.items():
        row = world.customers()[user]
        found[f"{user} traits"] = dict(sorted(row.traits.items()))
        found[f"{user} stated"] = dict(sorted(state.stated.items()))
        found[f"{user} runs"] = sorted(map(repr, map(shown, state.runs)))
        found[f"{user} goals"] = sorted((goal.journey, goal.key) for goal in state.goals)
        found[f"{user} entries"] = dict(sorted(state.entries.items()))
        found[f"{user} seen"] = sorted(n for n in range(200) if digest(f"m{n}") in state.seen)
        found[f"{user} links"] = sorted(state.links)
    found["owners"] = {name: world.root(name) for name in OWNERS}
    # Whether a consent was news depends on whose it was when it came: the device's, or the user's.
    found["history"] = {
        who: sorted(e.id for e in events if e.name != CONSENT_CHANGED)
        for tables in world.tables
        for who, events in tables.history.items()
        if events
    }
    found["messages"] = sorted(
        (m.customer, m.queued.journey, m.queued.step, repr(m.queued.context.trigger))
        for m in world.messages().values()
        if m.status == "queued"
    )
    found["consents"] = {
        key: said for tables in world.tables for key, said in sorted(tables.consents.items())
    }
    found["conversions"] = sum(tables.conversions.total() for tables in world.tables)
    return found


def nothing_is_lost(world: World) -> None:
    """What holds in any world, once it is at rest."""
    for tables in world.tables:
        assert not tables.set_aside, tables.set_aside
    messages = world.messages()
    for name, row in world.customers().items():
        state = row.state
        world.root(name)
        if state.forward:
            assert not row.traits
            assert not state.runs
            assert not state.goals
            assert not state.history
            assert name not in world.history() or not world.history()[name]
        for run in state.runs:
            if isinstance(run.waiting, ForOutcome):
                message = messages[run.waiting.message_id]
                assert message.status in ("queued", "attempting"), message
                assert message.status == "attempting" or message.customer == name, message


@profile(400)
@given(
    script=st.integers(0, 10**6),
    seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    partitions=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_any_order_any_crash_any_repetition_ends_in_the_same_state(
    script: int, seeds: tuple[int, int], partitions: tuple[int, int]
) -> None:
    book = book_of([compiled(text) for text in JOURNEYS])
    one, other = (
        live(book, Script(script), seed, count)
        for seed, count in zip(seeds, partitions, strict=True)
    )
    nothing_is_lost(one)
    nothing_is_lost(other)
    first, second = outcome_of(one), outcome_of(other)
    for what, value in first.items():
        assert value == second[what], what


# Worlds in which anything may happen --------------------------------------------------------------

IDS = ("u1", "u2", "a1", "a2", "a3")


def anything(seed: int) -> World:
    """Shared devices, aliases in circles, the same message by two ways, time, and dispatchers."""
    chance = random.Random(seed)
    journeys = chance.sample(sorted(SOURCES), 3)
    world = World(book_of([compiled(SOURCES[name]) for name in journeys]), chance.randint(1, 3))
    sent: list[Event] = []
    for number in range(chance.randint(3, 20)):
        world.append([_whatever(chance, number, sent)] * chance.choice((1, 1, 2)))
        for _ in range(chance.randint(0, 5)):
            befall(world, chance)
        if chance.random() < 0.3:
            world.now += chance.choice((SECOND, MINUTE, 12 * MINUTE, timedelta(hours=20)))
        for place, tables in enumerate(world.tables):
            queued = [n for n, m in tables.messages.items() if m.status == "queued"]
            if queued and chance.random() < 0.2:
                world.attempt(place, chance.choice(queued))
    world.settle()
    return world


def _whatever(chance: random.Random, number: int, sent: list[Event]) -> Event:
    if sent and chance.random() < 0.2:
        again = chance.choice(sent)  # also by another way, as a retry after a login
        if again.kind == "track" and chance.random() < 0.5:
            again = msgspec.structs.replace(again, user_id=chance.choice((None, "u1")))
        return again if again.customer else sent[0]
    who, device = chance.choice((None, None, "u1", "u2")), chance.choice(IDS[2:])
    match chance.choice(("track", "track", "track", "identify", "alias")):
        case "alias":
            one, other = chance.sample(IDS, 2)
            event = said(number, one, None, kind="alias", previous_id=other)
        case "identify":
            traits = {"tier": number, "consent": {"email": chance.random() < 0.5}}
            event = said(number, who, device, kind="identify", traits=traits)
        case _:
            name = chance.choice(("Added", "Bought", "Viewed"))
            properties = {"cart": chance.choice(("a", "b")), "total": chance.randint(1, 3)}
            event = said(number, who, device, name=name, properties=properties)
    sent.append(event)
    return event


@profile(500)
@given(seed=st.integers(0, 10**9))
def test_nothing_is_lost_and_nothing_comes_twice(seed: int) -> None:
    world = anything(seed)
    nothing_is_lost(world)
    roots: dict[str, Counter[str]] = {}
    for name, events in world.history().items():
        roots.setdefault(world.root(name), Counter()).update(events)
    for root, events in roots.items():
        twice = [name for name, n in events.items() if n > 1]
        assert not twice, f"{root} has taken in {twice} twice"
    taken = {name for events in roots.values() for name in events if name.startswith("m")}
    appended = {
        decode(record.payload, record.received_at).id
        for tables in world.tables
        for record in tables.log
    }
    assert taken == {name for name in appended if name.startswith("m") and ":" not in name}
