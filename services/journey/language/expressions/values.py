"""What operators and functions mean: total functions over any JSON value, never an exception.

Missing is null. A comparison with null (other than == and !=) or between unlike types is false;
arithmetic that makes no sense is null. A text that is an ISO date or instant stands for that
instant beside an instant (without an offset it is read as UTC), a text such as "7d" for that
duration beside a duration or an instant. True and false are no numbers.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.journey.core.flow import Value
from services.journey.core.moments import spelled_instant
from shared.workspace import parse_duration

MOST_TEXT = 10_000
"""Characters of a text that `+` makes; a longer one is null."""
MOST_LOOKED_AT = 1_000
"""Items of a list that any(…) and all(…) look at."""
_LARGEST = 2**63
_DEEPEST = 50

_DURATION = re.compile(r"(?:[0-9]+[wdhms])+")


def instant_of(value: Value) -> datetime | None:
    """The instant that a value stands for: itself, or the date or instant that a text spells."""
    if isinstance(value, datetime):
        return value
    instant = spelled_instant(value) if type(value) is str else None
    return None if instant is None else instant.astimezone(UTC)


def duration_of(value: Value) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if type(value) is not str or len(value) > 40 or _DURATION.fullmatch(value) is None:
        return None
    try:
        return parse_duration(value)
    except ValueError:
        return None


def is_number(value: Value) -> bool:
    return type(value) is int or type(value) is float


def alike(a: Value, b: Value) -> tuple[Any, Any] | None:
    """Both as values of one ordered type, or None where they are unlike."""
    if (type(a) is str and type(b) is str) or (is_number(a) and is_number(b)):
        return a, b
    if isinstance(a, datetime) or isinstance(b, datetime):
        left, right = instant_of(a), instant_of(b)
        return None if left is None or right is None else (left, right)
    if isinstance(a, timedelta) or isinstance(b, timedelta):
        before, after = duration_of(a), duration_of(b)
        return None if before is None or after is None else (before, after)
    return None


def equal(a: Value, b: Value, depth: int = 0) -> bool | None:
    """None where the two are unlike: neither == nor != holds then."""
    if a is None or b is None:
        return a is b
    if type(a) is bool and type(b) is bool:
        return a is b
    pair = alike(a, b)
    if pair is not None:
        return bool(pair[0] == pair[1])
    if depth > _DEEPEST:
        return None
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(
            equal(x, y, depth + 1) is True for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[k], b[k], depth + 1) is True for k in a)
    return None


def same(a: Value, b: Value) -> bool:
    return equal(a, b) is True


def different(a: Value, b: Value) -> bool:
    return equal(a, b) is False


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def compare(a: Value, b: Value) -> bool:
        pair = alike(a, b)
        return pair is not None and test(*pair)

    return compare


def within(a: Value, b: Value) -> bool:
    """`in`: equal to an item of a list, or part of a text."""
    if isinstance(b, list):
        return any(same(a, item) for item in b)
    return type(a) is str and type(b) is str and a in b


COMPARISONS: dict[str, Callable[[Value, Value], bool]] = {
    "==": same,
    "!=": different,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": within,
    "not in": lambda a, b: not within(a, b),
}


def _bounded(number: float) -> Value:
    if type(number) is int:
        return number if -_LARGEST <= number < _LARGEST else None
    return number if math.isfinite(number) else None


def _add(a: Value, b: Value) -> Value:
    if is_number(a) and is_number(b):
        return _bounded(a + b)
    if type(a) is str and type(b) is str:
        return a + b if len(a) + len(b) <= MOST_TEXT else None
    if isinstance(b, datetime) or (isinstance(a, timedelta) and instant_of(b)):
        a, b = b, a
    instant, length = instant_of(a), duration_of(b)
    if instant is not None:
        return None if length is None else instant + length
    before = duration_of(a)
    return None if before is None or length is None else before + length


def _subtract(a: Value, b: Value) -> Value:
    if is_number(a) and is_number(b):
        return _bounded(a - b)
    length = duration_of(b)
    instant = instant_of(a)
    if instant is not None:
        if length is not None:
            return instant - length
        other = instant_of(b)
        return None if other is None else instant - other
    before = duration_of(a)
    return None if before is None or length is None else before - length


def _multiply(a: Value, b: Value) -> Value:
    if is_number(a) and is_number(b):
        return _bounded(a * b)
    if isinstance(a, timedelta) and is_number(b):
        return a * b
    if isinstance(b, timedelta) and is_number(a):
        return b * a
    return None


def _divide(a: Value, b: Value) -> Value:
    if is_number(a) and is_number(b):
        return _bounded(a / b)
    if isinstance(a, timedelta) and (is_number(b) or isinstance(b, timedelta)):
        return a / b
    return None


def _total(work: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def compute(a: Value, b: Value) -> Value:
        try:
            return work(a, b)
        except (ArithmeticError, ValueError):  # by zero, past what a date or a float can hold
            return None

    return compute


ARITHMETIC: dict[str, Callable[[Value, Value], Value]] = {
    "+": _total(_add),
    "-": _total(_subtract),
    "*": _total(_multiply),
    "/": _total(_divide),
}


def moved(value: Value, text: str, duration: timedelta) -> Value:
    """`x + "7d"`: beside a written duration, a text that is a date is an instant."""
    instant = instant_of(value)
    if instant is None and not isinstance(value, timedelta):
        return ARITHMETIC["+"](value, text)
    return ARITHMETIC["+"](instant or value, duration)


def negative(value: Value) -> Value:
    return ARITHMETIC["*"](value, -1)


def length(value: Value) -> Value:
    return len(value) if isinstance(value, (str, list, Mapping)) else None


def lower(value: Value) -> Value:
    return value.lower() if type(value) is str else None


def contains(whole: Value, part: Value) -> bool:
    return within(part, whole)


def startswith(text: Value, beginning: Value) -> bool:
    return type(text) is str and type(beginning) is str and text.startswith(beginning)


def whole_days(now: datetime, value: Value) -> Value:
    """Full days of 24 hours from an instant to now; negative where it lies ahead."""
    instant = instant_of(value)
    return None if instant is None else (now - instant) // timedelta(days=1)


def step_into(value: Value, keys: tuple[str | int, ...]) -> Value:
    """`.x`, `["x"]`, `[0]`, one behind the other; null as soon as something is missing."""
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and type(key) is int and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value
