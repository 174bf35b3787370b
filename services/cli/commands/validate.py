"""`dangol validate DIR`."""

from pathlib import Path

import typer

from services.cli.options import AS_JSON, WORKSPACE
from services.cli.terminal import note, paint, report_problems, say, say_json


def register(app: typer.Typer) -> None:
    app.command("validate", epilog="Example: dangol validate examples/shop")(validate)


def validate(workspace: Path = WORKSPACE, as_json: bool = AS_JSON) -> None:
    """Check a workspace.

    Prints every problem with its place and how to mend it, and exits with status 1 if there is one.
    Warnings are printed as well and refuse nothing.
    """
    import sys

    from services.console.folder import read_folder
    from services.console.refusal import problem_row
    from services.journey.language.workspace import load_workspace

    loaded = load_workspace(read_folder(workspace))
    if as_json:
        for problem in loaded.problems:
            say_json(problem_row(problem))
        for warning in loaded.warnings:
            say_json(problem_row(warning, "warning"))
    else:
        report_problems(loaded.problems)
        report_problems(loaded.warnings)
    if loaded.problems:
        count = len(loaded.problems)
        note(paint(f"{count} problem{'' if count == 1 else 's'}", sys.stderr, fg="red", bold=True))
        raise typer.Exit(1)
    if not as_json:
        count, warnings = len(loaded.flows), len(loaded.warnings)
        but = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
        say(f"{workspace} is in order: {count} journey{'' if count == 1 else 's'}{but}")
