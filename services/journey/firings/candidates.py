"""Whom a firing may mean, asked of the database.

At least everybody whom the core will find to be meant, since it decides again, customer by
customer; and hardly anybody else where the condition can be compiled to SQL.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from services.journey.core.anniversaries import is_day
from services.journey.core.firing import Firing
from services.journey.core.flow import Audience, Flow, OnDate, Schedule, Segment
from services.journey.firings.rows import Open
from services.journey.language.expressions import Mistake, Node, Path, parse
from services.journey.language.sql import condition_sql
from services.journey.language.sql.statements import prepared
from shared.db.tables import Instant, customers
from shared.local_time import known_zones

_PLACES: Mapping[str, Any] = {"partition": 0, "after": "", "until": "", "most": 0}
_DAY_FIRST = r"^\d{4}-\d{2}-\d{2}"
_DATE_LENGTH = 10


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
            conditions += _on_date(plan, found, segments)
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


def _on_date(
    plan: OnDate, found: Open, segments: Mapping[str, Segment]
) -> Iterator[sa.ColumnElement[bool]]:
    value, label = _trait(plan.date.node), found.firing.label
    if is_day(label):
        if value is not None:
            yield _may_be(value, plan, date.fromisoformat(label))
        return
    if not plan.yearly:
        yield _holds(_within(plan, found.firing), found, segments)
    elif value is not None:
        yield _near(value, plan, (found.firing.at - plan.offset).date())


def _may_be(value: sa.ColumnElement[str], plan: OnDate, day: date) -> sa.ColumnElement[bool]:
    """A date of that day; where instants count as days, one near it, in whatever zone."""
    is_date = sa.func.length(value) == _DATE_LENGTH
    if not plan.yearly:
        right = value == day.isoformat()
    else:
        days = [f"{day:%m-%d}", *(["02-29"] if (day.month, day.day) == (2, 28) else [])]
        right = sa.func.substr(value, 6).in_(days)
    near = sa.false() if plan.at is None else _near(value, plan, day)
    return sa.case((is_date, right), else_=near)


def _near(value: sa.ColumnElement[str], plan: OnDate, day: date) -> sa.ColumnElement[bool]:
    """An instant within two days, by the date that its text begins with; or a text of another
    form. Two offsets from UTC lie at most 26 hours apart."""
    days = {day + timedelta(days=n) for n in range(-2, 3)}
    begins_with_date = value.op("~", return_type=sa.Boolean())(_DAY_FIRST)
    if plan.yearly:
        # 29 February is the 28th elsewhere, and the 29th where we are may be the 28th there.
        ends = {f"{each:%m-%d}" for each in days}
        if ends & {"02-27", "02-28", "03-01", "03-02"}:
            ends |= {"02-28", "02-29"}
        near = sa.func.substr(value, 6, 5).in_(sorted(ends))
    else:
        near = sa.func.left(value, _DATE_LENGTH).in_([each.isoformat() for each in sorted(days)])
    return sa.and_(value.is_not(None), sa.or_(sa.not_(begins_with_date), near))


def _within(plan: OnDate, firing: Firing) -> Node:
    """That the moment lies in the stretch, widened to whole seconds; `now` is when it fired."""
    latest = firing.fired_at - (firing.at - plan.offset)
    earliest = firing.fired_at - (firing.after - plan.offset)
    source = f"({plan.date.source})"
    node = parse(f"{source} <= {_ago(latest, -1)} and {source} > {_ago(earliest, 1)}")
    assert not isinstance(node, Mistake), "the expression has been checked"
    return node


def _ago(length: timedelta, widened: int) -> str:
    """So long before `now`, or after it, in whole seconds."""
    seconds = math.floor(length.total_seconds()) + widened
    return f'now - "{seconds}s"' if seconds >= 0 else f'now + "{-seconds}s"'
