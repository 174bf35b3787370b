"""`dangol fake-providers`."""

import asyncio
import contextlib

import typer

from services.cli.local import DEFAULT_SERVER
from services.cli.terminal import note, say

_PORT = 8430


def register(app: typer.Typer) -> None:
    app.command("fake-providers", epilog='Example: eval "$(dangol fake-providers --env)"')(
        fake_providers
    )


def fake_providers(
    port: int = typer.Option(_PORT, metavar="PORT", min=0, max=65535, help="The port."),
    dangol: str = typer.Option(
        DEFAULT_SERVER, "--dangol", metavar="URL", help="The Dangol that reports go to."
    ),
    env: bool = typer.Option(
        False, "--env", help="Print what a Dangol must have in its environment, and end."
    ),
) -> None:
    """Play SOLAPI, NHN Cloud, SENS, Bizgo, Aligo, Twilio, Resend and SendGrid here.

    Signatures and keys are checked, reports come back, and a number's last four digits say what
    becomes of a message. Nothing leaves the machine.
    """
    from services.cli.fakes.town import environment

    if env:
        for name, value in environment(f"http://127.0.0.1:{port}").items():
            say(f"export {name}={value}")
        return
    from services.cli.up import run_until_signalled

    run_until_signalled(lambda stopping: _serve(port, dangol, stopping))


async def _serve(port: int, dangol: str, stopping: asyncio.Event) -> None:
    from services.cli import web
    from services.cli.fakes.town import Town, environment

    town = Town(dangol)
    with contextlib.closing(web.listen("127.0.0.1", port)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        note(f"fake providers at {url}: open it to see what they take. Reports go to {dangol}.")
        note("start Dangol with these, and end this with Ctrl-C:")
        for name, value in environment(url).items():
            say(f"export {name}={value}")
        await web.serve(town.asgi(), sock, stopping)
    for fake in town.fakes.values():
        fake.silence.set()
