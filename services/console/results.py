"""A journey's results, put together from its counters, conversions and messages."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from services.console.lift import Group, Interval, Lift, entries_needed, lift_of, wilson
from services.console.results_models import (
    GroupRow,
    IntervalRow,
    LiftRow,
    ResultsAnswer,
    SendRow,
    VariantRow,
)
from services.console.words import Language
from services.journey.core.flow import Flow, Send

Row = Mapping[str, Any]


def results_answer(
    flow: Flow,
    counts: Iterable[Row],
    conversions: Iterable[Row],
    messages: Iterable[Row],
    language: Language,
) -> ResultsAnswer:
    """`counts`: step, what, n. `conversions`: held_out, variants, n, revenue, squares; one row for
    each combination. `messages`: step, decision, n."""
    tally: dict[tuple[str, str], int] = Counter()
    for row in counts:
        tally[row["step"], row["what"]] += int(row["n"])
    rows = list(conversions)
    held_entered = sum(n for (_, what), n in tally.items() if what.startswith("held_out:"))
    treated = _group(tally["", "entered"] - held_entered, [r for r in rows if not r["held_out"]])
    held = _group(held_entered, [r for r in rows if r["held_out"]])
    lift = lift_of(treated, held, has_goal=flow.goal is not None)
    needed = entries_needed(treated, held) if lift.verdict == "too_early" else None
    return ResultsAnswer(
        journey=flow.journey,
        has_goal=flow.goal is not None,
        treated=_group_row(treated),
        held_out=_group_row(held),
        lift=_lift_row(lift, treated, held, needed, language),
        variants=_variants(tally, rows),
        sends=_sends(flow, tally, messages),
    )


def _group(entered: int, rows: Iterable[Row]) -> Group:
    found = list(rows)
    return Group(
        entered=entered,
        converted=sum(int(row["n"]) for row in found),
        revenue=sum(float(row["revenue"]) for row in found),
        squares=sum(float(row["squares"]) for row in found),
    )


def _variants(tally: Mapping[tuple[str, str], int], rows: list[Row]) -> list[VariantRow]:
    found = []
    for (step, what), entered in sorted(tally.items()):
        kind, _, variant = what.partition(":")
        if kind == "variant":
            own = [r for r in rows if not r["held_out"] and r["variants"].get(step) == variant]
            found.append(
                VariantRow(step=step, variant=variant, group=_group_row(_group(entered, own)))
            )
    return found


def _sends(
    flow: Flow, tally: Mapping[tuple[str, str], int], messages: Iterable[Row]
) -> list[SendRow]:
    decided: dict[str, Counter[str]] = defaultdict(Counter)
    for row in messages:
        if row["decision"] is not None:
            decided[row["step"]][row["decision"]] += int(row["n"])
    return [
        SendRow(
            step=step.id,
            sent=decided[step.id]["sent"],
            dropped=decided[step.id]["dropped"],
            failed=decided[step.id]["failed"],
            unknown=decided[step.id]["unknown"],
            delivered=tally.get((step.id, "receipt:delivered"), 0),
            opened=tally.get((step.id, "receipt:opened"), 0),
            clicked=tally.get((step.id, "receipt:clicked"), 0),
        )
        for step in flow.steps.values()
        if isinstance(step, Send)
    ]


def _group_row(group: Group) -> GroupRow:
    return GroupRow(
        entered=group.entered,
        converted=group.converted,
        rate=group.rate,
        interval=_interval(wilson(group.converted, group.entered)),
        revenue=group.revenue,
        revenue_per_entry=group.revenue_per_entry,
    )


def _interval(interval: Interval) -> IntervalRow:
    return IntervalRow(low=interval.low, high=interval.high)


def _lift_row(
    lift: Lift, treated: Group, held: Group, needed: int | None, language: Language
) -> LiftRow:
    revenue = lift.revenue_interval
    return LiftRow(
        verdict=lift.verdict,
        sentence=sentence(lift, treated, held, needed, language),
        difference=lift.difference,
        interval=None if lift.interval is None else _interval(lift.interval),
        relative=lift.relative,
        revenue_difference=lift.revenue_difference,
        revenue_interval=None if revenue is None else _interval(revenue),
        entries_needed=needed,
    )


def sentence(
    lift: Lift, treated: Group, held: Group, needed: int | None, language: Language
) -> str:
    """What may be said of it, and no more."""
    korean = language == "ko"
    match lift.verdict:
        case "no_goal":
            return (
                "목표(goal)가 없어 효과를 잴 수 없습니다."
                if korean
                else "The journey has no goal, so there is nothing to measure."
            )
        case "no_holdout":
            return (
                "비교 그룹이 없어 이 여정이 실제로 더 만들어 낸 효과는 알 수 없습니다."
                " `holdout: 10%`를 두어 보세요."
                if korean
                else "Nobody has been held out, so what the journey itself brought cannot be told."
                " Try `holdout: 10%`."
            )
    assert lift.difference is not None
    assert lift.interval is not None
    low, high = lift.interval.low * 100, lift.interval.high * 100
    between = f"{low:+.1f}~{high:+.1f}%p" if korean else f"{low:+.1f} and {high:+.1f} points"
    points = f"{abs(lift.difference) * 100:.1f}"
    match lift.verdict:
        case "more" | "less" if korean:
            way = "높습니다" if lift.verdict == "more" else "낮습니다"
            return (
                f"메시지를 받은 쪽의 전환율이 비교 그룹보다 {points}%p {way}"
                f" (95% 신뢰구간 {between})."
            )
        case "more" | "less":
            way = "more" if lift.verdict == "more" else "less"
            return (
                f"Those who were sent the messages convert {points} points {way} often than those"
                f" held out (95 % interval: between {between})."
            )
        case "too_early" if korean:
            more = f" 이만한 차이는 그룹마다 약 {needed:,}명부터 확인됩니다." if needed else ""
            return (
                f"아직 판단하기 이릅니다. 지금까지 {treated.entered:,}명과 비교 그룹"
                f" {held.entered:,}명이 들어왔고, 차이는 {between} 사이로 볼 수 있습니다.{more}"
            )
        case "too_early":
            more = f" A difference this large shows from some {needed:,} in each." if needed else ""
            return (
                f"It is too early to tell. {treated.entered:,} have entered and {held.entered:,}"
                f" were held out; the difference may lie between {between}.{more}"
            )
    return (
        f"지금까지는 차이가 보이지 않습니다 (95% 신뢰구간 {between})."
        if korean
        else f"No difference shows so far (95 % interval: between {between})."
    )
