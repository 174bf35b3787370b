"""`dangol erasures export | reapply`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.console.erasing_again import Again
    from services.console.erasure_ledger import Entry
    from shared.db.connect import Pool


def register(app: typer.Typer) -> None:
    erasures = typer.Typer(
        name="erasures",
        help="Erased customers, and backups from before their erasure.",
        no_args_is_help=True,
    )
    erasures.command(
        "export", epilog="Example: dangol erasures export > /mnt/elsewhere/erasures.ndjson"
    )(export)
    erasures.command("reapply", epilog="Example: dangol erasures reapply erasures.ndjson")(reapply)
    app.add_typer(erasures)


def export(data: Path = DATA) -> None:
    """Print the ledger of erasures: what a restored backup needs to erase them again.

    One JSON object a line: when it was asked for and by whom, and keyed hashes of the ids, which
    name nobody. `dangol up` and `dangol console` keep such a file by themselves.
    """
    import msgspec

    from services.console.erasing_again import entries_of

    async def work(pool: "Pool") -> "list[Entry]":
        async with pool.acquire() as connection:
            return await entries_of(connection)

    for entry in on_database(data, work):
        say(msgspec.json.encode(entry).decode())


def reapply(
    file: Path | None = typer.Argument(
        None,
        metavar="[FILE]",
        help="The ledger.  [default: DANGOL_ERASURE_LEDGER, else that of the data folder]",
        show_default=False,
    ),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Erase again whom a restored backup has brought back.

    Asks again for every erasure of the ledger that the database does not know, and withdraws
    messages to those customers at once; the engine erases the rest when it runs. `dangol up` and
    `dangol console` do it at each start; with services apart, run it before they start. Twice is
    harmless.
    """
    from services.cli.environment import read_settings
    from services.cli.local import erasure_ledger
    from services.console.erasing_again import erase_again
    from services.console.erasure_ledger import Ledger
    from shared.clock import REAL

    ledger = Ledger(file) if file is not None else erasure_ledger(read_settings(), data)
    if ledger is None:
        raise ConfigurationError(
            "no ledger of erasures is named", hint="give its file, or set DANGOL_ERASURE_LEDGER"
        )
    if not ledger.path.exists():
        raise ConfigurationError(
            f"there is no ledger of erasures at {ledger.path}",
            hint="`dangol erasures export` prints the one of a database that is not restored",
        )
    entries = ledger.read()

    async def work(pool: "Pool") -> "Again":
        return await erase_again(pool, entries, REAL)

    found = on_database(data, work)
    if as_json:
        say_json(
            {
                "in_ledger": found.in_ledger,
                "missing": found.missing,
                "customers": found.customers,
                "foreign": found.foreign,
            }
        )
        return
    _tell(found)


def _tell(found: "Again") -> None:
    erasures = f"{found.in_ledger:,} erasure{'' if found.in_ledger == 1 else 's'}"
    if not found.missing:
        say(f"The database knows all {erasures} of the ledger; nothing was changed.")
    else:
        ids = f"{found.customers:,} id{'' if found.customers == 1 else 's'}"
        say(
            f"{found.missing:,} of {erasures} were not known to the database and are asked for"
            f" again: {ids} found."
        )
        note("the engine erases them as soon as it runs; the receipts keep their ids")
    if found.foreign:
        note(
            f"warning: {found.foreign:,} in the ledger are of another installation and cannot be"
            " told here: is it the right file?"
        )
