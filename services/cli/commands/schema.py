"""`dangol schema journey` and `dangol schema segment`."""

import json

import typer

from services.cli.terminal import say


def register(app: typer.Typer) -> None:
    schemas = typer.Typer(name="schema", help="JSON Schema for editors.", no_args_is_help=True)

    schemas.command("journey", epilog="Example: dangol schema journey > journey.schema.json")(
        journey
    )
    schemas.command("segment", epilog="Example: dangol schema segment > segment.schema.json")(
        segment
    )
    app.add_typer(schemas)


def journey() -> None:
    """Print the JSON Schema of a journey file.

    Editors that know the YAML language server take it from a first line such as
    `# yaml-language-server: $schema=../journey.schema.json`.
    """
    from services.journey.language.model.journey import journey_schema

    say(json.dumps(journey_schema(), ensure_ascii=False, indent=2))


def segment() -> None:
    """Print the JSON Schema of a segment file.

    Editors take it from a first line such as
    `# yaml-language-server: $schema=../segment.schema.json`.
    """
    from services.journey.language.model.journey import segment_schema

    say(json.dumps(segment_schema(), ensure_ascii=False, indent=2))
