"""Arguments and options that several commands share."""

import typer

from services.cli.local import DEFAULT_DATA, DEFAULT_SERVER

WORKSPACE = typer.Argument(
    ..., metavar="DIR", help="The workspace: the folder that holds dangol.yaml.", show_default=False
)
AS_JSON = typer.Option(False, "--json", help="Print one JSON object a line, for scripts.")
DATA = typer.Option(
    DEFAULT_DATA,
    "--data",
    metavar="DIR",
    help="The data folder of the embedded database.",
)
SERVER = typer.Option(
    None,
    "--server",
    metavar="URL",
    envvar="DANGOL_SERVER",
    help=f"The running Dangol to talk to.  [default: {DEFAULT_SERVER}]",
    show_default=False,
    show_envvar=True,
)
TOKEN = typer.Option(
    None,
    "--token",
    metavar="TOKEN",
    envvar="DANGOL_ADMIN_TOKEN",
    help="A bearer token for it; found by itself next to a local data folder.",
    show_default=False,
    show_envvar=True,
)
