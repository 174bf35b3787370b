"""Every name, function, argument and kind of an expression, before anything runs.

Types are known only in part (a property may hold anything), so only a misuse that is certain is a
mistake: a comparison that can never hold, arithmetic that can only be null, a condition that is a
number.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from services.journey.language.expressions import calls, paths
from services.journey.language.expressions.context import Context
from services.journey.language.expressions.kinds import (
    ORDERED,
    Kind,
    comparable,
    of_constant,
    result_of,
)
from services.journey.language.expressions.syntax import (
    Access,
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Items,
    Logical,
    Mistake,
    Named,
    Negative,
    Node,
    Not,
    Path,
    Quantifier,
    Span,
)

MOST_NESTED = 2
"""Of any(…) and all(…) in each other: each multiplies what there is to look at."""

Expected = Literal["condition", "number", "value"]


def check(node: Node, context: Context, expected: Expected = "condition") -> list[Mistake]:
    """All mistakes of an expression, in the order in which they stand."""
    checker = Checker(context)
    kind = checker.kind(node)
    if expected == "condition":
        checker.holds(node, kind, "this condition")
    elif expected == "number" and kind not in (Kind.NUMBER, Kind.ANY):
        checker.add(node.span, f"a number is needed here and this is {kind.value}")
    return sorted(checker.mistakes, key=lambda mistake: mistake.span)


class Checker:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.mistakes: list[Mistake] = []
        self._kinds: dict[type[Node], Callable[[Any], Kind]] = {
            Constant: lambda node: of_constant(node.value),
            Items: self._items,
            Path: partial(paths.kind, self),
            Access: self._access,
            Not: self._not,
            Negative: self._negative,
            Logical: self._logical,
            Arithmetic: self._arithmetic,
            Comparison: self._comparison,
            Quantifier: self._quantifier,
            Call: partial(calls.kind, self),
            Named: lambda node: self.kind(node.value),
        }

    def add(self, span: Span, message: str, hint: str = "", code: str = "expression") -> None:
        self.mistakes.append(Mistake(span, message, hint, code))

    def kind(self, node: Node, context: Context | None = None) -> Kind:
        """The node's kind, ANY where only the data can tell; adds the mistakes within it."""
        if context is not None:
            outer, self.context = self.context, context
            try:
                return self.kind(node)
            finally:
                self.context = outer
        return self._kinds[type(node)](node)

    def holds(self, node: Node, kind: Kind, what: str) -> None:
        """A condition is true or false; anything else never holds."""
        if kind in (Kind.BOOL, Kind.ANY):
            return
        hint = "compare it with something, as in event.price >= 10000"
        if isinstance(node, Constant) and kind is Kind.TEXT:
            hint = 'repeat the name: x == "a" or x == "b"; or write x in ["a", "b"]'
        self.add(node.span, f"{what} is {kind.value}, so it would never hold", hint)

    def _access(self, node: Access) -> Kind:
        base, shape = node.base, None
        if isinstance(base, Call) and base.arguments and isinstance(base.arguments[0], Constant):
            shape = self.context.shape_of(base.arguments[0].value)
        return paths.into(self, self.kind(base), node.keys, shape)

    def _items(self, node: Items) -> Kind:
        for item in node.items:
            self.kind(item)
        return Kind.LIST

    def _not(self, node: Not) -> Kind:
        self.holds(node.operand, self.kind(node.operand), "the part behind `not`")
        return Kind.BOOL

    def _logical(self, node: Logical) -> Kind:
        for operand in node.operands:
            self.holds(operand, self.kind(operand), f"this part of the `{node.operator}`")
        return Kind.BOOL

    def _negative(self, node: Negative) -> Kind:
        operand, kind = node.operand, self.kind(node.operand)
        if kind in (Kind.NUMBER, Kind.DURATION, Kind.ANY):
            return kind
        self.add(operand.span, f"`-` needs a number and this is {kind.value}")
        return Kind.NUMBER

    def _arithmetic(self, node: Arithmetic) -> Kind:
        hyphen = paths.hyphenated_step(node)
        if hyphen is not None:
            self.mistakes.append(hyphen)
            return Kind.ANY
        a, b = self.kind(node.left), self.kind(node.right)
        result = result_of(node.operator, node.left, a, node.right, b)
        if result is None:
            self.add(
                node.span,
                f"`{node.operator}` makes nothing of {a.value} and {b.value}: always null",
            )
            return Kind.ANY
        return result

    def _comparison(self, node: Comparison) -> Kind:
        kinds = [self.kind(operand) for operand in node.operands]
        for at, operator in enumerate(node.operators):
            left, right = node.operands[at], node.operands[at + 1]
            if operator in ("in", "not in"):
                self._membership(left, kinds[at], right, kinds[at + 1])
            else:
                self._pair(operator, left, kinds[at], right, kinds[at + 1])
            paths.known_values(self, left, right)
            paths.known_values(self, right, left)
        return Kind.BOOL

    def _pair(self, operator: str, left: Node, a: Kind, right: Node, b: Kind) -> None:
        span = Span(left.span.start, right.span.end)
        equality = operator in ("==", "!=")
        if Kind.NULL in (a, b):
            if not equality:
                self.add(span, "nothing is more or less than null", "write `== null` or `!= null`")
            return
        if not equality and (a not in ORDERED or b not in ORDERED):
            odd = a if a not in ORDERED else b
            self.add(span, f"{odd.value} is not more or less than anything: this never holds")
        elif not comparable(left, a, right, b):
            self.add(
                span,
                f"{a.value} is compared with {b.value}: this never holds",
                _unlike_hint(left, a, right, b),
            )

    def _membership(self, left: Node, a: Kind, right: Node, b: Kind) -> None:
        if b not in (Kind.LIST, Kind.TEXT, Kind.ANY):
            hint = "write a list: [a, b]" if b is not Kind.NULL else ""
            self.add(right.span, f"`in` needs a list and this is {b.value}", hint)
        elif b is Kind.TEXT and a not in (Kind.TEXT, Kind.ANY):
            self.add(left.span, f"`in` looks for a text in a text and this is {a.value}")

    def _quantifier(self, node: Quantifier) -> Kind:
        source = self.kind(node.source)
        if source not in (Kind.LIST, Kind.ANY):
            self.add(node.source.span, f"`{node.kind}` needs a list and this is {source.value}")
        outer = self.context.variables - {calls.COUNTED}
        if len(outer) >= MOST_NESTED:
            self.add(node.span, f"`any` and `all` are nested at most {MOST_NESTED} deep")
        taken = paths.taken_name(node.variable, self.context)
        if taken:
            self.add(node.variable_span, taken, "choose another name, such as `p`")
        inner = self.context.knowing(node.variable)
        kind = self.kind(node.condition, inner)
        self.holds(node.condition, kind, f"the condition of `{node.kind}`")
        return Kind.BOOL


def _unlike_hint(left: Node, a: Kind, right: Node, b: Kind) -> str:
    for node, kind, other in ((left, a, b), (right, b, a)):
        if kind is Kind.TEXT and isinstance(node, Constant):
            if other is Kind.NUMBER:
                return "a number has no quotes"
            if other is Kind.BOOL:
                return "true and false have no quotes"
            if other is Kind.INSTANT:
                return 'a date is written "2026-03-01" or "2026-03-01T09:00+09:00"'
            if other is Kind.DURATION:
                return 'a duration is written "7d" or "1h30m"'
    return ""
