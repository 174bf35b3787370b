"""`dangol mail-domains list | resume`."""

import getpass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json, table

if TYPE_CHECKING:
    from services.console.mail_domains_api import MailDomainRow
    from shared.db.connect import Pool


def register(app: typer.Typer) -> None:
    domains = typer.Typer(
        name="mail-domains",
        help="Sending domains: how many complain about their mail, and letting it go on.",
        no_args_is_help=True,
    )
    domains.command("list", epilog="Example: dangol mail-domains list")(list_)
    domains.command("resume", epilog="Example: dangol mail-domains resume shop.example")(resume)
    app.add_typer(domains)


def list_(data: Path = DATA, as_json: bool = AS_JSON) -> None:
    """Show the share of a day's advertising mail that people complained about, by domain.

    From 0.2 % on advertising mail of the domain waits for a day.
    """
    from services.console.mail_domains_api import row_of
    from shared.db.clock import log_clock
    from shared.mail_complaints import standings

    async def work(pool: "Pool") -> "list[MailDomainRow]":
        now = (await log_clock(pool)).now()
        async with pool.acquire() as connection:
            return [row_of(each) for each in await standings(connection, now)]

    rows = on_database(data, work)
    if as_json:
        for row in rows:
            say_json(row.model_dump(mode="json"))
        return
    if not rows:
        note("no advertising mail was sent within two days")
        return
    heads = ("domain", "mails a day", "complaints", "share", "")
    shown = [(r.domain, f"{r.mails:,}", f"{r.complaints:,}", f"{r.share:.2%}") for r in rows]
    table(heads, [(*cells, _paused(r)) for cells, r in zip(shown, rows, strict=True)])


def _paused(row: "MailDomainRow") -> str:
    return f"waits until {row.paused_until:%Y-%m-%d %H:%M} UTC" if row.paused_until else ""


def resume(
    domain: str = typer.Argument(..., metavar="DOMAIN", help="The sender's, as `list` shows it."),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Let a domain's advertising mail go on before its day is over.

    Only what is sent from then on is judged.
    """
    from shared import mail_complaints
    from shared.db.clock import log_clock

    async def work(pool: "Pool") -> datetime:
        now = (await log_clock(pool)).now()
        async with pool.acquire() as connection:
            await mail_complaints.resume(connection, domain, getpass.getuser(), now)
        return now

    at = on_database(data, work)
    if as_json:
        say_json({"domain": domain, "resumed_at": at.isoformat()})
    else:
        say(f"Advertising mail from {domain} goes on.")
