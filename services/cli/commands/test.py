"""`dangol test DIR`."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, WORKSPACE
from services.cli.terminal import note, paint, report_problems, say, say_json, working
from services.cli.terminal import report as report_error
from shared.errors import DangolError

if TYPE_CHECKING:
    from services.console.testing.running import Report, SuiteResult
    from services.journey.language.problems import Problem


def register(app: typer.Typer) -> None:
    app.command("test", epilog="Example: dangol test workspace cart-reminder --watch")(run_tests)


def run_tests(
    workspace: Path = WORKSPACE,
    journeys: list[str] = typer.Argument(
        None, metavar="[JOURNEY]...", help="Only their tests.", show_default=False
    ),
    watch: bool = typer.Option(False, "--watch", help="Test again whenever a file changes."),
    junit: Path = typer.Option(
        None, metavar="FILE", help="Write the results as JUnit XML, too.", show_default=False
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Run the workspace's tests on the virtual clock.

    Tests stand in `tests:` of a journey or in tests/*.yaml. They go through the very core that runs
    in production; nothing is stored and nothing is sent. Exits with status 1 if one fails.
    """
    wanted = tuple(journeys or ())
    if watch:
        _watch(workspace, wanted, junit, as_json=as_json)
    elif not _once(workspace, wanted, junit, as_json=as_json):
        raise typer.Exit(1)


def _watch(workspace: Path, wanted: Sequence[str], junit: Path | None, *, as_json: bool) -> None:
    from services.console.testing.watching import changes

    began = False
    for _change in changes(workspace, _pause):
        _clear()
        try:
            _once(workspace, wanted, junit, as_json=as_json)
        except (DangolError, typer.BadParameter) as error:
            if not began:
                raise
            report_error(error if isinstance(error, DangolError) else DangolError(str(error)))
        began = True
        note(f"watching {workspace}; Ctrl-C ends it")


def _pause() -> None:
    from time import sleep

    from services.console.testing.watching import EVERY

    sleep(EVERY)


def _clear() -> None:
    import sys

    if sys.stdout.isatty():
        print("\x1b[2J\x1b[3J\x1b[H", end="", flush=True)


def _once(workspace: Path, wanted: Sequence[str], junit: Path | None, *, as_json: bool) -> bool:
    """Whether the workspace is in order and every test passed."""
    from services.console.folder import read_folder
    from services.console.testing import junit as xml
    from services.console.testing.running import run_suites
    from services.console.testing.suites import read_suites
    from services.journey.language.workspace import load_workspace

    files = read_folder(workspace)
    loaded = load_workspace(files)
    problems = list(loaded.problems)
    suites = []
    if not problems:
        known = loaded.flows, problems, loaded.tracking, loaded.templates
        suites = read_suites(files, *known)
    if problems:
        problems.sort()
        if junit is not None:
            xml.write_whole(junit, xml.problems_xml(problems))
        _print_problems(problems, as_json=as_json)
        return False
    _check_names(wanted, loaded.flows)
    chosen = [suite for suite in suites if not wanted or suite.journey in wanted]
    with working("testing"):
        done = run_suites(chosen, loaded)
    if junit is not None:
        xml.write_whole(junit, xml.report_xml(done))
    _print_report(done, as_json=as_json)
    return done.failed == 0


def _check_names(wanted: Sequence[str], known: Collection[str]) -> None:
    from services.journey.language.problems import nearest

    for name in wanted:
        if name not in known:
            hint = nearest(name, known)
            raise typer.BadParameter(
                f"there is no journey `{name}`" + (f"; {hint}" if hint else ""),
                param_hint="JOURNEY",
            )


def _print_problems(problems: "Sequence[Problem]", *, as_json: bool) -> None:
    import sys

    from services.console.refusal import problem_row

    if as_json:
        for problem in problems:
            say_json(problem_row(problem))
    else:
        report_problems(problems)
    count = len(problems)
    note(paint(f"{count} problem{'' if count == 1 else 's'}", sys.stderr, fg="red", bold=True))


def _print_report(done: "Report", *, as_json: bool) -> None:
    import sys

    from services.console.testing import report

    colour = "red" if done.failed else "green"
    if as_json:
        for result in done.results:
            say_json(report.row_of(result))
        note(paint(report.summary(done), sys.stderr, fg=colour, bold=True))
        return
    for suite in done.suites:
        if suite.results:
            _print_suite(suite)
    for line in report.coverage_lines(done):
        say(line)
    say(paint(report.summary(done), sys.stdout, fg=colour, bold=True))


def _print_suite(suite: "SuiteResult") -> None:
    import sys

    from services.console.testing.report import suite_lines

    for line in suite_lines(suite):
        failed = line.startswith("  FAIL  ")
        say(paint(line, sys.stdout, fg="red", bold=True) if failed else line)
