"""`dangol migrate`."""

from pathlib import Path

import typer

from services.cli.options import AS_JSON, DATA
from services.cli.terminal import say, say_json, working


def register(app: typer.Typer) -> None:
    app.command("migrate", epilog="Example: DANGOL_DATABASE_URL=postgresql://… dangol migrate")(
        migrate
    )


def migrate(data: Path = DATA, as_json: bool = AS_JSON) -> None:
    """Bring the database's schema forward.

    Of DANGOL_DATABASE_URL, else of the data folder, which is made if it is missing. `dangol up`
    does it by itself.
    """
    import asyncio

    from services.cli.database import database
    from shared.db.migrate import migrate as bring_forward

    with working("bringing the schema forward"), database(data, create=True) as found:
        before, after = asyncio.run(bring_forward(found.dsn, found.partitions))
    if as_json:
        say_json({"before": before or None, "after": after, "changed": before != after})
    elif before == after:
        say(f"The database is up to date: schema {after}.")
    else:
        say(f"The database's schema is {after} now; it was {before or 'empty'}.")
