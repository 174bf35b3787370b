"""Texts of a customer's that spell instants, read once a customer however many conditions ask.

Reading one takes longer than everything else that a condition does, and PostgreSQL would do it
again for each condition and each instant that it is asked at.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors

from services.journey.language.sql.kinds import Condition
from shared.db.tables import customers

_DEAR = frozenset({"dangol_instant", "dangol_duration"})
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def read_once(
    statement: sa.Select[Any], wheres: Sequence[Condition]
) -> tuple[sa.Select[Any], list[Condition]]:
    """The select from `customers` with a row beside it for what the conditions read, and the
    conditions with that in the place of their own reading."""
    calls = {_text(call): call for where in wheres for call in _calls_in(where)}
    if not calls:
        return statement, list(wheres)
    labels = {text: f"c{number}" for number, text in enumerate(calls, 1)}
    columns = [call.label(labels[text]) for text, call in calls.items()]
    # OFFSET 0 keeps PostgreSQL from putting the calls back where they were.
    row = sa.select(*columns).correlate(customers).offset(sa.literal_column("0")).lateral("once")

    def column(element: Any, **_: Any) -> Any:
        return row.c[labels[_text(element)]] if _is_dear(element) else None

    joined = statement.join_from(statement.get_final_froms()[0], row, sa.true())
    return joined, [visitors.replacement_traverse(where, {}, column) for where in wheres]


def _calls_in(where: Condition) -> Iterator[Any]:
    return (element for element in visitors.iterate(where) if _is_dear(element))


def _text(call: Any) -> str:
    return str(call.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def _is_dear(element: Any) -> bool:
    return (
        isinstance(element, sa.sql.functions.Function)
        and element.name in _DEAR
        and _is_customers(element)
    )


def _is_customers(call: Any) -> bool:
    """Whether it reads nothing but columns of the customer."""
    columns = [
        element
        for element in visitors.iterate(call)
        if isinstance(element, sa.ColumnClause) and element.table is not None
    ]
    return bool(columns) and all(column.table is customers for column in columns)
