"""Tokens to a syntax tree: a Pratt parser, bounded in depth, that says what it expected.

    or < and < not < comparison (chained), in, not in < + - < * / < unary - < .x ["x"] [0] f(…)

A parse ends with a tree or with the first mistake, never with an exception: `parse` is total.
"""

from functools import lru_cache
from typing import cast

from services.journey.language.expressions import words
from services.journey.language.expressions.cursor import MOST_DEPTH, Cursor
from services.journey.language.expressions.lexer import Refused, Token, tokenize
from services.journey.language.expressions.syntax import (
    Access,
    Arithmetic,
    ArithmeticOperator,
    Call,
    Comparison,
    ComparisonOperator,
    Constant,
    Items,
    Key,
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

MOST_ITEMS = 500

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY = range(1, 8)

_POWERS = {
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not"), _COMPARE),
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/"), _PRODUCT),
}
_CONSTANTS = {
    "null": None,
    "None": None,
    "true": True,
    "True": True,
    "false": False,
    "False": False,
}


@lru_cache(maxsize=4_096)
def parse(text: str) -> Node | Mistake:
    """Trees do not change, and journeys (and their versions) say the same again and again."""
    if not text.strip():
        return Mistake(Span(0, 1), "a condition is missing here", "such as event.price >= 10000")
    try:
        return _Parser(tokenize(text)).whole()
    except Refused as refused:
        return refused.mistake


class _Parser(Cursor):
    def whole(self) -> Node:
        node = self._expression(0)
        token = self.token
        if token.kind != "end":
            message, hint = words.behind_operand(token)
            raise self.refused(token, message, hint)
        return node

    # Operators -------------------------------------------------------------------------------

    def _expression(self, power: int) -> Node:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise self.too_deep(self.token.span)
        left = self._prefix(power)
        while self._binds(power):
            left = self._infix(left)
        self.depth -= 1
        return left

    def _binds(self, power: int) -> bool:
        token = self.token
        return token.kind in ("symbol", "keyword") and _POWERS.get(token.text, 0) > power

    def _prefix(self, power: int) -> Node:
        token = self.token
        if self.at("not"):
            if power >= _NOT:
                raise self.refused(token, "`not` cannot stand here", "put `(not …)` in brackets")
            self.take()
            operand = self._expression(_NOT - 1)
            return self.grown(Not(span=Span(token.span.start, operand.span.end), operand=operand))
        if self.at("-"):
            self.take()
            operand = self._expression(_UNARY)
            span = Span(token.span.start, operand.span.end)
            if isinstance(operand, Constant) and type(operand.value) in (int, float):
                return Constant(span=span, value=-cast("float", operand.value))
            return self.grown(Negative(span=span, operand=operand))
        return self._postfix(self._operand())

    def _infix(self, left: Node) -> Node:
        token = self.token
        power = _POWERS[token.text]
        if power in (_OR, _AND):
            return self._logical(left, power)
        if power == _COMPARE:
            return self._comparison(left)
        self.take()
        right = self._expression(power)
        return self.grown(
            Arithmetic(
                span=Span(left.span.start, right.span.end),
                operator=cast("ArithmeticOperator", token.text),
                left=left,
                right=right,
            )
        )

    def _logical(self, left: Node, power: int) -> Node:
        """`a or b or c` is one node, so that a long chain is not a deep tree."""
        operator = self.token.text
        operands = [left]
        while self.at(operator):
            self.take()
            operands.append(self._expression(power))
        return self.grown(
            Logical(
                span=Span(left.span.start, operands[-1].span.end),
                operator="and" if operator == "and" else "or",
                operands=tuple(operands),
            )
        )

    def _comparison(self, left: Node) -> Node:
        operators: list[ComparisonOperator] = []
        operands = [left]
        while self._binds(_NOT):
            token = self.take()
            operator = token.text
            if operator == "not":
                self.expect("in", "behind `not`")
                operator = "not in"
            if self.at("="):
                raise self.refused(
                    self.token, f"`{operator} =` is not an operator here", f"write `{operator}`"
                )
            operators.append(cast("ComparisonOperator", operator))
            operands.append(self._expression(_COMPARE))
        return self.grown(
            Comparison(
                span=Span(left.span.start, operands[-1].span.end),
                operators=tuple(operators),
                operands=tuple(operands),
            )
        )

    # Operands --------------------------------------------------------------------------------

    def _operand(self) -> Node:
        token = self.token
        if token.kind in ("number", "text"):
            self.take()
            return Constant(span=token.span, value=token.value)
        if token.kind == "keyword" and token.text in _CONSTANTS:
            self.take()
            return Constant(span=token.span, value=_CONSTANTS[token.text])
        if token.kind == "name":
            return self._name()
        if self.at("("):
            self.take()
            node = self._expression(0)
            if self.at(","):
                raise self.refused(
                    self.token, "a `,` cannot stand here", "a list is written [a, b]"
                )
            if self.at("for"):
                raise self.refused(self.token, "`for` stands only in any(…) and all(…)")
            self.expect(")", "behind this", token)
            return node
        if self.at("["):
            return self._list()
        message, hint = words.instead_of_operand(token, self.ahead)
        raise self.refused(token, message, hint)

    def _name(self) -> Node:
        token = self.token
        foreign = words.foreign_name(token, self.ahead)
        if foreign is not None:
            raise self.refused(token, *foreign)
        self.take()
        if self.at("("):
            return self._call(token)
        keys = self._keys()
        end = keys[-1].span.end if keys else token.span.end
        return Path(
            span=Span(token.span.start, end), root=token.text, root_span=token.span, keys=keys
        )

    def _list(self) -> Node:
        opened = self.take()
        items: list[Node] = []
        while not self.at("]"):
            items.append(self._expression(0))
            if len(items) > MOST_ITEMS:
                raise self.refused(opened, f"this list has more than {MOST_ITEMS} items")
            if self.at("for"):
                raise self.refused(self.token, "`for` stands only in any(…) and all(…)")
            if not self.at(","):
                break
            self.take()
        closed = self.expect("]", "behind this item", opened)
        return self.grown(Items(span=Span(opened.span.start, closed.span.end), items=tuple(items)))

    # Calls, keys -----------------------------------------------------------------------------

    def _call(self, name: Token) -> Node:
        opened = self.take()
        arguments: list[Node] = []
        named: list[Named] = []
        while not self.at(")"):
            if self.token.kind == "name" and self.ahead.kind == "symbol" and self.ahead.text == "=":
                named.append(self._named(named))
            else:
                argument = self._expression(0)
                if self.at("for"):
                    return self._quantifier(name, opened, argument)
                if named:
                    raise Refused(*argument.span, "this argument needs a name", "as the one before")
                arguments.append(argument)
            if not self.at(","):
                break
            self.take()
        closed = self.expect(")", "behind this argument", opened)
        return self.grown(
            Call(
                span=Span(name.span.start, closed.span.end),
                function=name.text,
                name_span=name.span,
                arguments=tuple(arguments),
                named=tuple(named),
            )
        )

    def _named(self, before: list[Named]) -> Named:
        name = self.take()
        self.take()
        if any(each.name == name.text for each in before):
            raise self.refused(name, f"`{name.text}` stands here twice")
        value = self._expression(0)
        return self.grown(
            Named(
                span=Span(name.span.start, value.span.end),
                name=name.text,
                name_span=name.span,
                value=value,
            )
        )

    def _quantifier(self, name: Token, opened: Token, condition: Node) -> Node:
        if name.text not in ("any", "all"):
            raise self.refused(self.token, "`for` stands only in any(…) and all(…)")
        self.take()
        variable = self.take()
        if variable.kind != "name":
            raise self.refused(
                variable, f"expected a name behind `for` and found {variable.shown()}"
            )
        self.expect("in", f"behind `for {variable.text}`")
        source = self._expression(0)
        if self.at("for") or (self.token.kind == "name" and self.token.text == "if"):
            raise self.refused(
                self.token,
                f"`{self.token.text}` cannot stand here",
                "join conditions with `and`; put an any(…) within the condition",
            )
        closed = self.expect(")", "behind the list", opened)
        return self.grown(
            Quantifier(
                span=Span(name.span.start, closed.span.end),
                kind="any" if name.text == "any" else "all",
                condition=condition,
                variable=variable.text,
                variable_span=variable.span,
                source=source,
            )
        )

    def _postfix(self, node: Node) -> Node:
        keys = self._keys()
        if self.at("("):
            message, hint = words.called(node, keys)
            raise self.refused(self.token, message, hint)
        if not keys:
            return node
        return self.grown(
            Access(span=Span(node.span.start, keys[-1].span.end), base=node, keys=keys)
        )

    def _keys(self) -> tuple[Key, ...]:
        keys: list[Key] = []
        while self.at(".", "["):
            opened = self.take()
            keys.append(self._field(opened) if opened.text == "." else self._index(opened))
            if len(keys) > MOST_DEPTH:
                raise self.too_deep(keys[-1].span)
        return tuple(keys)

    def _field(self, dot: Token) -> Key:
        token = self.token
        if token.kind in ("name", "keyword") and token.span.start == dot.span.end:
            self.take()
            return Key(token.text, token.span, quoted=False)
        found = "a space" if token.kind in ("name", "keyword") else token.shown()
        raise self.refused(
            token if token.kind != "end" else dot,
            f"expected a name behind the dot and found {found}",
            'a name with spaces or signs is written ["odd name"]',
        )

    def _index(self, opened: Token) -> Key:
        negative = self.at("-")
        if negative:
            self.take()
        token = self.take()
        if token.kind == "number" and type(token.value) is int:
            value: int | str = -token.value if negative else token.value
        elif token.kind == "text" and not negative:
            value = str(token.value)
            if value.startswith("__"):
                raise self.refused(token, "names that begin with `__` are refused")
        else:
            raise self.refused(
                opened if token.kind == "end" else token,
                "a number or a text in quotes stands in `[ ]`",
                'as in event.products[0] or profile["odd name"]',
            )
        closed = self.expect("]", "behind this", opened)
        return Key(value, Span(opened.span.start, closed.span.end), quoted=True)
