"""The files in `templates/`: parsed as dispatch will, with their problems in place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.journey.language.problems import Problem, Problems, Source, Spot, channel_hint
from services.journey.language.reading import decode
from shared.channels import CHANNELS
from shared.sms import hint_for, size_of
from shared.templates import Template, TemplateInvalid, parse_template, template_name

_VARIABLE = re.compile(r"#\{[^{}\n]{1,40}\}")
_LIQUID = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


@dataclass(slots=True)
class TemplateFiles:
    parsed: dict[str, Template] = field(default_factory=dict)
    """The good ones, by `shared.templates.key`."""
    channels: dict[str, frozenset[str]] = field(default_factory=dict)
    """Template to the channels that it has a plain file for (one without a locale), good or bad."""


def read_templates(
    files: Mapping[str, bytes], found: list[Problem], country: str | None = None
) -> TemplateFiles:
    """`country` is the workspace's: Korean carriers take fewer characters than others."""
    templates = TemplateFiles()
    seen: dict[str, str] = {}
    for file, content in files.items():
        name = template_name(file)
        if name is None:
            _misnamed(file, found)
            continue
        if name.channel not in CHANNELS:
            _misnamed(file, found)
        before = templates.channels.get(name.name, frozenset())
        plain = frozenset() if name.locale else frozenset({name.channel})
        templates.channels[name.name] = before | plain
        parsed = _parse(file, content, found)
        if parsed is None:
            continue
        if country == "KR" and name.channel == "sms":
            _check_carried(file, content.decode(), found)
        if name.channel == "alimtalk":
            _check_variables(file, content.decode(), parsed, found)
        if name.key in seen:
            _add(file, f"this and {seen[name.key]} are the same template", "remove one", found)
        else:
            seen[name.key] = file
            templates.parsed[name.key] = parsed
    return templates


def _parse(file: str, content: bytes, found: list[Problem]) -> Template | None:
    source = decode(file, content, found)
    if source is None:
        return None
    problems = Problems(source, found)
    try:
        return parse_template(file, "\n".join(source.lines))
    except TemplateInvalid as invalid:
        for problem in invalid.problems:
            spot = Spot(problem.line, problem.column)
            problems.add(spot, problem.message, problem.hint, code=problem.code)
    return None


def _check_carried(file: str, text: str, found: list[Problem]) -> None:
    """What the template itself says; what names hold only the moment of sending can tell."""
    for number, line in enumerate(_LIQUID.sub(_blank, text).splitlines(), 1):
        unsendable = size_of(line).unsendable
        if unsendable:
            Problems(Source.of(file, text), found).add(
                Spot(number, line.index(unsendable[0]) + 1),
                f"Korean carriers cannot carry `{'` `'.join(unsendable)}`",
                hint_for(unsendable),
                code="unsendable",
            )


def _check_variables(file: str, text: str, template: Template, found: list[Problem]) -> None:
    """A registered template's `#{…}` needs its value, or Kakao refuses every such message."""
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        for match in _VARIABLE.finditer(line):
            if match[0] not in template.parts and match[0] not in seen:
                seen.add(match[0])
                Problems(Source.of(file, text), found).add(
                    Spot(number, match.start() + 1),
                    f"`{match[0]}` has no value",
                    f'add to the front matter: "{match[0]}": "{{{{ … }}}}"',
                    code="no_value",
                )


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _misnamed(file: str, found: list[Problem]) -> None:
    """A file that was meant as a template and is none; notes and pictures are nobody's business."""
    folders = file.split("/")
    channel, _, ending = folders[-1].partition(".")
    if channel in CHANNELS and ending:
        hint = f"templates/<name>/{channel}.liquid, or {channel}.ko.liquid for a language"
        _add(file, "a template's file is named by channel, and ends in .liquid", hint, found)
    elif len(folders) == 3 and file.endswith((".liquid", ".mjml")):
        hint = channel_hint(channel)
        _add(file, f"there is no channel `{channel[:60]}`", hint, found, "unknown_channel")


def _add(file: str, message: str, hint: str, found: list[Problem], code: str = "file_name") -> None:
    Problems(Source(file, ()), found).add(Spot(1, 1), message, hint, code=code)
