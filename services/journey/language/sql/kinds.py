"""A value of the language in SQL: one column for each kind that it may have.

A column is NULL wherever the value is not of its kind, and None where it never is. So "unlike types
never compare" needs no code: beside each other stand only columns of like kinds, and NULL compares
with nothing.

Numbers are `numeric`: a whole number has no decimal places, a fraction at least one, as jsonb keeps
them and msgspec reads them. Instants and durations are whole microseconds (since 1970, UTC), so all
arithmetic is exact and knows no time zone. Lists and groups are jsonb.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.journey.core.flow import Value as Plain
from shared.clock import EPOCH

Column = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool]

_WHOLE = 2**53
"""From here on every double is a whole number, and its shortest spelling may be another."""
HEAVIEST = 2_000
"""Columns that one value may mention: some operators mention their operands several times."""


class Inexact(Exception):
    """SQL cannot answer this exactly, so the closure has to."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of the history: the columns of its row, or of the first or last of many."""

    name: str
    properties: Column
    context: Column
    at: Column
    """A timestamptz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    number: Column | None = None
    text: Column | None = None
    boolean: Column | None = None
    instant: Column | None = None
    duration: Column | None = None
    json: Column | None = None
    raw: Column | None = None
    """The whole value as jsonb, where it is JSON; NULL or 'null' is null."""
    items: tuple["Value", ...] | None = None
    """The items of a list that is written out."""
    event: Happening | None = None
    constant: Plain = field(default=...)
    """The value itself where it does not depend on the customer."""
    nullable: bool = True
    weight: int = 1

    def __post_init__(self) -> None:
        if self.weight > HEAVIEST:
            raise Inexact

    @property
    def columns(self) -> list[Column]:
        kinds = (self.number, self.text, self.boolean, self.instant, self.duration, self.json)
        return [column for column in kinds if column is not None]


NULL = Value(constant=None)


def of_json(raw: Column) -> Value:
    whole = raw.op("#>>", return_type=sa.Text())(sa.literal_column("'{}'"))
    return Value(
        number=sa.case((is_kind(raw, "number"), sa.cast(raw, sa.Numeric))),
        text=sa.case((is_kind(raw, "string"), whole)),
        boolean=sa.case((is_kind(raw, "boolean"), sa.cast(raw, sa.Boolean))),
        json=sa.case((is_kind(raw, "array", "object"), raw)),
        raw=raw,
    )


Kind = Literal["number", "string", "boolean", "array", "object", "null"]


def is_kind(raw: Column, *kinds: Kind) -> Condition:
    """NULL where there is nothing."""
    words: list[Column] = [sa.literal_column(f"'{kind}'") for kind in kinds]
    kind = sa.func.jsonb_typeof(raw)
    return kind == words[0] if len(words) == 1 else kind.in_(words)


def of_constant(value: Plain) -> Value:
    """A value that is known beforehand; raises Inexact for what PostgreSQL cannot hold."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return Value(boolean=sa.literal(value), raw=_json(value), constant=value, nullable=False)
    if isinstance(value, int | float):
        return Value(number=_number(value), raw=_json(value), constant=value, nullable=False)
    if isinstance(value, str):
        text = sa.literal(_storable(value), sa.Text)
        return Value(text=text, raw=_json(value), constant=value, nullable=False)
    if isinstance(value, datetime):
        return Value(instant=microseconds(value - EPOCH), constant=value, nullable=False)
    if isinstance(value, timedelta):
        return Value(duration=microseconds(value), constant=value, nullable=False)
    if isinstance(value, list):
        items = tuple(of_constant(item) for item in value)
        plain = all(item.raw is not None or item is NULL for item in items)
        raw = _json(value) if plain else None
        return Value(items=items, json=raw, raw=raw, constant=value, nullable=False)
    if isinstance(value, Mapping):
        raw = _json(value)
        return Value(json=raw, raw=raw, constant=value, nullable=False)
    raise Inexact


def microseconds(length: timedelta) -> Column:
    return sa.literal(Decimal(length // timedelta(microseconds=1)), sa.Numeric)


def since_epoch(instant: Column) -> Column:
    """A timestamptz in microseconds since 1970: exact, `extract` yields numeric."""
    return sa.cast(sa.extract("epoch", instant), sa.Numeric) * sa.literal_column("1000000")


def whole_json(value: Value) -> Column:
    """Any JSON value as jsonb, null as 'null'; raises Inexact where it may be no JSON."""
    if value.raw is not None:
        return value.raw if not value.nullable else sa.func.coalesce(value.raw, _json(None))
    if value.instant is not None or value.duration is not None or value.event is not None:
        raise Inexact
    if value.items is not None:
        return sa.func.jsonb_build_array(*map(whole_json, value.items), type_=JSONB)
    parts = [sa.func.to_jsonb(column, type_=JSONB) for column in value.columns]
    return sa.func.coalesce(*parts, _json(None))


def is_null(value: Value) -> Condition:
    if not value.nullable:
        return sa.false()
    if value.raw is not None:
        return sa.func.coalesce(is_kind(value.raw, "null"), sa.true())
    if value.event is not None:
        return value.event.at.is_(None)
    return sa.and_(sa.true(), *(column.is_(None) for column in value.columns))


def _number(value: float) -> Column:
    number = Decimal(value) if abs(value) >= _WHOLE else Decimal(repr(value))
    if isinstance(value, float) and value == int(value):
        number = Decimal(f"{int(number)}.0")
    return sa.literal(number, sa.Numeric)


def _storable(text: str) -> str:
    if "\0" in text:
        raise Inexact
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Inexact from error
    return text


def _json(value: Plain) -> Column:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text:
        raise Inexact
    return sa.cast(sa.literal(_storable(text), sa.Text), JSONB)
