"""Hints for what people write out of habit from other languages."""

from services.journey.language.expressions.lexer import Token
from services.journey.language.expressions.syntax import Access, Key, Node, Path

_OPERATORS = "an operator such as `and`, `==` or `>=`"

_BEHIND: dict[str, str] = {
    "is": "compare with `==` or `!=`",
    "if": "there is no if: use `and`, or a `branch`",
    "else": "there is no else: use `or`, or a `branch`",
    "and": "write `and` in small letters",
    "or": "write `or` in small letters",
    "not": "write `not` in small letters",
    "in": "write `in` in small letters",
    "like": 'write contains(…, "…"), startswith(…, "…") or matches(…, "…")',
    "contains": 'write contains(…, "…")',
    "startswith": 'write startswith(…, "…")',
    "matches": 'write matches(…, "…")',
    "between": "write 1 <= x <= 5",
    "equals": "write `==`",
    "eq": "write `==`",
    "gt": "write `>`",
    "lt": "write `<`",
    "exists": "write `!= null`",
}
"""By the word in small letters: what stands behind a complete operand but joins nothing."""

_FOREIGN: dict[str, tuple[str, str]] = {
    "lambda": ("functions cannot be made here", "any(… for p in event.products) looks at a list"),
    "if": ("there is no if in a condition", "use `and`, `or`, or a `branch`"),
    "else": ("there is no else in a condition", "use `or`, or a `branch`"),
    "import": ("nothing can be imported here", ""),
    "await": ("`await` has no meaning here", ""),
    "yield": ("`yield` has no meaning here", ""),
    "is": ("`is` has no meaning here", "compare with `==`"),
}

_LITERALS = {"true": "true", "false": "false", "null": "null", "none": "null", "nil": "null"}
_LITERALS["undefined"] = "null"


def behind_operand(token: Token) -> tuple[str, str]:
    """Message and hint for a token that stands where an operator is expected."""
    word = token.text.lower()
    if token.text == "=":
        return "`=` compares nothing", "write `==`"
    if token.text == ",":
        return (
            "a `,` cannot stand here",
            "write 10000 for 10,000; a list is written [a, b]",
        )
    if token.text in (")", "]"):
        return f"this `{token.text}` closes nothing", "leave it out, or open it before"
    if token.text == "for":
        return "`for` stands only in any(…) and all(…)", ""
    hint = _BEHIND.get(word, "") if token.kind in ("name", "keyword") else ""
    if not hint and token.kind in ("name", "text"):
        hint = "a text stands in quotes; conditions are joined with `and` or `or`"
    return f"expected {_OPERATORS} here and found {token.shown()}", hint


def instead_of_operand(token: Token, ahead: Token) -> tuple[str, str]:
    """Message and hint for a token that stands where a value is expected."""
    message = f"expected a value here and found {token.shown()}"
    if token.kind == "end":
        return "the condition ends where a value is expected", "such as event.price or 10000"
    if token.text == "." and ahead.kind == "number":
        return message, f"write 0.{ahead.text}"
    if token.text == "=":
        return "`=` compares nothing", "write `==`"
    if token.text == "+":
        return message, "a number needs no `+`"
    return message, "such as event.price, 10000 or a text in quotes"


def foreign_name(token: Token, ahead: Token) -> tuple[str, str] | None:
    """Message and hint where a name is a word of another language."""
    if token.text in _FOREIGN:
        return _FOREIGN[token.text]
    word = token.text.lower()
    member = ahead.text in (".", "[", "(")
    if word in _LITERALS and not member:
        return f"`{token.text}` is written differently here", f"write `{_LITERALS[word]}`"
    if word in ("not", "exists") and ahead.kind in ("name", "keyword"):
        return (
            f"`{token.text}` is written differently here",
            "write `not`" if word == "not" else "write `… != null`",
        )
    return None


def called(node: Node, keys: tuple[Key, ...]) -> tuple[str, str]:
    """Message and hint for `event.name.lower()` and the like."""
    own = keys or (node.keys if isinstance(node, (Path, Access)) else ())
    last = own[-1].value if own else ""
    if isinstance(last, str) and last in ("lower", "contains", "startswith", "matches", "len"):
        return "functions are written before what they work on", f"write {last}(…)"
    return "this cannot be called", "the functions are any, all, len, lower, contains and so on"
