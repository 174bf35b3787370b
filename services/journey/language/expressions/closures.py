"""A checked expression to a closure over one customer's Scope.

What is known beforehand is decided beforehand: `event.price >= 10000` becomes a look-up, a test of
the type and one comparison. Closures share nothing but constants, so any thread may call them.
"""

import operator
from collections.abc import Callable
from typing import Any

from services.journey.core.flow import Expression, Moment, Scope, Value
from services.journey.language.expressions import history, values
from services.journey.language.expressions.functions import FUNCTIONS
from services.journey.language.expressions.names import Closure, Frame, into_event, look_up
from services.journey.language.expressions.patterns import pattern
from services.journey.language.expressions.syntax import (
    Access,
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Items,
    Logical,
    Negative,
    Node,
    Not,
    Path,
    Quantifier,
)


def expression(source: str, node: Node) -> Expression:
    return Expression(source, compiled(node), node)


def constant(source: str, value: Value) -> Expression:
    return Expression(source, lambda _: value)


def compiled(node: Node) -> Closure:
    return _COMPILERS[type(node)](node)


def _constant(node: Constant) -> Closure:
    value = node.value
    return lambda _: value


def _items(node: Items) -> Closure:
    parts = [compiled(item) for item in node.items]
    return lambda scope: [part(scope) for part in parts]


def _access(node: Access) -> Closure:
    base, keys = compiled(node.base), node.keys
    return lambda scope: into_event(base(scope), keys)


def _not(node: Not) -> Closure:
    operand = compiled(node.operand)
    return lambda scope: operand(scope) is not True


def _negative(node: Negative) -> Closure:
    operand = compiled(node.operand)
    return lambda scope: values.negative(operand(scope))


def _logical(node: Logical) -> Closure:
    parts = tuple(compiled(operand) for operand in node.operands)
    wanted = node.operator == "or"
    if len(parts) == 2:
        first, second = parts
        if wanted:
            return lambda scope: first(scope) is True or second(scope) is True
        return lambda scope: first(scope) is True and second(scope) is True

    def decide(scope: Scope) -> Value:
        for part in parts:
            if (part(scope) is True) is wanted:
                return wanted
        return not wanted

    return decide


def _arithmetic(node: Arithmetic) -> Closure:
    left, right = compiled(node.left), compiled(node.right)
    if node.operator == "+" and isinstance(node.right, Constant):
        text, length = node.right.value, values.duration_of(node.right.value)
        if length is not None:
            return lambda scope: values.moved(left(scope), str(text), length)
    work = values.ARITHMETIC[node.operator]
    return lambda scope: work(left(scope), right(scope))


# Comparisons ---------------------------------------------------------------------------------

_FAST: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _comparison(node: Comparison) -> Closure:
    if len(node.operators) > 1:
        return _chain(node)
    name, (left, right) = node.operators[0], node.operands
    if isinstance(right, Constant) and name in _FAST:
        value = right.value
        if value is None:
            return _with_null(name, compiled(left))
        if values.is_number(value):
            return _with_number(name, compiled(left), value)
        if type(value) is str:
            return _with_text(name, compiled(left), value)
    if name in ("in", "not in") and isinstance(right, Items):
        texts = [item.value for item in right.items if isinstance(item, Constant)]
        if len(texts) == len(right.items) and all(type(text) is str for text in texts):
            return _in_texts(compiled(left), frozenset(map(str, texts)), name == "in")
    test, first, second = values.COMPARISONS[name], compiled(left), compiled(right)
    return lambda scope: test(first(scope), second(scope))


def _with_null(name: str, left: Closure) -> Closure:
    if name == "==":
        return lambda scope: left(scope) is None
    if name == "!=":
        return lambda scope: left(scope) is not None
    return lambda _: False


def _with_number(name: str, left: Closure, number: Any) -> Closure:
    test = _FAST[name]
    missing = name == "!="  # null differs from any number, another type does not compare

    def compare(scope: Scope) -> Value:
        value = left(scope)
        if type(value) is int or type(value) is float:
            return test(value, number)
        return missing and value is None

    return compare


def _with_text(name: str, left: Closure, text: str) -> Closure:
    test, fast = values.COMPARISONS[name], _FAST[name]

    def compare(scope: Scope) -> Value:
        value = left(scope)
        return fast(value, text) if type(value) is str else test(value, text)

    return compare


def _in_texts(left: Closure, texts: frozenset[str], wanted: bool) -> Closure:
    def look(scope: Scope) -> Value:
        value = left(scope)
        if type(value) is str:
            return (value in texts) is wanted
        return (value is not None and any(values.same(value, text) for text in texts)) is wanted

    return look


def _chain(node: Comparison) -> Closure:
    first, *others = (compiled(operand) for operand in node.operands)
    links = [
        (values.COMPARISONS[name], part) for name, part in zip(node.operators, others, strict=True)
    ]

    def compare(scope: Scope) -> Value:
        left = first(scope)
        for test, part in links:
            right = part(scope)
            if not test(left, right):
                return False
            left = right
        return True

    return compare


# Lists and functions -------------------------------------------------------------------------


def _quantifier(node: Quantifier) -> Closure:
    source, condition, name = compiled(node.source), compiled(node.condition), node.variable
    wanted = node.kind == "any"

    def look(scope: Scope) -> Value:
        items = source(scope)
        if not isinstance(items, list):
            return False
        outer = scope.variables if isinstance(scope, Frame) else {}
        frame = Frame(
            *(scope.now, scope.profile, scope.event, scope.trigger, scope.history, scope.steps),
            scope.segments,
            scope.rfm,
            dict(outer),
        )
        for item in items[: values.MOST_LOOKED_AT]:
            frame.variables[name] = item
            if (condition(frame) is True) is wanted:
                return wanted
        return not wanted

    return look


_ONE: dict[str, Callable[[Value], Value]] = {"len": values.length, "lower": values.lower}
_TWO: dict[str, Callable[[Value, Value], Value]] = {
    "contains": values.contains,
    "startswith": values.startswith,
}


def _call(node: Call) -> Closure:
    parts = [compiled(argument) for argument in node.arguments]
    if node.function in _ONE:
        one, (part,) = _ONE[node.function], parts
        return lambda scope: one(part(scope))
    if node.function in _TWO:
        two, (first, second) = _TWO[node.function], parts
        return lambda scope: two(first(scope), second(scope))
    if node.function == "days_since":
        (since,) = parts
        return lambda scope: values.whole_days(scope.now, _happened(since(scope)))
    if node.function == "matches":
        return _matches(node, parts[0])
    if node.function == "in_segment":
        return _in_segment(node)
    if FUNCTIONS[node.function].history:
        return history.closure(node, compiled)
    raise AssertionError(f"{node.function} has no closure")


def _happened(value: Value) -> Value:
    return value.at if isinstance(value, Moment) else value


def _in_segment(node: Call) -> Closure:
    literal = node.arguments[0]
    assert isinstance(literal, Constant)
    name = str(literal.value)

    def look(scope: Scope) -> Value:
        segment = scope.segments.get(name)
        return segment is not None and segment.condition.holds(scope)

    return look


def _matches(node: Call, text: Closure) -> Closure:
    literal = node.arguments[1]
    assert isinstance(literal, Constant)
    search = pattern(str(literal.value)).search

    def look(scope: Scope) -> Value:
        value = text(scope)
        return type(value) is str and search(value) is not None

    return look


_COMPILERS: dict[type[Node], Callable[[Any], Closure]] = {
    Constant: _constant,
    Items: _items,
    Path: look_up,
    Access: _access,
    Not: _not,
    Negative: _negative,
    Logical: _logical,
    Arithmetic: _arithmetic,
    Comparison: _comparison,
    Quantifier: _quantifier,
    Call: _call,
}
