"""Rows of the tables to what the API answers."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping

from services.console.models import (
    ConsentRow,
    CustomerAnswer,
    JourneyAnswer,
    JourneyRow,
    MessageCount,
    RunRow,
    StepRow,
)
from services.journey.core.flow import Flow, Wait
from services.journey.core.state import AtTime, ForOutcome, Run, unpack
from services.journey.language.compile import JourneyRefused, compile_journey


async def flows_of(sources: Iterable[RowMapping]) -> dict[tuple[str, int], Flow]:
    """By journey and version; without those that this release cannot read."""

    def compiled() -> dict[tuple[str, int], Flow]:
        found = {(s["journey"], s["version"]): _flow(s["source"], s["version"]) for s in sources}
        return {key: flow for key, flow in found.items() if flow is not None}

    return await asyncio.to_thread(compiled)  # many at once, after a publish


@lru_cache(maxsize=4096)
def _flow(source: str, version: int) -> Flow | None:
    try:
        return compile_journey(source, version)
    except JourneyRefused:
        return None


def journey_row(row: RowMapping, flow: Flow | None, version: int | None) -> JourneyRow:
    return JourneyRow(
        **row,
        title="" if flow is None else flow.title,
        version=version,
        live=row["entered"] - row["ended"],
    )


def journey_answer(
    totals: JourneyRow,
    file: str | None,
    flow: Flow | None,
    counts: Iterable[RowMapping],
    messages: Iterable[RowMapping],
) -> JourneyAnswer:
    tally = _Tally(counts)
    steps = () if flow is None else flow.steps
    older = sorted((tally.reached.keys() | tally.ended.keys()) - set(steps))
    return JourneyAnswer(
        **dict(totals),
        file=file,
        steps=[
            StepRow(
                step=name,
                kind=_kind(flow, name),
                reached=tally.reached[name],
                ended=tally.ended.get(name, {}),
            )
            for name in (*steps, *older)
        ],
        ended_by=dict(sorted(tally.ended_by.items())),
        refused_by=tally.refused,
        held_out_by=tally.held_out,
        migrated=tally.migrated,
        messages=[MessageCount(**m) for m in messages],
    )


class _Tally:
    """The counters of one journey, by what they count."""

    def __init__(self, counts: Iterable[RowMapping]) -> None:
        self.reached: Counter[str] = Counter()
        self.ended: dict[str, dict[str, int]] = {}
        self.ended_by: Counter[str] = Counter()
        self.refused: dict[str, int] = {}
        self.held_out: dict[str, int] = {}
        self.migrated = 0
        for row in counts:
            step, n = row["step"], int(row["n"])
            kind, _, reason = row["what"].partition(":")
            if kind == "reached":
                self.reached[step] += n
            elif kind == "ended":
                self.ended.setdefault(step, {})[reason] = n
                self.ended_by[reason] += n
            elif kind == "refused":
                self.refused[reason] = n
            elif kind == "held_out":
                self.held_out[reason] = n
            elif kind == "migrated":
                self.migrated += n


def _kind(flow: Flow | None, step: str) -> str | None:
    if flow is None or step not in flow.steps:
        return None
    return type(flow.steps[step]).__name__.lower()


def customer_answer(
    customer: str,
    row: RowMapping,
    runs: Sequence[Run],
    flows: Mapping[tuple[str, int], Flow],
    queued: Mapping[str, Any],
    consents: Iterable[RowMapping],
) -> CustomerAnswer:
    return CustomerAnswer(
        id=customer,
        traits=row["traits"],
        runs=[_run_row(run, flows.get((run.journey, run.version)), queued) for run in runs],
        consents=[ConsentRow(**consent) for consent in consents],
    )


def runs_of(row: RowMapping) -> tuple[Run, ...]:
    return unpack(row["state"]).runs


def messages_of(runs: Iterable[Run]) -> list[str]:
    return [run.waiting.message_id for run in runs if isinstance(run.waiting, ForOutcome)]


def _run_row(run: Run, flow: Flow | None, queued: Mapping[str, Any]) -> RunRow:
    until = run.waiting.due if isinstance(run.waiting, AtTime) else None
    message = run.waiting.message_id if isinstance(run.waiting, ForOutcome) else None
    since = queued.get(message) if message is not None else None
    step = flow.steps.get(run.step) if flow is not None else None
    if until is not None and isinstance(step, Wait):
        since = until - step.duration
    return RunRow(
        id=run.id,
        journey=run.journey,
        version=run.version,
        key=run.key,
        entered_at=run.entered_at,
        step=run.step,
        since=since,
        until=until,
        waits_for_message=message,
        held_out=run.held_out,
        held_by=run.held_by or None,
    )
