"""The parsed expression: what the closures, and later SQL, are compiled from.

Every node knows the characters it was written with (`span`) and how high the tree beneath it is
(`height`), which the parser bounds so that no walk over a tree can run out of stack.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple
from typing import Literal as OneOf

ROOTS = ("event", "trigger", "profile", "steps", "now", "rfm")
"""The names an expression may begin with; where each is known is for the checker."""


class Span(NamedTuple):
    start: int
    end: int


class Key(NamedTuple):
    """One step into a value: `.x`, `["x"]` or `[0]`."""

    value: str | int
    span: Span
    quoted: bool


def step_id(key: Key) -> str:
    """The id that `steps.first_nudge` or `steps["first-nudge"]` names."""
    return str(key.value) if key.quoted else str(key.value).replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    span: Span
    height: int = 1

    below: ClassVar[tuple[str, ...]] = ()
    """The fields that hold a node or several."""

    def children(self) -> list["Node"]:
        found: list[Node] = []
        for name in self.below:
            held = getattr(self, name)
            if isinstance(held, tuple):
                found += held
            else:
                found.append(held)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Node):
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Node):
    below = ("items",)
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path(Node):
    """A name and the way into it: `event.products[0].sku`. `root` may be a generator's variable."""

    root: str
    root_span: Span
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Node):
    """The way into something that is no name: `last("Order Completed").total`."""

    below = ("base",)
    base: Node
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not(Node):
    below = ("operand",)
    operand: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative(Node):
    below = ("operand",)
    operand: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Logical(Node):
    below = ("operands",)
    operator: OneOf["and", "or"]
    operands: tuple[Node, ...]


ArithmeticOperator = OneOf["+", "-", "*", "/"]
ComparisonOperator = OneOf["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic(Node):
    below = ("left", "right")
    operator: ArithmeticOperator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Node):
    """`a < b <= c` is one comparison with three operands and two operators."""

    below = ("operands",)
    operators: tuple[ComparisonOperator, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantifier(Node):
    """`any(condition for variable in source)`, or `all(…)`."""

    below = ("condition", "source")
    kind: OneOf["any", "all"]
    condition: Node
    variable: str
    variable_span: Span
    source: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Node):
    """A named argument: `within="30d"`."""

    below = ("value",)
    name: str
    name_span: Span
    value: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    below = ("arguments", "named")
    function: str
    name_span: Span
    arguments: tuple[Node, ...]
    named: tuple[Named, ...] = ()

    def argument(self, name: str) -> Node | None:
        return next((each.value for each in self.named if each.name == name), None)


def segments_in(node: Node) -> Iterator[tuple[str, Span]]:
    """The segments that an expression asks of, with where it names them."""
    if isinstance(node, Call) and node.function == "in_segment" and node.arguments:
        name = node.arguments[0]
        if isinstance(name, Constant) and isinstance(name.value, str):
            yield name.value, name.span
    for child in node.children():
        yield from segments_in(child)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with an expression, by the characters of its text."""

    span: Span
    message: str
    hint: str = ""
    code: str = "expression"
