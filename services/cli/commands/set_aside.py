"""`dangol set-aside list | show | replay`."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json, table
from shared.errors import BadInput

if TYPE_CHECKING:
    from services.console.set_aside import Aside, Content, Count, Replayed, Unmended
    from shared.db.connect import Pool

_SOURCE = typer.Option(
    None,
    metavar="NAME",
    help="Of this write key alone; `log` for the engine's.",
    show_default=False,
)
_REASON = typer.Option(
    None, metavar="REASON", help="For this reason alone, such as no_identity.", show_default=False
)
_NUMBER = typer.Argument(..., metavar="ID", min=1, help="As `dangol set-aside list` shows it.")


def register(app: typer.Typer) -> None:
    aside = typer.Typer(
        name="set-aside", help="Events that could not be used.", no_args_is_help=True
    )
    aside.command("list", epilog="Example: dangol set-aside list --reason no_identity")(list_)
    aside.command("show", epilog="Example: dangol set-aside show 17")(show)
    aside.command("replay", epilog="Example: dangol set-aside replay 17 --payload mended.json")(
        replay
    )
    app.add_typer(aside)


def list_(
    source: str = _SOURCE,
    reason: str = _REASON,
    replayed: bool = typer.Option(False, "--replayed", help="Those that were replayed as well."),
    limit: int = typer.Option(50, metavar="N", min=1, max=500, help="At most so many."),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Show how many there are for which reason, and the newest of them; not what is in them."""
    from services.console.set_aside import count_aside, list_aside

    async def work(pool: "Pool") -> "tuple[list[Count], list[Aside]]":
        async with pool.acquire() as connection:
            return await count_aside(connection), await list_aside(
                connection, source=source, reason=reason, replayed=replayed, limit=limit
            )

    counts, records = on_database(data, work)
    if as_json:
        for record in records:
            say_json(_row(record))
        return
    if not counts:
        note("nothing is set aside")
        return
    table(
        ("source", "reason", "waiting", "replayed", "last (UTC)"),
        [(c.source, c.reason, f"{c.waiting:,}", f"{c.replayed:,}", _at(c.last_at)) for c in counts],
    )
    if records:
        say("")
        rows = [(str(r.id), _at(r.at), r.source, r.reason, _done(r)) for r in records]
        table(("id", "at (UTC)", "source", "reason", ""), rows)


def show(number: int = _NUMBER, data: Path = DATA, as_json: bool = AS_JSON) -> None:
    """Show one of them with its content, which is personal data."""
    from services.console.set_aside import show_aside

    async def work(pool: "Pool") -> "Content":
        async with pool.acquire() as connection:
            return await show_aside(connection, number)

    content = on_database(data, work)
    payload = content.payload.decode("utf-8", "replace")
    if as_json:
        say_json({**_row(content.record), "payload": payload})
        return
    record = content.record
    note(
        f"{record.id}: {record.reason}, from `{record.source}` at {_at(record.at)} {_done(record)}"
    )
    say(payload)


def replay(
    number: int | None = typer.Argument(
        None, metavar="[ID]", min=1, help="One of them; without it, all that wait (1,000 at most)."
    ),
    payload: Path = typer.Option(
        None, metavar="FILE", help="The mended event, as JSON.", show_default=False
    ),
    source: str = _SOURCE,
    reason: str = _REASON,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Read again what was set aside, and put into the log what can be used now.

    Each keeps its message id, so that it counts once however often it comes.
    """
    mended = _content(payload) if payload else None
    if mended is not None and number is None:
        raise BadInput("a mended payload is for one record", hint="give its id along")
    from services.console.set_aside import replay as replay_one
    from services.console.set_aside import replay_waiting
    from shared.clock import wall_clock

    by = f"command ({getpass.getuser()})"

    async def work(pool: "Pool") -> "tuple[list[Replayed], list[Unmended]]":
        if number is not None:
            return [await replay_one(pool, number, by=by, now=wall_clock(), payload=mended)], []
        return await replay_waiting(pool, by=by, now=wall_clock(), source=source, reason=reason)

    done, left = on_database(data, work)
    if as_json:
        for one in done:
            say_json({"id": one.id, "events": list(one.events), "why": None})
        for other in left:
            say_json({"id": other.id, "events": [], "why": other.why})
        return
    again = sum(bool(one.events) for one in done)
    say(
        f"{again} replayed"
        + (f", {len(done) - again} had been before" if again < len(done) else "")
    )
    for other in left:
        note(f"{other.id}: {other.why}")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error


def _at(instant: Any) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"


def _done(record: "Aside") -> str:
    return f"replayed {_at(record.replayed_at)}" if record.replayed_at else ""


def _row(record: "Aside") -> dict[str, Any]:
    row = {name: getattr(record, name) for name in record.__slots__}
    for name in ("at", "replayed_at"):
        row[name] = row[name] and row[name].isoformat().replace("+00:00", "Z")
    return row
