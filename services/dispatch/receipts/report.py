"""A provider's report, in our words, and how a request is refused."""

from dataclasses import dataclass
from typing import Literal

from shared.errors import DangolError

Outcome = Literal["delivered", "opened", "clicked", "bounced", "complained"]


class NotTheirs(DangolError):
    """The request is not signed as the provider signs, or is too old."""


@dataclass(frozen=True, slots=True)
class Report:
    message_id: str
    """Ours: adapters send it along, and providers give it back."""
    outcome: Outcome
    address: str | None = None
    """The address that it speaks of, for a bounce or a complaint."""
    closes: Literal["all", "marketing"] | None = None
    """What the address is to be closed to: a hard bounce to all, a complaint to advertising."""
    detail: str = ""
    address_hash: str | None = None
    """Instead of the address, where our own words have been given back (`bounces/verp.py`)."""
    is_spam: bool = True
    """Of `complained`: they called it spam. False: they unsubscribed at the provider, of which
    mailbox providers hear nothing."""
