"""What the core wants done: data, stored with the state in one transaction, carried out later."""

from dataclasses import dataclass
from datetime import datetime

from shared.decisions import Category
from shared.message import MessageContext


@dataclass(frozen=True, slots=True)
class QueueMessage:
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


@dataclass(frozen=True, slots=True)
class WithdrawMessage:
    """Drop the message as `run_ended` unless an attempt has been recorded."""

    message_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StateConsent:
    """A consent statement that arrived as a trait, for the ledger and the table dispatch reads."""

    channel: str
    granted: bool
    at: datetime
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class SpillSeen:
    """Message ids that leave the customer's row, which keeps a bounded number of them."""

    ids: tuple[tuple[int, int], ...]
    """Digest and second of receipt."""


@dataclass(frozen=True, slots=True)
class Count:
    """One more of `what` (`entered`, `reached`, `ended:exit`, `refused:too_old`, …)."""

    journey: str
    version: int
    step: str
    what: str


Effect = QueueMessage | WithdrawMessage | StateConsent | SpillSeen | Count
