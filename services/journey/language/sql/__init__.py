"""Conditions as SQL over all customers, compiled from the same checked tree as the closures.

found = condition_sql(node, now=sa.literal(now, Instant), segments=nodes)
select(customers.c.id).where(found.where)       # if found.exact: look no further

The SQL answers what the closure answers, for whatever traits and history hold, and never fails at
run time. Where that is not possible (`exact` is false), `where` holds for at least everybody for
whom the closure does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.journey.core.flow import Moment
from services.journey.language.expressions import Node
from services.journey.language.sql.compiler import Compiler
from services.journey.language.sql.history import Correlated
from services.journey.language.sql.kinds import Condition
from services.journey.language.sql.row import Row

__all__ = ["SqlCondition", "condition_sql"]


@dataclass(frozen=True, slots=True)
class SqlCondition:
    where: Condition
    """True or false for each row of `customers`, never NULL."""
    exact: bool
    """False: `where` may hold for more customers than the condition does; test those by closure."""


def condition_sql(
    node: Node,
    *,
    now: sa.ColumnElement[Any],
    segments: Mapping[str, Node],
    trigger: Moment | None = None,
    table: sa.FromClause | None = None,
) -> SqlCondition:
    """`now` is a timestamptz; `segments` are the nodes that in_segment(…) may name; `trigger` is
    what `trigger` and `event` stand for; `table` is an alias of `customers`, or that itself."""
    row = Row.of() if table is None else Row.of(table)
    compiler = Compiler(row, now, segments, trigger, Correlated(row, now))
    where = compiler.holds(node, widen=True)
    return SqlCondition(where, compiler.exact)
