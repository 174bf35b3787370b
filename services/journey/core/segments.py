"""Who is in which segment, as far as a journey watches it, and the journeys that a change starts.

For each journey that watches a segment, the customer's state keeps what the journey last knew of
the membership. It is looked at anew when something that the segment reads has changed, and when a
sweep has found that time has changed it; a difference starts the journey in the same decision.

The baseline needs no pass over all customers: whoever has no record of the present baseline has
met nothing since that the segment reads, so the condition on the customer as the decision found
them, with the baseline's instant for `now`, tells what it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from services.journey.core.book import Book, Watch
from services.journey.core.entry import admit, carry_out
from services.journey.core.flow import Moment, Past, Scope
from services.journey.core.state import Customer, Member, State
from services.journey.core.work import Walk
from shared.event import Event

ENTERED, LEFT = "$segment_entered", "$segment_left"
"""The names of the events that runs started by a segment have for `trigger`."""
_CHANGES_NOTHING = frozenset({"page", "screen", "group", "alias", "enter"})
_MICROSECOND = timedelta(microseconds=1)


def is_nobody(state: State) -> bool:
    """Who is in no segment: of whom nothing has been heard yet, and an id that is another's."""
    return bool(state.forward) or not (state.seen or state.spilled)


def meet(work: Walk, event: Event, at: datetime) -> None:
    """Before an event is taken in: what time alone has changed in the segments that it concerns.

    So nobody who left before the event and comes back by it is missed in between.
    """
    watches = work.book.watches(at)
    if watches and not is_nobody(work.before.state):
        concerned = [w for w in watches if w.segment.timed and _reads(w, event)]
        _settle(work, concerned, at - _MICROSECOND, at)


def look(work: Walk, at: datetime) -> None:
    """What time alone has changed."""
    watches = work.book.watches(at)
    if watches and not is_nobody(work.before.state):
        _settle(work, [w for w in watches if w.segment.timed], at, at)


def follow(work: Walk, at: datetime, *, starting: bool = True) -> None:
    """After something has happened: the segments that read what it changed.

    Not `starting`, a change is noted and begins nothing: an import says what has long been so.

    A run that begins here may write traits, which is followed again; but one journey begins once.
    What is left then of a circle of journeys that undo each other is found at the next occasion.
    """
    watches = () if is_nobody(work.state) else work.book.watches(at)
    begun: set[str] = set()
    while watches:
        concerned = [w for w in watches if w.flow.journey not in begun and _is_changed(work, w)]
        work.followed = Customer(work.id, work.traits, work.state, work.loaded)
        if not concerned:
            return
        begun |= _settle(work, concerned, at, at, starting=starting)
        if not starting:
            return


def next_change(book: Book, customer: Customer, now: datetime) -> datetime | None:
    """The earliest instant after `now` at which time alone may change a membership."""
    found: list[datetime] = []
    watches = book.watches(now)
    if watches and not is_nobody(customer.state):
        scope = _scope(book, customer, now, now)
        timed = (watch.segment for watch in watches if watch.segment.timed)
        found = [at for segment in timed if (at := segment.next_change(scope)) is not None]
    return min(found, default=None)


def is_due(book: Book, customer: Customer, at: datetime) -> bool:
    """Whether a look would find something."""
    work = Walk(book, customer)
    look(work, at)
    changes = {journey: member.changes for journey, member in customer.state.members.items()}
    return any(m.changes != changes.get(j, 0) for j, m in work.state.members.items())


def horizon(book: Book, customer: Customer, now: datetime) -> datetime:
    """The instant from which windows over the customer's history must still be answered: now, or
    the baseline of a segment whose baseline is not known yet."""
    since = [
        w.since for w in book.watches(now) if w.segment.timed and _known(customer.state, w) is None
    ]
    return min(since, default=now)


def joined(known: Mapping[str, Member], other: Mapping[str, Member]) -> dict[str, Member]:
    """The memberships of two customers who turn out to be one: inside is who was inside as either,
    so that nobody enters once more what one of the two has entered."""
    merged = dict(known)
    for journey, member in other.items():
        own = merged.get(journey)
        if own is None or own.baseline < member.baseline:
            if own is None and not member.inside:
                continue  # the known one's baseline is still to be told from their own state
            merged[journey] = member
        elif own.baseline == member.baseline:
            inside = own.inside or member.inside
            merged[journey] = Member(own.baseline, inside, own.changes + member.changes + 1)
    return merged


def _reads(watch: Watch, event: Event) -> bool:
    match event.kind:
        case "track" | "receipt":
            return event.name in watch.segment.events
        case "identify":
            return watch.segment.profile
        case _:
            return event.kind not in _CHANGES_NOTHING


def _is_changed(work: Walk, watch: Watch) -> bool:
    segment, before = watch.segment, work.followed
    changed = work.traits is not before.traits or work.state.rfm is not before.state.rfm
    if segment.profile and changed:
        return True
    if is_nobody(work.before.state) and watch.flow.journey not in work.state.members:
        return True
    if work.state.history is before.state.history and work.loaded is before.loaded:
        return False
    return any(
        work.state.history.get(name) is not before.state.history.get(name)
        or work.loaded.get(name) is not before.loaded.get(name)
        for name in segment.events
    )


def _known(state: State, watch: Watch) -> Member | None:
    member = state.members.get(watch.flow.journey)
    return None if member is None or member.baseline < watch.baseline else member


def _settle(
    work: Walk, watches: Sequence[Watch], now: datetime, at: datetime, *, starting: bool = True
) -> set[str]:
    """Look at some memberships as of `now`; the journeys that have been begun, at `at`."""
    if not watches:
        return set()
    customer = Customer(work.id, work.traits, work.state, work.loaded)
    scope = _scope(work.book, customer, now, at)
    verdicts: dict[str, bool] = {}
    members = dict(work.state.members)
    changed: list[Watch] = []
    for watch in watches:
        journey, segment = watch.flow.journey, watch.segment
        if segment.name not in verdicts:
            verdicts[segment.name] = segment.condition.holds(scope)
        inside, known = verdicts[segment.name], _known(work.state, watch)
        if known is None:
            known = Member(watch.baseline, _at_baseline(work, watch, at))
            members[journey] = known
        elif known.baseline > watch.baseline:
            continue  # an event from before the baseline, which came a roundabout way
        if inside is not known.inside:
            members[journey] = Member(watch.baseline, inside, known.changes + 1)
            changed.append(watch)
    if members != work.state.members:
        work.state = msgspec.structs.replace(work.state, members=members)
    return _begin(work, changed, at) if starting else set()


def _begin(work: Walk, changed: Iterable[Watch], at: datetime) -> set[str]:
    """Start the journeys that wait for these changes, each tested on the customer as they are."""
    live = tuple(work.runs.values())
    starting = []
    for watch in changed:
        member = work.state.members[watch.flow.journey]
        if member.inside is (watch.on == "enter"):
            event = _event(watch, member, at)
            moment = Moment(event.name, event.properties)
            scope = work.scope_of_start(moment, at)
            starting.append((admit(watch.flow, work, scope, event, live), moment, event))
    for admission, moment, event in starting:
        carry_out(work, admission, moment, event, at)
    return {admission.flow.journey for admission, _moment, _event in starting}


def _event(watch: Watch, member: Member, at: datetime) -> Event:
    return Event(
        id=f"segment:{member.baseline}:{member.changes}",
        kind="track",
        name=ENTERED if member.inside else LEFT,
        timestamp=at,
        properties={"segment": watch.segment.name},
        received_at=at,
    )


def _at_baseline(work: Walk, watch: Watch, at: datetime) -> bool:
    if is_nobody(work.before.state):
        return False
    return watch.segment.condition.holds(_scope(work.book, work.before, watch.since, at))


def _scope(book: Book, customer: Customer, now: datetime, at: datetime) -> Scope:
    """`at` says which segments are in force, `now` what the time is to their conditions."""
    kept: Mapping[str, tuple[Past, ...]] = customer.state.history
    history = {**kept, **customer.loaded} if customer.loaded else kept
    rfm = customer.state.rfm
    return Scope(now, customer.traits, history=history, segments=book.segments_at(at), rfm=rfm)
