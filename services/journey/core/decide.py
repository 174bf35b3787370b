"""The engine's decision: `decide(customer, input) → (customer', effects)`, pure.

One event, in order (the language's "Order and time"): timers due before it; the profile takes it
in; exits; then runs that wait for it; then starts, journeys in id order. The conditions by which
one event ends, wakes or starts runs are tested on the customer as the event left it; only then do
runs move, in journey id and key order. A timer due at T comes after every event received at or
before T and before any later one, whatever the batch, because the customer's own state says what
is due.

No I/O, no clock, no randomness: the same input gives the same result wherever it is called, in
the worker, the simulator, a replay or a property test.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from services.journey.core import dedupe
from services.journey.core.book import Book, named
from services.journey.core.effects import Count, Effect, SpillSeen
from services.journey.core.entry import Admission, admit, start
from services.journey.core.flow import EventMatch, Moment, Scope
from services.journey.core.profile import take_traits
from services.journey.core.state import AtTime, Customer, ForOutcome, Run, StepResult
from services.journey.core.walk import Walk, walk
from shared.event import Event


class Tick(msgspec.Struct, frozen=True):
    """Log time has reached `at`: everything due at or before it is decided."""

    at: datetime


class Decision(msgspec.Struct, frozen=True):
    customer: Customer
    effects: tuple[Effect, ...]
    taken_in: bool = True
    """False for an event that had been taken in before."""


def decide(book: Book, customer: Customer, given: Event | Tick) -> Decision:
    """What becomes of the customer, and what is to be done. Pure."""
    if isinstance(given, Tick):
        work = Walk(book, customer)
        _fire(work, given.at, inclusive=True)
        return Decision(work.finish(), tuple(work.effects))
    return _decide_event(book, customer, given)


def next_due(customer: Customer) -> datetime | None:
    return min(
        (run.waiting.due for run in customer.state.runs if isinstance(run.waiting, AtTime)),
        default=None,
    )


def _decide_event(book: Book, customer: Customer, event: Event) -> Decision:
    received_at = event.received_at
    assert received_at is not None, "the log stamps every event"
    work = Walk(book, customer)
    _fire(work, received_at, inclusive=False)
    if event.kind == "outcome":
        _take_outcome(work, event)
        return Decision(work.finish(), tuple(work.effects))
    message = dedupe.digest(event.id)
    if dedupe.is_known(work.state.seen, message, received_at):
        return Decision(work.finish(), tuple(work.effects), taken_in=False)
    _take_in(work, event, message, received_at)
    _move(work, event, received_at)
    return Decision(work.finish(), tuple(work.effects))


def _take_in(work: Walk, event: Event, message: int, received_at: datetime) -> None:
    seen, spilled = dedupe.remember(work.state.seen, message, received_at)
    if spilled:
        work.effects.append(SpillSeen(spilled))
    stated = work.state.stated
    if event.kind == "identify" and event.traits:
        work.traits, stated, consents = take_traits(work.traits, stated, event)
        work.effects.extend(consents)
    work.state = msgspec.structs.replace(
        work.state, seen=seen, stated=stated, spilled=work.state.spilled or bool(spilled)
    )


def _move(work: Walk, event: Event, received_at: datetime) -> None:
    """Test everything on the customer as the event left it, then let runs move in order."""
    if event.kind != "track":
        return
    candidates = work.book.started_by(event.name, received_at)
    if not candidates and not work.runs:
        return
    moment = Moment(event.name, event.properties, event.context)
    ended = {run.id: run for run in _exits(work, moment, received_at)}
    live = [run for run in work.runs.values() if run.id not in ended]
    starting = Scope(received_at, work.traits, moment, moment)
    admissions = [
        admit(starter.flow, work, moment, event, live)
        for starter in candidates
        if _any_holds(starter.matches, starting)
    ]
    moves: list[tuple[tuple[str, str, int], Run | Admission]] = [
        *(((run.journey, run.key, 0), run) for run in ended.values()),
        *(((a.flow.journey, a.key, 1), a) for a in admissions),
    ]
    for _order, move in sorted(moves, key=lambda pair: pair[0]):
        if isinstance(move, Run):
            work.end(move, "exit", received_at)
        elif move.refusal is not None:
            work.effects.append(
                Count(move.flow.journey, move.flow.version, "", f"refused:{move.refusal}")
            )
        else:
            start(work, move, moment, event, received_at)


def _exits(work: Walk, moment: Moment, now: datetime) -> Iterator[Run]:
    for run in work.runs.values():
        matches = named(work.book.flow(run.journey, run.version).exits, moment.name)
        if matches and _any_holds(matches, work.scope(run, now, moment)):
            yield run


def _any_holds(matches: Iterable[EventMatch], scope: Scope) -> bool:
    # A loop, not any(…): this is the hottest line of the engine.
    for match in matches:  # noqa: SIM110
        if match.where is None or match.where.evaluate(scope) is True:
            return True
    return False


def _take_outcome(work: Walk, event: Event) -> None:
    """A message has been decided: the run that waits for it goes on from that instant."""
    message_id = event.properties.get("message_id")
    for run in tuple(work.runs.values()):
        if isinstance(run.waiting, ForOutcome) and run.waiting.message_id == message_id:
            result = StepResult(
                outcome=event.properties.get("decision"),
                reason=event.properties.get("reason"),
                at=event.timestamp,
            )
            flow = work.book.flow(run.journey, run.version)
            told = msgspec.structs.replace(
                run, steps={**run.steps, run.step: result}, waiting=AtTime(event.timestamp)
            )
            walk(work, flow, told, flow.steps[run.step].next, event.timestamp, None)
            return


def _fire(work: Walk, until: datetime, *, inclusive: bool) -> None:
    """Fire what is due, earliest first; what a firing makes due in time fires as well."""
    while True:
        due = [
            (run.waiting.due, run.journey, run.key, run)
            for run in work.runs.values()
            if isinstance(run.waiting, AtTime)
            and (run.waiting.due < until or (inclusive and run.waiting.due == until))
        ]
        if not due:
            return
        at, _journey, _key, run = min(due, key=lambda found: found[:3])
        flow = work.book.flow(run.journey, run.version)
        walk(work, flow, run, flow.steps[run.step].next, at, None)
