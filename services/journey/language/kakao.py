"""AlimTalk templates held to what Kakao has approved (`templates/kakao.json`).

Without that file there is nothing to hold them to. A code that is written by Liquid is left to the
moment of sending.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from shared import kakao_templates
from shared.kakao_templates import PATH, VARIABLE, Approved, plain
from shared.templates import Template

_CODE = re.compile(r"template_code:\s*(?:\"([^\"]*)\"|'([^']*)'|([^#\n]*))")
_FETCH = "`dangol kakao-templates` fetches the list anew"
_STATUS = {
    "waiting": "Kakao has not approved it yet",
    "rejected": "Kakao has rejected it",
    "stopped": "it is blocked or dormant",
}


def check_kakao(
    files: Mapping[str, bytes], templates: Mapping[str, Template], found: list[Problem]
) -> None:
    try:
        registry = kakao_templates.read(files)
    except ValueError as error:
        Problems(Source(PATH, ()), found).add(
            Spot(1, 1), f"this cannot be read: {error}", _FETCH, code="kakao"
        )
        return
    if registry is None:
        return
    known = registry.by_code()
    for template in templates.values():
        if template.name.channel == "alimtalk":
            path = template.name.path
            _Check(path, files[path].decode(), template, known, found).run()


def code_in(lines: Sequence[str]) -> tuple[str, Spot] | None:
    """A template file's `template_code`, and where it stands; None where only sending tells."""
    for number, line in enumerate(lines, 1):
        match = _CODE.match(line)
        if match is not None:
            group = next(n for n in (1, 2, 3) if match[n] is not None)
            code = match[group].strip()
            dynamic = "{{" in code or "{%" in code or not code
            return None if dynamic else (code, Spot(number, match.start(group) + 1))
    return None


class _Check:
    def __init__(
        self,
        path: str,
        text: str,
        template: Template,
        known: Mapping[str, Approved],
        found: list[Problem],
    ) -> None:
        self._lines = text.splitlines()
        self._problems = Problems(Source.of(path, text), found)
        self._template = template
        self._known = known

    def run(self) -> None:
        named = code_in(self._lines)
        if named is None:
            return
        code, spot = named
        approved = self._known.get(code)
        if approved is None:
            hint = nearest(code, self._known) or _FETCH
            self._add(spot, f"Kakao knows no template `{code}` of this channel", hint)
            return
        if approved.status != "approved":
            why = _STATUS[approved.status]
            self._add(spot, f"the template `{code}` cannot be sent: {why}", _FETCH)
        given = [name for name in self._template.parts if VARIABLE.fullmatch(name)]
        if given:
            self._check_variables(approved, given, spot)
        elif approved.buttons:
            names = "`, `".join(button.name for button in approved.buttons)
            hint = "write the wording with its `#{…}` as approved, and their values above it"
            self._add(spot, f"a text without `#{{…}}` cannot carry the button `{names}`", hint)
        self._check_wording(approved, written_out=not given)

    def _check_variables(self, approved: Approved, given: list[str], spot: Spot) -> None:
        for name in approved.variables:
            if name not in given:
                # One of the wording has been told of already, if the wording is the approved one.
                where = "" if name in approved.content else " of a button"
                hint = f'add to the front matter: "{name}": "{{{{ … }}}}"'
                self._add(spot, f"`{name}`{where} has no value", hint)
        for name in given:
            if name not in approved.variables:
                hint = nearest(name, approved.variables) or "leave it out"
                self._add(self._line_of(name), f"the template has no variable `{name}`", hint)

    def _check_wording(self, approved: Approved, *, written_out: bool) -> None:
        start = self._body_begins()
        while start < len(self._lines) and not self._lines[start].strip():
            start += 1
        body = "\n".join(self._lines[start:])
        if written_out and "{%" in body:
            return  # what it says depends on the customer: sending holds it to the wording
        ours, theirs = plain(body).split("\n"), plain(approved.content).split("\n")
        for number, (mine, said) in enumerate(zip_longest(ours, theirs), start + 1):
            if _shape(mine, written_out) != _shape(said, written_out):
                spot = Spot(min(number, len(self._lines)), 1)
                hint = f"approved is: {said}" if said is not None else "it ends before this line"
                self._add(spot, "this is not the approved wording", hint)
                return

    def _body_begins(self) -> int:
        """The index of the first line behind the front matter."""
        if not self._lines or self._lines[0].rstrip() != "---":
            return 0
        ends = (n for n, line in enumerate(self._lines[1:], 1) if line.rstrip() == "---")
        return next(ends, 0) + 1

    def _line_of(self, name: str) -> Spot:
        for number, line in enumerate(self._lines, 1):
            if name in line:
                return Spot(number, line.index(name) + 1)
        return Spot(1, 1)

    def _add(self, spot: Spot, message: str, hint: str) -> None:
        self._problems.add(spot, message, hint, code="kakao")


def _shape(line: str | None, written_out: bool) -> str | None:
    """A line with its variables alike, whether they are Kakao's or Liquid's."""
    if line is None or not written_out:
        return line
    return re.sub(r"\{\{.*?\}\}|#\{[^{}\n]{1,40}\}", "\0", line)
