"""Which message ids a customer has already sent: 7 days of them, a bounded number in the row.

Past the bound the oldest half is spilled to a table, which the shell asks for customers that have
spilled. An id is kept as 8 bytes of its digest: a false match needs billions of ids per customer.
"""

from datetime import datetime
from hashlib import blake2b

from shared.event import Event

OCCASION = "occasion"
"""The property of a firing's `enter` event that names its occasion."""
BOUND = 1024
_WINDOW = 7 * 86_400


def digest(message_id: str) -> int:
    # 63 bits: PostgreSQL's bigint is signed.
    return int.from_bytes(blake2b(message_id.encode(), digest_size=8).digest(), "big") >> 1


def digest_of(event: Event) -> int:
    """What an event is known by: its id.

    Of a firing, its occasion: an id that has been merged into another customer, or has moved to
    another zone, does not get the same occasion twice.
    """
    if event.kind == "enter" and OCCASION in event.properties:
        return digest(event.properties[OCCASION])
    return digest(event.id)


def remember(
    seen: dict[int, int], message: int, received_at: datetime
) -> tuple[dict[int, int], tuple[tuple[int, int], ...]]:
    """The ids after this one, and those that leave the row for the table."""
    second = int(received_at.timestamp())
    horizon = second - _WINDOW
    oldest = next(iter(seen.values()), second)
    kept = {k: v for k, v in seen.items() if v >= horizon} if oldest < horizon else dict(seen)
    kept[message] = second
    if len(kept) <= BOUND:
        return kept, ()
    items = list(kept.items())
    half = BOUND // 2
    return dict(items[half:]), tuple(items[:half])


def is_known(seen: dict[int, int], message: int, received_at: datetime) -> bool:
    second = seen.get(message)
    return second is not None and second >= int(received_at.timestamp()) - _WINDOW
