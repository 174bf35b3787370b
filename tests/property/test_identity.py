"""Whatever the order in which partitions come to what concerns two ids of one customer, however
often it is repeated and whoever is killed meanwhile, the same becomes of the customer."""

import random
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.journey.core.book import Book
from services.journey.core.dedupe import digest
from services.journey.core.state import ForOutcome, Run
from shared.event import Event
from tests.property.engine_journeys import (
    SECOND,
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
]


def said(number: int, who: str | None, device: str | None, **more: Any) -> Event:
    """`who` is logged in on `device`."""
    at = START + number * SECOND
    return Event(
        id=f"m{number}", timestamp=at, user_id=who, anonymous_id=device, **{"kind": "track", **more}
    )


# Worlds in which the order cannot matter ----------------------------------------------------------


class Script:
    """What happens: each cart is filled once, bought at most once and viewed at most once, by any
    of its owner's ids."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.events: list[Event] = []
        numbers = iter(range(1000))
        open_carts: dict[str, list[str]] = {"u1": [], "u2": []}
        viewed: set[str] = set()
        for number in range(chance.randint(4, 14)):
            device = chance.choice([*OWNERS])
            user = OWNERS[device]
            who = chance.choice((None, None, user))
            seen = chance.choice((device, device, None)) if who else device
            kind = chance.choice(("Added", "Added", "Bought", "Viewed", "identify"))
            carts = open_carts[user]
            more: dict[str, Any] = {"name": kind}
            if kind == "Added":
                carts.append(f"c{next(numbers)}")
                more["properties"] = {"cart": carts[-1], "total": number}
            elif kind == "identify":
                trait = chance.choice(("tier", "plan"))
                consent = {chance.choice(("email", "sms")): chance.random() < 0.5}
                more = {"kind": "identify", "traits": {trait: number, "consent": consent}}
            elif kind == "Bought" and carts:
                cart = carts.pop(chance.randrange(len(carts)))
                more["properties"] = {"cart": cart, "total": number}
            elif kind == "Viewed" and (cart := chance.choice(carts or [""])) not in viewed:
                viewed.add(cart)
                more["properties"] = {"cart": cart, "total": number}
            self.events.append(said(number, who, seen, **more))
        for number, (device, user) in enumerate(OWNERS.items()):
            joins = said(100 + number, user, device, kind="identify", traits={"joined": number})
            self.events.insert(chance.randint(0, len(self.events)), joins)


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
    found["history"] = world.history()
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
