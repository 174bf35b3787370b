"""Applies with every rule for runs in flight, pauses, archivings, holdouts and erasures, at any
moment of a life: in batches the same becomes of it as when every record is decided alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.journey.core import spans
from services.journey.core.book import Book, Edition, Transfer
from services.journey.core.effects import QueueMessage
from services.journey.core.flow import Flow
from services.journey.core.history import Needs
from services.journey.core.spans import Span
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from tests.property.engine_journeys import MINUTE, SECOND, SOURCES, START, Input, inputs, profile
from tests.property.engine_model import Alone, Cut, Telling, alone, in_batches, live, same
from tests.property.test_engine_batches import cuts, tellings

DAY = timedelta(days=1)
CHANGES = (
    ("10m", "5m"), ("5m", "10m"), ("{event: Bought", "{event: Viewed"), ("times: 3", "times: 5"),
    ("steps:\n  - ", "steps:\n  - {wait: 1m}\n  - "), ("second", "other"),
)  # fmt: skip
"""What an apply changes of a journey's file: steps come, go, move, or stay where they were."""


@cache
def _compiled(source: str, version: int) -> Flow:
    return compile_journey(source, version)


@dataclass(frozen=True)
class World:
    """What is done to the journeys, counted from the beginning of the life."""

    sources: tuple[str, ...]
    changes: tuple[tuple[str, str], ...]
    """The second version of every journey has these."""
    applied: timedelta
    rule: str
    again: tuple[timedelta, str]
    """A step back to the first version, so much later."""
    pauses: tuple[tuple[timedelta, timedelta], ...]
    """Each so long after the one before, and so long."""
    archived: timedelta | None
    holdout: float

    def book(self) -> Book:
        first = [_compiled(SOURCES[name], 1) for name in self.sources]
        second = [_compiled(self._changed(SOURCES[name]), 2) for name in self.sources]
        start = START + self.applied
        back = start + self.again[0]
        editions = [
            Edition.of(at, flows, holdout=self.holdout)
            for at, flows in ((EPOCH, first), (start, second), (back, first))
        ]
        flows: list[Flow] = [*first, *second]
        transfers = {
            name: tuple(
                Transfer(at, version, rule == "end")
                for at, version, rule in ((start, 2, self.rule), (back, 1, self.again[1]))
                if rule != "pin"
            )
            for name in self.sources
        }
        archived = (
            {} if self.archived is None else {first[0].journey: (Span(START + self.archived),)}
        )
        return Book(
            editions,
            {(flow.journey, flow.version): flow for flow in flows},
            {name: self._pauses() for name in self.sources[:2]},
            ZoneInfo("Europe/Berlin"),
            Needs(need for flow in flows for need in flow.needs),
            archived=archived,
            transfers=transfers,
        )

    def _changed(self, source: str) -> str:
        for old, new in self.changes:
            source = source.replace(old, new)
        return source

    def _pauses(self) -> tuple[Span, ...]:
        at, found = START, []
        for after, length in self.pauses:
            found.append(Span(at + after, at + after + length))
            at += after + length
        return tuple(found)


_moments = st.sampled_from(
    (timedelta(0), SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 12 * MINUTE, 30 * MINUTE, DAY)
)
_rules = st.sampled_from(("pin", "migrate", "migrate", "end"))
worlds = st.builds(
    World,
    sources=st.lists(st.sampled_from(sorted(SOURCES)), min_size=2, max_size=4, unique=True).map(
        tuple
    ),
    changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3, unique=True).map(tuple),
    applied=_moments,
    rule=_rules,
    again=st.tuples(_moments.map(lambda after: after + SECOND), _rules),
    pauses=st.lists(
        st.tuples(_moments, _moments.map(lambda length: length + SECOND)), max_size=2
    ).map(tuple),
    archived=st.one_of(st.none(), _moments),
    holdout=st.sampled_from((0.0, 0.0, 0.5)),
)
_erasures = st.builds(
    Input, gap=_moments, name=st.just("erase"), cart=st.none(), total=st.just(1),
    skew=st.just(timedelta(0)),
)  # fmt: skip
lives = st.tuples(inputs, st.lists(_erasures, max_size=2), st.integers(0, 14)).map(
    lambda parts: [*parts[0][: parts[2]], *parts[1], *parts[0][parts[2] :]]
)


@pytest.fixture(autouse=True, scope="module")
def prompt_resumes() -> object:
    """The moment of a customer's resume must fall among her other moments."""
    patch = pytest.MonkeyPatch()
    patch.setattr(spans, "RESUME_SPREAD", 7 * MINUTE)
    yield
    patch.undo()


@profile(120)
@given(world=worlds, inputs=lives, tellings=tellings, cuts=cuts)
def test_however_a_world_changes_batches_change_nothing(
    world: World, inputs: Sequence[Input], tellings: Sequence[Telling], cuts: Sequence[Cut]
) -> None:
    book = world.book()
    life = live(book, inputs, tellings)
    model = alone(book, life)
    same(model, life.told, life.log, f"each timer in its own time, {world}")
    same(model, in_batches(book, life, cuts), life.log, f"in batches {cuts}, {world}")


@profile(60)
@given(world=worlds, inputs=lives, tellings=tellings)
def test_what_a_world_promises_is_kept(
    world: World, inputs: Sequence[Input], tellings: Sequence[Telling]
) -> None:
    """No message twice, none of a pause, none to a run that an apply has ended, no goal twice."""
    book = world.book()
    life = live(book, inputs, tellings)
    model = Alone(book)
    for record in life.log:
        model.record(record)
    model.tick(life.end)
    made = [message[0] for message in model.told.messages] + model.erased
    assert len(set(made)) == len(made)
    for message in (m for m in model.made.values() if isinstance(m, QueueMessage)):
        assert not book.is_paused(message.journey, message.at), message
    converted = [conversion.run_id for conversion in model.told.conversions]
    assert len(set(converted)) == len(converted)
    for run in model.customer.state.runs:
        assert_settled(world, run.journey, run.version, run.entered_at, life.end)
    if model.erased_at is not None:
        assert all(run.entered_at >= model.erased_at for run in model.customer.state.runs)


def assert_settled(
    world: World, journey: str, version: int, entered_at: datetime, end: datetime
) -> None:
    """Behind an apply with `end` no run is left that another version had in flight."""
    start = START + world.applied
    last = (start + world.again[0], 1, world.again[1])
    for at, published, rule in ((start, 2, world.rule), last):
        if rule == "end" and entered_at < at <= end and at == last[0]:
            assert version == published, (journey, version, entered_at)
