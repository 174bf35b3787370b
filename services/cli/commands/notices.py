"""`dangol notices`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json, table

if TYPE_CHECKING:
    from services.console.notices_api import NoticesAnswer
    from shared.db.connect import Pool


def register(app: typer.Typer) -> None:
    app.command("notices", epilog="Example: dangol notices --within 7 --lang ko")(notices)


def notices(
    within: int = typer.Option(
        0, metavar="DAYS", min=0, max=60, help="Also what falls due within so many days."
    ),
    limit: int = typer.Option(50, metavar="N", min=1, max=500, help="At most so many customers."),
    lang: str = typer.Option("en", "--lang", metavar="en|ko", help="The language of the words."),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Show to whom a notice that a law asks for is overdue, since when, and why it was not sent.

    Which notices there are is told by the packs in dangol.yaml: docs/packs.md.
    """
    if lang not in ("en", "ko"):
        raise typer.BadParameter(f"{lang!r} is neither en nor ko", param_hint="--lang")
    from services.console.notices_api import answer_of
    from services.console.words import language_of
    from shared.db.clock import log_clock

    async def work(pool: "Pool") -> "NoticesAnswer":
        now = (await log_clock(pool)).now()
        async with pool.acquire() as connection:
            return await answer_of(
                connection, now, within, language=language_of(lang, None), limit=limit
            )

    answer = on_database(data, work)
    if as_json:
        for row in answer.customers:
            say_json(row.model_dump(mode="json"))
        return
    if not answer.notices:
        note("no pack in force asks for a notice")
        return
    for each in answer.notices:
        say(f"{each.notice}: {each.customers:,} ({each.title})")
    if answer.customers:
        say("")
        heads = ("고객", "통지", "기한(UTC)", "이유") if lang == "ko" else (
            "customer", "notice", "due (UTC)", "why it was not sent"
        )  # fmt: skip
        rows = [
            (r.customer, r.title, f"{r.due_at:%Y-%m-%d %H:%M}", r.why_text)
            for r in answer.customers
        ]
        table(heads, rows)
