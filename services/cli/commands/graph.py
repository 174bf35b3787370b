"""`dangol graph JOURNEY`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, TOKEN
from services.cli.terminal import note, say, working
from shared.errors import BadInput, ConfigurationError

if TYPE_CHECKING:
    from services.console.models import GraphAnswer


def register(app: typer.Typer) -> None:
    app.command("graph", epilog="Example: dangol graph cart-reminder --workspace workspace")(graph)


def graph(
    journey: str = typer.Argument(..., metavar="JOURNEY", help="The journey's id."),
    workspace: Path = typer.Option(
        ".", "--workspace", metavar="DIR", help="The workspace that holds it."
    ),
    server: str = typer.Option(
        None,
        "--server",
        metavar="URL",
        help="Draw what this Dangol has published, with the runs that are at each step now.",
    ),
    token: str = TOKEN,
    output: Path = typer.Option(".", "--output", "-o", metavar="DIR", help="Where to write to."),
    lang: str = typer.Option("en", "--lang", metavar="en|ko", help="The language of the words."),
    mermaid: bool = typer.Option(
        False, "--mermaid", help="Print the Mermaid text and write no files."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Draw a journey.

    Writes JOURNEY.svg, which every browser shows, and JOURNEY.mmd, the same as Mermaid text. With
    --json both are printed in one object, and no files are written.
    """
    if lang not in ("en", "ko"):
        raise typer.BadParameter(f"{lang!r} is neither en nor ko", param_hint="--lang")
    answer = (
        _drawn(workspace, journey, lang) if server is None else _asked(server, token, journey, lang)
    )
    if as_json:
        say(answer.model_dump_json())
        return
    if mermaid:
        say(answer.mermaid.rstrip("\n"))
        return
    try:
        for suffix, text in (("svg", answer.svg), ("mmd", answer.mermaid)):
            path = output / f"{answer.journey}.{suffix}"
            path.write_text(text, encoding="utf-8")
            note(f"wrote {path}")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {output}: {error.strerror}", hint="name another folder with --output"
        ) from error


def _drawn(workspace: Path, journey: str, lang: str) -> "GraphAnswer":
    from services.console.folder import read_folder
    from services.console.graph_api import drawn
    from services.console.refusal import Refused
    from services.journey.language.problems import nearest
    from services.journey.language.workspace import load_workspace

    loaded = load_workspace(read_folder(workspace))
    flow = loaded.flows.get(journey)
    if flow is None:
        if loaded.problems:
            raise Refused(loaded.problems)
        raise BadInput(
            f"there is no journey `{journey}` in {workspace}", hint=nearest(journey, loaded.flows)
        )
    return drawn(flow, "ko" if lang == "ko" else "en", None)


def _asked(server: str, token: str | None, journey: str, lang: str) -> "GraphAnswer":
    from services.cli.local import DEFAULT_DATA, local_token
    from services.cli.remote import Remote

    remote = Remote(server, token or local_token(DEFAULT_DATA))
    with working(f"waiting for {server}"):
        return remote.graph(journey, lang)
