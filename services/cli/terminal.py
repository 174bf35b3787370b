"""What the command prints: results to stdout, everything else to stderr, colours for people."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import IO, TYPE_CHECKING, Any

import typer

from shared.errors import DangolError

if TYPE_CHECKING:
    from services.journey.language.problems import Problem

_PATIENCE = 1.0
"""Seconds after which a person wonders whether anything still happens."""


def paint(text: str, stream: IO[str], **style: Any) -> str:
    """`text` in colour if the stream is a terminal that wants any."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return typer.style(text, **style) if wanted else text


@contextmanager
def working(what: str) -> Iterator[None]:
    """A line on stderr that moves and counts the seconds, for what takes more than one of them.

    Only for a person at a terminal: a pipe or a log never sees it. Nothing may be printed within.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    shown: list[Any] = []
    timer = Timer(_PATIENCE, lambda: shown.append(_moving(what)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for each in shown:
            each.stop()


def _moving(what: str) -> Any:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress.add_task(what)
    progress.start()
    return progress


def say(text: str = "") -> None:
    print(text)


def note(text: str) -> None:
    """For the person at the terminal, not for the pipe."""
    print(text, file=sys.stderr)


def say_json(row: object) -> None:
    """One object, one line."""
    print(json.dumps(row, ensure_ascii=False, default=str))


def report(error: DangolError) -> None:
    """`error: …` and `hint: …`; a refused workspace first lists its problems."""
    report_problems(getattr(error, "problems", ()))
    for rendered in getattr(error, "rendered", ()):
        _print_problem(rendered)
    print(f"{paint('error:', sys.stderr, fg='red', bold=True)} {error}", file=sys.stderr)
    if error.hint:
        print(f"{paint('hint:', sys.stderr, fg='cyan')} {error.hint}", file=sys.stderr)


def report_problems(problems: "Iterable[Problem]") -> None:
    for problem in problems:
        _print_problem(problem.render())


def _print_problem(rendered: str) -> None:
    place, colon, rest = rendered.partition(": ")
    print(paint(place + colon.rstrip(), sys.stderr, bold=True), rest, file=sys.stderr)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal; plain columns, never cut, in a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    view = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        view.add_column(heading, overflow="fold")
    for row in rows:
        view.add_row(*(Text(cell) for cell in row))
    console = Console(no_color=bool(os.environ.get("NO_COLOR")))
    if not console.is_terminal:
        console.width = 1000
    console.print(view)
