"""The statement of a sweep: which customers of some partitions are not where journeys think.

Each journey that watches a segment knows of a customer what `customers.members` says; of customers
it has no record of, the condition at the baseline tells (see core/segments.py). Where the condition
is not what is known now, time has changed it, and the customer must be looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.journey.core.book import Watch
from services.journey.language.expressions import Node
from services.journey.language.sql.compiler import Compiler
from services.journey.language.sql.grouped import Grouped
from services.journey.language.sql.kinds import Column, Condition
from services.journey.language.sql.once import read_once
from services.journey.language.sql.row import Row
from services.journey.language.sql.statements import prepared
from shared.db.tables import Instant, customers


@dataclass(frozen=True, slots=True)
class Sweep:
    text: str
    arguments: tuple[object, ...]
    exact: bool
    """False: it may find too many, never too few; the conditions themselves have to tell."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """A condition between two others: it holds wherever `surely` does, and at most where `maybe`
    does. Both are the same where SQL is exact."""

    surely: Condition
    maybe: Condition


def sweep(
    watches: Sequence[Watch],
    nodes: Mapping[str, Node],
    partitions: Sequence[int],
    now: datetime,
    most: int,
) -> Sweep:
    """Partition and id of at most `most` customers."""
    row = Row.of()
    grouped = Grouped(row, partitions)
    conditions = _Conditions(row, nodes, grouped)
    wheres = [_differs(watch, conditions, now) for watch in watches]
    everybody: sa.Select[tuple[int, str]] = sa.select(customers.c.partition, customers.c.id)
    asked, wheres = read_once(grouped.joined(everybody, wheres), wheres)
    asked = asked.where(
        customers.c.partition.in_(list(partitions)),
        customers.c.forwarded_to.is_(None),
        sa.or_(sa.false(), *wheres),
    )
    text, arguments = prepared(asked.limit(most))
    return Sweep(text, tuple(arguments), conditions.exact)


class _Conditions:
    """Each segment at each instant, compiled once."""

    def __init__(self, row: Row, nodes: Mapping[str, Node], grouped: Grouped) -> None:
        self.exact = True
        self._row = row
        self._nodes = nodes
        self._grouped = grouped
        self._made: dict[tuple[str, datetime], _Bounds] = {}

    def at(self, segment: str, at: datetime) -> _Bounds:
        if (segment, at) not in self._made:
            self._made[segment, at] = self._bounds(self._nodes[segment], at)
        return self._made[segment, at]

    def _bounds(self, node: Node, at: datetime) -> _Bounds:
        now = sa.literal(at, Instant)
        compiler = Compiler(self._row, now, self._nodes, None, self._grouped.at(at))
        maybe = compiler.holds(node, widen=True)
        if compiler.exact:
            return _Bounds(maybe, maybe)
        self.exact = False
        return _Bounds(compiler.holds(node, widen=False), maybe)


def _differs(watch: Watch, conditions: _Conditions, now: datetime) -> Condition:
    known: Column = customers.c.members.op("->", return_type=JSONB())(watch.flow.journey)
    baseline = sa.cast(known.op("->", return_type=JSONB())(sa.literal_column("0")), sa.BigInteger)
    inside = sa.cast(known.op("->", return_type=JSONB())(sa.literal_column("1")), sa.Boolean)
    mine = sa.literal(watch.baseline, sa.BigInteger)
    here = conditions.at(watch.segment.name, now)
    before = conditions.at(watch.segment.name, watch.since)
    return sa.case(
        (baseline == mine, _unlike(inside, inside, here)),
        (baseline > mine, sa.false()),
        else_=_unlike(before.surely, before.maybe, here),
    )


def _unlike(surely: Condition, maybe: Condition, here: _Bounds) -> Condition:
    if surely is maybe and here.surely is here.maybe:
        return surely != here.maybe
    return sa.or_(
        sa.and_(here.maybe, sa.not_(surely)),
        sa.and_(maybe, sa.not_(here.surely)),
    )
