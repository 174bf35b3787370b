"""A receipt tells `steps.<id>` of the send it belongs to: opened, clicked, bounced.

It counts for the visit whose message it names, so a receipt of an earlier round of a loop changes
nothing for the present one. It may come before the message's own outcome: then its step is noted
without an outcome, which the outcome completes.
"""

from dataclasses import dataclass

import msgspec

from services.journey.core.effects import Count
from services.journey.core.state import ForOutcome, OpenGoal, Run, StepResult
from services.journey.core.work import Walk
from shared.decisions import Reason
from shared.event import Event
from shared.ids import derived_id


@dataclass(frozen=True, slots=True)
class _Receipt:
    outcome: str
    message_id: str
    run_id: str
    step: str


def take(work: Walk, event: Event) -> None:
    told = event.properties
    names = ("outcome", "message_id", "run_id", "step")
    receipt = _Receipt(*(str(told.get(name)) for name in names))
    _count(work, receipt, str(told.get("journey")))
    for run in tuple(work.runs.values()):
        if run.id == receipt.run_id and _is_present(run, receipt):
            before = run.steps.get(receipt.step, StepResult())
            if isinstance(run.waiting, ForOutcome) and run.waiting.message_id == receipt.message_id:
                before = before if before.outcome is None else StepResult()
            work.put(_with(run, receipt.step, told_of(before, receipt.outcome)))
            return
    _tell_goal(work, receipt)


def _count(work: Walk, receipt: _Receipt, journey: str) -> None:
    """Each outcome of a message once: its receipt has an id that tells a repetition."""
    runs = (run.version for run in work.runs.values() if run.id == receipt.run_id)
    goals = (goal.version for goal in work.state.goals if goal.run_id == receipt.run_id)
    version = next(runs, None) or next(goals, 0)
    work.effects.append(Count(journey, version, receipt.step, f"receipt:{receipt.outcome}"))


def _is_present(run: Run, receipt: _Receipt) -> bool:
    """Whether the message is that of the step's last visit."""
    visit = run.visits.get(receipt.step, 0)
    return receipt.message_id == message_of(run.id, receipt.step, visit)


def message_of(run_id: str, step: str, visit: int) -> str:
    """The id of the message that a run's visit to a step makes."""
    return derived_id("message", run_id, step, str(visit))


def _with(run: Run, step: str, result: StepResult) -> Run:
    return msgspec.structs.replace(run, steps={**run.steps, step: result})


def told_of(result: StepResult, outcome: str) -> StepResult:
    """Who clicks has opened; a message that was sent and came back says why."""
    match outcome:
        case "opened":
            return msgspec.structs.replace(result, opened=True)
        case "clicked":
            return msgspec.structs.replace(result, opened=True, clicked=True)
        case "bounced":
            return msgspec.structs.replace(result, reason=str(Reason.UNDELIVERABLE))
        case _:
            return result


def completed(result: StepResult, noted: StepResult | None) -> StepResult:
    """The outcome, with what receipts said before it came."""
    if noted is None or noted.outcome is not None:
        return result
    return msgspec.structs.replace(
        result,
        reason=result.reason or noted.reason,
        opened=noted.opened,
        clicked=noted.clicked,
    )


def _tell_goal(work: Walk, receipt: _Receipt) -> None:
    """The run has ended; its open goal may still ask what became of its messages."""

    def told(goal: OpenGoal) -> OpenGoal:
        result = goal.steps.get(receipt.step)
        if goal.run_id != receipt.run_id or result is None:
            return goal
        steps = {**goal.steps, receipt.step: told_of(result, receipt.outcome)}
        return msgspec.structs.replace(goal, steps=steps)

    goals = tuple(told(goal) for goal in work.state.goals)
    if goals != work.state.goals:
        work.state = msgspec.structs.replace(work.state, goals=goals)
