"""`dangol pause | resume | archive JOURNEY`."""

from pathlib import Path

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN
from services.cli.terminal import say

_JOURNEY = typer.Argument(..., metavar="JOURNEY", help="The journey's id.", show_default=False)


def register(app: typer.Typer) -> None:
    app.command("pause", epilog="Example: dangol pause cart-abandonment")(pause)
    app.command("resume", epilog="Example: dangol resume cart-abandonment")(resume)
    app.command("archive", epilog="Example: dangol archive cart-abandonment")(archive)


def pause(
    journey: str = _JOURNEY,
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Stop a journey for a while.

    Nobody enters and nobody moves; messages not yet attempted stay undecided until it is resumed.
    """
    _set(journey, "pause", "paused", (server, token, data), as_json)


def resume(
    journey: str = _JOURNEY,
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Let a paused or archived journey go on."""
    _set(journey, "resume", "active", (server, token, data), as_json)


def archive(
    journey: str = _JOURNEY,
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Close a journey to new entries; live runs go on to their end."""
    _set(journey, "archive", "archived", (server, token, data), as_json)


def _set(journey: str, verb: str, status: str, where: tuple[str, str, Path], as_json: bool) -> None:
    from services.cli.backend import Target, backend

    with backend(Target(*where)) as place:
        answer = place.set_status(journey, verb)
    if as_json:
        say(answer.model_dump_json())
    elif answer.was == answer.status:
        say(f"{journey} is {status} already.")
    else:
        say(f"{journey} is {status} now; it was {answer.was}.")
