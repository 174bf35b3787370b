"""`dangol preview TEMPLATE`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from services.cli.options import AS_JSON, SERVER, TOKEN
from services.cli.terminal import note, say, say_json, working
from shared.errors import BadInput, ConfigurationError

if TYPE_CHECKING:
    from services.console.preview import Preview


def register(app: typer.Typer) -> None:
    app.command(
        "preview",
        epilog="Example: dangol preview cart-reminder --channel email --sample sample.yaml",
    )(preview)


def preview(
    template: str = typer.Argument(..., metavar="TEMPLATE", help="Its folder in templates/."),
    workspace: Path = typer.Option(".", "--workspace", metavar="DIR", help="The workspace."),
    channel: str = typer.Option("email", metavar="CHANNEL", help="The channel to render for."),
    locale: str = typer.Option(None, metavar="LOCALE", help="Instead of the customer's own."),
    sample: Path = typer.Option(
        None,
        metavar="FILE",
        help="YAML or JSON with profile, trigger, event, steps, with: all optional.",
    ),
    customer: str = typer.Option(
        None, metavar="ID", help="A customer of the running server; the sample may add the rest."
    ),
    output: Path = typer.Option(
        None, "--output", "-o", metavar="FILE", help="Where HTML goes.  [default: TEMPLATE.html]"
    ),
    server: str = SERVER,
    token: str = TOKEN,
    as_json: bool = AS_JSON,
) -> None:
    """Render a template as a customer would get it.

    HTML goes to a file, text to the terminal; a text message comes with its size. With --json all
    of it is one object, and a file is written only to --output. Nothing is sent.
    """
    from services.console.folder import read_folder
    from services.console.preview import preview as make
    from services.console.refusal import Refused
    from services.journey.language.workspace import load_workspace
    from shared.clock import wall_clock

    loaded = load_workspace(read_folder(workspace))
    if loaded.problems:
        raise Refused(loaded.problems)
    given = _sample(sample)
    if customer is not None:
        given["profile"] = {**_traits(server, token, customer), **(given.get("profile") or {})}
    made = make(loaded, template, channel, given, wall_clock(), locale)
    if as_json:
        if output is not None:
            _write(output, made.rendered.body)
        say_json(_row(made, channel))
        return
    note(f"{made.file}:")
    for name, text in made.rendered.parts.items():
        say(f"{name}: {text}")
    if made.rendered.html:
        path = output or Path(f"{template}.html")
        _write(path, made.rendered.body)
        note(f"wrote {path}")
    if made.rendered.parts:
        say()
    say(made.rendered.text)
    if made.size is not None:
        image = made.rendered.parts.get("image")
        note(f"{made.size.bytes} bytes in cp949{f' and {image}' if image else ''}: {made.kind}")
    for warning in made.warnings:
        note(f"warning: {warning}")


def _row(made: "Preview", channel: str) -> dict[str, Any]:
    size = made.size
    return {
        "file": made.file,
        "channel": channel,
        "parts": dict(made.rendered.parts),
        "html": made.rendered.body if made.rendered.html else None,
        "text": made.rendered.text,
        "size": None if size is None else {"bytes": size.bytes, "kind": size.kind},
        "warnings": list(made.warnings),
    }


def _sample(path: Path | None) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if path is None:
        return {}
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}", hint="--sample names a file") from error
    except YAMLError as error:
        raise BadInput(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds no mapping", hint="profile: {name: …}")
    return found


def _traits(server: str | None, token: str | None, customer: str) -> dict[str, Any]:
    from services.cli.local import DEFAULT_DATA, DEFAULT_SERVER, local_token
    from services.cli.remote import Remote

    remote = Remote(server or DEFAULT_SERVER, token or local_token(DEFAULT_DATA))
    with working(f"waiting for {server or DEFAULT_SERVER}"):
        return remote.traits(customer)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", hint="name another file with --output"
        ) from error
