"""The kinds of value that can be told apart before anything runs, and what goes with what."""

from enum import Enum

from services.journey.language.expressions.syntax import Constant, Node
from services.journey.language.expressions.values import duration_of, instant_of, is_number


class Kind(Enum):
    """The value is how a message names it."""

    ANY = "something"
    NULL = "null"
    BOOL = "true or false"
    NUMBER = "a number"
    TEXT = "a text"
    LIST = "a list"
    MAP = "a group of fields"
    INSTANT = "an instant"
    DURATION = "a duration"
    EVENT = "an event"


ORDERED = frozenset({Kind.NUMBER, Kind.TEXT, Kind.INSTANT, Kind.DURATION, Kind.ANY})
_TEXT_STANDS_FOR = {Kind.INSTANT: instant_of, Kind.DURATION: duration_of}


def of_constant(value: object) -> Kind:
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.BOOL
    return Kind.NUMBER if is_number(value) else Kind.TEXT


def comparable(left: Node, a: Kind, right: Node, b: Kind) -> bool:
    """Whether a comparison of the two can ever hold."""
    if a is b or Kind.ANY in (a, b):
        return True
    return _stands_for(left, a, b) or _stands_for(right, b, a)


def _stands_for(node: Node, kind: Kind, wanted: Kind) -> bool:
    """Whether a text may be meant as the instant or duration that it stands beside."""
    if kind is not Kind.TEXT or wanted not in _TEXT_STANDS_FOR:
        return False
    return not isinstance(node, Constant) or _TEXT_STANDS_FOR[wanted](node.value) is not None


def result_of(operator: str, left: Node, a: Kind, right: Node, b: Kind) -> Kind | None:
    """The kind that arithmetic yields, or None where it can only be null."""
    if {a, b} & {Kind.NULL, Kind.BOOL, Kind.LIST, Kind.MAP, Kind.EVENT}:
        return None
    if operator in ("*", "/"):
        return _scaled(operator, a, b)
    if a is b is Kind.TEXT:
        return Kind.TEXT if operator == "+" else _between_texts(left, right)
    a, b = _read_beside(left, a, b), _read_beside(right, b, a)
    if a is Kind.ANY or b is Kind.ANY:
        if Kind.NUMBER in (a, b):
            return Kind.NUMBER
        return Kind.INSTANT if operator == "-" and b is Kind.DURATION else Kind.ANY
    if a is b:
        return _alike(operator, a)
    if a is Kind.INSTANT and b is Kind.DURATION:
        return Kind.INSTANT
    if a is Kind.DURATION and b is Kind.INSTANT and operator == "+":
        return Kind.INSTANT
    # A text that is not written out may hold an instant or a duration.
    dynamic = (Kind.TEXT, Kind.INSTANT, Kind.DURATION)
    return Kind.ANY if a in dynamic and b in dynamic and _open_text(left, a, right, b) else None


def _open_text(left: Node, a: Kind, right: Node, b: Kind) -> bool:
    return any(k is Kind.TEXT and not isinstance(n, Constant) for n, k in ((left, a), (right, b)))


def _scaled(operator: str, a: Kind, b: Kind) -> Kind | None:
    if Kind.TEXT in (a, b) or Kind.INSTANT in (a, b):
        return None
    if Kind.ANY in (a, b):
        return Kind.ANY
    if a is b is Kind.NUMBER:
        return Kind.NUMBER
    if a is b is Kind.DURATION:
        return Kind.NUMBER if operator == "/" else None
    return Kind.DURATION if a is Kind.DURATION or operator == "*" else None


def _alike(operator: str, kind: Kind) -> Kind | None:
    if kind is Kind.INSTANT:
        return Kind.DURATION if operator == "-" else None
    return kind


def _between_texts(left: Node, right: Node) -> Kind | None:
    """`-` of two texts: something only where each may be a date, or the second a duration."""
    if isinstance(left, Constant) and instant_of(left.value) is None:
        return None
    if not isinstance(right, Constant) or instant_of(right.value) or duration_of(right.value):
        return Kind.ANY
    return None


def _read_beside(node: Node, kind: Kind, other: Kind) -> Kind:
    """The kind of a written text, where it spells a duration or instant beside the other."""
    if kind is not Kind.TEXT or not isinstance(node, Constant) or other is Kind.NUMBER:
        return kind
    if duration_of(node.value) is not None:
        return Kind.DURATION
    return Kind.INSTANT if instant_of(node.value) is not None else kind
