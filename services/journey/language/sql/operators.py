"""What operators mean, in SQL: the counterpart of expressions/values.py, case by case."""

import operator
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.journey.language.expressions.values import duration_of, instant_of
from services.journey.language.sql.kinds import (
    Column,
    Condition,
    Inexact,
    Value,
    is_kind,
    is_null,
    of_constant,
    of_json,
    whole_json,
)

Test = Callable[[Any, Any], Any]

ORDER: dict[str, Test] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def by_code_point(text: Column) -> Column:
    return sa.collate(text, "C")


def instant(value: Value) -> Column | None:
    """The instant that a value is or spells."""
    return _first(value.instant, _spelt(value, instant_of, sa.func.dangol_instant))


def duration(value: Value) -> Column | None:
    return _first(value.duration, _spelt(value, duration_of, sa.func.dangol_duration))


def _spelt(value: Value, read: Callable[[Any], Any], function: Any) -> Column | None:
    if value.text is None:
        return None
    if isinstance(value.constant, str):
        known = read(value.constant)
        if known is None:
            return None
        constant = of_constant(known)
        return constant.instant if constant.instant is not None else constant.duration
    return function(value.text, type_=sa.Numeric)  # type: ignore[no-any-return]


def _first(*columns: Column | None) -> Column | None:
    known = [column for column in columns if column is not None]
    if len(known) < 2:
        return known[0] if known else None
    return sa.func.coalesce(*known)


def _pairs(a: Value, b: Value) -> list[tuple[Column, Column]]:
    """The columns of both that are of one ordered kind, as `values._alike` finds them."""
    found = []
    if a.number is not None and b.number is not None:
        found.append((a.number, b.number))
    if a.text is not None and b.text is not None:
        found.append((by_code_point(a.text), by_code_point(b.text)))
    if a.instant is not None or b.instant is not None:
        found += _beside(a.instant, instant(a), b.instant, instant(b))
    if a.duration is not None or b.duration is not None:
        found += _beside(a.duration, duration(a), b.duration, duration(b))
    return found


def _beside(
    a: Column | None, a_read: Column | None, b: Column | None, b_read: Column | None
) -> list[tuple[Column, Column]]:
    """A text is read as an instant (or duration) only beside one."""
    found = []
    if a is not None and b_read is not None:
        found.append((a, b_read))
    if b is not None and a_read is not None and a_read is not a:
        found.append((a_read, b))
    return found


def _any(parts: list[Any]) -> Condition:
    """Whether one of the parts is true; never NULL."""
    if not parts:
        return sa.false()
    return sa.func.coalesce(sa.or_(*parts), sa.false())


def ordered(name: str, a: Value, b: Value) -> Condition:
    return _any([ORDER[name](left, right) for left, right in _pairs(a, b)])


def same(a: Value, b: Value) -> Condition:
    """`==`."""
    if b.constant is None:
        return is_null(a)
    if a.constant is None:
        return is_null(b)
    if a.raw is not None and b.raw is not None:
        if a.nullable and b.nullable:
            return whole_json(a) == whole_json(b)
        return sa.func.coalesce(a.raw == b.raw, sa.false())
    parts: list[Any] = [left == right for left, right in _pairs(a, b)]
    if a.boolean is not None and b.boolean is not None:
        parts.append(a.boolean == b.boolean)
    if (a.json is not None or a.items is not None) and (b.json is not None or b.items is not None):
        parts.append(whole_json(a) == whole_json(b))
    if a.nullable and b.nullable:
        parts.append(sa.and_(is_null(a), is_null(b)))
    return _any(parts)


def different(a: Value, b: Value) -> Condition:
    """`!=`: of like kinds and not equal, or null on one side alone."""
    if b.constant is None:
        return sa.not_(is_null(a))
    if a.constant is None:
        return sa.not_(is_null(b))
    parts: list[Any] = [left != right for left, right in _pairs(a, b)]
    if a.boolean is not None and b.boolean is not None:
        parts.append(a.boolean != b.boolean)
    if (a.json is not None or a.items is not None) and (b.json is not None or b.items is not None):
        left, right = whole_json(a), whole_json(b)
        kinds = sa.func.jsonb_typeof(left), sa.func.jsonb_typeof(right)
        lists = sa.and_(kinds[0] == kinds[1], is_kind(left, "array", "object"))
        parts.append(sa.and_(lists, left != right))
    if a.nullable or b.nullable:
        parts.append(is_null(a) != is_null(b))
    return _any(parts)


def within(a: Value, b: Value, name: Callable[[], str]) -> Condition:
    """`in`: equal to an item of a list, or part of a text."""
    if b.items is not None:
        return _any([same(a, item) for item in b.items]) if not _plain(a, b) else _among(a, b)
    parts: list[Any] = []
    if b.raw is not None and b.json is not None:
        parts.append(_in_list(a, b.raw, name()))
    if a.text is not None and b.text is not None:
        parts.append(sa.func.strpos(by_code_point(b.text), by_code_point(a.text)) > 0)
    return _any(parts)


def _plain(a: Value, b: Value) -> bool:
    assert b.items is not None
    return a.raw is not None and all(item.raw is not None and not item.nullable for item in b.items)


def _among(a: Value, b: Value) -> Condition:
    assert b.items is not None
    assert a.raw is not None
    return _any([a.raw.in_([item.raw for item in b.items])]) if b.items else sa.false()


def _in_list(a: Value, whole: Column, name: str) -> Condition:
    if a.constant is not ... and a.raw is not None and a.json is None:
        # A list contains a text, number or boolean exactly if one of its items is equal.
        is_list = is_kind(whole, "array")
        return sa.case((is_list, whole.op("@>", return_type=sa.Boolean())(a.raw)), else_=sa.false())
    item = elements(whole, name)
    return sa.exists(
        sa.select(sa.literal_column("1")).select_from(item).correlate_except(item)
        .where(same(a, of_json(item.c.value)))
    )  # fmt: skip


def elements(whole: Column, name: str) -> Any:
    """The items of a list as rows (value, place); none of what is no list."""
    is_list = is_kind(whole, "array")
    items = sa.case((is_list, whole), else_=sa.literal_column("'[]'::jsonb"))
    return (
        sa.func.jsonb_array_elements(items)
        .table_valued(sa.column("value", JSONB), with_ordinality="place")
        .render_derived(name=name)
    )


# Arithmetic ----------------------------------------------------------------------------------


def _arithmetic(symbol: str, a: Column, b: Column) -> Column:
    return sa.func.dangol_arithmetic(sa.literal_column(f"'{symbol}'"), a, b, type_=sa.Numeric)


def _numbers(symbol: str, a: Value, b: Value) -> Column | None:
    if a.number is None or b.number is None:
        return None
    return _arithmetic(symbol, a.number, b.number)


def _moment(column: Column) -> Column:
    """NULL past what the calendar holds."""
    return sa.func.dangol_calendar(column, type_=sa.Numeric)


def _length(column: Column) -> Column:
    return sa.func.dangol_length(column, type_=sa.Numeric)


def _sum(a: Column | None, b: Column | None) -> Column | None:
    return None if a is None or b is None else a + b


def _made(weight: int, **columns: Column | None) -> Value:
    made = {name: column for name, column in columns.items() if column is not None}
    return Value(weight=weight, **made)  # type: ignore[arg-type]


def add(a: Value, b: Value) -> Value:
    instants = [_sum(a.instant, duration(b)), _sum(b.instant, duration(a))]
    if a.duration is not None and b.text is not None:
        instants.append(_sum(instant(Value(text=b.text, constant=b.constant)), a.duration))
    if b.duration is not None and a.text is not None:
        instants.append(_sum(instant(Value(text=a.text, constant=a.constant)), b.duration))
    lengths: list[Column | None] = [_sum(a.duration, duration(b)), _sum(duration(a), b.duration)]
    at, length = _first(*instants), _first(*lengths)
    heavy = at is not None or length is not None
    return _made(
        (a.weight + b.weight) * (3 if heavy else 1),
        number=_numbers("+", a, b),
        text=_joined(a, b),
        instant=None if at is None else _moment(at),
        duration=None if length is None else _length(length),
    )


def _joined(a: Value, b: Value) -> Column | None:
    if a.text is None or b.text is None:
        return None
    return sa.func.dangol_join(a.text, b.text, type_=sa.Text)


def moved(value: Value, text: Value, length: Column) -> Value:
    """`x + "7d"`: beside a written duration, a text that is a date is an instant."""
    at = instant(value)
    joined = _joined(value, text)
    if joined is not None and at is not None:
        joined = sa.case((at.is_(None), joined))
    return _made(
        value.weight * 3,
        text=joined,
        instant=None if at is None else _moment(at + length),
        duration=None if value.duration is None else _length(value.duration + length),
    )


def subtract(a: Value, b: Value) -> Value:
    a_at, b_at, a_long, b_long = instant(a), instant(b), duration(a), duration(b)
    at = None if a_at is None or b_long is None else _moment(a_at - b_long)
    lengths = [
        None if left is None or right is None else left - right
        for left, right in ((a_at, b_at), (a_long, b_long))
    ]
    length = _first(*lengths)
    return _made(
        (a.weight + b.weight) * (1 if at is None and length is None else 3),
        number=_numbers("-", a, b),
        instant=at,
        duration=None if length is None else _length(length),
    )


def multiply(a: Value, b: Value) -> Value:
    lengths = []
    for scaled, factor in ((a, b), (b, a)):
        if scaled.duration is None or factor.number is None:
            continue
        if type(factor.constant) is not int:
            raise Inexact  # a fraction of a duration is rounded half to even, by its exact bits
        lengths.append(scaled.duration * factor.number)
    length = _first(*lengths)
    return _made(
        a.weight + b.weight,
        number=_numbers("*", a, b),
        duration=None if length is None else _length(length),
    )


def divide(a: Value, b: Value) -> Value:
    if a.duration is not None and b.number is not None:
        raise Inexact
    quotient = _numbers("/", a, b)
    if a.duration is not None and b.duration is not None:
        quotient = _first(quotient, _arithmetic("/", a.duration, b.duration))
    return _made(a.weight + b.weight, number=quotient)


ARITHMETIC: dict[str, Callable[[Value, Value], Value]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
}


_DAY: Column = sa.literal_column("86400000000", sa.Numeric)


def days_between(now: Column, since: Column) -> Column:
    return sa.func.floor((now - since) / _DAY, type_=sa.Numeric)


def length_of(value: Value) -> Value:
    parts: list[Any] = []
    if value.text is not None:
        parts.append(sa.cast(sa.func.char_length(value.text), sa.Numeric))
    if value.json is not None:
        parts.append(
            sa.case(
                (is_kind(value.json, "array"), sa.func.jsonb_array_length(value.json)),
                (is_kind(value.json, "object"), _keys(value.json)),
            )
        )
    elif value.items is not None:
        parts.append(sa.literal_column(str(len(value.items))))
    counted = _first(*parts)
    return _made(value.weight * 2, number=None if counted is None else sa.cast(counted, sa.Numeric))


def _keys(whole: Column) -> Column:
    return sa.func.dangol_size(whole, type_=sa.Integer)


def lower(value: Value) -> Value:
    if value.text is None:
        return Value(constant=None)
    return _made(value.weight, text=sa.func.lower(sa.collate(value.text, "pg_unicode_fast")))


def starts_with(a: Value, b: Value) -> Condition:
    if a.text is None or b.text is None:
        return sa.false()
    return _any([sa.func.starts_with(a.text, b.text)])
