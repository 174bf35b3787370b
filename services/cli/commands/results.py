"""`dangol results JOURNEY`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, DATA, SERVER, TOKEN
from services.cli.terminal import say, table, working

if TYPE_CHECKING:
    from services.console.results_models import (
        ComparisonRow,
        GroupRow,
        IntervalRow,
        ResultsAnswer,
    )


def register(app: typer.Typer) -> None:
    app.command("results", epilog="Example: dangol results cart-reminder --lang ko")(results)


def results(
    journey: str = typer.Argument(..., metavar="JOURNEY", help="The journey's id."),
    server: str = SERVER,
    token: str = TOKEN,
    data: Path = DATA,
    lang: str = typer.Option("en", "--lang", metavar="en|ko", help="The language of the words."),
    as_json: bool = AS_JSON,
) -> None:
    """Show what a journey brought.

    Who entered, was sent, opened, clicked and converted, and the difference to those held out,
    with the interval in which it may lie.
    """
    if lang not in ("en", "ko"):
        raise typer.BadParameter(f"{lang!r} is neither en nor ko", param_hint="--lang")
    from services.cli.local import DEFAULT_SERVER, local_token
    from services.cli.remote import Remote

    remote = Remote(server or DEFAULT_SERVER, token or local_token(data))
    with working(f"waiting for {server or DEFAULT_SERVER}"):
        answer = remote.results(journey, lang)
    if as_json:
        say(answer.model_dump_json())
        return
    _show(answer, korean=lang == "ko")


def _show(answer: "ResultsAnswer", *, korean: bool) -> None:
    say(answer.lift.sentence)
    say()
    heads = ("", "진입", "전환", "전환율", "95%", "매출", "진입당 매출") if korean else (
        "", "entered", "converted", "rate", "95 %", "revenue", "an entry"
    )  # fmt: skip
    names = ("발송", "비교 그룹") if korean else ("sent to", "held out")
    groups = [(names[0], answer.treated), (names[1], answer.held_out)]
    groups += [(f"{v.step}: {v.variant}", v.group) for v in answer.variants]
    table(heads, [_group(name, group) for name, group in groups])
    say()
    if answer.comparisons:
        for each in answer.comparisons:
            say(f"{each.step}: {each.lift.sentence}")
        say()
        beside = ("비교", "전환율 차이", "95%", "진입당 매출 차이", "95%") if korean else (
            "beside", "rate", "95 %", "revenue an entry", "95 %"
        )  # fmt: skip
        table(beside, [_comparison(each, names[1]) for each in answer.comparisons])
        say()
    steps = ("단계", "발송", "제외", "실패", "불확실", "도달", "열람", "클릭") if korean else (
        "step", "sent", "dropped", "failed", "unknown", "delivered", "opened", "clicked"
    )  # fmt: skip
    fields = ("sent", "dropped", "failed", "unknown", "delivered", "opened", "clicked")
    rows = [
        [send.step, *(f"{getattr(send, field):,}" for field in fields)] for send in answer.sends
    ]
    table(steps, rows)


def _comparison(each: "ComparisonRow", held: str) -> list[str]:
    lift = each.lift
    cells = [f"{each.step}: {each.variant} – {held if each.other is None else each.other}"]
    cells.append("–" if lift.difference is None else f"{lift.difference:+.1%}")
    cells.append(_range(lift.interval, "+.1%"))
    change = lift.revenue_difference
    cells.append("–" if change is None else f"{change:+,.0f}")
    cells.append(_range(lift.revenue_interval, "+,.0f"))
    return cells


def _range(interval: "IntervalRow | None", form: str) -> str:
    return "–" if interval is None else f"{interval.low:{form}}…{interval.high:{form}}"


def _group(name: str, group: "GroupRow") -> list[str]:
    low, high = group.interval.low, group.interval.high
    rate = "–" if group.rate is None else f"{group.rate:.1%}"
    each = "–" if group.revenue_per_entry is None else f"{group.revenue_per_entry:,.0f}"
    return [
        name,
        f"{group.entered:,}",
        f"{group.converted:,}",
        rate,
        f"{low:.1%}–{high:.1%}" if group.entered else "–",
        f"{group.revenue:,.0f}",
        each,
    ]
