"""The compiled journey: what the language makes of a file and the core walks through.

A flow is a graph of steps. Every step knows the step behind it (`next`, None at the end), so that
nesting in the file is gone and a run's place is one step id: versions migrate by it, counts are
kept by it, a marketer reads it.

`Moment` and `Scope` are made for every event and condition: msgspec's structs are several times
cheaper to make than frozen dataclasses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from services.journey.core.calendar import Cron
from shared.decisions import Category
from shared.rfm import Score

_ZERO = timedelta(0)
Value = Any
"""What an expression yields: None, bool, int, float, str, list, dict, aware datetime, timedelta."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """An event as expressions see it: `event.x` is a property, `.name` and `.context` are own."""

    name: str
    properties: Mapping[str, Any]
    context: Mapping[str, Any] = {}
    at: datetime | None = None
    """When it happened, for events of the history."""


class Past(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event of the history, as far as some condition reads it."""

    at: datetime
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Need:
    """What conditions ask of the history of one event name."""

    event: str
    fields: tuple[str, ...] = ()
    """Properties that are read, sorted."""
    context: bool = False
    window: timedelta | None = None
    """How far back; None: as far as the history is kept."""

    def joined(self, other: "Need") -> "Need":
        unbounded = self.window is None or other.window is None
        return Need(
            self.event,
            tuple(sorted({*self.fields, *other.fields})),
            self.context or other.context,
            None if unbounded else max(self.window or _ZERO, other.window or _ZERO),
        )

    def past(self, at: datetime, properties: Mapping[str, Any], context: Mapping[str, Any]) -> Past:
        kept = {name: properties[name] for name in self.fields if name in properties}
        return Past(at, kept, dict(context) if self.context else {})


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Everything an expression may look at. Missing names are null, never an error."""

    now: datetime
    profile: Mapping[str, Any]
    event: Moment | None = None
    trigger: Moment | None = None
    history: Mapping[str, Sequence[Past]] = {}
    """Event name → its events, oldest first."""
    steps: Mapping[str, Any] = {}
    """Step id (as written, with hyphens) to a mapping with outcome, reason, event, …"""
    segments: "Mapping[str, Segment]" = {}
    """What `in_segment` asks."""
    rfm: Score | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its text for people, its closure for the engine."""

    source: str
    evaluate: Callable[[Scope], Value]
    node: Any = field(default=None, compare=False, repr=False)
    """The checked tree, for whoever compiles it to SQL (`language.sql`); the core never looks."""

    def holds(self, scope: Scope) -> bool:
        return self.evaluate(scope) is True


@dataclass(frozen=True, slots=True)
class Segment:
    """A named audience: its condition, and what can change who is in it.

    `events`, `profile` and `timed` count the segments that it refers to as its own.
    """

    name: str
    condition: Expression
    digest: str
    """Of the condition and those of all segments that it refers to."""
    events: frozenset[str] = frozenset()
    """Names of the events that it counts."""
    profile: bool = False
    """Whether it reads traits or scores."""
    timed: bool = False
    """Whether time alone can change who is in it."""
    next_change: Callable[[Scope], datetime | None] = field(default=lambda _: None)
    """The earliest instant after `now` at which time alone may change whether it holds; it may
    name one too many, never one too late."""
    needs: tuple[Need, ...] = ()
    """What its own condition asks of the history."""
    segments: tuple[str, ...] = ()
    """Those that its own condition refers to."""
    title: str = ""


@dataclass(frozen=True, slots=True)
class EventMatch:
    event: str
    where: Expression | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    key: Expression | None = None
    when_active: Literal["ignore", "restart"] = "ignore"
    reentry: Literal["always", "never"] | timedelta = "always"
    where: Expression | None = None
    max_age: timedelta = timedelta(hours=24)
    holdout: float = 0.0
    """Share of customers, 0 to 1, who enter and are measured but are sent nothing."""


@dataclass(frozen=True, slots=True)
class Wait:
    id: str
    next: str | None
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Arm:
    when: Expression | None
    """None for `otherwise`."""
    first: str | None
    """The arm's first step, or the step behind the branch if the arm is empty."""


@dataclass(frozen=True, slots=True)
class Branch:
    id: str
    next: str | None
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Send:
    id: str
    next: str | None
    channels: tuple[str, ...]
    """The channel of `send`, then those of `else`, in order."""
    template: str
    values: Mapping[str, Expression] = field(default_factory=dict)
    """`with:`, evaluated when the step is reached."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """The next local `time` on one of `weekdays`, or the local moment that `date` names."""

    id: str
    next: str | None
    time: time | None
    weekdays: frozenset[int]
    """Monday is 0."""
    date: Expression | None = None
    offset: timedelta = timedelta(0)
    missing: Literal["skip", "exit"] = "skip"


@dataclass(frozen=True, slots=True)
class WaitFor:
    id: str
    next: str | None
    matches: tuple[EventMatch, ...]
    timeout: timedelta
    then: str | None
    timed_out: str | None


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    weight: float
    first: str | None


@dataclass(frozen=True, slots=True)
class Split:
    id: str
    next: str | None
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Set:
    id: str
    next: str | None
    values: Mapping[str, Expression]
    """Trait → value; a dot in the name leads into a group."""


@dataclass(frozen=True, slots=True)
class Emit:
    id: str
    next: str | None
    event: str
    properties: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Call:
    """A signed request to `url`; the run goes on with its answer."""

    id: str
    next: str | None
    url: str
    values: Mapping[str, Expression]
    """`with:`, evaluated when the step is reached."""
    timeout: timedelta
    """Real time that one try may take."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A round's last step leads back here, where it is decided whether there is another."""

    id: str
    next: str | None
    first: str | None
    times: int
    every: timedelta | None
    until: Expression | None


@dataclass(frozen=True, slots=True)
class Goal:
    matches: tuple[EventMatch, ...]
    within: timedelta
    value: Expression | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    id: str
    next: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Watched:
    """The trigger of a journey that begins when somebody enters or leaves a segment."""

    segment: str
    on: Literal["enter", "exit"]


Step = Wait | WaitUntil | WaitFor | Branch | Split | Send | Set | Emit | Call | Repeat | Exit


@dataclass(frozen=True, slots=True)
class Schedule:
    """Fires for every member of a segment, at times of one clock or of each member's own."""

    cron: Cron
    member: Expression
    """Whether the customer is in the segment."""
    segment: str
    zone: ZoneInfo | None = None
    """None: the workspace's, or with `local` each customer's own."""
    local: bool = False


@dataclass(frozen=True, slots=True)
class OnDate:
    """Fires for each customer on a date of their own."""

    date: Expression
    offset: timedelta = timedelta(0)
    at: time | None = None
    """The local time of day; None: midnight, or the very instant of a value that is one."""
    yearly: bool = False


@dataclass(frozen=True, slots=True)
class Audience:
    """Fires for everyone whom `condition` selects when a catalogue event matches."""

    match: EventMatch
    condition: Expression


Plan = Schedule | OnDate | Audience
"""What starts runs for many customers at once."""


@dataclass(frozen=True, slots=True)
class Flow:
    journey: str
    version: int
    category: Category
    priority: int
    triggers: tuple[EventMatch, ...]
    """Events that start it; empty for a journey that something else starts."""
    entry: Entry
    exits: tuple[EventMatch, ...]
    steps: Mapping[str, Step]
    first: str
    title: str = ""
    goal: Goal | None = None
    api: bool = False
    """Started by the customers that a call to the API names."""
    needs: tuple[Need, ...] = ()
    """What its conditions ask of the history."""
    watches: Watched | None = None
    """Started by the customers who enter or leave a segment."""
    segments: tuple[str, ...] = ()
    """The segments that its conditions name."""
    named: frozenset[str] = frozenset()
    """Steps whose id is written in the file; the others are named by kind and place."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Step id → a digest of what the file says of it, all that is in it included."""
    plan: Plan | None = None
    """Started for many customers at once, by a clock or a catalogue event."""
