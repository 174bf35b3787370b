"""The parts of a template, between two `---` lines at its beginning: flat `name: text` in YAML."""

import re
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from shared.templates.problems import TemplateInvalid, TemplateProblem

_FENCE = "---"
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


def split(source: str) -> Split:
    """Front matter and body; raises TemplateInvalid. A file without front matter is all body."""
    lines = source.split("\n")
    if lines[0].rstrip() != _FENCE:
        return Split({}, source, 1)
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise _refused(1, 1, "the front matter is never closed", "end it with a line `---`")
    return Split(_parts("\n".join(lines[1:end])), "\n".join(lines[end + 1 :]), end + 2)


def _parts(text: str) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    name: ScalarEvent | None = None
    depth = 0
    for event in _events(text):
        line, column = event.start_mark.line + 2, event.start_mark.column + 1
        if isinstance(event, DocumentStartEvent) and (parts or depth or event.explicit):
            raise _refused(line, column, "one group of parts stands in the front matter")
        if isinstance(event, MappingStartEvent) and depth == 0:
            depth = 1
        elif isinstance(event, ScalarEvent) and depth == 1:
            if getattr(event, "tag", None) is not None:
                raise _refused(line, column, "YAML tags are not used here", "leave it out")
            if name is None:
                _check_name(event.value, parts, line, column)
                name = event
            else:
                indent = 1 if event.style in ("'", '"') else 0
                parts[name.value] = Part(event.value, line, column + indent)
                name = None
        elif hasattr(event, "anchor"):  # a list, a mapping, an alias, or a text alone
            hint = 'write `subject: "…"`; a text that begins with `{{` needs quotes'
            raise _refused(line, column, "a part is one text", hint)
    return parts


def _check_name(name: str, parts: dict[str, Part], line: int, column: int) -> None:
    if name in parts:
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
