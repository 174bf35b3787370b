"""Which conditions SQL answers alone; that it answers right is held on PostgreSQL elsewhere."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from services.journey.core.flow import Moment
from services.journey.language.expressions import Mistake, Node, check, parse
from services.journey.language.expressions import context as contexts
from services.journey.language.sql import SqlCondition, condition_sql
from services.journey.language.sql.statements import prepared
from shared.db.tables import Instant, customers

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TRIGGER = Moment("Product Restocked", {"sku": "A-1", "price": 30000})


def _node(text: str) -> Node:
    node = parse(text)
    assert not isinstance(node, Mistake), node
    assert check(node, contexts.of_audience()) == []
    return node


def _sql(text: str, **segments: str) -> SqlCondition:
    nodes = {name: _node(where) for name, where in segments.items()}
    return condition_sql(_node(text), now=sa.literal(NOW, Instant), segments=nodes, trigger=TRIGGER)


def _written(text: str, **segments: str) -> tuple[str, list[object]]:
    return prepared(sa.select(customers.c.id).where(_sql(text, **segments).where))


@pytest.mark.parametrize(
    "text",
    [
        'profile.tier == "gold"',
        'profile.tier in ["gold", "vip"] and profile.country != "KR"',
        "profile.email != null and not profile.blocked == true",
        "profile.ltv >= 100000",
        "1 <= profile.age < 30",
        'contains(lower(profile.city), "seoul") or startswith(profile.phone, "+82")',
        'matches(profile.email, "@example\\.com$")',
        'matches(profile.code, "^(A|B)[0-9]{2,4}$")',
        'any(p.sku == "A1" and p.price > 10 for p in profile.cart)',
        "all(tag != null for tag in profile.tags) and len(profile.tags) > 2",
        '"vip" in profile.tags',
        "days_since(profile.birthday) > 6570",
        'profile.expires_at < now + "7d"',
        'now - profile.signed_up < "30d"',
        'profile.expires_at + "7d" > now',
        'did("Order Completed", within="90d") and not did("Order Completed", within="30d")',
        'did("Product Viewed", within="30d", where=e.sku == trigger.sku)',
        'count("Order Completed", where=e.total > 0) >= 3',
        'sum("Order Completed", of=e.total, within="365d") / count("Order Completed") > 50000',
        'avg("Order Completed", of=e.total) * 1.1 > max("Order Completed", of=e.total)',
        'days_since(last("Order Completed")) > 60',
        'first("Order Completed").coupon == "WELCOME"',
        'last("Order Completed").context.page.url != null',
        "rfm.recency >= 4 and rfm.segment == 'champions'",
        "trigger.price < 50000 and event.sku == profile.favourite",
    ],
)
def test_what_marketers_write_is_exact(text: str) -> None:
    assert _sql(text).exact


@pytest.mark.parametrize(
    "text",
    [
        r'matches(profile.name, "\bann")',
        r'matches(profile.name, "(?i)ann")',
        r'matches(profile.name, "a{300}")',
        r'matches(profile.name, "\p{Hangul}")',
        r'profile.a == 1 or not matches(profile.name, "(?i)ann")',
        r'count("A", where=matches(e.x, "(?i)ann")) > 3',
        "(now - profile.x) / 2 > '1d'",
        "profile.x == " + "+".join(["profile.x"] * 40),
    ],
)
def test_what_sql_cannot_answer_is_widened(text: str) -> None:
    found = _sql(text)
    assert not found.exact
    assert str(found.where) == "true"


def test_a_part_that_is_widened_leaves_the_other_parts_in_force() -> None:
    text, _ = _written(r'profile.tier == "gold" and matches(profile.name, "(?i)ann")')
    assert "traits ->" in text
    text, _ = _written(r'not (profile.tier == "gold" or matches(profile.name, "(?i)ann"))')
    assert "traits ->" in text


def test_nothing_that_is_written_stands_in_the_sql() -> None:
    text, arguments = _written(
        """profile["x'y"] == "it's; DROP TABLE" or did("O'Brien") or matches(profile.z, "o'c")"""
    )
    assert "DROP" not in text
    assert "x'y" not in text
    assert "O'Brien" not in text
    assert "o'c" not in text
    assert {"x'y", '"it\'s; DROP TABLE"', "O'Brien"} <= set(map(str, arguments))


def test_a_segment_stands_where_it_is_named() -> None:
    found = _sql('in_segment("vip") and not in_segment("new")', vip="profile.ltv > 5", new="1 < 2")
    assert found.exact
    assert "ltv" in prepared(sa.select(found.where))[1]


def test_segments_that_lead_back_to_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="made of itself"):
        _sql('in_segment("a")', a='in_segment("b")', b='not in_segment("a")')


def test_deep_and_wide_conditions_stay_small_enough_to_be_sent() -> None:
    deep = "profile.x"
    for _ in range(45):
        deep = f"({deep} + profile.y)"
    wide = " or ".join(f"profile.a{n} == {n}" for n in range(150))
    for text in (f"{deep} == 1", f"not ({wide})", "not " * 45 + "profile.x == 1"):
        written, arguments = _written(text)
        assert len(written) < 200_000
        assert len(arguments) < 2_000


@pytest.mark.parametrize("text", ["\\u0000", "\x00"])
def test_what_postgresql_cannot_hold_is_left_to_the_closure(text: str) -> None:
    node = parse(f'profile.x == "{text}"')
    if isinstance(node, Mistake):
        return
    prepared(sa.select(condition_sql(node, now=sa.func.now(), segments={}).where))
