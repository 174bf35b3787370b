"""What one id was, packed for the customer it belongs to, in parts of a bounded size.

A part holds at most `PART_BYTES`, or a single item that is larger by itself (one event, one run).
Each can be taken in by itself; the order is that of the fields, so that a run comes before the
records of its message and before the events of the history, which come in the order received.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.state import ForAnswer, ForOutcome, Member, OpenGoal, Run
from shared.event import Event

PART_BYTES = 256 * 1024


AWAITED = ("messages", "calls")
"""Tables whose rows a run may wait for."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A row of a table that the core does not look into, apart from a message's `id`."""

    table: str
    row: dict[str, Any]


class Merge(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `source` was, or a part of it."""

    source: str
    traits: dict[str, Any] = {}
    stated: dict[str, int] = {}
    """As in `State`; a trait that was removed is stated and not there."""
    runs: tuple[Run, ...] = ()
    goals: tuple[OpenGoal, ...] = ()
    entries: dict[str, datetime] = {}
    members: dict[str, Member] = {}
    records: tuple[Record, ...] = ()
    events: tuple[Event, ...] = ()
    """Of the history, each with its receipt."""


def waits_for(run: Run) -> str:
    """The id of the message or call whose outcome the run waits for, or nothing."""
    match run.waiting:
        case ForOutcome(message_id):
            return message_id
        case ForAnswer(call_id):
            return call_id
        case _:
            return ""


def content(merge: Merge) -> dict[str, Any]:
    """The merge as the properties of an event."""
    return {"merge": merge}


def merge_of(event: Event) -> Merge:
    """The merge that an event carries, however it came here. Raises msgspec.ValidationError."""
    found = event.properties.get("merge")
    return found if isinstance(found, Merge) else msgspec.convert(found, Merge)


def parts(whole: Merge, limit: int = PART_BYTES) -> Iterator[Merge]:
    """The merge cut into parts; none for one that has nothing in it."""
    gathered: list[Merge] = []
    size = 0
    for item in _items(whole):
        own = len(msgspec.json.encode(item))
        if gathered and size + own > limit:
            yield _together(gathered)
            gathered, size = [], 0
        gathered.append(item)
        size += own
    if gathered:
        yield _together(gathered)


def _items(whole: Merge) -> Iterator[Merge]:
    yield from _statements(whole)
    awaited = {r.row["id"]: r for r in whole.records if r.table in AWAITED}
    goals = {goal.run_id: goal for goal in whole.goals}
    for run in whole.runs:
        record = awaited.pop(waits_for(run), None)
        goal = goals.pop(run.id, None)
        yield Merge(
            whole.source,
            runs=(run,),
            goals=() if goal is None else (goal,),
            records=() if record is None else (record,),
        )
    for goal in goals.values():
        yield Merge(whole.source, goals=(goal,))
    for name, at in whole.entries.items():
        yield Merge(whole.source, entries={name: at})
    for journey, member in whole.members.items():
        yield Merge(whole.source, members={journey: member})
    for record in whole.records:
        if record.table not in AWAITED or record.row["id"] in awaited:
            yield Merge(whole.source, records=(record,))
    for event in whole.events:
        yield Merge(whole.source, events=(event,))


def _statements(whole: Merge) -> Iterator[Merge]:
    """Trait by trait; consent by channel belongs to the trait `consent`."""
    stated: dict[str, dict[str, int]] = {name: {} for name in whole.traits}
    for name, at in whole.stated.items():
        stated.setdefault(group_of(name), {})[name] = at
    for name, statements in stated.items():
        traits = {name: whole.traits[name]} if name in whole.traits else {}
        yield Merge(whole.source, traits=traits, stated=statements)


def group_of(statement: str) -> str:
    return "consent" if statement.startswith("consent.") else statement


def _together(items: Iterable[Merge]) -> Merge:
    items = list(items)
    return Merge(
        source=items[0].source,
        traits={name: value for item in items for name, value in item.traits.items()},
        stated={name: at for item in items for name, at in item.stated.items()},
        runs=tuple(run for item in items for run in item.runs),
        goals=tuple(goal for item in items for goal in item.goals),
        entries={name: at for item in items for name, at in item.entries.items()},
        members={name: member for item in items for name, member in item.members.items()},
        records=tuple(record for item in items for record in item.records),
        events=tuple(event for item in items for event in item.events),
    )
