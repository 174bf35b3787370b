"""What a simulation remembers of the messages that it has sent, for the receipts that may come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.dispatch.policy import Scope
from services.journey.core.effects import QueueMessage

_CLOSES: Mapping[str, Scope] = {"bounced": "all", "complained": "marketing"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that has been sent."""

    at: datetime
    address: str
    names: dict[str, str]
    """What its receipt calls it."""


def sent(queued: QueueMessage, at: datetime, address: str) -> Sent:
    names = {
        "message_id": queued.id,
        "run_id": queued.run_id,
        "journey": queued.journey,
        "step": queued.step,
    }
    return Sent(at, address, names)


@dataclass(slots=True)
class Closed:
    """Addresses that a receipt has closed, whoever else has them."""

    scopes: dict[tuple[str, str], Scope] = field(default_factory=dict)

    def note(self, channel: str, address: str, outcome: str) -> None:
        """A bounce closes to everything, a complaint to marketing; other receipts to nothing."""
        scope = _CLOSES.get(outcome)
        if scope is not None and self.scopes.get((channel, address)) != "all":
            self.scopes[channel, address] = scope

    def among(self, addresses: Iterable[tuple[str, str]]) -> dict[str, Scope]:
        """Channel → scope, of these channels and addresses."""
        return {at[0]: self.scopes[at] for at in addresses if at in self.scopes}
