"""Whoever is inside a segment, by its condition at every minute, has entered and not left since.

Everything happens on whole minutes, so that evaluating the condition at each minute, and the
microsecond behind it, misses nothing that could happen.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.journey.core import segments
from services.journey.core.decide import Tick, decide
from services.journey.core.effects import Count
from services.journey.core.flow import Past, Scope
from services.journey.core.state import Customer, State
from services.journey.language.compile_segments import SegmentSource, compile_segments
from shared.event import Event, look_event
from tests.unit.core.watching import watching, world

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE, INSTANT = timedelta(minutes=1), timedelta(microseconds=1)
LENGTH = 240
"""Minutes that a world lasts."""

_windows = st.sampled_from(["1m", "7m", "30m", "1h"])
_atoms = st.one_of(
    st.builds('did("A", within="{}")'.format, _windows),
    st.builds('count("A", within="{}") >= {}'.format, _windows, st.integers(1, 3)),
    st.builds('sum("B", of=e.x, within="{}") > {}'.format, _windows, st.integers(0, 9)),
    st.builds('last("B", within="{}").x == {}'.format, _windows, st.integers(0, 3)),
    st.builds('now - profile.at > "{}"'.format, _windows),
    st.builds('now >= profile.at + "{}"'.format, _windows),
    st.builds("profile.tier == {}".format, st.integers(0, 2)),
    st.sampled_from(['did("B")', 'in_segment("inner")', "profile.at < now", "profile.at == now"]),
)
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=4,
)
_INNER = 'did("A", within="20m") and not did("B", within="5m")'


class Doing(NamedTuple):
    minute: int
    what: str
    value: int


_doings = st.lists(
    st.builds(Doing, st.integers(0, LENGTH // 2), st.sampled_from("ABtw"), st.integers(0, 3)),
    min_size=1,
    max_size=8,
).map(sorted)


def event_of(doing: Doing, number: int) -> Event:
    """A and B are tracked; t and w state a tier and an instant."""
    at = START + doing.minute * MINUTE
    base = Event(id=str(number), kind="track", timestamp=at, received_at=at, user_id="u")
    if doing.what in "AB":
        return msgspec.structs.replace(base, name=doing.what, properties={"x": doing.value})
    moment = (at + (doing.value - 1) * 9 * MINUTE).isoformat()
    stated = {"tier": doing.value} if doing.what == "t" else {"at": moment}
    return msgspec.structs.replace(base, kind="identify", traits=stated)


def received(event: Event) -> datetime:
    assert event.received_at is not None
    return event.received_at


Change = tuple[datetime, bool]


def by_definition(condition: str, events: Sequence[Event]) -> list[Change]:
    """When the customer enters (true) and leaves, by looking all the time."""
    made = compile_segments({"s": SegmentSource(condition), "inner": SegmentSource(_INNER)})
    traits: dict[str, object] = {}
    history: dict[str, tuple[Past, ...]] = {}
    found: list[Change] = []
    inside, waiting = False, list(events)

    def look(at: datetime) -> None:
        nonlocal inside
        scope = Scope(at, traits, history=history, segments=made)
        if len(waiting) < len(events) and made["s"].condition.holds(scope) is not inside:
            inside = not inside
            found.append((at, inside))

    for minute in range(LENGTH):
        at = START + minute * MINUTE
        while waiting and waiting[0].received_at == at:
            event = waiting.pop(0)
            traits = traits | event.traits
            if event.kind == "track":
                past = Past(at, event.properties)
                history = {**history, event.name: (*history.get(event.name, ()), past)}
            look(at)
        look(at)
        look(at + INSTANT)
    return found


class Told:
    """The journeys that watch, on the core."""

    def __init__(self, condition: str) -> None:
        steps = "  - exit: done"
        flows = [watching("in", "s", steps=steps), watching("out", "s", "exit", steps)]
        self.book = world(flows, s=condition, inner=_INNER).book()
        self.customer = Customer("u", {}, State(needs=self.book.needs.id))
        self.changes: list[Change] = []

    def take(self, given: Event | Tick, at: datetime) -> None:
        decision = decide(self.book, self.customer, given)
        self.customer = decision.customer
        for effect in decision.effects:
            if isinstance(effect, Count) and effect.what == "entered":
                self.changes.append((at, effect.journey == "in"))

    def times(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The instants at which time may change something."""
        while (at := segments.next_change(self.book, self.customer, after)) and at < until:
            yield at
            after = at


@settings(max_examples=150, deadline=None)
@given(_conditions, _doings)
def test_on_an_exact_clock_everybody_enters_and_leaves_when_the_condition_says(
    condition: str, doings: list[Doing]
) -> None:
    events = [event_of(doing, number) for number, doing in enumerate(doings)]
    told, now = Told(condition), START - MINUTE
    for at, arriving in groupby(events, key=received):
        for due in told.times(now, at):
            told.take(Tick(due), due)
        for event in arriving:
            told.take(event, at)
        told.take(Tick(at), at)  # events first, then what time changes at the very instant
        now = at
    for due in told.times(now, START + LENGTH * MINUTE):
        told.take(Tick(due), due)
    assert told.changes == by_definition(condition, events)


@settings(max_examples=100, deadline=None)
@given(_conditions, _doings, st.lists(st.integers(0, LENGTH - 1), max_size=6).map(sorted))
def test_with_sweeps_now_and_then_what_is_known_is_true_after_each(
    condition: str, doings: list[Doing], sweeps: list[int]
) -> None:
    """Found late, but nobody enters twice, leaves before entering or is forgotten."""
    events = [event_of(doing, number) for number, doing in enumerate(doings)]
    looks = [
        msgspec.structs.replace(look_event(customer="u", at=at), received_at=at)
        for minute in (*sweeps, LENGTH - 1)
        if (at := START + minute * MINUTE + 30 * INSTANT)
    ]
    told = Told(condition)
    for each in sorted([*events, *looks], key=received):
        at = received(each)
        told.take(each, at)
        if each.kind == "look" and told.customer.state.seen:
            truth = [inside for when, inside in by_definition(condition, events) if when <= at]
            known = told.customer.state.members["in"].inside
            assert known is (truth[-1] if truth else False)
    directions = [inside for _at, inside in told.changes]
    assert directions == [place % 2 == 0 for place in range(len(directions))]
    assert len(directions) <= len(by_definition(condition, events))
