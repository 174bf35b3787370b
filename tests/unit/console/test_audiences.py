"""The look ahead of an audience: it may let too many through, and never one too few."""

from typing import Any

import pytest

from services.console.backtesting.audiences import Doings, look_of
from services.journey.language.expressions import Mistake, parse
from shared.clock import EPOCH
from shared.event import Event

MADE = frozenset({"Made"})


def did(name: str, **properties: Any) -> Event:
    return Event(f"m{name}{properties}", "track", EPOCH, name, user_id="u1", properties=properties)


def may(condition: str, *events: Event, **asked: Any) -> bool | None:
    """None: the look cannot tell."""
    node = parse(condition)
    assert not isinstance(node, Mistake), node
    look = look_of(node, MADE)
    catalogue = Event("c", "catalog", EPOCH, "Restocked", anonymous_id="x", properties=asked)
    return None if look is None else look(Doings(events), catalogue)


VIEWED = 'did("Viewed", within="30d", where=e.sku == trigger.sku)'


@pytest.mark.parametrize(
    ("condition", "events", "expected"),
    [
        (VIEWED, [did("Viewed", sku="A")], True),
        (VIEWED, [did("Viewed", sku="B"), did("Added", sku="A")], False),
        (VIEWED, [], False),
        ('did("Viewed", where=event.sku == e.sku and e.price > 3)', [did("Viewed", sku="A")], True),
        (VIEWED, [did("Viewed", sku=["A"])], True),
        (f"{VIEWED} and profile.tier == 'vip'", [did("Viewed", sku="B")], False),
        (f'{VIEWED} or did("Added")', [did("Added", sku="B")], True),
        (f'{VIEWED} or did("Added")', [did("Viewed", sku="B")], False),
        (f'{VIEWED} and not did("Bought")', [did("Viewed", sku="A"), did("Bought")], True),
        ('did("Viewed", where=e.name == trigger.sku)', [did("Viewed")], True),
    ],
)
def test_who_did_no_such_thing_is_not_asked(
    condition: str, events: list[Event], expected: bool
) -> None:
    assert may(condition, *events, sku="A") is expected


@pytest.mark.parametrize(
    "condition",
    [
        "profile.tier == 'vip'",
        'not did("Bought")',
        f"{VIEWED} or profile.tier == 'vip'",
        'did("Made", where=e.sku == trigger.sku)',
        'count("Viewed") == 0',
    ],
)
def test_what_cannot_be_told_is_let_through(condition: str) -> None:
    assert may(condition, sku="A") is None


def test_values_are_the_same_as_conditions_find_them() -> None:
    assert may(VIEWED, did("Viewed", sku=5), sku=5.0)
    assert may(VIEWED, did("Viewed"), color="red"), "missing on both sides is null on both"
    assert may(VIEWED, did("Viewed", sku="A"), sku={"a": 1}), "what is no key is let through"
