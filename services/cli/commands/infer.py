"""`dangol infer`: a first tracking plan, from what has come."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json
from shared.errors import BadInput

if TYPE_CHECKING:
    from services.console.infer import SeenEvent
    from shared.db.connect import Pool


def register(app: typer.Typer) -> None:
    app.command("infer", epilog="Example: dangol infer --since 30d -o workspace/events.yaml")(infer)


def infer(
    since: str = typer.Option("30d", metavar="DURATION", help="How far back to look."),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        metavar="FILE",
        help="Write it there, if there is no such file yet, rather than to standard output.",
        show_default=False,
    ),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Draft a tracking plan (events.yaml) from the stored history.

    Lists the events that came with their properties: the type of each, `required` where it was
    always there, and else how often as a comment. Nothing is changed. Exits with status 1 if there
    is no event to draft from. With --json what was seen is printed instead, an event a line.
    """
    from services.console.infer import draft, seen_events
    from shared.clock import wall_clock
    from shared.workspace import duration_text, parse_duration

    try:
        back = parse_duration(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    if output is not None and output.exists():
        raise BadInput(f"{output} is there already", hint="give another name, or move it away")

    async def work(pool: "Pool") -> "list[SeenEvent]":
        async with pool.acquire() as connection:
            # By the log's clock where it is ahead, as after a run of `dangol up --speed`.
            last = await connection.fetchval("SELECT max(last_at) FROM log_heads")
            return await seen_events(connection, max(wall_clock(), last) - back)

    events = on_database(data, work)
    if not events:
        raise BadInput(
            f"no event came in the last {duration_text(back)}",
            hint="look further back with --since, or name the data folder with --data",
        )
    if as_json:
        for event in events:
            say_json(_row(event))
        if output is None:
            return
    text = draft(events, duration_text(back))
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"cannot write {output}: {error.strerror}") from error
    note(f"{output}: {len(events)} event{'' if len(events) == 1 else 's'}")


def _row(event: "SeenEvent") -> dict[str, object]:
    """How often it came, and with which properties: the type of most, and how often each came."""
    return {
        "event": event.name,
        "count": event.count,
        "properties": [
            {
                "name": name,
                "type": seen.type,
                "required": seen.count >= event.count,
                "count": seen.count,
                "types": dict(sorted(seen.types.items())),
            }
            for name, seen in sorted(event.properties.items())
        ],
    }
