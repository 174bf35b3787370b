"""`dangol up` and `dangol demo`: thin doors to what runs everything in one process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import typer

from services.cli.local import DEFAULT_HOST, DEFAULT_PORT
from services.cli.options import DATA

_Language = Literal["en", "ko"]
_HOST = typer.Option(DEFAULT_HOST, metavar="HOST", help="The address to listen on.")
_TAKE_OVER = typer.Option(
    False,
    "--take-over",
    help="Take the port from the Dangol that listens there, if one does; it then ends.",
)
_PORT = typer.Option(DEFAULT_PORT, metavar="PORT", min=0, max=65535, help="The port to listen on.")


_PARTS = {"ingest": 8420, "journey": 8421, "dispatch": 8422, "console": 8423}
_HELP = {
    "ingest": "Run the HTTP edge alone, for scale-out on a shared database.",
    "journey": "Run the engine alone: several share the partitions.",
    "dispatch": "Run the sending alone: any number side by side.",
    "console": "Run the API and the page alone.",
}


def _command(part: str, port: int) -> Callable[[str, int, bool], None]:
    def command(
        host: str = _HOST,
        port: int = typer.Option(port, metavar="PORT", min=0, max=65535, help="The port."),
        take_over: bool = _TAKE_OVER,
    ) -> None:
        from services.cli.environment import read_settings

        settings = read_settings()
        from services.cli.up import run_part

        run_part(cast(Any, part), host, port, settings, take_over=take_over)

    return command


def register(app: typer.Typer) -> None:
    app.command("up", epilog="Example: dangol up --workspace workspace")(up)
    for part, port in _PARTS.items():
        app.command(part, help=_HELP[part], epilog=f"Example: dangol {part} --port {port}")(
            _command(part, port)
        )
    app.command("demo", epilog="Example: dangol demo --lang ko")(demo)


def up(
    workspace: Path = typer.Option(
        None, metavar="DIR", help="Apply this workspace at the start if it differs."
    ),
    data: Path = DATA,
    host: str = _HOST,
    port: int = _PORT,
    speed: float = typer.Option(
        1.0, metavar="N", min=0.001, help="Let N seconds pass in each: a day in a minute is 1440."
    ),
    take_over: bool = _TAKE_OVER,
) -> None:
    """Run all services in one process.

    The database is an embedded PostgreSQL in the data folder, unless DANGOL_DATABASE_URL names one.
    """
    from services.cli.environment import read_settings

    settings = read_settings()
    from services.cli.up import Options, run  # heavy: a mistake above is told before

    run(Options(workspace, data, host, port, speed, take_over), settings)


def demo(
    lang: _Language = typer.Option("en", metavar="en|ko", help="The language it tells the day in."),
    data: Path = typer.Option(
        None,
        metavar="DIR",
        help="Keep the data and the mails in this new or empty folder.",
        show_default=False,
    ),
    port: int = typer.Option(
        None, metavar="PORT", min=0, max=65535, help="The console's port.", show_default=False
    ),
    speed: float = typer.Option(
        None, metavar="N", min=1, help="Let N seconds pass in each.", show_default=False
    ),
) -> None:
    """See the example shop's messages arrive.

    A day of the shop in a minute, with real HTTP, SMTP and PostgreSQL.
    """
    from services.cli.demo import run

    run(speed=speed, keep=data, lang=lang, port=port)
