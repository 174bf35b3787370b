"""When a message is tried again on the same channel."""

from collections.abc import Sequence
from datetime import timedelta

from shared.ids import fraction

LADDER = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
)
"""Six retries after the first attempt, about 2 h 43 min in all."""

SPREAD = 0.25


def retry_delay(
    used: int, message_id: str, ladder: Sequence[timedelta] = LADDER
) -> timedelta | None:
    """How long to wait after `used` failed attempts (at least 1); None: the ladder is at its end.

    The message's id spreads the waits by up to a quarter, always to the later side, so that a
    provider that comes back is not met by all at once.
    """
    if used > len(ladder):
        return None
    return ladder[used - 1] * (1 + SPREAD * fraction("retry", message_id, str(used)))
