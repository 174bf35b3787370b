"""`dangol retention`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN
from services.cli.terminal import note, say, table

if TYPE_CHECKING:
    from services.console.retention_api import CellRow, RetentionAnswer

_PERIODS = ("day", "week", "month")
_OPEN = "…"


def register(app: typer.Typer) -> None:
    epilog = 'Example: dangol retention --start "Signed Up" --by week --periods 8'
    app.command("retention", epilog=epilog)(retention)


def retention(
    event: str = typer.Option(
        None, metavar="EVENT", help="What counts as coming back.  [default: the purchase of `rfm:`]"
    ),
    start: str = typer.Option(
        None, metavar="EVENT", help="Whose first one begins a cohort.  [default: the same event]"
    ),
    by: str = typer.Option("month", "--by", metavar="day|week|month", help="The periods."),
    periods: int = typer.Option(12, metavar="N", min=1, max=60, help="At most so many cohorts."),
    lang: str = typer.Option("en", "--lang", metavar="en|ko", help="The language of the words."),
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Show how many of those who began in one period came back in each of the next.

    Periods are the calendar's, in the workspace's time zone. A period that is not over yet is shown
    as … and counts for nothing: what there is so far would only look low.
    """
    if by not in _PERIODS:
        raise typer.BadParameter(f"{by!r} is neither day, week nor month", param_hint="--by")
    if lang not in ("en", "ko"):
        raise typer.BadParameter(f"{lang!r} is neither en nor ko", param_hint="--lang")
    from services.cli.backend import Target, backend

    with backend(Target(server, token, data)) as place:
        answer = place.retention(event, start, by, periods)
    if as_json:
        say(answer.model_dump_json())
    elif not answer.cohorts:
        note(f"nobody has done “{answer.start}” since {answer.known_since}")
    else:
        _show(answer, korean=lang == "ko")


def _show(answer: "RetentionAnswer", *, korean: bool) -> None:
    if korean:
        say(f"코호트: 첫 ‘{answer.start}’, 다시 한 일: ‘{answer.event}’ ({answer.timezone})")
    else:
        say(f"cohorts by the first “{answer.start}”, who did “{answer.event}” ({answer.timezone})")
    say("")
    numbers = [str(n) for n in range(len(answer.cohorts))]
    heads = ("코호트", "고객", *numbers) if korean else (answer.period, "customers", *numbers)
    rows = []
    for cohort in answer.cohorts:
        size = f"{cohort.size:,}" + ("" if cohort.complete else _OPEN)
        rows.append([str(cohort.starts), size, *(_cell(cell) for cell in cohort.cells)])
    overall = ["" if share is None else f"{share:.1%}" for share in answer.overall]
    rows.append(["전체" if korean else "overall", "", *overall])
    width = len(heads)
    table(heads, [row + [""] * (width - len(row)) for row in rows])
    say("")
    if korean:
        say(f"{_OPEN} 아직 끝나지 않은 기간이라 비율을 보이지 않습니다.")
    else:
        say(f"{_OPEN} this period is not over, so its share would only look low.")


def _cell(cell: "CellRow") -> str:
    if not cell.complete:
        return _OPEN
    return "–" if cell.share is None else f"{cell.share:.1%}"
