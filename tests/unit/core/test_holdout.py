"""Who is held out, and by whom: the workspace's holdout and each journey's."""

from collections.abc import Iterator

import msgspec

from services.journey.core.book import Book, Edition
from services.journey.core.effects import Convert
from services.journey.core.state import Customer, State
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from shared.event import Event
from tests.unit.core.flows import HOUR, NOON, Person, event

SOURCE = """
journey: %s
category: %s
trigger: {event: Added}
entry: {holdout: %s}
goal: {event: Bought}
steps: [{wait: 1d}]
"""
MANY = 2000


def book(workspace: float, *, journey: str = "0%", category: str = "marketing") -> Book:
    flows = [compile_journey(SOURCE % (name, category, journey), 1) for name in ("a", "b")]
    edition = Edition.of(EPOCH, flows, holdout=workspace)
    return Book([edition], {(flow.journey, 1): flow for flow in flows})


def people(found: Book) -> Iterator[Person]:
    for number in range(MANY):
        person = Person(found)
        person.customer = Customer(f"u{number}", {}, State())
        person.take(event())
        yield person


def held(found: Book, journey: str = "a") -> dict[str, str]:
    return {
        person.customer.id: run.held_by
        for person in people(found)
        for run in person.customer.state.runs
        if run.journey == journey and run.held_out
    }


def test_the_workspaces_holdout_is_the_same_customers_in_every_journey() -> None:
    found = book(0.1)
    first, second = held(found, "a"), held(found, "b")
    assert first == second
    assert 0.07 * MANY < len(first) < 0.13 * MANY
    assert set(first.values()) == {"workspace"}
    assert set(held(book(0.05))) < set(first), "a smaller share is some of the same"


def test_a_journeys_own_holdout_is_independent_of_the_workspaces() -> None:
    found = held(book(0.5, journey="50%"))
    by = {word: sum(1 for held_by in found.values() if held_by == word) for word in found.values()}
    assert 0.45 * MANY < by["workspace"] < 0.55 * MANY
    assert 0.20 * MANY < by["journey"] < 0.30 * MANY, "half of the others"


def test_a_transactional_journey_holds_nobody_out() -> None:
    assert held(book(1.0, journey="100%", category="transactional")) == {}


def test_the_held_out_are_counted_and_what_they_do_is_told_apart() -> None:
    person = Person(book(1.0))
    person.take(event())
    person.take(event("Bought", NOON + HOUR))
    assert person.counted("held_out:workspace") == 2
    assert person.counted("entered") == 2
    found = [effect for effect in person.effects if isinstance(effect, Convert)]
    assert [(c.held_out, c.held_by) for c in found] == [(True, "workspace")] * 2


def test_the_holdout_is_that_of_the_moment_of_receipt() -> None:
    flow = compile_journey(SOURCE % ("a", "marketing", "0%"), 1)
    editions = [
        Edition.of(EPOCH, [flow], holdout=1.0),
        Edition.of(NOON + HOUR, [flow], holdout=0.0),
    ]
    person = Person(Book(editions, {("a", 1): flow}))
    late: Event = msgspec.structs.replace(event(), received_at=NOON)
    person.take(late)
    assert person.customer.state.runs[0].held_by == "workspace"
