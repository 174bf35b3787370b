"""What is wrong with a workspace, where, and how to mend it.

A problem is a value: the passes collect them and go on, so that one look at the list mends the
whole workspace. Lines and columns count from 1, columns in characters.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.channels import CHANNELS, UNUSABLE

_QUOTED = 160
"""Characters of a source line that a problem quotes."""
_MOST_CHOICES = 16


class Spot(NamedTuple):
    """A place in a file."""

    line: int
    column: int
    length: int = 1
    """How many characters of the line the caret underlines."""


NOWHERE = Spot(0, 0, 0)
"""The place of what stands in for something that was refused: it makes no problems of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str
    """Relative to the workspace, with slashes."""
    line: int
    column: int
    message: str
    hint: str = ""
    code: str = "invalid"
    """The stable word that programs match on."""
    source_line: str = ""
    """The line, or the part of a long one that surrounds the spot."""
    caret: int = 0
    """Where in `source_line` the spot is."""
    length: int = 1

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def render(self) -> str:
        """`FILE:LINE:COL: message`, the line, a caret under the spot, and the hint."""
        lines = [f"{self.place}: {self.message}"]
        if self.source_line.strip():
            lines += [f"    {_visible(self.source_line)}", f"    {self._caret()}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)

    def _caret(self) -> str:
        before, spot = self.source_line[: self.caret], self.source_line[self.caret :]
        pad = "".join("\t" if c == "\t" else " " * _width(c) for c in before)
        under = sum(map(_width, spot[: self.length]))
        return pad + "^" * max(under, 1)


def _width(character: str) -> int:
    """Columns a terminal gives a character: a Korean syllable takes two, a combining mark none."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _visible(line: str) -> str:
    """Control characters (a terminal would obey them) shown as a replacement character."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in line)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and its text by lines, from which problems quote."""

    file: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, file: str, text: str) -> "Source":
        return cls(file, tuple(text.replace("\r\n", "\n").split("\n")))


@dataclass(slots=True)
class Problems:
    """The collector that is handed through the passes over one file."""

    source: Source
    found: list[Problem] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)
    """Lines that are told already and of which nothing was understood: nothing else is said of
    them."""

    def add(self, spot: Spot, message: str, hint: str = "", *, code: str = "invalid") -> None:
        if spot == NOWHERE or spot.line in self.unread:
            return
        line = min(max(spot.line, 1), max(len(self.source.lines), 1))
        text = self.source.lines[line - 1] if self.source.lines else ""
        column = min(max(spot.column, 1), len(text) + 1)
        length = max(1, min(spot.length, len(text) + 1 - column))
        begin = max(0, column - 1 - _QUOTED // 2) if len(text) > _QUOTED else 0
        quoted = text[begin : begin + _QUOTED]
        self.found.append(
            Problem(
                *(self.source.file, line, column, message, hint, code),
                source_line=quoted,
                caret=column - 1 - begin,
                length=min(length, max(1, len(quoted) - (column - 1 - begin))),
            )
        )


def channel_hint(name: str) -> str:
    """Of a name that no channel has."""
    broken = UNUSABLE.get(name)
    if broken is not None:
        return f"an installed package has it, but it cannot be used: {broken}"
    return nearest(name, CHANNELS)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant, or what there is to choose from."""
    choices = sorted(set(known))
    if not choices:
        return ""
    close = difflib.get_close_matches(name[:80].lower(), [c.lower() for c in choices], n=2)
    meant = [c for c in choices if c.lower() in close]
    if meant:
        return "did you mean " + " or ".join(f"`{c}`" for c in meant) + "?"
    if len(choices) > _MOST_CHOICES:
        return ""
    return "there is " + ", ".join(f"`{c}`" for c in choices)
