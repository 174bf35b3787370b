"""The engine's decision: `decide(customer, input) → (customer', effects)`, pure.

One event, in order (the language's "Order and time"): timers due before it; the profile takes it
in; exits; then runs that wait for it; then starts, journeys in id order; then the segments. The
conditions by which one event ends, wakes or starts runs are tested on the customer as the event
left it; only then do runs move, in journey id and key order. A timer due at T comes after every
event received at or before T and before any later one, whatever the batch, because the customer's
own state says what is due.

No I/O, no clock, no randomness: the same input gives the same result wherever it is called, in
the worker, the simulator, a replay or a property test.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter

import msgspec

from services.journey.core import (
    dedupe,
    erasure,
    firing,
    history,
    identity,
    merging,
    receipts,
    resting,
    scores,
    segments,
)
from services.journey.core.book import Book, Transfer
from services.journey.core.devices import take_device
from services.journey.core.effects import Effect, SpillSeen
from services.journey.core.identity_effects import GiveBack
from services.journey.core.merge import merge_of
from services.journey.core.moves import enter, enter_meant, move, testify
from services.journey.core.profile import consent_changes, take_traits
from services.journey.core.state import (
    AtTime,
    Customer,
    ForAnswer,
    ForEvent,
    ForOutcome,
    Run,
    StepResult,
)
from services.journey.core.transfer import transfer_of, transferred
from services.journey.core.walk import come_behind, go_on, walk
from services.journey.core.work import Walk
from shared.erasure import LOG_RETENTION
from shared.event import Event
from shared.ids import fraction


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Log time has reached `at`: everything due at or before it is decided."""

    at: datetime
    looks: bool = True
    """Whether memberships that time alone changes are looked at, too."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    customer: Customer
    effects: tuple[Effect, ...]
    taken_in: bool = True
    """False for an event that had been taken in before, for one that is passed on, and for a firing
    that means others."""
    passed_on: bool = False
    """True for a link, and for an event of an id that belongs to somebody else."""


def decide(
    book: Book,
    customer: Customer,
    given: Event | Tick,
    stamp: datetime | None = None,
    witnessed: Sequence[Event] = (),
    *,
    moving: bool = False,
) -> Decision:
    """What becomes of the customer, and what is to be done. Pure.

    `stamp` is when this partition's log received the event, where that is later than its receipt
    because it has been forwarded; `witnessed` are the customer's own events
    of the past that it is held against, see `merging.asked_since`. `moving` says that something of
    the customer is being sent away in the batch under way.
    """
    if isinstance(given, Tick):
        work = Walk(book, customer)
        if customer.state.erased_at is not None:
            erasure.forget(work, given.at, alone=True)
        if customer.state.forward:  # a timer from before it belonged to somebody else
            return Decision(work.finish(), tuple(work.effects))
        _catch_up_if_behind(work, given.at)
        _fire(work, given.at, inclusive=True)
        if given.looks:
            segments.look(work, given.at)
        segments.follow(work, given.at)
        return Decision(work.finish(), tuple(work.effects))
    return _decide_event(book, customer, given, stamp, witnessed, moving)


PAUSED_LOOKS_AGAIN = timedelta(minutes=1)
"""How often a run of a paused journey that is due looks whether it may go on: at most two of these
after a resume, each customer at a moment of its own."""


def due_of(run: Run) -> datetime | None:
    waiting = run.waiting
    return waiting.due if isinstance(waiting, (AtTime, ForEvent)) else None


def next_due(customer: Customer) -> datetime | None:
    earliest: datetime | None = None
    for run in customer.state.runs:
        due = due_of(run)
        if due is not None and (earliest is None or due < earliest):
            earliest = due
    return earliest


def next_look(book: Book, customer: Customer, now: datetime) -> datetime | None:
    """When the customer must be looked at again, if no event comes before."""
    erased_at = customer.state.erased_at
    if not book.pauses and not book.unreadable and erased_at is None:
        return next_due(customer)
    later = now + PAUSED_LOOKS_AGAIN * (1 + fraction("paused", customer.id))
    looks: list[datetime] = []
    for run in customer.state.runs:
        due = due_of(run)
        if due is None:
            continue
        if resting.rests(book, run):
            looks.append(resting.looks_again(due, now, customer.id))
        else:
            fires = book.fires_at(run.journey, due, customer.id)
            looks.append(later if fires is None else fires)
    if erased_at is not None:
        looks.append(erased_at + LOG_RETENTION)
    return min(looks, default=None)


_ADDRESSED = frozenset({"enter", "receipt"})
"""Kinds that bear the customer's id as a user id, whatever it is."""


def _decide_event(
    book: Book,
    customer: Customer,
    event: Event,
    stamp: datetime | None,
    witnessed: Sequence[Event],
    moving: bool,
) -> Decision:
    received_at = event.received_at
    assert received_at is not None, "the log stamps every event"
    stamp = stamp or received_at
    work = Walk(book, customer)
    _catch_up_if_behind(work, stamp)
    _fire(work, stamp, inclusive=False)
    taken_in = _erased(work, event, stamp)
    if taken_in is not None:
        return Decision(work.finish(), tuple(work.effects), taken_in=taken_in)
    is_others = work.state.forward or event.kind == "link"
    if is_others and identity.passes_on(work, event, stamp, moving=moving):
        return Decision(work.finish(), tuple(work.effects), taken_in=False, passed_on=True)
    if event.kind == "outcome":
        _take_outcome(work, event, stamp)
        _catch_up(work, event, stamp)
        segments.follow(work, stamp)
        return Decision(work.finish(), tuple(work.effects))
    if event.kind == "scored":
        segments.meet(work, event, stamp)
        scores.take(work, event)
        segments.follow(work, stamp)
        return Decision(work.finish(), tuple(work.effects))
    if event.kind == "look":
        segments.look(work, stamp)
        segments.follow(work, stamp)
        return Decision(work.finish(), tuple(work.effects))
    message = dedupe.digest_of(event)
    if dedupe.is_known(work.state.seen, message, received_at):
        return Decision(work.finish(), tuple(work.effects), taken_in=False)
    meant = firing.meant(work, event, received_at) if firing.is_by_firing(event) else None
    if meant is None and firing.is_by_firing(event):
        return Decision(work.finish(), tuple(work.effects), taken_in=False)
    segments.meet(work, event, stamp)
    _take_in(work, event, message, received_at)
    if meant is not None:
        enter_meant(work, meant, received_at)
    else:
        _move(work, event, stamp, witnessed)
    segments.follow(work, stamp, starting=not event.historical)
    _catch_up(work, event, stamp)
    return Decision(work.finish(), tuple(work.effects))


def _erased(work: Walk, event: Event, stamp: datetime) -> bool | None:
    """An erasure, or what one has left nothing for: whether it is taken in. None: neither."""
    if event.kind == "erase" and (not work.state.forward or "of" in event.properties):
        return erasure.take_in(work, event, stamp)
    erased_at = work.state.erased_at
    if erased_at is None:
        return None
    erasure.forget(work, stamp, alone=False)
    if not erasure.is_of_before(erased_at, event):
        return None
    erasure.refuse(work, event)
    return False


def _move(work: Walk, event: Event, stamp: datetime, witnessed: Sequence[Event]) -> None:
    assert event.received_at is not None
    if event.kind == "merge":
        merge, erased_at = merge_of(event), work.state.erased_at
        merging.take_in(
            work,
            merge if erased_at is None else erasure.since(merge, erased_at),
            stamp,
            witnessed,
            lambda before: _fire(work, before, inclusive=False),
        )
    elif event.kind == "enter":
        enter(work, event, event.received_at)
    elif not event.historical:
        if event.kind == "receipt":
            receipts.take(work, event)
        _meet_late(work, event, stamp, witnessed)


def _meet_late(work: Walk, event: Event, stamp: datetime, witnessed: Sequence[Event]) -> None:
    received_at = event.received_at
    assert received_at is not None
    if not event.passed:
        move(work, event, received_at, stamp)
        return
    merging.relive(
        work,
        (event,),
        witnessed,
        stamp,
        lambda before: _fire(work, before, inclusive=False),
        lambda late, _: move(work, late, received_at, stamp),
    )


def _catch_up(work: Walk, event: Event, stamp: datetime) -> None:
    """What comes from another partition may be due already: it is decided at once."""
    if event.passed or event.kind == "merge":
        _fire(work, stamp, inclusive=False)


def _take_in(work: Walk, event: Event, message: int, received_at: datetime) -> None:
    seen, spilled = dedupe.remember(work.state.seen, message, received_at)
    if spilled:
        work.effects.append(SpillSeen(spilled))
    before, stated = work.traits, work.state.stated
    if event.kind == "identify" and (event.traits or event.traits_once):
        work.traits, stated, consents = take_traits(work.traits, stated, event, work.book.country)
        work.effects.extend(consents)
    if "device" in event.context:
        work.traits, stated = take_device(work.traits, stated, event)
    if (event.anonymous_id and event.user_id) or event.kind == "alias":
        identity.notice(work, event)
    work.state = msgspec.structs.replace(
        work.state,
        seen=seen,
        stated=stated,
        spilled=work.state.spilled or bool(spilled),
        known=work.state.known or (event.user_id is not None and event.kind not in _ADDRESSED),
    )
    if "consent" in event.traits:
        changes = consent_changes(
            work.id, work.state.known, before, work.traits, event, received_at
        )
        work.effects.extend(changes)
    work.state, work.loaded = history.take(work.state, work.loaded, work.book.needs, event)


def _take_outcome(work: Walk, event: Event, stamp: datetime) -> None:
    """A message or call is decided: the run that waits for it goes on from that instant."""
    message_id = event.properties.get("message_id")
    if event.passed and event.properties.get("decision") in ("dropped", "failed"):
        work.effects.append(GiveBack(str(message_id)))
    for run in tuple(work.runs.values()):
        result = _result(run, event)
        if result is not None:
            told = msgspec.structs.replace(
                run, steps={**run.steps, run.step: result}, waiting=AtTime(event.timestamp)
            )
            if resting.rests(work.book, run):
                work.put(told)
                return
            flow = work.book.flow(run.journey, run.version)
            if work.book.is_paused(run.journey, stamp):
                come_behind(work, flow, told, stamp)
            else:
                walk(work, flow, told, flow.steps[run.step].next, event.timestamp, None)
            return


def _result(run: Run, event: Event) -> StepResult | None:
    """What the outcome tells this run; None where it waits for something else."""
    told = event.properties
    match run.waiting:
        case ForOutcome(message_id) if message_id == told.get("message_id"):
            result = StepResult(
                outcome=told.get("decision"), reason=told.get("reason"), at=event.timestamp
            )
            return receipts.completed(result, run.steps.get(run.step))
        case ForAnswer(call_id) if call_id == told.get("call_id"):
            return StepResult(
                outcome=told.get("outcome"),
                reason=told.get("reason"),
                at=event.timestamp,
                response=told.get("response"),
            )
        case _:
            return None


def _catch_up_if_behind(work: Walk, stamp: datetime) -> None:
    """Runs whose version could not be read live through what they have missed."""
    if (work.runs or work.state.goals) and resting.is_behind(work):
        resting.catch_up(
            work,
            stamp,
            lambda before: _fire(work, before, inclusive=False),
            lambda event, concerns: testify(work, event, stamp, concerns, concerns),
        )


def _fire(work: Walk, until: datetime, *, inclusive: bool) -> None:
    """Fire what is due, earliest first; what a firing makes due in time fires as well.

    What an apply does to runs in flight has its place among the timers: ahead of those of its
    instant, and of the events.
    """
    book = work.book
    while True:
        due: list[tuple[tuple[datetime, int, str, str], Run, Transfer | None]] = []
        for run in work.runs.values():
            fires = due_of(run)
            if book.unreadable and resting.rests(book, run):
                fires = None
            if fires is not None and book.pauses:
                fires = book.fires_at(run.journey, fires, work.id)
            if fires is not None and (fires < until or (inclusive and fires == until)):
                due.append(((fires, 1, run.journey, run.key), run, None))
            transfer = transfer_of(work, run) if book.transfers else None
            if transfer is not None and transfer.at <= until:
                due.append(((transfer.at, 0, run.journey, run.key), run, transfer))
        if not due:
            return
        (at, *_), run, transfer = min(due, key=itemgetter(0))
        if transfer is not None:
            transferred(work, run, transfer)
            _catch_up_if_behind(work, until)
        else:
            go_on(work, book.flow(run.journey, run.version), run, at)
        segments.follow(work, at)
