"""What one transaction stores for one partition."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.journey.core.effects import (
    Convert,
    Erase,
    MakeCall,
    QueueMessage,
    StateConsent,
    WithdrawCall,
    WithdrawMessage,
)
from services.journey.core.identity_effects import CarryOn, MoveOut
from services.journey.core.merge import Record
from services.journey.core.occasions import Due
from services.journey.core.state import Customer
from shared.event import Event


@dataclass(frozen=True, slots=True)
class TimerRow:
    row: Any
    """Its ctid: the owner is the only one who deletes, and rows are never updated."""
    due_at: datetime
    customer: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A partition carries out an apply's rule for runs in flight, customer by customer."""

    revision: int
    """The last revision that has met every customer."""
    under_way: int = 0
    """The revision that is meeting them now."""
    after: str = ""
    """The last customer whom it has met."""


@dataclass(slots=True)
class Moved:
    """What identity does to tables besides the customers' rows; see `moving.py`."""

    belongs: dict[str, str] = field(default_factory=dict)
    """Customer → whom the id belongs to from now on; empty: nobody else."""
    out: list[tuple[str, MoveOut | CarryOn]] = field(default_factory=list)
    records: list[tuple[str, Record]] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)
    """Messages whose places under the caps are free again."""
    let_go: set[str] = field(default_factory=set)
    """Customers whose profile was kept for messages that stayed behind."""


@dataclass(slots=True)
class Batch:
    """Everything one transaction stores for one partition."""

    partition: int
    partitions: int
    epoch: int
    stamp: int
    """Of the workspace it is decided by; see `library.Current`."""
    offset: int
    log_time: datetime
    recorded_at: datetime
    offered: bool
    """False while the partition is behind: its messages wait for the end of the log."""
    settled: Settled | None = None
    """How far the apply's rule for runs in flight has come."""
    release: bool = False
    """The partition has caught up: offer what had been staged."""
    trace: str = ""
    """The traceparent of its deciding, while tracing is on."""
    changed: dict[str, Customer] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    """Of the changed customers those who have no row yet."""
    new_traits: set[str] = field(default_factory=set)
    """Customers whose traits changed, or who are new."""
    new_members: set[str] = field(default_factory=set)
    rescored: set[str] = field(default_factory=set)
    """Customers whose RFM score is another one."""
    """Customers who are new, or of whose segments something became known."""
    history: list[tuple[Any, ...]] = field(default_factory=list)
    timers: list[tuple[datetime, str]] = field(default_factory=list)
    fired: list[TimerRow] = field(default_factory=list)
    messages: list[QueueMessage] = field(default_factory=list)
    customers_of: dict[str, str] = field(default_factory=dict)
    """Message id → customer."""
    withdrawn: list[WithdrawMessage] = field(default_factory=list)
    calls: list[tuple[str, MakeCall]] = field(default_factory=list)
    withdrawn_calls: list[WithdrawCall] = field(default_factory=list)
    consents: list[tuple[str, StateConsent]] = field(default_factory=list)
    emitted: list[Event] = field(default_factory=list)
    conversions: list[tuple[str, Convert]] = field(default_factory=list)
    spilled: list[tuple[str, int, int]] = field(default_factory=list)
    counts: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)
    moved: Moved = field(default_factory=Moved)
    erased: list[tuple[str, Erase]] = field(default_factory=list)
    unsent: list[tuple[str, datetime, QueueMessage]] = field(default_factory=list)
    """Messages of an erased customer that this very batch had made, and when they were erased: they
    stay counted, as they would had they been stored before."""
    forgotten: set[str] = field(default_factory=set)
    """Customers whose rows go."""
    firings: list[Due] = field(default_factory=list)
    """What catalogue events start."""
    set_aside: list[tuple[str, bytes]] = field(default_factory=list)

    def drop(self, customer: str, at: datetime) -> None:
        """What it holds of a customer who is erased; what follows is of a new life."""
        self.history = [row for row in self.history if row[1] != customer]
        theirs = [m for m in self.messages if self.customers_of[m.id] == customer]
        self.messages = [m for m in self.messages if self.customers_of[m.id] != customer]
        self.unsent += [(customer, at, m) for m in theirs]
        self.calls = [pair for pair in self.calls if pair[0] != customer]
        self.consents = [pair for pair in self.consents if pair[0] != customer]
        self.emitted = [event for event in self.emitted if event.customer != customer]
        self.moved.records = [pair for pair in self.moved.records if pair[0] != customer]
        self.moved.out = [pair for pair in self.moved.out if pair[0] != customer]
        self.moved.let_go.discard(customer)
