"""Erasing a customer: an event of their log, behind which nothing of before is left.

The row goes on knowing when that was, for as long as the log may still bring something received
before it, and the digests of message ids, so that what an SDK retries begins nobody anew. Then it
goes, too, unless the customer has begun a new life.
"""

from datetime import datetime
from typing import Any

import msgspec

from services.journey.core import dedupe
from services.journey.core.effects import Count, Erase, Forget
from services.journey.core.flow import Moment
from services.journey.core.identity_effects import Belong, Forward
from services.journey.core.merge import Merge, Record, group_of
from services.journey.core.state import State
from services.journey.core.work import Walk, holds
from shared.clock import EPOCH
from shared.decisions import Refusal
from shared.erasure import LOG_RETENTION
from shared.event import Event, erase_event

ERASED = "erased"
"""Why runs ended that an erasure met."""


def take_in(work: Walk, event: Event, stamp: datetime) -> bool:
    """Erase the customer, and tell the ids that belong to them; False for a repetition.

    An erasure that comes for the remains of a linked id names whose they are (`of`), and leaves
    alone an id that belongs to somebody else.
    """
    state, of = work.state, event.properties.get("of")
    message = dedupe.digest(event.id)
    assert event.received_at is not None
    if dedupe.is_known(state.seen, message, event.received_at):
        return False
    if isinstance(of, str) and state.forward not in ("", of):
        return False
    work.effects.append(Erase(event.id, stamp))
    for run in tuple(work.runs.values()):
        work.end(run, ERASED, stamp)
    if of is None:
        for other in state.links:
            told = erase_event(
                request=f"{event.id}:{other}", customer=other, of=work.id, at=event.timestamp
            )
            work.effects.append(Forward(told))
    if state.forward:
        work.effects.append(Belong(""))
    seen, _spilled = dedupe.remember(state.seen, message, event.received_at)
    work.traits, work.loaded = {}, {}
    work.moved = True
    work.state = State(seen=seen, spilled=state.spilled, needs=work.book.needs.id, erased_at=stamp)
    return True


def is_of_before(erased_at: datetime, event: Event) -> bool:
    """Whether it was received, or decided by one of our own services, before the erasure."""
    assert event.received_at is not None
    ours = event.kind == "enter" or (event.kind == "track" and event.source == "journey")
    return event.received_at <= erased_at or (ours and event.timestamp <= erased_at)


def refuse(work: Walk, event: Event) -> None:
    """The journeys that it would have started say why it has not."""
    assert event.received_at is not None
    moment = Moment(event.name, event.properties, event.context)
    if event.kind == "track":
        scope = work.scope_of_start(moment, event.received_at)
        starters = work.book.started_by(event.name, event.received_at)
        flows = [s.flow for s in starters if holds(s.matches, scope)]
    elif event.kind == "enter":
        flow = work.book.started_by_api(str(event.properties.get("journey")), event.received_at)
        flows = [] if flow is None else [flow]
    else:
        return
    for flow in flows:
        work.effects.append(Count(flow.journey, flow.version, "", f"refused:{Refusal.ERASED}"))


def since(merge: Merge, erased_at: datetime) -> Merge:
    """What another id was, as far as it is from after the erasure of whom it belongs to."""
    limit = int((erased_at - EPOCH).total_seconds() * 1000)
    stated = {name: at for name, at in merge.stated.items() if at > limit}
    traits = {name: value for name, value in merge.traits.items() if name in map(group_of, stated)}
    consent = traits.get("consent")
    if isinstance(consent, dict):
        traits["consent"] = {
            channel: granted
            for channel, granted in consent.items()
            if f"consent.{channel}" in stated or "consent" in stated
        }
    return Merge(
        source=merge.source,
        traits=traits,
        stated=stated,
        runs=tuple(run for run in merge.runs if run.entered_at > erased_at),
        goals=tuple(goal for goal in merge.goals if goal.entered_at > erased_at),
        entries={name: at for name, at in merge.entries.items() if at > erased_at},
        records=tuple(record for record in merge.records if _is_after(record, erased_at)),
        events=tuple(e for e in merge.events if e.received_at and e.received_at > erased_at),
    )


_MADE = {
    "messages": "created_at",
    "calls": "created_at",
    "cap_places": "taken_at",
    "consents": "stated_at",
    "consent_ledger": "stated_at",
}


def _is_after(record: Record, erased_at: datetime) -> bool:
    made: Any = record.row.get(_MADE.get(record.table, ""))
    if isinstance(made, str):
        made = datetime.fromisoformat(made)
    return isinstance(made, datetime) and made > erased_at


def forget(work: Walk, at: datetime, *, alone: bool) -> None:
    """Nothing of before can come any more: the last that is kept goes.

    The row itself goes where nothing else is in it and the customer is `alone`, without an event.
    """
    state = work.state
    if state.erased_at is None or at < state.erased_at + LOG_RETENTION:
        return
    limit = int(state.erased_at.timestamp())
    recent = {message: second for message, second in state.seen.items() if second > limit}
    work.state = msgspec.structs.replace(state, erased_at=None, seen=recent)
    bare = msgspec.structs.replace(
        work.state, spilled=False, needs="", known=False, armed_at=None, members={}
    )
    if alone and bare == State() and not work.traits and not work.runs:
        work.effects.append(Forget())
