"""Who may enter: the checks in the order of the refusals, each with its reason."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from services.journey.core.effects import Count
from services.journey.core.flow import Entry, Flow, Goal, Moment, Scope, Value
from services.journey.core.state import AtTime, OpenGoal, Run, entry_name
from services.journey.core.walk import walk
from services.journey.core.work import Walk, trigger_of
from shared.decisions import Refusal
from shared.event import Event
from shared.ids import derived_id, fraction


class Admission(msgspec.Struct, frozen=True, gc=False):
    flow: Flow
    key: str
    refusal: Refusal | None = None
    restarts: Run | None = None
    """The live run that the trigger begins again."""
    held_by: str = ""
    """Whose holdout it belongs to: `workspace`, `journey`, or nobody's."""


def admit(flow: Flow, work: Walk, scope: Scope, event: Event, live: Iterable[Run]) -> Admission:
    """Whether this trigger starts a run of the flow; `not_matched` has been ruled out before.

    `scope` is the start's, see `Walk.scope_of_start`.
    """
    received_at = event.received_at
    assert received_at is not None
    entry = flow.entry
    key = key_text(entry.key.evaluate(scope)) if entry.key is not None else ""
    if received_at - event.timestamp > entry.max_age:
        return Admission(flow, key, Refusal.TOO_OLD)
    if work.book.is_paused(flow.journey, received_at):
        return Admission(flow, key, Refusal.PAUSED)
    running = None
    for run in live:
        if run.journey == flow.journey and run.key == key:
            running = run
            break
    if running is not None and entry.when_active == "ignore":
        return Admission(flow, key, Refusal.ALREADY_RUNNING)
    if running is None:
        last = work.state.entries.get(entry_name(flow.journey, key))
        if last is not None and not _may_reenter(entry.reentry, last, received_at):
            return Admission(flow, key, Refusal.REENTRY)
        if entry.where is not None and not entry.where.holds(scope):
            return Admission(flow, key, Refusal.ENTRY_CONDITION)
    return Admission(flow, key, restarts=running, held_by=_held_by(flow, work, received_at))


def _held_by(flow: Flow, work: Walk, received_at: datetime) -> str:
    """Sticky by customer; the workspace's holdout and each journey's are independent."""
    if flow.category == "transactional":
        return ""
    everywhere = work.book.holdout(received_at)
    if everywhere > 0 and fraction("holdout", work.id) < everywhere:
        return "workspace"
    here = flow.entry.holdout
    return "journey" if here > 0 and fraction("holdout", flow.journey, work.id) < here else ""


def is_refused(entry: Entry, last: datetime, entered_at: datetime) -> bool:
    """Whether two entries of one customer lie closer together than `reentry` allows."""
    return not _may_reenter(entry.reentry, min(last, entered_at), max(last, entered_at))


def _may_reenter(reentry: object, last: datetime, now: datetime) -> bool:
    if isinstance(reentry, timedelta):
        return now - last >= reentry
    return reentry == "always"


def key_text(value: Value) -> str:
    """The key's value as text: 1 and 1.0 are one key, null is the empty key."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.json.encode(value, order="deterministic").decode()


def carry_out(work: Walk, admission: Admission, moment: Moment, event: Event, at: datetime) -> None:
    """Start the run, or count why it is refused."""
    if admission.refusal is None:
        start(work, admission, moment, event, at)
        return
    flow = admission.flow
    work.effects.append(Count(flow.journey, flow.version, "", f"refused:{admission.refusal}"))


def start(work: Walk, admission: Admission, moment: Moment, event: Event, at: datetime) -> None:
    flow = admission.flow
    if admission.restarts is not None:
        # The same event may have woken it: what it has made since is withdrawn with it.
        live = work.runs.get((flow.journey, admission.key))
        if live is not None:
            work.end(live, "restart", at)
    else:
        work.effects.append(Count(flow.journey, flow.version, "", "entered"))
        if admission.held_by:
            held = f"held_out:{admission.held_by}"
            work.effects.append(Count(flow.journey, flow.version, "", held))
    if flow.entry.reentry != "always":
        entries = {**work.state.entries, entry_name(flow.journey, admission.key): at}
        work.state = msgspec.structs.replace(work.state, entries=entries)
    run = Run(
        id=derived_id("run", flow.journey, work.id, admission.key, event.id),
        journey=flow.journey,
        version=flow.version,
        key=admission.key,
        entered_at=at,
        trigger=trigger_of(moment),
        step=flow.first,
        waiting=AtTime(at),
        held_out=bool(admission.held_by),
        held_by=admission.held_by,
    )
    if flow.goal is not None:
        _open_goal(work, flow.goal, run)
    walk(work, flow, run, flow.first, at, moment)


def _open_goal(work: Walk, goal: Goal, run: Run) -> None:
    """A restart opens a new window instead of the one before."""
    others = tuple(
        open_goal
        for open_goal in work.state.goals
        if (open_goal.journey, open_goal.key) != (run.journey, run.key)
    )
    opened = OpenGoal(
        run_id=run.id,
        journey=run.journey,
        version=run.version,
        key=run.key,
        entered_at=run.entered_at,
        until=run.entered_at + goal.within,
        trigger=run.trigger,
        held_out=run.held_out,
        held_by=run.held_by,
    )
    work.state = msgspec.structs.replace(work.state, goals=(*others, opened))
