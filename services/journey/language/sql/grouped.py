"""Functions over the history as columns of one pass over it: for conditions on all customers.

A subquery for each customer and each call would go through an index millions of times. Here all
calls of all conditions are aggregates of one grouped select, which the customers are joined to:

    grouped = Grouped(row, partitions)
    wheres = [Compiler(…, grouped.at(now)).holds(node) for node in nodes]
    statement = grouped.joined(sa.select(customers.c.id), wheres)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import visitors

from services.journey.language.sql.history import (
    SKEW,
    Correlated,
    Counted,
    Past,
    aggregated,
    happening,
)
from services.journey.language.sql.kinds import Column, Condition, Happening, Value
from services.journey.language.sql.row import Row
from shared.db.tables import Instant, customers, history
from shared.event import HAPPENINGS

_NAME, _ROWS = "past", "happened"
_KEPT = ("partition", "customer", "name", "happened_at", "received_at")
_PARTS = ("properties", "context")
_AGGREGATES = frozenset({"count", "sum", "min", "max", "array_agg"})


@dataclass(frozen=True, slots=True)
class _Aggregate:
    column: Column
    event: str
    since: datetime | None
    """The instant of receipt up to which nothing matters; None: all of the history may."""


class Grouped:
    """The pass over some partitions' history; the customers are those of the table itself."""

    def __init__(self, row: Row, partitions: Sequence[int]) -> None:
        self.row = row
        self.rows = sa.table(
            _ROWS,
            *(sa.column(name, history.c[name].type) for name in _KEPT),
            *(sa.column(name, JSONB) for name in _PARTS),
        )
        self.inside = False
        """Whether the condition on one event is being compiled: it cannot ask the pass."""
        self._partitions = list(partitions)
        self._aggregates: dict[str, _Aggregate] = {}
        self._table = sa.table(
            _NAME, sa.column("partition", sa.Integer), sa.column("customer", sa.Text)
        )

    def at(self, now: datetime) -> "GroupedAt":
        """The functions as of an instant."""
        return GroupedAt(self, now)

    def add(self, column: Column, nothing: Column, past: Past, now: datetime) -> Column:
        """An aggregate of the pass, as the joined customer sees it; `nothing` is its value for
        customers without a row."""
        name = f"a{len(self._aggregates) + 1}"
        since = None if past.window is None else now - past.window - SKEW
        self._aggregates[name] = _Aggregate(column, past.event, since)
        found: Column = sa.ColumnClause(name, column.type, _selectable=self._table)
        return sa.case((self._table.c.customer.is_(None), nothing), else_=found)

    @contextmanager
    def one_event(self) -> Iterator[None]:
        outer, self.inside = self.inside, True
        try:
            yield
        finally:
            self.inside = outer

    def joined(self, statement: sa.Select[Any], wheres: Iterable[Condition]) -> sa.Select[Any]:
        """The select from `customers` with the pass beside it, as far as the conditions use it."""
        used = {
            element.name: self._aggregates[element.name]
            for where in wheres
            for element in visitors.iterate(where)
            if isinstance(element, sa.ColumnClause)
            and element.table is self._table
            and element.name in self._aggregates
        }
        if not used:
            return statement
        past = self._table.c
        same = (past.partition == customers.c.partition, past.customer == customers.c.id)
        return statement.add_cte(self._happened(used), self._pass(used)).select_from(
            customers.outerjoin(self._table, sa.and_(*same))
        )

    def _happened(self, used: dict[str, _Aggregate]) -> sa.CTE:
        """The rows of the pass, with no more of each event than is asked of."""
        rows = history.alias("h")
        asked: list[Any] = [
            rows.c.partition.in_(self._partitions),
            rows.c.kind.in_([sa.literal_column(f"'{kind}'") for kind in sorted(HAPPENINGS)]),
            rows.c.name.in_(sorted({aggregate.event for aggregate in used.values()})),
        ]
        sinces = [a.since for a in used.values() if a.since is not None]
        if len(sinces) == len(used):
            asked.append(rows.c.received_at > sa.literal(min(sinces), Instant))
        event = rows.c.event
        parts = [
            event.op("->", return_type=JSONB())(sa.literal_column(f"'{name}'")).label(name)
            for name in _PARTS
        ]
        kept = [rows.c[name] for name in _KEPT]
        place: Any = sa.literal_column("h.ctid").label("ctid")
        found = sa.select(*kept, place, *parts).where(*asked)
        # OFFSET 0: the parts are taken out here, before whole events would have to be sorted.
        found = found.offset(sa.literal_column("0"))
        return found.cte(_ROWS).prefix_with("NOT MATERIALIZED")

    def _pass(self, used: dict[str, _Aggregate]) -> sa.CTE:
        rows = self.rows
        columns = [aggregate.column.label(name) for name, aggregate in used.items()]
        whose = (rows.c.partition, rows.c.customer)
        found = sa.select(*whose, *columns).group_by(*whose)
        if any(_names_customers(column) for column in columns):
            same = (rows.c.partition == customers.c.partition, rows.c.customer == customers.c.id)
            return found.select_from(rows.join(customers, sa.and_(*same))).cte(_NAME)
        return found.select_from(rows).cte(_NAME)


class GroupedAt:
    """Implements `Histories`."""

    def __init__(self, whole: Grouped, now: datetime) -> None:
        self._whole = whole
        self._now = now
        self._each = Correlated(whole.row, sa.literal(now, Instant))

    def did(self, past: Past, counted: Counted) -> Condition:
        if self._whole.inside:
            return self._each.did(past, counted)
        return self._aggregate(past, counted, lambda *_: sa.func.count()) > sa.literal_column("0")

    def value(self, past: Past, counted: Counted, of: Callable[[Happening], Value] | None) -> Value:
        if self._whole.inside:
            return self._each.value(past, counted, of)
        return aggregated(past, of, lambda make: self._aggregate(past, counted, make))

    def _aggregate(
        self, past: Past, counted: Counted, make: Callable[[Any, Happening], Column]
    ) -> Column:
        whole, rows = self._whole, self._whole.rows
        with whole.one_event():
            column = make(rows, happening(rows, past.event))
            asked = self._conditions(past, counted)
        empty = sa.select(column).select_from(rows).where(sa.false()).correlate_except(rows)
        return whole.add(_filtered(column, asked), empty.scalar_subquery(), past, self._now)

    def _conditions(self, past: Past, counted: Counted) -> list[Condition]:
        """What is asked of each row of the pass, for each aggregate: so as little as can be."""
        rows = self._whole.rows
        found: list[Any] = [rows.c.name == past.event]
        if past.window is not None:
            found.append(rows.c.happened_at > sa.literal(self._now - past.window, Instant))
        if past.where is not None:
            found.append(counted(past.where, happening(rows, past.event)))
        return found


def _filtered(column: Column, asked: Iterable[Condition]) -> Column:
    """The expression with each aggregate in it over some of the rows only."""
    asked = tuple(asked)

    def narrow(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.FunctionFilter) or (
            isinstance(element, sa.sql.functions.FunctionElement) and _name(element) in _AGGREGATES
        ):
            return element.filter(*asked)
        return None

    return visitors.replacement_traverse(column, {}, narrow)


def _name(function: Any) -> str:
    return str(getattr(function, "name", ""))


def _names_customers(column: Column) -> bool:
    return any(
        isinstance(element, sa.Column) and element.table is customers
        for element in visitors.iterate(column)
    )
