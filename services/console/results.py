"""A journey's results, put together from its counters, conversions and messages."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from services.console.lift import Group, Interval, Lift, entries_needed, lift_of, wilson
from services.console.results_models import (
    ComparisonRow,
    GroupRow,
    IntervalRow,
    LiftRow,
    ResultsAnswer,
    SendRow,
    VariantRow,
)
from services.console.results_words import compared, sentence
from services.console.ways import only_in
from services.console.words import Language
from services.journey.core.flow import Flow, Send, Split

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
    counted = _sends(flow, tally, messages)
    return ResultsAnswer(
        journey=flow.journey,
        has_goal=flow.goal is not None,
        treated=_group_row(treated),
        held_out=_group_row(held),
        lift=_lift_row(lift, sentence(lift, treated, held, needed, language), needed),
        variants=_variants(flow, tally, rows, counted),
        comparisons=[
            comparison
            for step in flow.steps.values()
            if isinstance(step, Split)
            for comparison in _comparisons(flow, step, tally, rows, language)
        ],
        sends=counted,
    )


def _group(entered: int, rows: Iterable[Row]) -> Group:
    found = list(rows)
    return Group(
        entered=entered,
        converted=sum(int(row["n"]) for row in found),
        revenue=sum(float(row["revenue"]) for row in found),
        squares=sum(float(row["squares"]) for row in found),
    )


def _variants(
    flow: Flow, tally: Mapping[tuple[str, str], int], rows: list[Row], sends: list[SendRow]
) -> list[VariantRow]:
    found = []
    for (step, what), entered in sorted(tally.items()):
        kind, _, variant = what.partition(":")
        if kind != "variant":
            continue
        split = flow.steps.get(step)
        known = isinstance(split, Split) and variant in {each.name for each in split.variants}
        within = only_in(flow, split, variant) if known and isinstance(split, Split) else set()
        own = [send for send in sends if send.step in within]
        found.append(
            VariantRow(
                step=step,
                variant=variant,
                group=_group_row(_arm(step, variant, entered, rows)),
                sent=sum(send.sent for send in own),
                delivered=sum(send.delivered for send in own),
                opened=sum(send.opened for send in own),
                clicked=sum(send.clicked for send in own),
            )
        )
    return found


def _arm(step: str, variant: str, entered: int, rows: list[Row]) -> Group:
    own = [r for r in rows if not r["held_out"] and r["variants"].get(step) == variant]
    return _group(entered, own)


def _comparisons(
    flow: Flow,
    split: Split,
    tally: Mapping[tuple[str, str], int],
    rows: list[Row],
    language: Language,
) -> list[ComparisonRow]:
    """Each variant beside those held out who came to the same split, and beside the others."""
    names = [variant.name for variant in split.variants]
    arms = {
        name: _arm(split.id, name, tally.get((split.id, f"variant:{name}"), 0), rows)
        for name in names
    }
    held = _group(
        sum(n for (step, what), n in tally.items()
            if step == split.id and what.startswith("held_variant:")),
        [r for r in rows if r["held_out"] and split.id in r["variants"]],
    )  # fmt: skip
    pairs: list[tuple[str, str | None, int]] = [
        (one, other, len(names) * (len(names) - 1) // 2) for one, other in combinations(names, 2)
    ]
    if held.entered:
        pairs = [(name, None, len(names)) for name in names] + pairs
    found = []
    for one, other, beside in pairs:
        group, rest = arms[one], held if other is None else arms[other]
        lift = lift_of(group, rest, has_goal=flow.goal is not None, comparisons=beside)
        if lift.verdict == "no_holdout":
            lift = Lift("too_early")  # nobody has come to one of the two yet
        needed = entries_needed(group, rest, beside) if lift.verdict == "too_early" else None
        said = compared(lift, (one, group), (other, rest), needed, language)
        found.append(
            ComparisonRow(
                step=split.id, variant=one, other=other, lift=_lift_row(lift, said, needed)
            )
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


def _lift_row(lift: Lift, said: str, needed: int | None) -> LiftRow:
    revenue = lift.revenue_interval
    return LiftRow(
        verdict=lift.verdict,
        sentence=said,
        difference=lift.difference,
        interval=None if lift.interval is None else _interval(lift.interval),
        relative=lift.relative,
        revenue_difference=lift.revenue_difference,
        revenue_interval=None if revenue is None else _interval(revenue),
        entries_needed=needed,
    )
