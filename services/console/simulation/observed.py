"""What a simulation shows: its rows, and everything that happens on the way to them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.dispatch.policy import Hold, PassedOver
from services.journey.core.decide import Decision, Tick
from services.journey.core.effects import QueueMessage
from services.journey.core.state import Customer
from shared.decisions import Decision as DecisionWord
from shared.decisions import Reason
from shared.event import Event


@dataclass(frozen=True, slots=True)
class Row:
    """One decided message, with the names that `dangol simulate --json` prints."""

    at: datetime
    customer: str
    journey: str
    step: str
    channel: str
    decision: DecisionWord
    reason: Reason | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": _text(self.at),
            "customer": self.customer,
            "journey": self.journey,
            "step": self.step,
            "channel": self.channel,
            "decision": self.decision,
            "reason": None if self.reason is None else str(self.reason),
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """The core has decided about an event or a tick; nothing has been carried out yet."""

    at: datetime
    given: Event | Tick
    before: Customer
    decision: Decision


@dataclass(frozen=True, slots=True)
class Held:
    """A message waits, for quiet hours or a cap that holds."""

    at: datetime
    queued: QueueMessage
    verdict: Hold


@dataclass(frozen=True, slots=True)
class Told:
    """A message is decided; its run does not know yet."""

    at: datetime
    queued: QueueMessage
    row: Row
    passed_over: tuple[PassedOver, ...] = ()


Observed = Decided | Held | Told
Observer = Callable[[Observed], None]
"""Is shown everything that happens, in the order in which it happens."""


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
