"""`dangol plan DIR` and `dangol apply DIR`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN, WORKSPACE
from services.cli.terminal import paint, say

if TYPE_CHECKING:
    from services.console.models import AppliedAnswer, JourneyChangeRow, PlanAnswer

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}
_RULES = {
    "migrate": "Then runs in flight move to the new versions by the id of their step.",
    "end": "Then runs in flight on other versions end.",
}
_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def register(app: typer.Typer) -> None:
    app.command("plan", epilog="Example: dangol plan workspace --exit-code")(plan)
    app.command("apply", epilog="Example: dangol apply workspace")(apply)


def plan(
    workspace: Path = WORKSPACE,
    exit_code: bool = typer.Option(
        False,
        "--exit-code",
        "--detailed-exitcode",
        help="Exit with 0 if nothing would change, with 2 if something would.",
    ),
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Show what an apply would change.

    Journeys that are added, changed (with the difference) or archived, how many live runs stand at
    which step, and other files that differ; and warnings where a change would reach people twice,
    leave runs without their step, loosen a rule that protects people, or turn advertising into
    information. Nothing is changed.

    Exits with status 0, or 1 for a workspace with problems or another error. With --exit-code, 0
    says that nothing would change, and 2 that something would (as for terraform plan).
    """
    from services.cli.backend import Target, backend
    from services.console.folder import read_folder

    files = read_folder(workspace)
    with backend(Target(server, token, data)) as place:
        planned = place.plan(files)
    if as_json:
        say(planned.model_dump_json())
    else:
        _say_plan(planned, workspace)
    if exit_code and not planned.identical:
        raise typer.Exit(2)


def _say_plan(planned: "PlanAnswer", workspace: Path) -> None:
    _say_changes(planned)
    for warning in planned.warnings:
        say(_warning(warning))
    for placed in planned.file_warnings:
        say(f"{_warning(placed.message)}\n{_indented(placed.rendered)}")
    if not planned.identical:
        say(f"\nPublish it with: dangol apply {workspace}")


def _warning(text: str) -> str:
    return paint(f"warning: {text}", sys.stdout, fg="yellow")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def apply(
    workspace: Path = WORKSPACE,
    in_flight: str = typer.Option(
        "pin", metavar="pin|migrate|end", help="What becomes of live runs of other versions."
    ),
    base_revision: int = typer.Option(
        None, metavar="N", min=0, help="Refuse if the newest revision is not this one, of the plan."
    ),
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Publish a workspace.

    All of it or nothing. The very same workspace again changes nothing and says so. Live runs go
    on with the version they began with (pin), or those of the journeys that change move to the new
    version by the id of their step (migrate), or end (end): the plan says how many of each. With
    the very same workspace, migrate and end reach the runs that earlier applies left behind.
    """
    from services.cli.backend import Target, backend
    from services.console.folder import read_folder

    files = read_folder(workspace)
    with backend(Target(server, token, data)) as place:
        applied = place.apply(files, base_revision, in_flight)
    if as_json:
        say(applied.model_dump_json())
        return
    if not applied.changed:
        say(f"Nothing to do: this very workspace is published, as revision {applied.revision}.")
        return
    _say_changes(applied, diffs=False)
    active_from = applied.active_from.isoformat(timespec="seconds").replace("+00:00", "Z")
    say(f"\nPublished as revision {applied.revision}, in force from {active_from}.")
    if applied.in_flight != "pin":
        say(_RULES[applied.in_flight])


def _say_changes(answer: "PlanAnswer | AppliedAnswer", *, diffs: bool = True) -> None:
    changed = [change for change in answer.journeys if change.change != "unchanged"]
    if not changed and not answer.files:
        say("Nothing would change.")
    for change in changed:
        say(_sign(change.change) + " " + _what(change))
        _say_runs(change)
        if diffs:
            _say_diff(change.diff)
    for change in answer.journeys:
        if change.change == "unchanged" and change.ends:
            say("= " + paint(change.journey, sys.stdout, bold=True))
            _say_runs(change)
    same = len(answer.journeys) - len(changed)
    if same:
        say(f"= {same} {'journey' if same == 1 else 'journeys'} unchanged")
    for file in answer.files:
        say(f"{_sign(file.change)} {file.file}")
        if diffs:
            _say_diff(file.diff)


def _sign(change: str) -> str:
    sign = _SIGNS[change]
    return paint(sign, sys.stdout, fg=_COLOURS[sign], bold=True)


def _what(change: "JourneyChangeRow") -> str:
    name = paint(change.journey, sys.stdout, bold=True)
    if change.change == "removed":
        return f"{name}: its file is gone, so it is archived"
    again = "" if change.is_new else ", published before"
    if change.change == "added":
        return f"{name}: version {change.version}{again}, from {change.file}"
    return f"{name}: version {change.was} becomes {change.version}{again}"


def _say_runs(change: "JourneyChangeRow") -> None:
    for line in _in_flight(change):
        say(f"    {line}")
    if change.ends:
        moves, stays, ends = (_runs(n) for n in (change.moves, change.stays, change.ends))
        stay = f", {stays} would stay" if change.stays else ""
        say(f"    --in-flight migrate: {moves} would move{stay}; end: {ends} would end")
    for warning in change.warnings:
        say("    " + _warning(warning))


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _in_flight(change: "JourneyChangeRow") -> Iterator[str]:
    for version in sorted({row.version for row in change.in_flight}):
        rows = [row for row in change.in_flight if row.version == version]
        runs = sum(row.runs for row in rows)
        places = ", ".join(f"{row.runs} at {row.step}" for row in rows)
        verb = "goes on" if runs == 1 else "go on"
        yield f"{_runs(runs)} in flight {verb} with version {version}: {places}"


def _say_diff(diff: str) -> None:
    for line in diff.splitlines():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        say("    " + (paint(line, sys.stdout, fg=colour) if colour else line))
