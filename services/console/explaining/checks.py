"""A condition with the values that it saw: the checked tree, evaluated part by part. Pure.

The answer is the core's own; this only looks at the same scope again, closure by closure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.console.simulation.listening import Answer
from services.journey.core.flow import Expression, Moment, Scope, Value
from services.journey.language.expressions.closures import compiled
from services.journey.language.expressions.functions import FUNCTIONS
from services.journey.language.expressions.syntax import (
    Access,
    Call,
    Constant,
    Logical,
    Node,
    Path,
    Quantifier,
)
from shared.workspace import duration_text

_DEEPEST = 6
"""How far into segments that refer to segments it looks."""
_LONGEST_LIST = 20
_LONGEST_TEXT = 300
_FOLDING = frozenset({"len", "days_since"})
"""Functions whose value says more than what they are given."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that a condition looked at."""

    what: str
    """As the condition writes it: `event.price`, `count("Order Completed", within="30d")`."""
    value: Value
    """As JSON has it; null where it is missing."""

    def as_dict(self) -> dict[str, Any]:
        return {"what": self.what, "value": self.value}


@dataclass(frozen=True, slots=True)
class Check:
    """A condition, whether it held, and what it saw."""

    text: str
    holds: bool
    seen: tuple[Seen, ...] = ()
    parts: tuple["Check", ...] = ()
    """The conditions that `and` or `or` join, or that of a segment."""
    joined_by: str = ""
    """`and`, `or`, or `segment`."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "holds": self.holds,
            "values": [each.as_dict() for each in self.seen],
            "parts": [part.as_dict() for part in self.parts],
        }

    def telling(self) -> Iterator["Check"]:
        """The parts that made it so: of an `and` that fails those that fail, and so on."""
        if self.joined_by in ("and", "or"):
            for part in self.parts:
                if part.holds is self.holds:
                    yield from part.telling()
        else:
            yield self


def check_of(answer: Answer) -> Check | None:
    """None where there was no condition, and the event alone decided."""
    condition = answer.question.condition
    return None if condition is None else check(condition, answer.scope)


def check(condition: Expression, scope: Scope) -> Check:
    if not isinstance(condition.node, Node):
        return Check(condition.source, condition.holds(scope))
    return _check(condition.node, condition.source, scope, 0)


def _check(node: Node, source: str, scope: Scope, depth: int) -> Check:
    text, holds = _text(node, source), compiled(node)(scope) is True
    if isinstance(node, Logical):
        parts = tuple(_check(each, source, scope, depth) for each in node.operands)
        return Check(text, holds, parts=parts, joined_by=node.operator)
    if isinstance(node, Call) and node.function == "in_segment" and depth < _DEEPEST:
        name = node.arguments[0]
        segment = scope.segments.get(str(name.value)) if isinstance(name, Constant) else None
        if segment is not None and isinstance(segment.condition.node, Node):
            own = segment.condition
            inside = _check(own.node, own.source, scope, depth + 1)
            return Check(text, holds, parts=(inside,), joined_by="segment")
    return Check(text, holds, tuple(_seen(node, source, scope)))


def _seen(node: Node, source: str, scope: Scope) -> Iterator[Seen]:
    """The names and counts that a condition without `and` and `or` looks at, each once."""
    found: dict[str, Seen] = {}
    for each in _looked_at(node):
        text = _text(each, source)
        if text not in found:
            found[text] = Seen(text, plain(compiled(each)(scope)))
    yield from found.values()


def _looked_at(node: Node) -> Iterator[Node]:
    match node:
        case Path() | Access():
            yield node
        case Call() if node.function in _FOLDING or node.function == "in_segment":
            yield node
        case Call() if FUNCTIONS[node.function].history:
            yield node
        case Quantifier():
            yield from _looked_at(node.source)
        case _:
            for child in node.children():
                yield from _looked_at(child)


def _text(node: Node, source: str) -> str:
    return source[node.span.start : node.span.end]


def plain(value: Value) -> Any:
    """As JSON has it, of a bounded size."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return duration_text(value)
        case Moment():
            at = None if value.at is None else plain(value.at)
            return {"event": value.name, "at": at}
        case list():
            return [plain(each) for each in value[:_LONGEST_LIST]]
        case dict():
            return {str(name): plain(value[name]) for name in list(value)[:_LONGEST_LIST]}
        case str() if len(value) > _LONGEST_TEXT:
            return f"{value[:_LONGEST_TEXT]}…"
        case _:
            return value
