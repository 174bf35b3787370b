"""`dangol rfm score`: score all customers now."""

from pathlib import Path

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN
from services.cli.terminal import say


def register(app: typer.Typer) -> None:
    commands = typer.Typer(
        name="rfm",
        help="RFM: how recently, how often and for how much customers buy.",
        no_args_is_help=True,
    )
    commands.command("score", epilog="Example: dangol rfm score")(score)
    app.add_typer(commands)


def score(
    server: str = SERVER, token: str = TOKEN, data: Path = DATA, as_json: bool = AS_JSON
) -> None:
    """Score all customers now, not only at night.

    What a purchase is stands in dangol.yaml: `rfm: {event: Order Completed, value: total}`.
    """
    from services.cli.backend import Target, backend

    with backend(Target(server, token, data)) as place:
        answer = place.score_rfm()
    if as_json:
        say(answer.model_dump_json())
    else:
        plural = "" if answer.changed == 1 else "s"
        say(f"Scored. {answer.changed} customer{plural} changed.")
