"""What the core wants done: data, stored with the state in one transaction, carried out later."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.core.identity_effects import IdentityEffect
from shared.decisions import Category
from shared.message import MessageContext


class QueueMessage(msgspec.Struct, frozen=True, gc=False):
    """One message for dispatch to decide; `id` derives from run, step and visit."""

    id: str
    run_id: str
    journey: str
    version: int
    step: str
    category: Category
    priority: int
    held_out: bool
    channels: tuple[str, ...]
    template: str
    context: MessageContext
    at: datetime
    """The instant at which it becomes decidable."""


class WithdrawMessage(msgspec.Struct, frozen=True, gc=False):
    """Drop the message as `run_ended` unless an attempt has been recorded."""

    message_id: str
    at: datetime


class MakeCall(msgspec.Struct, frozen=True, gc=False):
    """One request for dispatch to make; `id` derives from run, step and visit."""

    id: str
    run_id: str
    journey: str
    version: int
    step: str
    url: str
    values: dict[str, Any]
    timeout: timedelta
    at: datetime


class WithdrawCall(msgspec.Struct, frozen=True, gc=False):
    """Drop the call as `run_ended`, unless a try is under way."""

    call_id: str
    at: datetime


class StateConsent(msgspec.Struct, frozen=True, gc=False):
    """A consent statement that arrived as a trait, for the ledger and the table dispatch reads."""

    channel: str
    granted: bool
    at: datetime
    source: str
    event_id: str
    counts: bool = True
    """False for one that is only kept in the ledger, since a known one of its instant stays."""
    imported: bool = False
    """An import carries it over: whoever stated it was told of it by another system."""


class SpillSeen(msgspec.Struct, frozen=True, gc=False):
    """Message ids that leave the customer's row, which keeps a bounded number of them."""

    ids: tuple[tuple[int, int], ...]
    """Digest and second of receipt."""


class Count(msgspec.Struct, frozen=True, gc=False):
    """One more of `what` (`entered`, `reached`, `ended:exit`, `refused:too_old`, …)."""

    journey: str
    version: int
    step: str
    what: str


IN_A_ROW = "emitted_in_a_row"
"""The name of `EmitEvent.in_a_row` in the event's context."""


class EmitEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of the same customer, through the log; the id derives from run, step and visit."""

    id: str
    name: str
    properties: dict[str, Any]
    known: bool
    """Whether the customer is named by a user id."""
    at: datetime
    in_a_row: int = 0
    """How many events led here, each emitted by a run that had just begun with the one before."""


class Convert(msgspec.Struct, frozen=True, gc=False):
    """A run's goal is reached; counted once a run."""

    run_id: str
    journey: str
    version: int
    held_out: bool
    variants: dict[str, str]
    entered_at: datetime
    at: datetime
    value: float | None
    held_by: str = ""


class Erase(msgspec.Struct, frozen=True, gc=False):
    """Everything of the customer goes; `at` is when this log received the erasure."""

    request: str
    at: datetime


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Nothing is left of an erased customer but the row: it goes."""


Deed = (
    EmitEvent
    | Convert
    | QueueMessage
    | WithdrawMessage
    | MakeCall
    | WithdrawCall
    | StateConsent
    | SpillSeen
    | Erase
    | Forget
    | IdentityEffect
)
Effect = Count | Deed
