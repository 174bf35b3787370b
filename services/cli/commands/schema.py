"""`dangol schema journey | settings | segment | events | tests | all`."""

import json
from collections.abc import Callable
from pathlib import Path

import typer

from services.cli.terminal import note, say
from shared.errors import BadInput

_FILES = {
    "journey": ("a journey file", "journeys/*.yaml"),
    "settings": ("dangol.yaml", "dangol.yaml"),
    "segment": ("a segment file", "segments/*.yaml"),
    "events": ("events.yaml, the tracking plan", "events.yaml"),
    "tests": ("a tests file", "tests/*.yaml"),
}


def register(app: typer.Typer) -> None:
    schemas = typer.Typer(name="schema", help="JSON Schemas for editors.", no_args_is_help=True)
    for name in _FILES:
        example = f"Example: dangol schema {name} > workspace/.schemas/{name}.json"
        schemas.command(name, epilog=example)(_command(name))
    schemas.command("all", epilog="Example: dangol schema all workspace/.schemas")(write_all)
    app.add_typer(schemas)


def _command(name: str) -> Callable[[], None]:
    what, pattern = _FILES[name]

    def show() -> None:
        say(_text(name))

    show.__doc__ = f"""Print the JSON Schema of {what}.

    Editors complete and check {pattern} by it; docs/editors.md tells how for each of them.
    """
    return show


def write_all(
    folder: Path = typer.Argument(..., metavar="DIR", help="Made if it is not there."),
) -> None:
    """Write all of them into a folder, as journey.json, settings.json and so on.

    What is there under these names is replaced.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / f"{name}.json").write_text(_text(name) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {error.filename or folder}: {error.strerror}") from error
    note(f"{len(_FILES)} schemas in {folder}")


def _text(name: str) -> str:
    from services.journey.language.schemas import SCHEMAS

    return json.dumps(SCHEMAS[name](), ensure_ascii=False, indent=2)
