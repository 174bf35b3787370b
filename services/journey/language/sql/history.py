"""Functions over the history, as aggregates of a customer's rows in `history`.

Order, `first` and `last` go by the client's corrected time, on a tie by the log's stamp. What one
append brought together in the same instant goes by the place in the table: the order of arrival,
until rows that were let go make room for new ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by

from services.journey.language.expressions.syntax import Call, Constant, Node
from services.journey.language.sql.kinds import (
    Column,
    Condition,
    Happening,
    Inexact,
    Value,
    is_kind,
    is_null,
    of_json,
)
from services.journey.language.sql.operators import by_code_point
from services.journey.language.sql.row import Row
from shared.db.tables import history
from shared.event import HAPPENINGS
from shared.workspace import parse_duration

SKEW = timedelta(days=1)
"""Nothing happens after its receipt, but the two are read off different clocks."""

Counted = Callable[[Node, Happening], Condition]
"""The condition of `where=`, for one event."""


@dataclass(frozen=True, slots=True)
class Past:
    """What one call asks about: events of a name, in a window, under a condition."""

    function: str
    event: str
    window: timedelta | None
    where: Node | None

    @classmethod
    def of(cls, call: Call) -> "Past":
        name, within = call.arguments[0], call.argument("within")
        assert isinstance(name, Constant)
        window = parse_duration(within.value) if isinstance(within, Constant) else None
        return cls(call.function, str(name.value), window, call.argument("where"))


class Histories(Protocol):
    def did(self, past: Past, counted: Counted) -> Condition: ...

    def value(
        self, past: Past, counted: Counted, of: Callable[[Happening], Value] | None
    ) -> Value: ...


class Correlated:
    """One subquery a call, for each customer: for few customers, and for `did`, which PostgreSQL
    turns into a semi-join."""

    def __init__(self, row: Row, now: Column) -> None:
        self._row = row
        self._now = now
        self._names = 0

    def did(self, past: Past, counted: Counted) -> Condition:
        return sa.exists(self._select(past, counted, lambda *_: sa.literal_column("1")))

    def value(self, past: Past, counted: Counted, of: Callable[[Happening], Value] | None) -> Value:
        def aggregate(make: Callable[[Any, Happening], Column]) -> Column:
            return self._select(past, counted, make).scalar_subquery()

        return aggregated(past, of, aggregate)

    def _select(
        self, past: Past, counted: Counted, make: Callable[[Any, Happening], Column]
    ) -> sa.Select[Any]:
        self._names += 1
        rows = history.alias(f"h{self._names}")
        return (
            sa.select(make(rows, happening(rows, past.event)))
            .select_from(rows)
            .correlate_except(rows)
            .where(
                rows.c.partition == self._row.partition,
                rows.c.customer == self._row.id,
                *conditions(rows, past, counted, self._now),
            )
        )


def happening(rows: Any, name: str) -> Happening:
    return Happening(
        name,
        properties=_part(rows, "properties"),
        context=sa.func.coalesce(_part(rows, "context"), sa.literal_column("'{}'::jsonb")),
        at=rows.c.happened_at,
    )


def _part(rows: Any, name: str) -> Column:
    if name in rows.c:
        part: Column = rows.c[name]  # taken out of the event once a row
        return part
    event: Column = rows.c.event
    return event.op("->", return_type=JSONB())(sa.literal_column(f"'{name}'"))


def conditions(rows: Any, past: Past, counted: Counted, now: Column) -> list[Condition]:
    kinds: list[Any] = [sa.literal_column(f"'{kind}'") for kind in sorted(HAPPENINGS)]
    found: list[Any] = [rows.c.kind.in_(kinds), rows.c.name == past.event]
    if past.window is not None:
        found.append(rows.c.happened_at > now - elapsed(past.window))
        found.append(rows.c.received_at > now - elapsed(past.window + SKEW))
    if past.where is not None:
        found.append(counted(past.where, happening(rows, past.event)))
    return found


def elapsed(length: timedelta) -> Column:
    """Elapsed time: an interval in days would follow the session's time zone."""
    seconds = str(length // timedelta(seconds=1))
    return sa.literal_column(f"make_interval(secs => {seconds})")


# Aggregates ----------------------------------------------------------------------------------

Aggregate = Callable[[Callable[[Any, Happening], Column]], Column]
"""Makes the column of an aggregate over the rows that are asked about."""


def aggregated(past: Past, of: Callable[[Happening], Value] | None, aggregate: Aggregate) -> Value:
    """The value of any history function but `did`."""
    if past.function == "count":
        counted = aggregate(lambda *_: sa.func.count())
        return Value(number=sa.cast(counted, sa.Numeric), nullable=False)
    if past.function in ("first", "last"):
        return _one(past, aggregate)
    assert of is not None
    weight = 10
    if past.function in ("min", "max"):
        return _extreme(past.function, of, aggregate)

    def number(event: Happening) -> Column:
        return _of_rows(event, _number(of(event)))

    if past.function == "sum":
        total = aggregate(lambda _, event: _total(number(event)))
        return Value(number=total, weight=weight)
    average = aggregate(
        lambda _, event: _divided(sa.func.sum(number(event)), sa.func.count(number(event)))
    )
    return Value(number=average, weight=weight)


def _of_rows(event: Happening, column: Column) -> Column:
    """As a column of these rows: an aggregate of outer columns alone would be the outer query's."""
    return sa.case((event.at.is_not(None), column))


def _total(number: Column) -> Column:
    nothing: Column = sa.literal_column("0::numeric")
    added = sa.func.sum(number)
    total = sa.func.dangol_arithmetic(sa.literal_column("'+'"), nothing, added, type_=sa.Numeric)
    return sa.case((added.is_(None), nothing), else_=total)


def _divided(total: Column, count: Column) -> Column:
    return sa.func.dangol_arithmetic(
        sa.literal_column("'/'"), total, sa.cast(count, sa.Numeric), type_=sa.Numeric
    )


def _ordered(rows: Any, column: Column, *, backwards: bool) -> Column:
    """The column of the first row, or of the last."""
    place: tuple[Column, ...] = (
        rows.c.happened_at,
        rows.c.received_at,
        sa.literal_column(f"{rows.name}.ctid"),
    )
    order = [each.desc() if backwards else each.asc() for each in place]
    return sa.func.array_agg(aggregate_order_by(column, *order), type_=ARRAY(column.type))


def _one(past: Past, aggregate: Aggregate) -> Value:
    last = past.function == "last"
    extreme = sa.func.max if last else sa.func.min
    at = aggregate(lambda rows, _: extreme(rows.c.happened_at))

    def part(name: str) -> Column:
        return aggregate(lambda rows, _: _ordered(rows, _part(rows, name), backwards=last)[1])

    empty: Column = sa.literal_column("'{}'::jsonb")
    context = sa.case((at.is_not(None), sa.func.coalesce(part("context"), empty)))
    event = Happening(past.event, part("properties"), context, at)
    return Value(event=event, weight=10)


def _extreme(function: str, of: Callable[[Happening], Value], aggregate: Aggregate) -> Value:
    """The least or greatest of what compares with the first value that is there."""
    fold = sa.func.min if function == "min" else sa.func.max

    def least(make: Callable[[Value], Column]) -> Column:
        return aggregate(lambda _, event: fold(_of_rows(event, make(of(event)))))

    def first(rows: Any, event: Happening) -> Column:
        value = of(event)
        if value.raw is None:
            raise Inexact
        there = sa.not_(is_null(value))
        ordered = _ordered(rows, value.raw, backwards=False)
        return ordered.filter(there)[1]  # type: ignore[no-any-return]

    try:
        return Value(number=least(_only_number), weight=10)
    except Inexact:
        whole = of_json(aggregate(first))
    assert whole.raw is not None
    number, text = least(_number), least(_text)
    return Value(
        number=sa.case((is_kind(whole.raw, "number"), number)),
        text=sa.case((is_kind(whole.raw, "string"), text)),
        boolean=whole.boolean,
        json=whole.json,
        weight=30,
    )


def _number(value: Value) -> Column:
    return sa.cast(sa.null(), sa.Numeric) if value.number is None else value.number


def _text(value: Value) -> Column:
    return by_code_point(sa.cast(sa.null(), sa.Text) if value.text is None else value.text)


def _only_number(value: Value) -> Column:
    if value.number is None or len(value.columns) > 1:
        raise Inexact
    return value.number
