"""What expressions yield: the table of the page's "Conditions", and what the notes add to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.journey.core.flow import Moment, Past, Scope
from tests.unit.language.sayings import NOW, scope, value

NAMES = scope(
    {
        "price": 10000,
        "total": 12.5,
        "text": "gold",
        "digits": "5",
        "yes": True,
        "null": None,
        "name": "a property called name",
        "context": "a property called context",
        "odd name": "odd",
        "tags": ["a", "b", 3],
        "nested": {"list": [{"x": 1}, {"x": 2}]},
        "day": "2026-03-02",
        "instant": "2026-03-02T21:00:00+09:00",
        "later": "2026-03-09T12:00:00Z",
        "products": [{"sku": "A1", "price": 10}, {"sku": "B2", "price": 20}],
        "large": 2**62,
        "huge": 1e308,
    },
    context={"ip": "10.0.0.1"},
    trigger={"cart_id": "c1", "name": "Tea pot", "context": 7},
    profile={"tier": "gold", "age": 33, "vip": True},
    steps={
        "first-nudge": {"outcome": "sent", "reason": None, "opened": True},
        "first-order": {"event": Moment("Order Completed", {"total": 70, "name": "x"})},
    },
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names
        ("event.price", 10000),
        ("event.name", "Product Added"),
        ('event["name"]', "a property called name"),
        ("event.context.ip", "10.0.0.1"),
        ("event.context", {"ip": "10.0.0.1"}),
        ('event["context"]', "a property called context"),
        ("trigger.name", "Tea pot"),
        ("trigger.context", 7),
        ("profile.tier", "gold"),
        ("steps.first_nudge.outcome", "sent"),
        ('steps["first-nudge"].opened', True),
        ("steps.first_nudge.clicked", None),
        ("steps.first_order.event.total", 70),
        ("steps.first_order.event.name", "Order Completed"),
        ('steps.first_order.event["name"]', "x"),
        ("now", NOW),
        ('event["odd name"]', "odd"),
        ("event.nested.list[1].x", 2),
        ("event.tags[0]", "a"),
        ("event.tags[-1]", 3),
        ("event.tags[3]", None),
        ("event.tags[-4]", None),
        ("event.tags.x", None),
        ("event.missing.deeper[0].still", None),
        ("event.price.x", None),
        ("event.text[0]", None),
        # literals
        ("null", None),
        ("None", None),
        ("true", True),
        ("False", False),
        ("1.5", 1.5),
        ("-3", -3),
        ("1e3", 1000.0),
        ("'single'", "single"),
        (r'"a\"b\\c\n"', 'a"b\\c\n'),
        (r'"\d+"', "\\d+"),
        ("[1, 'a', event.price, [2]]", [1, "a", 10000, [2]]),
        ("[]", []),
        # logic: only true holds
        ("true and true", True),
        ("true and event.price", False),
        ("event.price or true", True),
        ("event.missing or event.price", False),
        ("not event.missing", True),
        ("not event.price", True),
        ("not true", False),
        ("true or false and false", True),
        ("not false and false", False),
        ("true and true and true", True),
        ("false or false or event.yes", True),
        # equality
        ("event.price == 10000", True),
        ("event.price == 10000.0", True),
        ("event.price != 10000", False),
        ("event.text == 'gold'", True),
        ("event.text != 'silver'", True),
        ("event.missing == null", True),
        ("event.missing != null", False),
        ("event.price != null", True),
        ("event.missing == 5", False),
        ("event.missing != 5", True),
        ("event.missing != 'x'", True),
        ("event.digits == 5", False),
        ("event.digits != 5", False),
        ("event.price == '10000'", False),
        ("event.yes == true", True),
        ("event.yes == 1", False),
        ("event.yes != false", True),
        ("event.tags == ['a', 'b', 3]", True),
        ("event.tags == ['a', 'b']", False),
        ("[1] == [true]", False),
        ("event.context == event.context", True),
        ("event.tags == event.context", False),
        ("event.tags != event.context", False),
        # order
        ("event.price >= 10000", True),
        ("event.price > 10000", False),
        ("event.total < 12.6", True),
        ("event.missing < 5", False),
        ("event.missing >= 5", False),
        ("not (event.missing < 5)", True),
        ("event.text > 5", False),
        ("event.digits > 4", False),
        ("event.yes > 0", False),
        ("event.yes >= true", False),
        ("event.text < 'h'", True),
        ("event.tags < [5]", False),
        ("event.missing < null", False),
        # chains
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("0 < event.price <= 10000", True),
        ("1 == 1 == 1", True),
        ("1 < event.missing < 3", False),
        # in
        ("profile.tier in ['gold', 'vip']", True),
        ("profile.tier in ['vip']", False),
        ("profile.tier not in ['vip']", True),
        ("profile.tier not in ['gold']", False),
        ("event.missing in ['gold']", False),
        ("event.missing not in ['gold']", True),
        ("event.missing in ['gold', null]", True),
        ("'a' in event.tags", True),
        ("'c' not in event.tags", True),
        ("3 in event.tags", True),
        ("true in [1]", False),
        ("'ol' in event.text", True),
        ("5 in event.text", False),
        ("'a' in event.missing", False),
        ("'a' not in event.missing", True),
        ("'ip' in event.context", False),
        ("event.price in [1, 10000]", True),
        # arithmetic
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 - 2 - 1", 4),
        ("8 / 2 / 2", 2.0),
        ("7 / 2", 3.5),
        ("-event.price + 1", -9999),
        ("event.price / 0", None),
        ("event.total / 0.0", None),
        ("event.missing + 1", None),
        ("event.yes + 1", None),
        ("event.text * 2", None),
        ("event.tags + event.tags", None),
        ("event.text + '-' + trigger.cart_id", "gold-c1"),
        ("event.text + event.price", None),
        ("event.text - event.text", None),
        ("-event.text", None),
        ("event.large * 2", None),
        ("event.large + event.large - 1", None),
        ("event.huge * 10", None),
        ("event.huge - event.huge * 10", None),
        # instants and durations
        ("now == '2026-03-02T12:00:00Z'", True),
        ("now == event.instant", True),
        ("now != event.instant", False),
        ("now > event.day", True),
        ("now > '2026-03-02T11:59'", True),
        ("now > 'yesterday'", False),
        ("now > event.price", False),
        ("event.day < event.instant", True),
        ("now - '7d'", NOW - timedelta(days=7)),
        ("'7d' + now", NOW + timedelta(days=7)),
        ("now - '1h30m' < event.instant", True),
        ("event.day + '1d'", datetime(2026, 3, 3, tzinfo=UTC)),
        ("event.later - '7d' == now", True),
        ("event.text + '7d'", "gold7d"),
        ("event.later - now", timedelta(days=7)),
        ("event.later - event.instant", timedelta(days=7)),
        ("now - event.later", timedelta(days=-7)),
        ("event.later - now >= '7d'", True),
        ("event.later - now > '1w'", False),
        ("(event.later - now) * 2 == '14d'", True),
        ("(event.later - now) / '1d'", None),
        ("(event.later - now) / (now - event.day)", 14.0),
        ("now + now", None),
        ("now * 2", None),
        ("now - 'soon'", None),
        ("now + (event.later - now) + '1d'", NOW + timedelta(days=8)),
        ("-(event.later - now)", timedelta(days=-7)),
        ("2 * (event.later - now)", timedelta(days=14)),
        ("(event.later - now) + 'x'", None),
        ("event.text == 'gold' and event.day == '2026-03-02'", True),
        # lists and functions
        ("any(p.sku == 'A1' for p in event.products)", True),
        ("any(p.sku == 'C3' for p in event.products)", False),
        ("all(p.price >= 10 for p in event.products)", True),
        ("all(p.price > 10 for p in event.products)", False),
        ("any(p.price == event.price / 1000 for p in event.products)", True),
        ("any(p.price for p in event.products)", False),
        ("any(x == 3 for x in event.tags)", True),
        ("any(true for x in [])", False),
        ("all(false for x in [])", True),
        ("any(true for x in event.missing)", False),
        ("all(true for x in event.missing)", False),
        ("any(true for x in event.text)", False),
        ("any(any(q.x == p for q in event.nested.list) for p in [5, 2])", True),
        ("len([])", 0),
        ("[1, 2][1]", 2),
        ("steps.first_order.event.context.x", None),
        ("steps.first_order.event != null", True),
        ("len(event.products)", 2),
        ("len(event.text)", 4),
        ("len(event.context)", 1),
        ("len(event.price)", None),
        ("len(event.missing)", None),
        ("lower('GoLD')", "gold"),
        ("lower(event.price)", None),
        ("contains(event.text, 'ol')", True),
        ("contains(event.tags, 'a')", True),
        ("contains(event.missing, 'a')", False),
        ("contains(event.text, 5)", False),
        ("startswith(event.text, 'go')", True),
        ("startswith(event.missing, 'go')", False),
        ("matches(event.text, '^g.l')", True),
        ("matches(event.text, 'ol')", True),
        ("matches(event.text, '^ol$')", False),
        ("matches(event.price, '1')", False),
        ("matches('단골상점', '골.점')", True),
        ("days_since('2026-02-28')", 2),
        ("days_since(event.later)", -7),
        ("days_since(event.text)", None),
        ("days_since(event.missing)", None),
    ],
)
def test_an_expression_yields(text: str, expected: Any) -> None:
    found = value(text, NAMES)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["999999999d999999999h", "999999999w", "3661d", "1d ", "\u0667d"])
def test_a_text_that_is_no_duration_is_just_a_text(text: str) -> None:
    names = scope({"text": text})
    assert value("now - event.text", names) is None
    assert value('now - "2026-01-01" > event.text', names) is False


@pytest.mark.parametrize(
    ("amounts", "total", "average"),
    [
        ([0.1] * 10, 1.0, 0.1),
        ([0.1, 0.2, -0.3], 0.0, 0.0),
        ([1e300, 1, -1e300], 1.0, 1 / 3),
        ([2**62, 2**62], None, float(2**62)),
        ([1e308, 1e308], None, None),
        ([5, "5", None, True], 5, 5.0),
        ([], 0, None),
    ],
)
def test_sums_are_those_of_a_pocket_calculator(
    amounts: list[Any], total: Any, average: Any
) -> None:
    past = [Past(NOW, {"x": amount}) for amount in amounts]
    names = Scope(NOW, {}, history={"Paid": past})
    for function, wanted in (("sum", total), ("avg", average)):
        found = value(f'{function}("Paid", of=e.x)', names)
        assert found == wanted
        assert type(found) is type(wanted)


def test_an_event_that_is_not_there_has_only_nulls() -> None:
    nowhere = scope(None)
    for text in ("event.x", "event.name", "event.context.x", "trigger.x", "steps.a.outcome"):
        assert value(text, nowhere) is None


def test_a_text_that_grows_too_long_is_null() -> None:
    names = scope({"x": "a" * 6_000})
    assert value("len(event.x + event.x)", names) is None


def test_any_looks_at_a_thousand_items() -> None:
    names = scope({"list": [0] * 1_000 + [1]})
    assert value("any(x == 1 for x in event.list)", names) is False


def test_an_impossible_date_is_a_text() -> None:
    names = scope({"day": "2026-02-30", "edge": "0001-01-01T00:00:00+09:00"})
    assert value("event.day < now", names) is False
    assert value("event.edge < now", names) is False


def test_a_date_past_the_calendar_is_null() -> None:
    assert value("event.end + '3660d'", scope({"end": "9999-12-31"})) is None


def test_deeply_nested_values_are_compared_without_harm() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert value("event.x == event.x", scope({"x": deep})) in (True, False)


def test_a_name_of_python_is_only_a_key() -> None:
    assert value("event.keys", scope({"x": 1})) is None
    assert value("event.keys", scope({"keys": 5})) == 5
