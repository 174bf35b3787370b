"""MJML: mail that looks right in every mailbox.

Liquid is rendered first, so that loops may make sections. What names hold has been escaped by then,
so it can be text and attributes, never an element.
"""

import difflib
import re

from mjml import mjml2html

from shared.templates.problems import TemplateFailed, TemplateInvalid, TemplateProblem

_ELEMENT = re.compile(r"<(mj-[a-z-]+)")
_PLACE = re.compile(r" in root template at position (\d+)(?::\d+)?")
_ELEMENTS = """
accordion accordion-element accordion-text accordion-title all attributes body breakpoint button
carousel carousel-image class column divider font group head hero html-attributes html-attribute
image navbar navbar-link preview raw section selector social social-element spacer style table text
title wrapper
"""
ELEMENTS = frozenset(f"mj-{name}" for name in _ELEMENTS.split())
"""https://documentation.mjml.io/#components; `mj-include` is not among them: files are not read."""


def to_html(source: str) -> str:
    """Raises TemplateFailed."""
    try:
        return str(mjml2html(source))
    except ValueError as error:
        raise TemplateFailed(f"MJML: {_said(error)[0]}") from error


def check(source: str, rendered: str, line: int) -> None:
    """Raises TemplateInvalid: unknown elements in the source, or a body that is no MJML.

    `rendered` is the body with nothing in its names; `line` is where the body begins in the file.
    """
    for found in _ELEMENT.finditer(source):
        name = found[1]
        if name not in ELEMENTS:
            near = difflib.get_close_matches(name, ELEMENTS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else ""
            raise _invalid(source, found.start() + 1, line, f"there is no element `{name}`", hint)
    try:
        mjml2html(rendered)
    except ValueError as error:
        said, place = _said(error)
        # Places in the rendered text are those of the source as long as no tag stands before them.
        near_by = place if rendered[:place] == source[:place] else 0
        hint = "the body is one <mjml> with an <mj-body> in it, and every element is closed"
        raise _invalid(source, near_by, line, f"MJML: {said}", hint) from error


def _said(error: Exception) -> tuple[str, int]:
    text = str(error)
    place = _PLACE.search(text)
    return _PLACE.sub("", text).removesuffix(" in root template"), int(place[1]) if place else 0


def _invalid(source: str, index: int, line: int, message: str, hint: str) -> TemplateInvalid:
    before = source[:index].split("\n")
    return TemplateInvalid(
        [TemplateProblem(line + len(before) - 1, len(before[-1]) + 1, message, hint)]
    )
