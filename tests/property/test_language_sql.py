"""A condition in SQL answers what its closure answers, on a real PostgreSQL, for any customers."""

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple, TypeVar

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.journey.core import history
from services.journey.core.flow import Moment, Scope
from services.journey.core.state import Customer, State
from services.journey.language.expressions import Mistake, Node, check, expression, parse
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.history import needs
from services.journey.language.sql import condition_sql
from services.journey.language.sql.compiler import Compiler
from services.journey.language.sql.grouped import Grouped
from services.journey.language.sql.row import Row
from services.journey.language.sql.statements import prepared
from shared.db.connect import _prepare
from shared.db.tables import Instant, customers
from shared.rfm import Score
from tests.conftest import database_url
from tests.property.language_conditions import (
    CUSTOMERS,
    FIELDS,
    HUGE_FIELDS,
    NOW,
    SEGMENTS,
    TEXT_POOL,
    Happened,
    conditions,
    shapes,
)

Answer = TypeVar("Answer")
AUDIENCE = contexts.of_audience()


class Condition(NamedTuple):
    text: str
    where: sa.ColumnElement[bool]
    exact: bool


Person = tuple[dict[str, Any], list[Happened]]
People = list[Person]


class Server:
    """One connection to one database, driven from tests that are not asynchronous."""

    def __init__(self, postgres: str) -> None:
        self._runner = asyncio.Runner()
        self._postgres = postgres
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)

    async def _open(self) -> None:
        await self._admin("CREATE DATABASE sql_language TEMPLATE dangol_template")
        self.connection = await asyncpg.connect(
            database_url(self._postgres, "sql_language"), server_settings={"jit": "off"}
        )
        await _prepare(self.connection)

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres)
        await connection.execute(statement)
        await connection.close()

    def close(self) -> None:
        self.run(self.connection.close())
        self.run(self._admin("DROP DATABASE sql_language WITH (FORCE)"))
        self._runner.close()

    async def answers(
        self, people: People, asked: Sequence[Condition], grouped: Grouped | None = None
    ) -> list[list[bool]]:
        """By customer, what PostgreSQL says of each condition; nothing of them is kept."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            await self._insert(people)
            columns = [each.where.label(f"c{place}") for place, each in enumerate(asked)]
            statement = sa.select(customers.c.id, *columns).order_by(customers.c.id)
            if grouped is not None:
                statement = grouped.joined(statement, [each.where for each in asked])
            text, arguments = prepared(statement)
            rows = await self.connection.fetch(text, *arguments)
            assert len(rows) == len(people)
            return [list(row.values())[1:] for row in rows]
        finally:
            await transaction.rollback()

    async def stored(self, people: People) -> People:
        """The same as PostgreSQL gives it back, which is what the engine decides by."""
        found = await self.connection.fetchval("SELECT $1::jsonb", people)
        return [
            (
                traits,
                [Happened(name, datetime.fromisoformat(at), *rest) for name, at, *rest in past],
            )
            for traits, past in found
        ]

    async def _insert(self, people: People) -> None:
        await self.connection.copy_records_to_table(
            "customers",
            records=[
                (1, f"u{n:03}", traits, b"", _score(events))
                for n, (traits, events) in enumerate(people)
            ],
            columns=("partition", "id", "traits", "state", "rfm"),
        )
        await self.connection.copy_records_to_table(
            "history",
            records=[
                (1, f"u{n:03}", NOW + place * timedelta(microseconds=1), str(place), "track",
                 past.name, past.at, _event(past))
                for n, (_, events) in enumerate(people)
                for place, past in enumerate(events)  # each with a stamp of its own: in this order
            ],
            columns=("partition", "customer", "received_at", "id", "kind", "name", "happened_at",
                     "event"),
        )  # fmt: skip


def _score(events: Sequence[Happened]) -> Score | None:
    """Of customers with a history; the fewest events have no amounts."""
    number = min(len(events), 5)
    return (
        Score(number, 6 - number, "loyal", NOW, number if number > 1 else None) if events else None
    )


def _event(past: Happened) -> dict[str, Any]:
    parts = {"properties": past.properties, "context": past.context}
    return {name: part for name, part in parts.items() if part}


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[Server]:
    server = Server(postgres)
    yield server
    server.close()


def _nodes() -> dict[str, Node]:
    nodes = {name: parse(text) for name, text in SEGMENTS.items()}
    return {name: node for name, node in nodes.items() if not isinstance(node, Mistake)}


def _condition(text: str, trigger: Moment) -> Condition | None:
    node = parse(text)
    if isinstance(node, Mistake) or check(node, AUDIENCE):
        return None
    now = sa.literal(NOW, Instant)
    found = condition_sql(node, now=now, segments=_nodes(), trigger=trigger)
    return Condition(text, found.where, found.exact)


def _in_one_pass(text: str, trigger: Moment, grouped: Grouped) -> Condition | None:
    node = parse(text)
    if isinstance(node, Mistake) or check(node, AUDIENCE):
        return None
    now = sa.literal(NOW, Instant)
    compiler = Compiler(grouped.row, now, _nodes(), trigger, grouped.at(NOW))
    return Condition(text, compiler.holds(node, widen=True), compiler.exact)


def _holds(condition: Condition, person: Person, trigger: Moment) -> bool:
    """By the engine's way: the history filled from the table, as far as the condition needs it."""
    traits, events = person
    node = parse(_inlined(condition.text))
    assert not isinstance(node, Mistake)
    wanted = history.Needs(needs(node))
    rows = [(past.name, past.at, past.properties, past.context) for past in events]
    customer = history.fill(Customer("u", traits, State()), wanted, rows, NOW)
    past = {**customer.state.history, **customer.loaded}
    scope = Scope(NOW, traits, trigger, trigger, past, rfm=_score(events))
    return expression(condition.text, node).holds(scope)


def _inlined(text: str) -> str:
    """With the conditions of segments in the place of their names."""
    for name in reversed(SEGMENTS):
        text = text.replace(f'in_segment("{name}")', f"({SEGMENTS[name]})")
    return text


_SETTINGS = settings(
    max_examples=int(os.environ.get("EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(st.lists(HUGE_FIELDS, min_size=1, max_size=4), st.lists(conditions(), min_size=6))
@settings(_SETTINGS, max_examples=int(os.environ.get("EXAMPLES", "60")) // 3)
def test_huge_numbers_do_no_harm(server: Server, traits: list[Any], texts: list[str]) -> None:
    """Past 64 bits JSON no longer says whether a number is whole, but nothing may fail."""
    trigger = Moment("Product Restocked", {})
    asked = [found for text in texts if (found := _condition(text, trigger)) is not None]
    server.run(server.answers([(each, []) for each in traits], asked))


@given(CUSTOMERS, st.lists(conditions(), min_size=6, max_size=12), FIELDS)
@_SETTINGS
def test_sql_answers_what_the_closure_answers(
    server: Server, people: People, texts: list[str], properties: dict[str, Any]
) -> None:
    trigger = Moment("Product Restocked", properties)
    asked = [found for text in texts if (found := _condition(text, trigger)) is not None]
    if not asked:
        return
    _compare(server, people, asked, trigger)


@given(CUSTOMERS, st.lists(conditions(), min_size=6, max_size=12), FIELDS)
@_SETTINGS
def test_one_pass_over_the_history_answers_the_same(
    server: Server, people: People, texts: list[str], properties: dict[str, Any]
) -> None:
    trigger = Moment("Product Restocked", properties)
    grouped = Grouped(Row.of(), [1])
    found = [_in_one_pass(text, trigger, grouped) for text in texts]
    asked = [each for each in found if each is not None]
    if asked:
        _compare(server, people, asked, trigger, grouped)


def _compare(
    server: Server,
    people: People,
    asked: Sequence[Condition],
    trigger: Moment,
    grouped: Grouped | None = None,
) -> None:
    answers = server.run(server.answers(people, asked, grouped))
    stored = server.run(server.stored(people))
    for person, answered in zip(stored, answers, strict=True):
        for condition, holds in zip(asked, answered, strict=True):
            event(f"exact: {condition.exact}")
            wanted = _holds(condition, person, trigger)
            assert holds is wanted or (holds and not condition.exact), condition.text


_AMOUNTS = [*range(-2, 8), 0.1, 0.2, 0.3, 0.5, 2.5, 5.0, 0.6, 1e17, 2**53 + 1, 2**62]

_LIKELY: list[Any] = [
    5,
    5.0,
    0.3,
    "gold",
    "5",
    "2026-03-02",
    "7d",
    "",
    True,
    "A1",
    [5],
    [[5]],
    {"b": 5},
]


def _made(random: Random, depth: int = 2) -> Any:
    """A value of any kind, alike often enough to be equal."""
    if random.random() < 0.4:
        return random.choice(_LIKELY)
    kind = random.randrange(9 if depth else 6)
    if kind <= 2:
        return random.choice(_AMOUNTS)
    if kind <= 4:
        return random.choice(TEXT_POOL)
    if kind == 5:
        return random.choice([None, True, False])
    if kind == 6:
        return {key: _made(random, depth - 1) for key in random.sample("abc0", 2)}
    return [_made(random, depth - 1) for _ in range(random.randrange(4))]


def _person(random: Random) -> Person:
    def fields() -> dict[str, Any]:
        return {key: _made(random) for key in random.sample("abc0", random.randrange(5))}

    ages = [0, 1, 3_600, 86_399, 86_400, 86_401, 7 * 86_400, 40 * 86_400]
    events = [
        Happened(random.choice("AAB"), NOW - timedelta(seconds=random.choice(ages)), *parts)
        for parts in [(fields(), fields()) for _ in range(random.choice([0, 2, 6]))]
    ]
    return fields(), events


@pytest.mark.parametrize("part", range(8))
def test_every_operator_and_function_on_many_customers(server: Server, part: int) -> None:
    random = Random(part)
    trigger = Moment("Product Restocked", {"a": _made(random)})
    people = [_person(random) for _ in range(40)]
    every = [_condition(text, trigger) for text in shapes()[part::8]]
    asked = [each for each in every if each is not None]
    assert not [each.text for each in asked if not each.exact and "= [now]" not in each.text]
    answers = server.run(server.answers(people, asked))
    grouped = Grouped(Row.of(), [1])
    found = [_in_one_pass(each.text, trigger, grouped) for each in asked]
    together = [each for each in found if each is not None]
    for one, other in zip(
        server.run(server.answers(people, together, grouped)), answers, strict=True
    ):
        pairs = zip(asked, one, other, strict=True)
        assert not [each.text for each, a, b in pairs if a is not b]
    stored = server.run(server.stored(people))
    seen = set()
    for person, answered in zip(stored, answers, strict=True):
        for condition, holds in zip(asked, answered, strict=True):
            wanted = _holds(condition, person, trigger)
            assert holds is wanted or (holds and not condition.exact), (condition.text, person)
            seen.add((condition.text, holds))
    assert len(seen) > 1.4 * len(asked)  # most of them tell customers apart
