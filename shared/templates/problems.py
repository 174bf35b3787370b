"""What can be wrong with a template: found while parsing it, or while rendering."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """A place in a template file, counted from 1, and what is wrong there."""

    line: int
    column: int
    message: str
    hint: str = ""
    code: str = "template"


class TemplateInvalid(ValueError):
    """A template file cannot be used; `problems` says why."""

    def __init__(self, problems: Iterable[TemplateProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


class TemplateFailed(Exception):
    """A template failed while rendering: the message is dropped with `template_error`."""


class RuleBroken(TemplateFailed):
    """Rendered, an advertisement breaks a rule of a pack, which the message names."""
