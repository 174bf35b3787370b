"""What everybody who keeps something of a customer must know about erasing one."""

from datetime import timedelta
from hashlib import blake2b

LOG_RETENTION = timedelta(days=7)
"""How long the log keeps a record. An erasure is complete when it has passed."""
HISTORY_RETENTION = timedelta(days=400)
"""How long what customers did is kept, by whole months."""


def hash_of_customer(customer: str, key: bytes) -> str:
    """What stays of an erased customer: without the key a guessed id cannot be compared."""
    return blake2b(f"customer:{customer}".encode(), digest_size=16, key=key).hexdigest()


def request_of(event_id: str) -> str:
    """The request that an erasing event carries out: those of linked ids add theirs, `e1:a1`."""
    return event_id.partition(":")[0]
