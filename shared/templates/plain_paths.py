"""Liquid's common case without its machinery: text, and names such as `{{ profile.name }}`.

Most of what a message says is that, and python-liquid takes a render context, a stack of scopes and
a buffer for it, more time than all policies together. Here a template that is nothing else is
joined from pieces, and in any other template such a name is looked up directly. The result is the
library's, to the letter; a test holds both beside each other.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from liquid import Node, RenderContext
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import OutputStreamLimitError
from liquid.expression import Expression
from liquid.output import LimitedStringIO
from liquid.stringify import to_liquid_string
from liquid.token import Token
from liquid.utils import ReadOnlyChainMap
from markupsafe import escape

from shared.templates.effort import Effort

_COMPUTED = frozenset({"size", "first", "last"})
"""Segments that mean more than a key."""


class Scopes(ReadOnlyChainMap):
    """The library raises and catches an error for each scope that does not hold the name."""

    def __getitem__(self, key: str) -> object:
        for scope in self._maps:
            if key in scope:
                return scope[key]
        raise KeyError(key)


class Buffer(LimitedStringIO):
    """Text that is ASCII need not be encoded to be measured."""

    def __init__(self, limit: int, effort: Effort) -> None:
        super().__init__(limit)
        self.effort = effort

    def write(self, text: str, /) -> int:
        self.effort.count()
        self.size += len(text) if text.isascii() else len(text.encode())
        if self.size > self.limit:
            raise OutputStreamLimitError("output stream limit reached", token=None)
        return super(LimitedStringIO, self).write(text)


class PlainOutputNode(OutputNode):
    """`{{ … }}`, which knows whether it is nothing but a name."""

    __slots__ = ("path",)

    def __init__(self, token: Token, expression: Expression) -> None:
        super().__init__(token, expression)
        self.path = _plain(expression)

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        if self.path is None:
            return super().render_to_output(context, buffer)
        return buffer.write(_written(found(context.scope, self.path), context.autoescape))


class PlainOutput(Output):
    node_class = PlainOutputNode


def _plain(expression: Expression) -> tuple[str, ...] | None:
    if not isinstance(expression, FilteredExpression) or expression.filters:
        return None
    left = expression.left
    if not isinstance(left, Path):
        return None
    path = tuple(segment for segment in left.path if isinstance(segment, str))
    usual = len(path) == len(left.path) and not _COMPUTED.intersection(path[1:])
    return path if usual else None


def found(names: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What the path leads to; the empty text, which an unknown name renders as, if to nothing."""
    try:
        value = names[path[0]]
        for segment in path[1:]:
            value = value[segment]
    except (KeyError, TypeError, IndexError):
        return ""
    return value


def _written(value: object, autoescape: bool) -> str:
    if type(value) is str:
        return escape(value) if autoescape else value
    return to_liquid_string(value, autoescape)


Step = str | tuple[str, ...] | Expression


def steps_of(nodes: Iterable[Node]) -> tuple[Step, ...] | None:
    """The pieces of a template without tags: text, plain names, and what goes through filters."""
    steps: list[Step] = []
    for node in nodes:
        if isinstance(node, ContentNode):
            steps.append(node.text)
        elif isinstance(node, PlainOutputNode):
            steps.append(node.path or node.expression)
        else:
            return None
    return tuple(steps)


def join(
    steps: Iterable[Step],
    names: Mapping[str, Any],
    context: Callable[[], RenderContext],
    *,
    autoescape: bool,
    most: int,
) -> str:
    """Raises OutputStreamLimitError for more than `most` bytes, as soon as that is certain.

    `context` is asked for once, and only where something goes through a filter.
    """
    made: RenderContext | None = None
    pieces, size = [], 0
    for step in steps:
        if isinstance(step, str):
            piece = step
        elif isinstance(step, tuple):
            piece = _written(found(names, step), autoescape)
        else:
            made = made or context()
            piece = _written(step.evaluate(made), autoescape)
        size += len(piece)
        if size > most:
            break
        pieces.append(piece)
    whole = "".join(pieces)
    if size > most or (not whole.isascii() and len(whole.encode()) > most):
        raise OutputStreamLimitError("output stream limit reached", token=None)
    return whole
