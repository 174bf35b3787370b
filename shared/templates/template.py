"""A template file, parsed; choosing one by locale; rendering it."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

from liquid.exceptions import LiquidError
from liquid.static_analysis import TemplateAnalysis

from shared.channels import CHANNELS
from shared.templates import front_matter, mjml
from shared.templates.effort import Effort
from shared.templates.front_matter import Part
from shared.templates.live import LiveCall, read_call
from shared.templates.plain_text import plain_text
from shared.templates.problems import TemplateFailed, TemplateInvalid, TemplateProblem
from shared.templates.sandbox import HTML, TEXT, Sandbox, SandboxTemplate

T = TypeVar("T")

MOST_CHARACTERS = 300_000

_EMPTY_MAIL = "<mjml><mj-body></mj-body></mjml>"
_FILE_NAME = re.compile(
    r"([a-z][a-z0-9_]*)(?:\.([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*))?\.(liquid|mjml)"
)


@dataclass(frozen=True, slots=True)
class TemplateName:
    """What the path of a template file says."""

    name: str
    channel: str
    locale: str | None
    extension: str

    @property
    def key(self) -> str:
        return key(self.name, self.channel, self.locale)

    @property
    def path(self) -> str:
        locale = f".{self.locale}" if self.locale else ""
        return f"templates/{self.name}/{self.channel}{locale}.{self.extension}"


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that the template reads, where it stands first."""

    path: tuple[str, ...]
    """As far as it is written out: `steps[x].reason` is `("steps",)`."""
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Template:
    name: TemplateName
    parts: Mapping[str, SandboxTemplate]
    body: SandboxTemplate
    variables: tuple[Variable, ...] = ()
    """Names from outside, by place; not those that the template makes itself."""
    call: LiveCall | None = None
    """The live source that says whether the template's claim still holds."""

    @property
    def html(self) -> bool:
        return _is_html(self.name.channel)


@dataclass(frozen=True, slots=True)
class Rendered:
    parts: dict[str, str]
    """`subject`, `preheader` and what else the front matter has, each on one line."""
    body: str
    html: bool

    @property
    def text(self) -> str:
        """The body for those who read no HTML; the body itself where it is text."""
        return plain_text(self.body) if self.html else self.body


def template_name(path: str) -> TemplateName | None:
    """What `templates/<name>/<channel>[.<locale>].liquid` says; None for any other path."""
    folders = path.split("/")
    match = _FILE_NAME.fullmatch(folders[-1])
    if len(folders) != 3 or folders[0] != "templates" or match is None:
        return None
    return TemplateName(folders[1], match[1], match[2], match[3])


def key(name: str, channel: str, locale: str | None) -> str:
    """The key of a template among others: locales are told apart without regard to case."""
    return f"{name}/{channel}" + (f".{locale.lower()}" if locale else "")


def choose(templates: Mapping[str, T], name: str, channel: str, locale: str | None) -> T | None:
    """Of templates by key, or what stands for them: the one for a customer's locale, that is
    `email.ko-KR`, then `email.ko`, then `email`."""
    wanted = (locale or "").replace("_", "-")
    while wanted:
        found = templates.get(key(name, channel, wanted))
        if found is not None:
            return found
        wanted = wanted.rpartition("-")[0]
    return templates.get(key(name, channel, None))


def parse_template(path: str, source: str) -> Template:
    """The template of one file; raises TemplateInvalid with everything that is wrong with it."""
    name = template_name(path)
    if name is None:
        raise _refused("this is no template's path", "templates/<name>/<channel>.liquid")
    if name.extension == "mjml" and not _is_html(name.channel):
        raise _refused(
            f"MJML is for mail, not for {name.channel}", f"name it {name.channel}.liquid"
        )
    if len(source) > MOST_CHARACTERS:
        raise _refused(f"a template has at most {MOST_CHARACTERS:,} characters")
    split = front_matter.split(source.replace("\r\n", "\n").removeprefix("\ufeff"))
    problems = _missing_parts(name.channel, split.parts)
    parts: dict[str, SandboxTemplate] = {}
    variables: list[Variable] = []
    for part, written in split.parts.items():
        parsed = _parsed(TEXT, written, problems, variables)
        if parsed is not None:
            parts[part] = parsed
    call = None
    if split.call:
        call = read_call(
            split.call, lambda part: _parsed(TEXT, part, problems, variables), problems
        )
    environment = HTML if _is_html(name.channel) else TEXT
    body = _parsed(environment, Part(split.body, split.body_line, 1), problems, variables)
    if problems or body is None:
        raise TemplateInvalid(problems)
    if name.extension == "mjml":
        mjml.check(split.body, _rendered_with_nothing(body), split.body_line)
    return Template(name, parts, body, tuple(variables), call)


def render(template: Template, names: Mapping[str, Any]) -> Rendered:
    """The message, from plain data (what JSON can hold, and instants); raises TemplateFailed.

    `names` are those of the language: `profile`, `trigger`, `event`, `steps`, `journey`, `message`
    and the links; with `now`, an instant, `{{ "now" | date: … }}` works as well.
    """
    effort = Effort()
    try:
        parts = {
            part: " ".join(each.render_within(effort, names).split())
            for part, each in template.parts.items()
        }
        body = template.body.render_within(effort, names)
    except LiquidError as error:
        raise TemplateFailed(f"{error.message}") from error
    except (ArithmeticError, ValueError, TypeError, RecursionError, KeyError) as error:
        # A filter of the library met a value that it did not expect.
        raise TemplateFailed(f"{type(error).__name__}: {error}") from error
    if template.name.extension == "mjml":
        body = mjml.to_html(body)
    return Rendered(parts, body, template.html)


def _rendered_with_nothing(body: SandboxTemplate) -> str:
    try:
        return body.render({})
    except (LiquidError, ArithmeticError, ValueError, TypeError, RecursionError, KeyError):
        return _EMPTY_MAIL  # a filter that needs a value; only sending can tell


def _is_html(channel: str) -> bool:
    return channel in CHANNELS and CHANNELS[channel].body == "html"


def _refused(message: str, hint: str = "") -> TemplateInvalid:
    return TemplateInvalid([TemplateProblem(1, 1, message, hint)])


def _missing_parts(channel: str, parts: Mapping[str, Part]) -> list[TemplateProblem]:
    required = CHANNELS[channel].required_parts if channel in CHANNELS else ()
    return [
        TemplateProblem(
            *(1, 1, f"the `{part}` is missing"),
            hint=f'begin the file with three lines: `---`, `{part}: "…"`, `---`',
            code="missing_part",
        )
        for part in required
        if part not in parts or not parts[part].text.strip()
    ]


def _parsed(
    environment: Sandbox,
    part: Part,
    problems: list[TemplateProblem],
    variables: list[Variable],
) -> SandboxTemplate | None:
    try:
        template = environment.parsed(part.text)
        analysis = template.analyze(include_partials=False)
    except (LiquidError, RecursionError) as error:
        token = getattr(error, "token", None)
        index = token.start_index if token is not None and token.source == part.text else 0
        problems.append(TemplateProblem(*_place(part, index), f"Liquid: {_said(error)}"))
        return None
    variables += _variables(part, analysis)
    for name, spans in analysis.filters.items():
        if name not in environment.filters:
            hint = difflib.get_close_matches(name, environment.filters, n=1)
            problems.append(
                TemplateProblem(
                    *_place(part, spans[0].index),
                    f"there is no filter `{name[:40]}`",
                    f"did you mean `{hint[0]}`?" if hint else "",
                )
            )
    return template


def _variables(part: Part, analysis: TemplateAnalysis) -> list[Variable]:
    first: dict[tuple[str, ...], int] = {}
    for found in (variable for each in analysis.globals.values() for variable in each):
        written = takewhile(lambda segment: isinstance(segment, str), found.segments)
        path = tuple(str(segment) for segment in written)
        first[path] = min(found.span.index, first.get(path, found.span.index))
    placed = sorted((index, path) for path, index in first.items())
    return [Variable(path, *_place(part, index)) for index, path in placed]


def _said(error: Exception) -> str:
    said = error.message if isinstance(error, LiquidError) else "nested too deeply"
    return str(said or "this cannot be read")


def _place(part: Part, index: int) -> tuple[int, int]:
    """Line and column in the file of a character of a part."""
    before = part.text[: max(index, 0)].split("\n")
    column = len(before[-1]) + (part.column if len(before) == 1 else 1)
    return part.line + len(before) - 1, column
