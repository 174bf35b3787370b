"""`dangol restored`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json

if TYPE_CHECKING:
    from services.cli.restoring import Restored
    from shared.db.connect import Pool


def register(app: typer.Typer) -> None:
    app.command("restored", epilog="Example: DANGOL_DATABASE_URL=postgresql://… dangol restored")(
        restored
    )


def restored(
    accept_loss: bool = typer.Option(
        False,
        "--accept-loss",
        help="Go on although the log has lost records that the database has not read.",
    ),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Make a restored database fit for use, before any service runs on it.

    Shuts out processes that still run from before, checks that the log has everything since the
    backup, and says what may be sent again. Twice is harmless.
    """
    from services.cli.environment import read_settings
    from services.cli.restoring import make_fit
    from shared.log.kafka_settings import kafka_settings

    kafka = kafka_settings(read_settings())

    async def work(pool: "Pool") -> "Restored":
        return await make_fit(pool, kafka, accept_loss=accept_loss)

    found = on_database(data, work)
    if as_json:
        say_json(
            {
                "accepted": [
                    {"partition": g.partition, "read": g.read, "start": g.start, "end": g.end}
                    for g in found.accepted
                ],
                "unread": found.unread,
                "waiting": found.waiting,
                "calls": found.calls,
            }
        )
        return
    for gap in found.accepted:
        note(f"warning: {gap}; accepted")
    say(f"The database is fit for use; {found.unread:,} records of the log are to be taken in.")
    if kafka is None:
        note("events that came after the backup were in the lost database: send them again")
    note(
        f"{found.waiting:,} messages and {found.calls:,} calls are open, and may have been sent"
        " since the backup: docs/operations.md#backup"
    )
