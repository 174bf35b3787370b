"""`dangol backtest DIR --since 30d`."""

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from services.cli.options import AS_JSON, DATA, WORKSPACE
from services.cli.terminal import note, say, say_json, table

if TYPE_CHECKING:
    from services.console.backtesting.reading import Found
    from shared.db.connect import Pool

_NOTES = {
    "calls": "a `call` was answered with nothing, at once",
}


def register(app: typer.Typer) -> None:
    app.command("backtest", epilog="Example: dangol backtest workspace --since 30d")(backtest)


def backtest(
    workspace: Path = WORKSPACE,
    since: str = typer.Option(
        "30d", "--since", metavar="LENGTH", help="How far back: 12h, 30d, 8w."
    ),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Try a workspace over the stored history, beside what is live.

    Who would have entered, been sent, held or dropped, and who would get more or fewer messages
    than now. Works on the database, beside a running Dangol. Nothing is stored and nothing is sent.
    """
    from services.cli.on_database import on_database
    from services.console.backtesting.reading import backtest as run
    from services.console.folder import read_folder
    from services.console.refusal import Refused
    from services.journey.language.workspace import load_workspace
    from shared.clock import wall_clock

    span = _length(since)
    loaded = load_workspace(read_folder(workspace))
    if loaded.problems:
        raise Refused(loaded.problems)

    async def work(pool: "Pool") -> "Found":
        last: datetime = await pool.fetchval("SELECT max(last_at) FROM log_heads")
        return await run(pool, loaded, span, max(last, wall_clock()), _progress)

    found = on_database(data, work)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if as_json:
        _say_all(found)
    else:
        _show(found)


def _length(text: str) -> timedelta:
    from shared.workspace import parse_duration

    try:
        length = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    if length <= timedelta(0):
        raise typer.BadParameter("write a length of time such as 30d", param_hint="--since")
    return length


def _progress(met: int, customers: int) -> None:
    if sys.stderr.isatty():
        share = min(met / customers, 1) if customers else 1
        text = f"\r{met:,} of {customers:,} customers ({share:.0%})"
        print(text, end="", file=sys.stderr, flush=True)


def _say_all(found: "Found") -> None:
    """One object a line: each journey, the people, then everything together."""
    report = found.report
    for journey in report["journeys"]:
        say_json({"type": "journey", **journey})
    say_json({"type": "people", **report["people"]})
    say_json(
        {
            "type": "total",
            "since": report["since"],
            "until": report["until"],
            "customers": report["customers"],
            "events": found.events,
            "replayed": found.replayed,
            "seconds": round(found.seconds, 3),
            "stopped": list(found.stopped),
            "notes": report["notes"],
            "catalogue": report["catalogue"],
            **report["total"],
        }
    )


_COLUMNS = ("journey", "entered", "sent", "held", "dropped", "not admitted")


def _show(found: "Found") -> None:
    report = found.report
    rows = [*report["journeys"], {"journey": "together", **report["total"]}]
    table(_COLUMNS, [_row(row["journey"], row["draft"], row["live"]) for row in rows])
    say()
    people = report["people"]
    say(f"{_customers(people['more'])} would get more messages{_some(people['examples_more'])}")
    say(f"{_customers(people['fewer'])} would get fewer messages{_some(people['examples_fewer'])}")
    say(f"{_customers(people['same'])} would get as many as now")
    for name in found.stopped:
        note(f"{name} is paused or archived, and was left out of both")
    note_of_catalogue(report["catalogue"])
    for code in report["notes"]:
        note(_NOTES[code])
    if report["endless"]:
        note(f"{_customers(report['endless'])} were given up: journeys start each other")
    note(
        f"{found.events:,} events since {report['since']:%Y-%m-%d %H:%M} UTC,"
        f" {found.seconds:.1f} s; nothing was stored or sent"
    )


def note_of_catalogue(found: Mapping[str, int] | None) -> None:
    """What started journeys with an audience; None where there are none."""
    if found is None:
        return
    taken, left = found["taken"], found["left_out"]
    if not taken:
        note(
            "no catalogue event of this stretch starts a journey with an `audience`: none came"
            " through POST /v1/catalog, or none matches"
        )
    elif left:
        note(
            f"journeys with an `audience` met the newest {taken:,} of {taken + left:,} catalogue"
            f" events; {left:,} older ones were left out"
        )
    else:
        note(f"journeys with an `audience` met {taken:,} catalogue event{'s'[: taken > 1]}")


def _row(name: str, draft: Mapping[str, Any] | None, live: Mapping[str, Any] | None) -> list[str]:
    cells = [_number(draft, live, field) for field in ("entered", "sent", "held")]
    return [name, *cells, _reasons(draft, live, "dropped"), _reasons(draft, live, "refused")]


def _number(draft: Mapping[str, Any] | None, live: Mapping[str, Any] | None, field: str) -> str:
    """`120 (+20)`: the draft's, and the difference to what is live."""
    now = 0 if draft is None else draft[field]
    return _with(now, now - (0 if live is None else live[field]))


def _reasons(draft: Mapping[str, Any] | None, live: Mapping[str, Any] | None, field: str) -> str:
    now = {} if draft is None else draft[field]
    was = {} if live is None else live[field]
    told = (
        f"{reason} {_with(now.get(reason, 0), now.get(reason, 0) - was.get(reason, 0))}"
        for reason in sorted({*now, *was})
    )
    return ", ".join(told)


def _with(number: int, change: int) -> str:
    return f"{number:,} ({change:+,})" if change else f"{number:,}"


def _customers(number: int) -> str:
    return f"{number:,} customer{'' if number == 1 else 's'}"


def _some(examples: list[str]) -> str:
    return f", such as {', '.join(examples[:3])}" if examples else ""
