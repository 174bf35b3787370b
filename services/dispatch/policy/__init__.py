"""Dispatch's policies: pure functions that the dispatcher and the simulator both call.

`contact_of(…)` makes the customer, `order_key` sorts her messages that are due, `decide` judges
them one by one, each against the places that those before it have taken:

    for message in sorted(due, key=order_key):
        match decide(message, contact, policies, now, places):
            case SendBy(): …    # if it takes a place: Place(id, decidable_at, category, channel)
            case Hold(): …      # decide again at `until`, with decidable_at=until, was_held=True
            case Drop(): …      # decided, with its reason

No I/O, no clock, no randomness: the same values give the same verdict on every machine.
"""

from services.dispatch.policy.contact import contact_of
from services.dispatch.policy.decide import decide, order_key
from services.dispatch.policy.quiet import quiet_until
from services.dispatch.policy.retry import retry_delay
from services.dispatch.policy.values import (
    Contact,
    Drop,
    Hold,
    Message,
    PassedOver,
    Place,
    Scope,
    SendBy,
    Verdict,
)

__all__ = [
    "Contact",
    "Drop",
    "Hold",
    "Message",
    "PassedOver",
    "Place",
    "Scope",
    "SendBy",
    "Verdict",
    "contact_of",
    "decide",
    "order_key",
    "quiet_until",
    "retry_delay",
]
