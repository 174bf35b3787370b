"""The part of a customer's history that some condition asks for, kept in the customer's row.

The compiled flows say which events, which of their properties and how far back (`Need`). Up to
`BOUND` events of a name stay in the row; past that the name is marked `full` and the shell reads it
from the table of all events before it decides (`Customer.loaded`), so that counts are exact
whatever the volume and the row stays small. Order and windows go by the client's corrected time.
"""

from bisect import insort
from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from services.journey.core.flow import Need, Past
from services.journey.core.state import Customer, State
from shared.event import HAPPENINGS, Event
from shared.ids import derived_id

BOUND = 500

Row = tuple[str, datetime, dict[str, Any], dict[str, Any]]
"""Name, corrected time, properties and context of one stored event, oldest first."""

_at = attrgetter("at")


class Needs(dict[str, Need]):
    """What all flows together ask for, by event name; `id` changes with any of it. Nothing changes
    it once it is made."""

    def __init__(self, needs: Iterable[Need] = ()) -> None:
        for need in needs:
            known = self.get(need.event)
            self[need.event] = need if known is None else known.joined(need)
        self.id = derived_id(*sorted(map(repr, self.values()))) if self else ""


NOTHING = Needs()


def is_missing(customer: Customer, needs: Needs) -> bool:
    """Whether the row lacks what the table has to give before the customer may be decided."""
    state = customer.state
    return state.needs != needs.id or any(name not in customer.loaded for name in state.full)


Loaded = dict[str, tuple[Past, ...]]


def take(state: State, loaded: Loaded, needs: Needs, event: Event) -> tuple[State, Loaded]:
    """The row and what is loaded beside it, with the event in them."""
    need = needs.get(event.name)
    if need is None or event.kind not in HAPPENINGS:
        return state, loaded
    past = need.past(event.timestamp, event.properties, event.context)
    assert event.received_at is not None
    if event.name in state.full:
        return state, {**loaded, event.name: _with(loaded.get(event.name, ()), past)}
    kept = _with(_recent(state.history.get(event.name, ()), need, event.received_at), past)
    if len(kept) <= BOUND:
        history = {**state.history, event.name: kept}
        return msgspec.structs.replace(state, history=history), loaded
    history = {name: events for name, events in state.history.items() if name != event.name}
    full = (*state.full, event.name)
    return (
        msgspec.structs.replace(state, history=history, full=full),
        {**loaded, event.name: kept},
    )


def fill(customer: Customer, needs: Needs, rows: Iterable[Row], now: datetime) -> Customer:
    """The customer with the history that the table has of them for these needs."""
    found: dict[str, list[Past]] = {}
    for name, at, properties, context in rows:
        if name in needs:
            found.setdefault(name, []).append(needs[name].past(at, properties, context))
    history: dict[str, tuple[Past, ...]] = {}
    loaded: dict[str, tuple[Past, ...]] = {}
    for name, events in found.items():
        kept = _recent(sorted(events, key=_at), needs[name], now)
        (history if len(kept) <= BOUND else loaded)[name] = kept
    state = msgspec.structs.replace(
        customer.state, history=history, full=tuple(loaded), needs=needs.id
    )
    return msgspec.structs.replace(customer, state=state, loaded=loaded)


def _recent(events: Iterable[Past], need: Need, now: datetime) -> tuple[Past, ...]:
    if need.window is None:
        return tuple(events)
    limit = now - need.window
    return tuple(past for past in events if past.at > limit)


def _with(events: Iterable[Past], past: Past) -> tuple[Past, ...]:
    ordered = list(events)
    if not ordered or ordered[-1].at <= past.at:
        return (*ordered, past)
    insort(ordered, past, key=_at)
    return tuple(ordered)
