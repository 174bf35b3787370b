"""How many customers of one partition each segment has, in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.journey.language.expressions import Node
from services.journey.language.sql.compiler import Compiler
from services.journey.language.sql.grouped import Grouped
from services.journey.language.sql.row import Row
from services.journey.language.sql.statements import prepared
from shared.db.tables import Instant, customers


@dataclass(frozen=True, slots=True)
class Count:
    text: str
    """Its one row has a number for each segment, in the order of `segments`."""
    arguments: tuple[Any, ...]
    segments: tuple[str, ...]
    inexact: frozenset[str]
    """Those of which SQL may count too many, never too few."""


def count_members(nodes: Mapping[str, Node], partition: int, now: datetime) -> Count:
    row, at = Row.of(), sa.literal(now, Instant)
    grouped = Grouped(row, [partition])
    wheres = []
    inexact: set[str] = set()
    for name, node in nodes.items():
        compiler = Compiler(row, at, nodes, None, grouped.at(now))
        wheres.append(compiler.holds(node, widen=True))
        if not compiler.exact:
            inexact.add(name)
    columns: list[Any] = [
        sa.func.count().filter(where).label(f"n{place}") for place, where in enumerate(wheres)
    ]
    asked: sa.Select[Any] = sa.select(*columns).where(
        customers.c.partition == partition, customers.c.forwarded_to.is_(None)
    )
    if not columns:
        asked = sa.select(sa.literal(0))
    text, arguments = prepared(grouped.joined(asked, wheres))
    return Count(text, tuple(arguments), tuple(nodes), frozenset(inexact))
