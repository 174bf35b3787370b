"""What the policies look at and what they answer: frozen values, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from shared.decisions import Category, Reason

Scope = Literal["all", "marketing"]
"""What a suppressed address is closed to: a hard bounce to all, a complaint to marketing."""


class PassedOver(NamedTuple):
    """A channel that was tried before the one the message ended on, and why it was left."""

    channel: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Message:
    """One message that waits for its decision. All instants are aware UTC."""

    id: str
    journey: str
    step: str
    category: Category
    priority: int
    channels: tuple[str, ...]
    """The channel of `send`, then those of `else`, in order; never empty."""
    created_at: datetime
    decidable_at: datetime
    """When this decision became due: the creation, or the end of the last hold. Caps count it."""
    held_out: bool = False
    was_held: bool = False
    """Some policy, or a paused channel, made it wait before: `expire_after` applies."""
    failed: tuple[PassedOver, ...] = ()
    """Channels whose provider has failed it for good; they are not tried again."""


@dataclass(frozen=True, slots=True)
class Contact:
    """The customer at the moment of the decision."""

    zone: ZoneInfo
    addresses: Mapping[str, str]
    """Channel → address, only where there is one."""
    consents: Mapping[str, bool] = field(default_factory=dict)
    """Channel → the newest statement; absent: never asked."""
    suppressed: Mapping[str, Scope] = field(default_factory=dict)
    """Channel → what its address is closed to; absent: open."""
    traits: Mapping[str, Any] = field(default_factory=dict)
    zone_known: bool = True
    """False: `zone` is the workspace's, since her own is not known."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place under the caps that one message of the customer has taken."""

    message_id: str
    taken_at: datetime
    """The instant at which that message had become decidable."""
    category: Category
    channel: str


@dataclass(frozen=True, slots=True)
class SendBy:
    channel: str
    address: str
    takes_place: bool
    """The message counts under the frequency caps: a `Place` at its `decidable_at`."""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Decide again at `until`, which then is the message's `decidable_at`."""

    until: datetime
    reason: Reason
    channel: str
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    reason: Reason
    channel: str
    """The channel the message ended on."""
    passed_over: tuple[PassedOver, ...] = ()


Verdict = SendBy | Hold | Drop


@dataclass(frozen=True, slots=True)
class Block:
    """Something stands in the way on one channel."""

    reason: Reason
    until: datetime | None
    """The first instant at which it may be asked again; None: the rule says drop."""
    goes_on: bool
    """The next channel may be tried: every rule that stands in the way names channels."""
