"""What `pin`, `migrate` and `end` would each do to the runs in flight. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from services.console.changes import InFlight, JourneyChange
from services.journey.core.flow import Flow, Split
from services.journey.core.transfer import is_found

FlowOf = Callable[[int], Flow | None]
"""A stored version's flow; None where it is not at hand."""


def with_prospects(
    change: JourneyChange,
    runs: Sequence[InFlight],
    old: FlowOf,
    new: Flow | None,
    *,
    concerned: bool,
) -> JourneyChange:
    """The change with its runs in flight and, if it is `concerned`, what becomes of them.

    `new` is the flow that the candidate publishes; None for a removed journey.
    """
    rows = tuple(replace(row, migrates=concerned and _migrates(row, old, new)) for row in runs)
    others = [row for row in rows if concerned and row.version != change.version]
    moves = sum(row.runs for row in others if row.migrates)
    ends = sum(row.runs for row in others)
    before = old(change.was) if change.change == "changed" and change.was is not None else None
    warnings = () if before is None or new is None else tuple(_shifted(before, new))
    return replace(
        change, in_flight=rows, moves=moves, stays=ends - moves, ends=ends, warnings=warnings
    )


def _migrates(row: InFlight, old: FlowOf, new: Flow | None) -> bool:
    before = old(row.version)
    return before is not None and new is not None and is_found(row.step, before, new)


def _shifted(before: Flow, new: Flow) -> Iterator[str]:
    """Splits whose place has changed: the customers are divided by the step's id."""
    for step in before.steps.values():
        if not isinstance(step, Split) or step.id in before.named:
            continue
        here = new.steps.get(step.id)
        if isinstance(here, Split) and _names(here) == _names(step):
            continue
        now = next(
            (
                s.id
                for s in new.steps.values()
                if isinstance(s, Split) and s.id not in before.steps and _names(s) == _names(step)
            ),
            None,
        )
        if now is not None:
            yield (
                f"the split `{step.id}` is `{now}` now, and divides the customers anew; give it"
                f" `id: {step.id}` to keep everybody's variant"
            )


def _names(split: Split) -> tuple[str, ...]:
    return tuple(variant.name for variant in split.variants)
