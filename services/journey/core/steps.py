"""What each kind of step does with a run that has come to it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.core.effects import IN_A_ROW, Count, EmitEvent, MakeCall, QueueMessage
from services.journey.core.flow import (
    Branch,
    Call,
    Emit,
    Expression,
    Flow,
    Moment,
    Repeat,
    Scope,
    Send,
    Set,
    Split,
    WaitFor,
    WaitUntil,
)
from services.journey.core.moments import moment_of
from services.journey.core.plain import plain
from services.journey.core.profile import write_trait
from services.journey.core.receipts import message_of
from services.journey.core.state import (
    AtTime,
    ForAnswer,
    ForEvent,
    ForOutcome,
    Heard,
    Round,
    Run,
    StepResult,
)
from services.journey.core.work import Walk, holds, trigger_of
from shared.decisions import Reason
from shared.ids import derived_id, fraction
from shared.local_time import next_moment, zone_of
from shared.message import MessageContext


def awaited(run: Run, step: str, event: Moment, at: datetime) -> Run:
    kept = trigger_of(event)
    told = StepResult(outcome="matched", at=at, event=kept)
    return msgspec.structs.replace(run, steps={**run.steps, step: told}, event=kept, heard=())


def already_heard(work: Walk, run: Run, step: WaitFor, at: datetime) -> Heard | None:
    """The message's outcome was learnt late: what came since its sending has been kept."""
    for heard in run.heard:
        moment = heard.event.moment()
        if heard.received_at > at and holds(step.matches, work.scope(run, at, moment)):
            return heard
    return None


def waiting(run: Run, step: str, waiting: AtTime | ForEvent) -> Run:
    return msgspec.structs.replace(run, step=step, waiting=waiting, heard=())


def choose(branch: Branch, scope: Scope) -> str | None:
    for arm in branch.arms:
        if arm.when is None or arm.when.holds(scope):
            return arm.first
    return branch.next


def split(work: Walk, run: Run, step: Split) -> tuple[Run, str | None]:
    """Sticky by customer, journey and step; independent of every other split."""
    place = fraction("split", run.journey, step.id, work.id) * sum(v.weight for v in step.variants)
    chosen = step.variants[-1]
    for variant in step.variants:
        if place < variant.weight:
            chosen = variant
            break
        place -= variant.weight
    earlier = run.steps.get(step.id)
    if run.came_with and earlier is not None:  # chosen in an earlier round, under its former id
        chosen = next((v for v in step.variants if v.name == earlier.variant), chosen)
    what = "held_variant" if run.held_out else "variant"
    work.effects.append(Count(run.journey, run.version, step.id, f"{what}:{chosen.name}"))
    told = {**run.steps, step.id: StepResult(variant=chosen.name)}
    return msgspec.structs.replace(run, steps=told), chosen.first


def until(
    work: Walk, run: Run, step: WaitUntil, at: datetime, event: Moment | None
) -> datetime | None:
    zone = zone_of(work.traits.get("timezone"), work.book.zone)
    if step.date is None:
        assert step.time is not None
        return next_moment(at, zone, step.time, step.weekdays)
    value = step.date.evaluate(work.scope(run, at, event))
    return moment_of(value, step.offset, step.time, zone)


def write(work: Walk, run: Run, step: Set, at: datetime, event: Moment | None) -> None:
    scope = work.scope(run, at, event)
    values = evaluated(step.values, scope)
    stated = dict(work.state.stated)
    for name, value in values.items():
        work.traits, stated = write_trait(work.traits, stated, name, value, at)
    work.state = msgspec.structs.replace(work.state, stated=stated)


def emit(work: Walk, run: Run, step: Emit, at: datetime, event: Moment | None) -> Run:
    run, visit = _visited(run, step.id)
    in_a_row = _in_a_row(run, at)
    if in_a_row > MOST_IN_A_ROW:
        work.effects.append(Count(run.journey, run.version, step.id, "circle"))
        return run
    scope = work.scope(run, at, event)
    work.effects.append(
        EmitEvent(
            id=derived_id("emit", run.id, step.id, str(visit)),
            name=step.event,
            properties=evaluated(step.properties, scope),
            known=work.state.known,
            at=at,
            in_a_row=in_a_row,
        )
    )
    return run


MOST_IN_A_ROW = 20
"""Events that beget each other without a wait: past it they are taken for a circle."""
_JUST_BEGUN = timedelta(minutes=1)
"""In production an event takes its way through the log, and a message before it is sent."""


def _in_a_row(run: Run, at: datetime) -> int:
    before = run.trigger.context.get(IN_A_ROW)
    if not isinstance(before, int) or at - run.entered_at >= _JUST_BEGUN:
        return 1
    return before + 1


def evaluated(values: Mapping[str, Expression], scope: Scope) -> dict[str, Any]:
    return {name: plain(value.evaluate(scope)) for name, value in values.items()}


def next_round(
    work: Walk, run: Run, step: Repeat, at: datetime, event: Moment | None
) -> tuple[Run, str | None, datetime | None]:
    """Begin the next round, wait for it, or leave the loop: the run, its place, when it is due."""
    last = run.rounds.get(step.id)
    done = 0 if last is None else last.number
    if done < step.times:
        if last is not None and step.every is not None and last.started_at + step.every > at:
            return run, step.id, last.started_at + step.every
        if step.until is None or not step.until.holds(work.scope(run, at, event)):
            rounds = {**run.rounds, step.id: Round(done + 1, at)}
            return msgspec.structs.replace(run, rounds=rounds), step.first, None
    rounds = {name: kept for name, kept in run.rounds.items() if name != step.id}
    return msgspec.structs.replace(run, rounds=rounds), step.next, None


def _visited(run: Run, step: str) -> tuple[Run, int]:
    visit = run.visits.get(step, 0) + 1
    return msgspec.structs.replace(run, visits={**run.visits, step: visit}), visit


def send(work: Walk, flow: Flow, run: Run, step: Send, at: datetime, event: Moment | None) -> None:
    visit = run.visits.get(step.id, 0) + 1
    message_id = message_of(run.id, step.id, visit)
    seen = event or run.event or run.trigger
    work.effects.append(
        QueueMessage(
            id=message_id,
            run_id=run.id,
            journey=run.journey,
            version=run.version,
            step=step.id,
            category=flow.category,
            priority=flow.priority,
            held_out=run.held_out,
            channels=step.channels,
            template=step.template,
            context=MessageContext(
                trigger=run.trigger.properties,
                event={**seen.properties, "name": seen.name},
                steps=_for_templates(run.steps),
                values=evaluated(step.values, work.scope(run, at, event)) if step.values else {},
                title=flow.title,
            ),
            at=at,
        )
    )
    work.put(
        msgspec.structs.replace(
            run,
            step=step.id,
            waiting=ForOutcome(message_id),
            visits={**run.visits, step.id: visit},
            heard=(),
        )
    )


def spare(run: Run, step: Call, at: datetime) -> Run:
    """A held-out customer's call is not made, so that both groups can be compared."""
    told = StepResult(outcome="dropped", reason=str(Reason.HELD_OUT), at=at)
    return msgspec.structs.replace(run, steps={**run.steps, step.id: told})


def call(work: Walk, run: Run, step: Call, at: datetime, event: Moment | None) -> None:
    run, visit = _visited(run, step.id)
    call_id = derived_id("call", run.id, step.id, str(visit))
    work.effects.append(
        MakeCall(
            id=call_id,
            run_id=run.id,
            journey=run.journey,
            version=run.version,
            step=step.id,
            url=step.url,
            values=evaluated(step.values, work.scope(run, at, event)),
            timeout=step.timeout,
            at=at,
        )
    )
    work.put(msgspec.structs.replace(run, step=step.id, waiting=ForAnswer(call_id), heard=()))


def _for_templates(steps: Mapping[str, StepResult]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "outcome": step.outcome,
            "reason": step.reason,
            "event": None if step.event is None else step.event.properties,
            "variant": step.variant,
            "response": step.response,
            "opened": step.opened,
            "clicked": step.clicked,
        }
        for name, step in steps.items()
    }
