"""A workspace, or a file of events, that cannot be used: every problem at once."""

from collections.abc import Iterable

from services.journey.language.problems import Problem
from shared.errors import BadInput


class Refused(BadInput):
    """The workspace has problems."""

    code = "invalid_workspace"
    status = 422

    def __init__(self, problems: Iterable[Problem], message: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            message or f"the workspace has {count} problem{'' if count == 1 else 's'}",
            hint="mend what is listed and try again",
        )


def problem_row(problem: Problem, severity: str = "error") -> dict[str, object]:
    """A problem as the API and `--json` show it."""
    return {
        "severity": severity,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "rendered": problem.render(),
    }
