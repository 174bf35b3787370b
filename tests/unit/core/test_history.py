"""Conditions over the history: exact counts, windows, the current event included."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.journey.core import history
from services.journey.core.book import Book, Edition
from services.journey.core.state import Customer, State, pack
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from tests.unit.core.flows import HOUR, NOON, Person, event

DAY = timedelta(days=1)


def asking(condition: str) -> Person:
    """A journey that `Ask` starts and that sends `yes` where the condition holds."""
    quoted = condition.replace("'", "''")
    flow = compile_journey(
        "journey: j\ntrigger: {event: Ask}\nsteps:\n"
        f"  - branch: [{{when: '{quoted}', steps: [{{send: email, template: t, id: yes}}]}}]\n",
        1,
    )
    needs = history.Needs(flow.needs)
    made = Person(Book([Edition.of(EPOCH, [flow])], {("j", 1): flow}, needs=needs))
    made.customer = Customer("u1", {}, State(needs=needs.id))
    return made


def holds(condition: str, *events: Any) -> bool:
    found = asking(condition)
    for number, (name, age, properties) in enumerate(events):
        at = NOON - age
        found.take(msgspec.structs.replace(event(name, at, **properties), id=str(number)))
    found.take(event("Ask", NOON))
    return bool(found.messages)


BOUGHT = [
    ("Bought", 40 * DAY, {"total": 10, "sku": "A"}),
    ("Bought", 20 * DAY, {"total": 30, "sku": "B"}),
    ("Viewed", 10 * DAY, {"sku": "A"}),
    ("Bought", 1 * DAY, {"total": 20, "sku": "A"}),
]


@pytest.mark.parametrize(
    "condition",
    [
        'count("Bought") == 3',
        'count("Bought", within="30d") == 2',
        'count("Bought", within="20d") == 1',
        'count("Bought", where=e.total > 15) == 2',
        'count("Bought", within="30d", where=e.sku == "A") == 1',
        'count("Ask") == 1',
        'did("Viewed") and not did("Returned")',
        'did("Bought", within="2d", where=e.total == 20)',
        'not did("Bought", within="1d")',
        'sum("Bought", of=e.total) == 60',
        'sum("Returned", of=e.total) == 0',
        'avg("Bought", of=e.total) == 20',
        'avg("Returned", of=e.total) == null',
        'min("Bought", of=e.total) == 10 and max("Bought", of=e.total) == 30',
        'max("Bought", of=e.sku) == "B"',
        'first("Bought").total == 10 and last("Bought").sku == "A"',
        'last("Bought", where=e.sku == "B").total == 30',
        'last("Returned").total == null',
        'last("Bought").name == "Bought"',
        'days_since(last("Bought")) == 1',
        'days_since(last("Returned")) == null',
        'count("Bought", where=e.total > count("Viewed") * 15) == 2',
    ],
)
def test_a_condition_over_the_history_holds(condition: str) -> None:
    assert holds(condition, *BOUGHT)


def test_the_current_event_counts() -> None:
    assert holds('count("Ask", within="1h") == 2', ("Ask", timedelta(minutes=5), {}))


def test_an_event_that_happened_late_is_put_where_it_belongs() -> None:
    found = asking('last("Bought").total == 2 and first("Bought").total == 1')
    found.take(event("Bought", NOON - HOUR, total=2))
    late = event("Bought", NOON - timedelta(minutes=30), total=1)
    found.take(msgspec.structs.replace(late, timestamp=NOON - 2 * HOUR))
    found.take(event("Ask", NOON))
    assert len(found.messages) == 1


def test_only_what_is_asked_for_is_kept() -> None:
    found = asking('count("Bought", within="30d", where=e.total > 0) > 0')
    found.take(event("Bought", NOON - 50 * DAY, total=1, secret="x"))
    found.take(event("Bought", NOON - DAY, total=2, secret="x"))
    found.take(event("Viewed", NOON - DAY, total=2))
    kept = found.customer.state.history
    assert {name: [past.properties for past in events] for name, events in kept.items()} == {
        "Bought": [{"total": 2}]
    }, "the window, the properties and the names"


def test_very_many_events_leave_the_row_and_are_still_counted() -> None:
    number = 3 * history.BOUND
    found = asking(f'count("Viewed", where=e.n >= 0) == {number}')
    for n in range(number):
        found.take(event("Viewed", NOON - DAY + timedelta(seconds=n), n=n))
    assert len(pack(found.customer.state)) < 200_000
    assert found.customer.state.full == ("Viewed",)
    found.take(event("Ask", NOON))
    assert len(found.messages) == 1


def test_filling_gives_what_taking_would_have_given() -> None:
    found = asking('count("Bought", within="30d", where=e.total > 0) > 0')
    events = [event("Bought", NOON - n * DAY, total=n, other=n) for n in range(60, 0, -1)]
    for each in events:
        found.take(each)
    needs = found.book.needs
    rows = [(e.name, e.timestamp, e.properties, e.context) for e in events]
    bare = Customer("u1", {}, State())
    assert history.is_missing(bare, needs)
    filled = history.fill(bare, needs, rows, NOON - DAY)
    assert not history.is_missing(filled, needs)
    assert filled.state.history == found.customer.state.history
