"""`dangol explain --customer ID --journey NAME`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN
from services.cli.terminal import note, say

if TYPE_CHECKING:
    from services.console.explaining.answer import ExplainAnswer


def register(app: typer.Typer) -> None:
    app.command(
        "explain", epilog="Example: dangol explain --customer u1 --journey cart-reminder --lang ko"
    )(explain)


def explain(
    customer: str = typer.Option(..., metavar="ID", help="The customer's id, or one linked to it."),
    journey: str = typer.Option(..., metavar="NAME", help="The journey's id."),
    lang: str = typer.Option("en", "--lang", metavar="en|ko", help="The language of the words."),
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Tell why a customer did, or did not, get a journey's messages.

    The stored events are taken through the core once more, with everything that was in force when
    each came; messages are shown as they were really decided. Nothing is stored and nothing is
    sent.
    """
    if lang not in ("en", "ko"):
        raise typer.BadParameter(f"{lang!r} is neither en nor ko", param_hint="--lang")
    from services.cli.backend import Target, backend

    with backend(Target(server, token, data)) as found:
        answer = found.explain(customer, journey, "ko" if lang == "ko" else "en")
    if as_json:
        say(answer.model_dump_json())
        return
    _show(answer)


def _show(answer: "ExplainAnswer") -> None:
    """The short of it, what to know, then what happened, a line each on the customer's clock."""
    title = f"{answer.title} ({answer.journey})" if answer.title else answer.journey
    say(f"{answer.customer} · {title}")
    for sentence in answer.summary:
        say(sentence)
    for each in answer.notes:
        say(f"* {each.text}")
    if answer.facts:
        say()
        note(answer.timezone)
    day = ""
    for fact in answer.facts:
        date, _, time = fact.local.partition(" ")
        if date != day:
            say(date)
            day = date
        say(f"  {time}  {fact.text}")
