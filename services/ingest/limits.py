"""Every bound of the edge, in one place."""

from dataclasses import dataclass

MAX_EVENT_BYTES = 64 * 1024
"""JSON bytes of one event. SDKs stop, or warn, at 32 KiB; twice that costs us nothing."""
MAX_EVENTS = 10_000
"""Events of one request; the largest that an SDK sends is 100, Segment's own limit is 2,500."""
MAX_DEPTH = 32
"""Objects and lists inside one another in one event, itself included."""
MAX_MESSAGE_ID = 100
"""Characters of a messageId, Segment's own limit."""
MAX_ID = 256
"""Characters of a user, anonymous, previous or group id: they are keys of database indexes."""
MAX_NAME = 512
"""Characters of an event's, page's or screen's name."""


@dataclass(frozen=True, slots=True)
class Limits:
    body: int = 10 * 1024 * 1024
    """Bytes of one body, as sent and once inflated. rudder-sdk-python may send 8 MiB."""
    bodies: int = 256 * 1024 * 1024
    """Bytes of all bodies in hand together; above it the answer is 503."""
    read_within: float = 30.0
    """Seconds in which a body must have arrived: a slow phone sends 10 MiB in less."""
    one_chance_held: float = 30.0
    """Seconds that events of SDKs which never send twice wait while the log is away."""
    one_chance_pause: float = 0.25
    """Seconds between two tries for them."""
    put_aside_within: float = 4.0
    """Seconds that putting aside may take."""
    thread_from: int = 512 * 1024
    """Bytes from which a body is decoded in a thread, so that it holds up nobody else."""


LIMITS = Limits()
