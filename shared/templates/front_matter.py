"""The parts of a template, between two `---` lines at its beginning: flat `name: text` in YAML.

One name is a group of its own: `call`, the live source that is asked before each sending.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
)

from shared.templates.problems import TemplateInvalid, TemplateProblem

CALL = "call"
_FENCE = "---"
_MOST_FIELDS = 60
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}|#\{[^{}\n]{1,40}\}")
"""A part, or a variable of a registered Kakao template: `"#{이름}": "{{ profile.name }}"`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part's text, and where it begins in the file."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Split:
    parts: dict[str, Part]
    body: str
    body_line: int
    call: dict[str, Part] = field(default_factory=dict)
    """`call` as it is written, its inner names joined by a dot: `url`, `with.sku`. `call: https://…`
    alone is its `url`."""


def split(source: str) -> Split:
    """Front matter and body; raises TemplateInvalid. A file without front matter is all body."""
    lines = source.split("\n")
    if lines[0].rstrip() != _FENCE:
        return Split({}, source, 1)
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise _refused(1, 1, "the front matter is never closed", "end it with a line `---`")
    reading = _Reading()
    for event in _events("\n".join(lines[1:end])):
        reading.take(event)
    return Split(reading.parts, "\n".join(lines[end + 1 :]), end + 2, reading.call)


class _Reading:
    """Event by event: the names above the place that is read, and what has been found."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.call: dict[str, Part] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._above: list[str] = []
        """The groups that are open: none, `call`, or `call` and a group within."""
        self._began = False
        self._name: str | None = None

    def take(self, event: Any) -> None:
        line, column = event.start_mark.line + 2, event.start_mark.column + 1
        if isinstance(event, DocumentStartEvent) and (self._began or event.explicit):
            raise _refused(line, column, "one group of parts stands in the front matter")
        if isinstance(event, MappingStartEvent) and not self._began:
            self._began = True
        elif isinstance(event, MappingStartEvent) and self._opens():
            self._above.append(str(self._name))
            self._name = None
        elif isinstance(event, MappingEndEvent) and self._above:
            self._above.pop()
            if not self._above and not self.call:
                raise _refused(line, column, "`call` is empty", "write `call: {url: https://…}`")
        elif isinstance(event, ScalarEvent) and self._began:
            self._scalar(event, line, column)
        elif hasattr(event, "anchor"):  # a list, a mapping, an alias, or a text alone
            hint = 'write `subject: "…"`; a text that begins with `{{` needs quotes'
            raise _refused(line, column, "a part is one text", hint)

    def _opens(self) -> bool:
        if not self._above:
            return self._name == CALL
        return len(self._above) == 1 and self._name is not None

    def _scalar(self, event: Any, line: int, column: int) -> None:
        if getattr(event, "tag", None) is not None:
            raise _refused(line, column, "YAML tags are not used here", "leave it out")
        if self._name is None:
            path = (*self._above, event.value)
            _check_name(event.value, path in self._seen, line, column)
            if len(self._seen) >= _MOST_FIELDS:
                raise _refused(line, column, "there are too many parts", "leave some out")
            self._seen.add(path)
            self._name = event.value
            return
        indent = 1 if event.style in ("'", '"') else 0
        part = Part(event.value, line, column + indent)
        if self._above:
            self.call[".".join((*self._above[1:], self._name))] = part
        elif self._name == CALL:
            self.call["url"] = part
        else:
            self.parts[self._name] = part
        self._name = None


def _check_name(name: str, twice: bool, line: int, column: int) -> None:
    if twice:
        raise _refused(line, column, f"`{name}` stands here twice", "leave one of them out")
    if not _NAME.fullmatch(name):
        raise _refused(line, column, f"`{name[:40]}` is no part's name", "as in `subject`")


def _events(text: str) -> list[Any]:
    try:
        return list(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        mark = None
        if isinstance(error, MarkedYAMLError):
            opened = error.context_mark if "quoted" in str(error.context) else None
            mark = opened or error.problem_mark
        line, column = (mark.line + 2, mark.column + 1) if mark is not None else (2, 1)
        said = str(getattr(error, "problem", "") or "")
        hint = "put the text in quotes"
        raise _refused(line, column, f"the front matter is no YAML: {said}", hint) from error


def _refused(line: int, column: int, message: str, hint: str = "") -> TemplateInvalid:
    return TemplateInvalid([TemplateProblem(line, column, message, hint)])
