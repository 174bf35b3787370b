"""What is stored of one customer: one row, packed with msgspec, read and written by one owner.

Traits live in a column of their own (SQL reads them); everything else is `State`. All values are
frozen: a transition returns a new one.
"""

from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.flow import Moment, Past
from shared.rfm import Score


class Trigger(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The event that started a run, as its expressions and templates see it."""

    name: str
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}

    def moment(self) -> Moment:
        return Moment(self.name, self.properties, self.context)


class StepResult(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What `steps.<id>` shows."""

    outcome: str | None = None
    reason: str | None = None
    at: datetime | None = None
    event: Trigger | None = None
    """The event that a `wait_for` waited for."""
    variant: str | None = None
    response: Any = None
    """What a `call` was answered."""
    opened: bool = False
    clicked: bool = False


class AtTime(msgspec.Struct, frozen=True, gc=False, tag="time"):
    """The run goes on at `due` (log time)."""

    due: datetime


class ForOutcome(msgspec.Struct, frozen=True, gc=False, tag="outcome"):
    """The run goes on when the message is decided."""

    message_id: str


class ForAnswer(msgspec.Struct, frozen=True, gc=False, tag="answer"):
    """The run goes on when the call is answered, or given up."""

    call_id: str


class ForEvent(msgspec.Struct, frozen=True, gc=False, tag="event"):
    """The run goes on at the first matching event, or at `due`."""

    due: datetime


Waiting = AtTime | ForOutcome | ForAnswer | ForEvent


class Round(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How far a `repeat` has come."""

    number: int
    started_at: datetime


class Heard(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event received while a message was on its way, for the `wait_for` behind it; or while the
    run's version could not be read."""

    received_at: datetime
    event: Trigger


class Run(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One customer's way through one version of a journey; `step` is where it waits."""

    id: str
    journey: str
    version: int
    key: str
    entered_at: datetime
    trigger: Trigger
    step: str
    waiting: Waiting
    steps: dict[str, StepResult] = {}
    visits: dict[str, int] = {}
    held_out: bool = False
    rounds: dict[str, Round] = {}
    event: Trigger | None = None
    """`event` of the steps in the `then` that the run is in."""
    heard: tuple[Heard, ...] = ()
    came_with: str = ""
    """The id with whose past it came here: it has lived through that one's events already."""
    settled_at: datetime | None = None
    """When the newest apply with a rule for runs in flight came into force that it has met."""
    held_by: str = ""
    """`workspace` or `journey`: whose holdout it belongs to; empty in rows of older releases."""
    missed: tuple[Heard, ...] = ()
    """What the customer did while its version could not be read; see `resting.py`."""


class OpenGoal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run's goal; it outlives the run until `until`."""

    run_id: str
    journey: str
    version: int
    key: str
    entered_at: datetime
    until: datetime
    trigger: Trigger
    steps: dict[str, StepResult] = {}
    """What the run had come to when it ended; while it lives, its own count."""
    held_out: bool = False
    came_with: str = ""
    """As in `Run`."""
    held_by: str = ""
    missed: tuple[Heard, ...] = ()


class Member(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a journey that watches a segment last knew of the customer's membership."""

    baseline: int
    """Microsecond of the epoch from which the journey has watched the segment, both unchanged."""
    inside: bool
    changes: int = 0
    """How often it has changed since the baseline: it tells one entrance from the next."""


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    runs: tuple[Run, ...] = ()
    """Ordered by journey id and key: the order in which they move."""
    entries: dict[str, datetime] = {}
    """Last entry per journey and key, for `reentry`; see `entry_name`."""
    seen: dict[int, int] = {}
    """Digest of a message id → second of its receipt, for 7 days."""
    spilled: bool = False
    """Older ids stand in the table `spilled_ids`: the shell looks there as well."""
    stated: dict[str, int] = {}
    """Trait → millisecond of its newest statement; consent per channel as `consent.<channel>`."""
    history: dict[str, tuple[Past, ...]] = {}
    """Event name → what conditions ask of its events, oldest first; see `history.py`."""
    full: tuple[str, ...] = ()
    """Event names of which there are too many for the row."""
    needs: str = ""
    """Which needs `history` was kept for."""
    goals: tuple[OpenGoal, ...] = ()
    known: bool = False
    """Whether an event has named the customer by a user id."""
    erased_at: datetime | None = None
    """Nothing received at or before this is taken in; kept for the log's retention."""
    rfm: Score | None = None
    """None for who has not bought within the window, or has not been scored."""
    armed_at: datetime | None = None
    """The due time of the earliest row in `timers` for this customer, if there is one."""
    members: dict[str, Member] = {}
    """Journey id → what it knew of the membership in the segment it watches; see `segments.py`."""
    forward: str = ""
    """Whose id this is: what arrives for it is forwarded there; see `identity.py`."""
    move: str = ""
    """What the parts of its history are named by that are being sent there."""
    carried: int = 0
    """The last of these parts."""
    links: tuple[str, ...] = ()
    """Ids that have been told that they belong to this customer, newest first; a bounded number."""


class Customer(msgspec.Struct, frozen=True, gc=False):
    id: str
    traits: dict[str, Any]
    state: State
    loaded: dict[str, tuple[Past, ...]] = {}
    """History of `full` names, read from the table for this batch; not stored."""


def entry_name(journey: str, key: str) -> str:
    return f"{journey}\x1f{key}"


LIVE = b"\xa4runs"
"""A packed state with runs holds the packed name of that field; one that holds these bytes for
another reason is unpacked and found to have none."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def pack(state: State) -> bytes:
    return _encoder.encode(state)


def unpack(raw: bytes) -> State:
    return _decoder.decode(raw)
