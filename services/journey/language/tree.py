"""The located tree: what a YAML file says, with the place of every word.

Mappings and sequences are a dict and a list that also know where they stand, so that the next pass
hands them to pydantic as they are. A scalar keeps its raw text: what it means (a condition, a
duration, a number) is for the field that holds it to say, so `where: true` is a condition and
`1:30` stays text.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from services.journey.language.problems import NOWHERE, Source, Spot


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    style: str
    """"" for a plain scalar, else the quote or block indicator that begins it."""
    line: int
    column: int
    source: Source = field(repr=False, compare=False)

    @property
    def spot(self) -> Spot:
        if not self.line:
            return NOWHERE
        quotes = 2 if self.style in ("'", '"') else 0
        length = len(self.text.split("\n", 1)[0]) + quotes
        return Spot(self.line, self.column, 1 if self.style in ("|", ">") else max(length, 1))

    @property
    def empty(self) -> bool:
        """Nothing stands behind the colon, or a written null."""
        return not self.style and self.text in _NULLS

    def spot_of(self, start: int, end: int) -> Spot:
        """Where the characters `[start, end)` of the text stand in the file."""
        if not self.line:
            return NOWHERE
        places = _places(self, start + 1)
        line, column = places[-1] if places else (self.line, self.column)
        if start >= len(self.text) and places:
            column += 1
        return Spot(line, column, max(end - start, 1))


class Mapping(dict[str, "Node"]):
    """Fields in the order of the file."""

    __slots__ = ("keys_at", "spot")

    def __init__(self, spot: Spot) -> None:
        super().__init__()
        self.spot = spot
        self.keys_at: dict[str, Scalar] = {}

    def key_spot(self, key: str) -> Spot:
        at = self.keys_at.get(key)
        return self.spot if at is None else at.spot


class Sequence(list["Node"]):
    __slots__ = ("spot",)

    def __init__(self, spot: Spot) -> None:
        super().__init__()
        self.spot = spot


Node = Scalar | Mapping | Sequence

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,2})?", re.ASCII
)


def data(node: Node) -> Any:
    """The plain value by YAML 1.2's core schema: for fields that hold data, not language."""
    if isinstance(node, Mapping):
        return {key: data(value) for key, value in node.items()}
    if isinstance(node, Sequence):
        return [data(item) for item in node]
    return scalar_data(node)


def scalar_data(scalar: Scalar) -> str | int | float | bool | None:
    text = scalar.text
    if scalar.style:
        return text
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def spot_at(root: Node, path: tuple[int | str, ...], *, key: bool = False) -> Spot:
    """The place of a path such as `("steps", 0, "send")`, as far as it leads into the tree.

    Parts that are no key or index of the tree (pydantic names the member of a union, too) are
    passed over. With `key`, the last field's name is meant rather than its value.
    """
    node, spot = root, root.spot
    for part in path:
        below = _child(node, part)
        if below is not None:
            spot = node.key_spot(str(part)) if key and isinstance(node, Mapping) else below.spot
            node = below
    return spot


def node_at(root: Node, path: tuple[int | str, ...]) -> Node:
    """The node at a path, read as `spot_at` reads it."""
    node = root
    for part in path:
        below = _child(node, part)
        node = node if below is None else below
    return node


def _child(node: Node, part: int | str) -> Node | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        return node.get(part)
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _places(scalar: Scalar, count: int) -> list[tuple[int, int]]:
    """Line and column of the first `count` characters of a scalar's text.

    YAML folds line ends, doubles or escapes quotes and strips indentation, so the text is laid
    along the source: a space or line end of the text matches any run of blanks there, an escape
    stands for one character, every other character for itself.
    """
    lines = scalar.source.lines
    line, column = scalar.line - 1, scalar.column - 1
    if scalar.style in ("|", ">"):
        line, column = line + 1, 0
    elif scalar.style:
        column += 1
    places: list[tuple[int, int]] = []
    for character in scalar.text[:count]:
        blank = character in " \n\t"
        while line < len(lines) and _passed_over(lines[line], column, blank, scalar.style):
            ended = lines[line][column:] in _LINE_ENDS
            line, column = (line + 1, 0) if ended else (line, column + 1)
        if line >= len(lines):
            break
        places.append((line + 1, column + 1))
        column += _taken(lines[line], column, scalar.style)
        if blank and column > len(lines[line]):
            line, column = line + 1, 0
    return places


_LINE_ENDS = ("", "\\")
"""What is left of a line at its end; the backslash joins it to the next, within double quotes."""


def _passed_over(line: str, column: int, blank: bool, style: str) -> bool:
    """Whether the source at this column stands for nothing before the text's next character."""
    rest = line[column:]
    if rest == "\\" and style == '"':
        return True
    return not blank and (not rest or rest[0] in " \t")


def _taken(line: str, column: int, style: str) -> int:
    """How many characters of the source one character of the text takes."""
    here = line[column : column + 2]
    if style == "'" and here == "''":
        return 2
    if style == '"' and here[:1] == "\\":
        return {"x": 4, "u": 6, "U": 10}.get(here[1:2], 2)
    return 1
