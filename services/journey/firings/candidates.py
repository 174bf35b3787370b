"""Whom a firing may mean, asked of the database.

At least everybody whom the core will find to be meant, since it decides again, customer by
customer; and hardly anybody else where the condition can be compiled to SQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from services.journey.core.anniversaries import is_day
from services.journey.core.flow import Audience, Flow, OnDate, Schedule, Segment
from services.journey.firings.rows import Open
from services.journey.language.expressions import Node, Path
from services.journey.language.sql import condition_sql
from services.journey.language.sql.statements import prepared
from shared.db.tables import Instant, customers
from shared.local_time import known_zones

_PLACES: Mapping[str, Any] = {"partition": 0, "after": "", "until": "", "most": 0}
_DAY_SHAPE = r"^\d{4}-\d{2}-\d{2}$"


@dataclass(frozen=True, slots=True)
class Statement:
    """Selects ids in order, of one partition, in (after, until]."""

    text: str
    _parameters: tuple[Any, ...]

    def parameters(self, **places: Any) -> list[Any]:
        """`partition`, `after`, `until` (ids) and `most`, a number of customers."""
        return [places[p.name] if isinstance(p, _Place) else p for p in self._parameters]


@dataclass(frozen=True, slots=True)
class _Place:
    """Stands for a parameter that is given later."""

    name: str


def statement(found: Open, flow: Flow, segments: Mapping[str, Segment]) -> Statement:
    """The condition is judged at the moment at which the firing came to be."""
    places = {
        name: sa.bindparam(name, _Place(name), type_=sa.Text() if name in _IDS else sa.Integer())
        for name in _PLACES
    }
    query = (
        sa.select(customers.c.id)
        .where(
            customers.c.partition == places["partition"],
            customers.c.id > places["after"],
            customers.c.id <= places["until"],
            customers.c.forwarded_to.is_(None),
            *_conditions(found, flow, segments),
        )
        .order_by(customers.c.id)
        .limit(places["most"])
    )
    text, parameters = prepared(query)
    return Statement(text, tuple(parameters))


_IDS = frozenset({"after", "until"})


def _conditions(
    found: Open, flow: Flow, segments: Mapping[str, Segment]
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if found.zones is not None:
        conditions.append(_in_zones(frozenset(found.zones), rest=found.rest))
    match flow.plan:
        case Schedule() as plan:
            conditions.append(_holds(plan.member.node, found, segments))
        case Audience() as plan:
            conditions.append(_holds(plan.condition.node, found, segments))
        case OnDate() as plan:
            value = _trait(plan.date.node)
            if value is not None:
                conditions.append(_may_be(value, plan, found.firing.label))
        case None:
            pass
    return conditions


def _holds(node: Node, found: Open, segments: Mapping[str, Segment]) -> sa.ColumnElement[bool]:
    return condition_sql(
        node,
        now=sa.literal(found.firing.fired_at, Instant),
        segments={name: segment.condition.node for name, segment in segments.items()},
        trigger=found.firing.trigger.moment(),
    ).where


def _in_zones(zones: frozenset[str], *, rest: bool) -> sa.ColumnElement[bool]:
    """Zones that nobody knows count as the workspace's: with `rest`, all but the other zones."""
    zone = sa.func.coalesce(customers.c.traits["timezone"].astext, "")
    names = sorted(known_zones() - zones) if rest else sorted(zones)
    array = sa.literal(names, ARRAY(sa.Text()))
    return zone != sa.all_(array) if rest else zone == sa.any_(array)


def _trait(node: Node) -> sa.ColumnElement[str] | None:
    """The text of `profile.x.y`; None for an expression that is anything else."""
    if not isinstance(node, Path) or node.root != "profile":
        return None
    keys = [key.value for key in node.keys]
    if not keys or not all(isinstance(key, str) for key in keys):
        return None
    return sa.func.jsonb_extract_path_text(customers.c.traits, *keys, type_=sa.Text())


def _may_be(value: sa.ColumnElement[str], plan: OnDate, label: str) -> sa.ColumnElement[bool]:
    """A date of the right day, or anything that is not just a date."""
    no_date = sa.and_(value.is_not(None), value.op("!~", return_type=sa.Boolean())(_DAY_SHAPE))
    if not is_day(label):
        return no_date
    day = date.fromisoformat(label)
    if not plan.yearly:
        right = value == label
    else:
        days = [f"{day:%m-%d}"]
        if (day.month, day.day) == (2, 28):
            days.append("02-29")
        right = sa.func.right(value, 5).in_(days)
    return sa.or_(right, no_date) if plan.at is not None else right
