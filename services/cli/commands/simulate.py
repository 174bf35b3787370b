"""`dangol simulate DIR --events FILE`."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from services.cli.options import AS_JSON, WORKSPACE
from services.cli.terminal import note, say_json, table, working
from shared.errors import BadInput

if TYPE_CHECKING:
    from services.console.simulation.lines import Gate

_COLUMNS = ("at", "customer", "journey", "step", "channel", "decision", "reason")


_MOST_SAID = 10


def register(app: typer.Typer) -> None:
    app.command(
        "simulate", epilog="Example: dangol simulate workspace --events events.ndjson --json"
    )(simulate)


def simulate(
    workspace: Path = WORKSPACE,
    events: Path = typer.Option(
        ..., metavar="FILE", help="Events in the SDK wire format, one JSON object a line."
    ),
    until: str = typer.Option(
        None, metavar="TIME", help="Stop there, for example 2026-03-09T00:00:00Z."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Try a file of events on the virtual clock.

    Prints who would be sent what and when, and who not and why. Nothing is stored and nothing is
    sent.
    """
    from services.console.folder import read_folder
    from services.console.refusal import Refused
    from services.console.simulate import simulate as run
    from services.console.simulation.lines import Gate
    from services.journey.language.workspace import load_workspace
    from shared.tracking import Judge

    stop = _instant(until)
    loaded = load_workspace(read_folder(workspace))
    if loaded.problems:
        raise Refused(loaded.problems)
    gate = Gate(None if loaded.tracking is None else Judge(loaded.tracking))
    try:
        with working("simulating"):
            rows = run(
                *(loaded.flows, loaded.settings, _lines(events), stop, loaded.segments),
                templates=loaded.templates,
                gate=gate,
            )
    except BadInput as error:
        raise BadInput(f"{events}: {error}", hint=error.hint) from error
    _say_kept_out(gate)
    if as_json:
        for row in rows:
            say_json(row)
        return
    shown = list(rows)
    if shown:
        table(_COLUMNS, _cells(shown))
    note(f"{len(shown)} message{'' if len(shown) == 1 else 's'}; nothing was stored or sent")


def _say_kept_out(gate: "Gate") -> None:
    for line, why in gate.kept_out[:_MOST_SAID]:
        note(f"line {line}: the tracking plan sets this event aside: {why}")
    if len(gate.kept_out) > _MOST_SAID:
        note(f"and {len(gate.kept_out) - _MOST_SAID:,} more lines that it sets aside")


def _cells(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    for row in rows:
        yield [str(row[name]) if row[name] is not None else "" for name in _COLUMNS]


def _lines(events: Path) -> list[bytes]:
    try:
        return events.read_bytes().removeprefix(BOM_UTF8).split(b"\n")
    except OSError as error:
        raise BadInput(
            f"cannot read: {error.strerror}",
            hint="--events names a file with one JSON object a line",
        ) from error


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no instant: write it as 2026-03-09T00:00:00Z", param_hint="--until"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
