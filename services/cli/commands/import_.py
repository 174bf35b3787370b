"""`dangol import FILE`."""

from pathlib import Path
from typing import Any

import typer

from services.cli.local import DEFAULT_SERVER, local_token
from services.cli.options import AS_JSON, DATA, SERVER
from services.cli.terminal import note, say, say_json
from shared.errors import BadInput, DangolError


class SomeRejected(DangolError):
    """Not every line could be used."""

    code = "some_rejected"


def register(app: typer.Typer) -> None:
    app.command("import", epilog="Example: dangol import customers.csv --column number=userId")(
        import_
    )


def import_(
    file: Path = typer.Argument(
        ..., metavar="FILE", help="NDJSON, one event a line as SDKs send it; or CSV (*.csv)."
    ),
    column: list[str] = typer.Option(
        [], metavar="OLD=NEW", help="Read a CSV column under another name, as number=userId."
    ),
    rate: str = typer.Option("1000/s", metavar="RATE", help="The most events, as in 1000/s."),
    rejects: Path = typer.Option(
        None,
        metavar="FILE",
        help="Where lines that cannot be used go.  [default: FILE.rejects.ndjson]",
        show_default=False,
    ),
    start_journeys: bool = typer.Option(
        False, "--start-journeys", help="Let the events start and move journeys, as if just sent."
    ),
    again: bool = typer.Option(
        False, "--from-the-start", help="Do not go on where a run before stopped."
    ),
    key: str = typer.Option(
        None,
        metavar="KEY",
        envvar="DANGOL_WRITE_KEY",
        help="A secret write key; beside a local data folder none is needed.",
        show_default=False,
        show_envvar=True,
    ),
    server: str = SERVER,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Take customers and past events in; no journey starts by them unless asked for.

    Killed, it goes on where it stopped when it is started again.
    """
    from services.cli.importing.run import Wish, run
    from shared.workspace import parse_rate

    try:
        per_second = parse_rate(rate)
    except ValueError as error:
        raise BadInput(str(error)) from error
    names = dict(_renamed(text) for text in column)
    found = key or local_token(data)
    if not found:
        raise BadInput(
            "a secret write key is needed", hint="give it with --key or DANGOL_WRITE_KEY"
        )
    wish = Wish(
        file=file,
        names=names,
        rate=per_second,
        rejects=rejects or file.with_name(file.name + ".rejects.ndjson"),
        start_journeys=start_journeys,
        from_the_start=again,
        server=server or DEFAULT_SERVER,
        key=found,
    )
    done = run(wish, note)
    result: dict[str, Any] = {"sent": done.sent, "rejected": done.rejected}
    if as_json:
        say_json({**result, "rejects": str(wish.rejects) if done.rejected else None})
    else:
        say(f"{done.sent:,} events taken in, {done.rejected:,} lines rejected")
    if done.rejected:
        raise SomeRejected(
            f"{done.rejected:,} lines could not be used", hint=f"{wish.rejects} tells each, and why"
        )


def _renamed(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals or not old.strip() or not new.strip():
        raise BadInput(f"`{text}` renames no column", hint="write it as OLD=NEW")
    return old.strip(), new.strip()
