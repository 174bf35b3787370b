"""Tokens to a syntax tree: a Pratt parser, bounded in depth, that says what it expected.

    or < and < not < comparison (chained), in, not in < + - < * / < unary - < .x ["x"] [0] f(…)

A parse ends with a tree or with the first mistake, never with an exception: `parse` is total.
"""

from typing import TypeVar, cast

from services.journey.language.expressions import words
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

MOST_DEPTH = 50
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

N = TypeVar("N", bound=Node)


def parse(text: str) -> Node | Mistake:
    if not text.strip():
        return Mistake(Span(0, 1), "a condition is missing here", "such as event.price >= 10000")
    try:
        return _Parser(tokenize(text)).whole()
    except Refused as refused:
        return refused.mistake


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression(0)
        token = self._token
        if token.kind != "end":
            message, hint = words.behind_operand(token)
            raise self._refused(token, message, hint)
        return node

    # Moving along ----------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    @property
    def _ahead(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._token
        if token.kind != "end":
            self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._token.kind in ("symbol", "keyword") and self._token.text in texts

    def _expect(self, text: str, why: str, opened: Token | None = None) -> Token:
        if self._is(text):
            return self._take()
        message = f"expected `{text}` {why} and found {self._token.shown()}"
        if opened is not None and self._token.kind == "end":
            raise self._refused(opened, f"this `{opened.text}` is never closed", f"add a `{text}`")
        _, hint = words.behind_operand(self._token)
        raise self._refused(self._token, message, hint)

    def _refused(self, token: Token, message: str, hint: str = "") -> Refused:
        return Refused(*token.span, message, hint)

    def _grown(self, node: N) -> N:
        """The node with its height, which stays below the bound."""
        height = 1 + max((child.height for child in node.children()), default=0)
        if height > MOST_DEPTH:
            raise self._too_deep(node.span)
        object.__setattr__(node, "height", height)
        return node

    def _too_deep(self, span: Span) -> Refused:
        return Refused(
            span.start,
            span.end,
            f"this condition is nested more than {MOST_DEPTH} levels deep",
            "split it, or give part of it a segment",
        )

    # Operators -------------------------------------------------------------------------------

    def _expression(self, power: int) -> Node:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise self._too_deep(self._token.span)
        left = self._prefix(power)
        while self._binds(power):
            left = self._infix(left)
        self._depth -= 1
        return left

    def _binds(self, power: int) -> bool:
        token = self._token
        return token.kind in ("symbol", "keyword") and _POWERS.get(token.text, 0) > power

    def _prefix(self, power: int) -> Node:
        token = self._token
        if self._is("not"):
            if power >= _NOT:
                raise self._refused(token, "`not` cannot stand here", "put `(not …)` in brackets")
            self._take()
            operand = self._expression(_NOT - 1)
            return self._grown(Not(span=Span(token.span.start, operand.span.end), operand=operand))
        if self._is("-"):
            self._take()
            operand = self._expression(_UNARY)
            span = Span(token.span.start, operand.span.end)
            if isinstance(operand, Constant) and type(operand.value) in (int, float):
                return Constant(span=span, value=-cast("float", operand.value))
            return self._grown(Negative(span=span, operand=operand))
        return self._postfix(self._operand())

    def _infix(self, left: Node) -> Node:
        token = self._token
        power = _POWERS[token.text]
        if power in (_OR, _AND):
            return self._logical(left, power)
        if power == _COMPARE:
            return self._comparison(left)
        self._take()
        right = self._expression(power)
        return self._grown(
            Arithmetic(
                span=Span(left.span.start, right.span.end),
                operator=cast("ArithmeticOperator", token.text),
                left=left,
                right=right,
            )
        )

    def _logical(self, left: Node, power: int) -> Node:
        """`a or b or c` is one node, so that a long chain is not a deep tree."""
        operator = self._token.text
        operands = [left]
        while self._is(operator):
            self._take()
            operands.append(self._expression(power))
        return self._grown(
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
            token = self._take()
            operator = token.text
            if operator == "not":
                self._expect("in", "behind `not`")
                operator = "not in"
            if self._is("="):
                raise self._refused(
                    self._token, f"`{operator} =` is not an operator here", f"write `{operator}`"
                )
            operators.append(cast("ComparisonOperator", operator))
            operands.append(self._expression(_COMPARE))
        return self._grown(
            Comparison(
                span=Span(left.span.start, operands[-1].span.end),
                operators=tuple(operators),
                operands=tuple(operands),
            )
        )

    # Operands --------------------------------------------------------------------------------

    def _operand(self) -> Node:
        token = self._token
        if token.kind in ("number", "text"):
            self._take()
            return Constant(span=token.span, value=token.value)
        if token.kind == "keyword" and token.text in _CONSTANTS:
            self._take()
            return Constant(span=token.span, value=_CONSTANTS[token.text])
        if token.kind == "name":
            return self._name()
        if self._is("("):
            self._take()
            node = self._expression(0)
            if self._is(","):
                raise self._refused(
                    self._token, "a `,` cannot stand here", "a list is written [a, b]"
                )
            if self._is("for"):
                raise self._refused(self._token, "`for` stands only in any(…) and all(…)")
            self._expect(")", "behind this", token)
            return node
        if self._is("["):
            return self._list()
        message, hint = words.instead_of_operand(token, self._ahead)
        raise self._refused(token, message, hint)

    def _name(self) -> Node:
        token = self._token
        foreign = words.foreign_name(token, self._ahead)
        if foreign is not None:
            raise self._refused(token, *foreign)
        self._take()
        if self._is("("):
            return self._call(token)
        keys = self._keys()
        end = keys[-1].span.end if keys else token.span.end
        return Path(
            span=Span(token.span.start, end), root=token.text, root_span=token.span, keys=keys
        )

    def _list(self) -> Node:
        opened = self._take()
        items: list[Node] = []
        while not self._is("]"):
            items.append(self._expression(0))
            if len(items) > MOST_ITEMS:
                raise self._refused(opened, f"this list has more than {MOST_ITEMS} items")
            if self._is("for"):
                raise self._refused(self._token, "`for` stands only in any(…) and all(…)")
            if not self._is(","):
                break
            self._take()
        closed = self._expect("]", "behind this item", opened)
        return self._grown(Items(span=Span(opened.span.start, closed.span.end), items=tuple(items)))

    # Calls, keys -----------------------------------------------------------------------------

    def _call(self, name: Token) -> Node:
        opened = self._take()
        arguments: list[Node] = []
        named: list[Named] = []
        while not self._is(")"):
            if (
                self._token.kind == "name"
                and self._ahead.kind == "symbol"
                and self._ahead.text == "="
            ):
                named.append(self._named(named))
            else:
                argument = self._expression(0)
                if self._is("for"):
                    return self._quantifier(name, opened, argument)
                if named:
                    raise Refused(*argument.span, "this argument needs a name", "as the one before")
                arguments.append(argument)
            if not self._is(","):
                break
            self._take()
        closed = self._expect(")", "behind this argument", opened)
        return self._grown(
            Call(
                span=Span(name.span.start, closed.span.end),
                function=name.text,
                name_span=name.span,
                arguments=tuple(arguments),
                named=tuple(named),
            )
        )

    def _named(self, before: list[Named]) -> Named:
        name = self._take()
        self._take()
        if any(each.name == name.text for each in before):
            raise self._refused(name, f"`{name.text}` stands here twice")
        value = self._expression(0)
        return self._grown(
            Named(
                span=Span(name.span.start, value.span.end),
                name=name.text,
                name_span=name.span,
                value=value,
            )
        )

    def _quantifier(self, name: Token, opened: Token, condition: Node) -> Node:
        if name.text not in ("any", "all"):
            raise self._refused(self._token, "`for` stands only in any(…) and all(…)")
        self._take()
        variable = self._take()
        if variable.kind != "name":
            raise self._refused(
                variable, f"expected a name behind `for` and found {variable.shown()}"
            )
        self._expect("in", f"behind `for {variable.text}`")
        source = self._expression(0)
        if self._is("for") or (self._token.kind == "name" and self._token.text == "if"):
            raise self._refused(
                self._token,
                f"`{self._token.text}` cannot stand here",
                "join conditions with `and`; put an any(…) within the condition",
            )
        closed = self._expect(")", "behind the list", opened)
        return self._grown(
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
        if self._is("("):
            message, hint = words.called(node, keys)
            raise self._refused(self._token, message, hint)
        if not keys:
            return node
        return self._grown(
            Access(span=Span(node.span.start, keys[-1].span.end), base=node, keys=keys)
        )

    def _keys(self) -> tuple[Key, ...]:
        keys: list[Key] = []
        while self._is(".", "["):
            opened = self._take()
            keys.append(self._field(opened) if opened.text == "." else self._index(opened))
            if len(keys) > MOST_DEPTH:
                raise self._too_deep(keys[-1].span)
        return tuple(keys)

    def _field(self, dot: Token) -> Key:
        token = self._token
        if token.kind in ("name", "keyword") and token.span.start == dot.span.end:
            self._take()
            return Key(token.text, token.span, quoted=False)
        found = "a space" if token.kind in ("name", "keyword") else token.shown()
        raise self._refused(
            token if token.kind != "end" else dot,
            f"expected a name behind the dot and found {found}",
            'a name with spaces or signs is written ["odd name"]',
        )

    def _index(self, opened: Token) -> Key:
        negative = self._is("-")
        if negative:
            self._take()
        token = self._take()
        if token.kind == "number" and type(token.value) is int:
            value: int | str = -token.value if negative else token.value
        elif token.kind == "text" and not negative:
            value = str(token.value)
            if value.startswith("__"):
                raise self._refused(token, "names that begin with `__` are refused")
        else:
            raise self._refused(
                opened if token.kind == "end" else token,
                "a number or a text in quotes stands in `[ ]`",
                'as in event.products[0] or profile["odd name"]',
            )
        closed = self._expect("]", "behind this", opened)
        return Key(value, Span(opened.span.start, closed.span.end), quoted=True)
