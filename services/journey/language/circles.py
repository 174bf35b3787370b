"""Journeys that begin themselves again by what they emit, at once and without end.

Only what is certain is refused: a trigger without a condition, nothing at the entry that says no,
and an `emit` that every run comes to without waiting, when nothing of the run is left to wait for.
Whatever depends on a condition ends by it, or at the engine's own bound (`core.steps.emit`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.journey.language.model import steps as model
from services.journey.language.model.journey import Journey
from services.journey.language.model.triggers import AnyTrigger, EventCondition, EventTrigger
from services.journey.language.problems import Problems


@dataclass(frozen=True, slots=True)
class _Leads:
    """Every `event` of a customer makes the journey emit `to` at once."""

    event: str
    to: str
    emit: model.Emit
    problems: Problems


def refuse_circles(journeys: Sequence[tuple[Journey, Problems]]) -> None:
    leads = [lead for journey, problems in journeys for lead in _leads(journey, problems)]
    to: dict[str, set[str]] = {}
    for lead in leads:
        to.setdefault(lead.event, set()).add(lead.to)
    told: set[int] = set()
    for lead in leads:
        if id(lead.emit) not in told and lead.event in _reached(lead.to, to):
            told.add(id(lead.emit))
            lead.problems.add(
                lead.emit.emit.spot,
                f"a circle without end: `{lead.to}` begins anew at once what emits it",
                "put a `wait` before it, or say with `where` or `entry` when it is enough",
                code="circle",
            )


def _reached(start: str, to: dict[str, set[str]]) -> set[str]:
    found, open_names = {start}, [start]
    while open_names:
        for name in to.get(open_names.pop(), ()):
            if name not in found:
                found.add(name)
                open_names.append(name)
    return found


def _leads(journey: Journey, problems: Problems) -> Iterator[_Leads]:
    entry = journey.entry
    if entry is not None and (entry.where is not None or entry.reentry != "always"):
        return
    ends_at_once = entry is not None and entry.when_active == "restart"
    for event in _events(journey):
        for at, step in enumerate(journey.steps):
            behind = journey.steps[at + 1 :]
            if isinstance(step, model.Emit) and (ends_at_once or _pass_at_once(behind)):
                yield _Leads(event, step.emit.text, step, problems)
            if not isinstance(step, model.Emit | model.Set | model.Send):
                break


def _pass_at_once(steps: Sequence[model.Step]) -> bool:
    return all(isinstance(step, model.Emit | model.Set) for step in steps)


def _events(journey: Journey) -> Iterator[str]:
    """The events that begin it whatever they hold."""
    conditions: tuple[EventCondition, ...] = ()
    match journey.trigger:
        case EventTrigger(audience=None) as trigger:
            conditions = (trigger,)
        case AnyTrigger() as trigger:
            conditions = trigger.any
        case _:
            pass
    yield from (one.event.text for one in conditions if one.where is None)
