"""`dangol fake-providers`."""

import asyncio
import contextlib
import shlex
from collections.abc import Mapping

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
    """Play the providers of every channel on this machine: texts, Kakao, mail, push and Slack.

    SOLAPI, NHN Cloud, SENS, Bizgo, Aligo, Twilio, Resend, SendGrid, Amazon SES, Firebase (FCM),
    Apple (APNs, by HTTP/2 at the next port), a browser's push service and Slack. Signatures and
    keys are checked, reports come back, and a number's last four digits say what becomes of a
    message. Nothing leaves the machine.
    """
    from services.cli.fakes.town import environment

    if env:
        _say_environment(environment(f"http://127.0.0.1:{port}"))
        return
    from services.cli.up import run_until_signalled

    run_until_signalled(lambda stopping: _serve(port, dangol, stopping))


async def _serve(port: int, dangol: str, stopping: asyncio.Event) -> None:
    from services.cli import web
    from services.cli.fakes.http2 import Http2
    from services.cli.fakes.town import Town, environment

    with (
        contextlib.closing(web.listen("127.0.0.1", port)) as sock,
        contextlib.closing(web.listen("127.0.0.1", sock.getsockname()[1] + 1)) as next_sock,
    ):
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        town = Town(dangol, url)
        apple = town.apple()
        server = await asyncio.get_running_loop().create_server(
            lambda: Http2(apple), sock=next_sock
        )
        note(f"fake providers at {url}: open it to see what they take. Reports go to {dangol}.")
        note("start Dangol with these, and end this with Ctrl-C:")
        _say_environment(environment(url))
        try:
            await web.serve(town.asgi(), sock, stopping)
        finally:
            server.close()
            for fake in town.fakes.values():
                fake.silence.set()


def _say_environment(environment: Mapping[str, str]) -> None:
    """For a shell: what is more than a word is quoted."""
    for name, value in environment.items():
        say(f"export {name}={shlex.quote(value)}")
