"""Whose id it is: identity is forwarded, never locked.

The owner of a user who is seen together with another id tells that id's owner, through the log
(`Link`). That one remembers whose the id is, sends what it was (`MoveOut`), and from then on
forwards whatever still arrives for it, receipt and message id unchanged. The first link in the
id's log stays: a shared device belongs to whoever logged in first.

A forwarded event carries the ids it has passed. One that comes to an id for the second time has
gone round a circle of aliases: the lowest id in it becomes a customer of its own again, which ends
the circle for everything that comes after. So does the id that an event reaches after
`MOST_PASSED` others, so that nothing travels for ever.
"""

from datetime import datetime

import msgspec

from services.journey.core import dedupe
from services.journey.core.effects import SpillSeen
from services.journey.core.identity_effects import (
    Belong,
    CarryOn,
    Forward,
    LetGo,
    Link,
    MoveOut,
)
from services.journey.core.merge import Merge
from services.journey.core.state import State
from services.journey.core.work import Walk
from shared.event import Event, forwarded
from shared.ids import derived_id

MOST_LINKS = 64
"""Ids remembered as told already; one that has been forgotten is told again, which changes nothing.
"""
MOST_PASSED = 64
_OF_THE_ID_ITSELF = frozenset({"look", "scored"})
"""Kinds that say nothing about the customer whom the id belongs to."""


def notice(work: Walk, event: Event) -> None:
    """Tell the ids that this event names beside the customer's whom they belong to."""
    if event.kind == "alias" and event.previous_id:
        _tell(work, event, event.previous_id, alias=True)
    if event.anonymous_id and event.user_id:
        _tell(work, event, event.anonymous_id, alias=False)


def _tell(work: Walk, event: Event, other: str, *, alias: bool) -> None:
    known = work.state.links
    if other in known or other == work.id or other in event.passed:
        return
    links = (other, *known)[:MOST_LINKS]
    work.state = msgspec.structs.replace(work.state, links=links)
    work.effects.append(Link(other, alias, event.timestamp))


def passes_on(work: Walk, event: Event, stamp: datetime, *, moving: bool) -> bool:
    """Whether the event is over here: it is a link, or the id belongs to somebody else.

    `stamp` is when this log received it, which is later than the event's receipt where it has been
    forwarded. While the id is `moving`, an event that could end a circle here goes round once more:
    what leaves and what comes back must not meet in one transaction.
    """
    if event.kind == "link":
        _take_link(work, event, stamp)
        return True
    state = work.state
    if not state.forward:
        return False
    if not moving and _ends_here(work, event):
        # All that it had taken in before comes back to it; of that it knows just the link, its
        # last, so that a repetition of it does not send everything round again.
        link = next(reversed(state.seen))
        work.state = msgspec.structs.replace(
            state, forward="", move="", carried=0, seen={link: state.seen[link]}
        )
        work.effects.append(Belong(""))
        return False
    assert event.received_at is not None
    is_known = dedupe.is_known(state.seen, dedupe.digest_of(event), event.received_at)
    if event.kind not in _OF_THE_ID_ITSELF and not is_known:
        work.effects.append(Forward(forwarded(event, work.id, state.forward)))
    if event.kind == "outcome":
        work.effects.append(LetGo())
    return True


def _ends_here(work: Walk, event: Event) -> bool:
    if len(event.passed) >= MOST_PASSED:
        return True
    if work.id not in event.passed:
        return False
    last = len(event.passed) - 1 - event.passed[::-1].index(work.id)
    return work.id == min(event.passed[last:])


def _take_link(work: Walk, event: Event, stamp: datetime) -> None:
    to, part = event.properties.get("to"), event.properties.get("part")
    if not isinstance(to, str) or not to or to == work.id:
        return
    if isinstance(part, int):
        _carry_on(work, str(event.properties.get("base")), part, stamp)
        return
    message = dedupe.digest_of(event)
    is_users = work.state.known and not event.properties.get("alias")
    if work.state.forward or is_users or dedupe.is_known(work.state.seen, message, stamp):
        return
    _move_out(work, event, to, message, stamp)


def _carry_on(work: Walk, base: str, part: int, stamp: datetime) -> None:
    """Each part once, however often the log reminds of it: its events are named by its number."""
    state = work.state
    if state.forward and base == state.move and part == state.carried + 1:
        work.state = msgspec.structs.replace(state, carried=part)
        work.effects.append(CarryOn(state.forward, base, part, stamp))


def _move_out(work: Walk, link: Event, to: str, message: int, stamp: datetime) -> None:
    state = work.state
    packed = Merge(
        source=work.id,
        traits=work.traits,
        stated=state.stated,
        runs=tuple(run for _place, run in sorted(work.runs.items())),
        goals=state.goals,
        entries=state.entries,
        members=state.members,
    )
    base = derived_id(link.id, stamp.isoformat())
    work.effects.append(Belong(to))
    work.effects.append(MoveOut(to, base, packed, stamp))
    seen, spilled = dedupe.remember(state.seen, message, stamp)
    if spilled:
        work.effects.append(SpillSeen(spilled))
    work.traits, work.loaded = {}, {}
    work.runs.clear()
    work.moved = True
    # What it has taken in itself it goes on knowing, so that no repetition of it is forwarded.
    work.state = State(
        seen=seen,
        spilled=state.spilled or bool(spilled),
        needs=state.needs,
        known=state.known,
        armed_at=state.armed_at,
        forward=to,
        move=base,
        links=state.links,
        erased_at=state.erased_at,
    )
