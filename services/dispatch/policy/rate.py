"""A rate as a bucket of places: GCRA, the generic cell rate algorithm (ITU-T I.371, annex A). Pure.

All that is kept of a rate is one instant: when what was let through would have left if it had left
one by one, evenly. `Bucket.ahead` is how many seconds that instant lies ahead of now. In any T
seconds a bucket lets through at most `rate × T + size` messages, and after a pause no more than
`size` at once, whoever asks and however often.
"""

from dataclasses import dataclass, replace

BURST = 0.2
"""Seconds' worth of places that may be taken at once: 2 % of ten seconds."""
_EXACT = 1e-6
"""Instants are kept to the microsecond: so much early is not early."""


@dataclass(frozen=True, slots=True)
class Bucket:
    rate: float
    """Messages a second, above 0."""
    ahead: float = 0.0
    """Seconds, not below 0: what was let through and is not yet due by the rate."""

    @property
    def size(self) -> float:
        """Places that may be taken at once where nothing was let through before; at least 1."""
        return max(1.0, self.rate * BURST)

    @property
    def places(self) -> int:
        """How many may be let through now."""
        return max(0, int(self.size - self.ahead * self.rate + _EXACT * max(1.0, self.rate)))

    def take(self) -> "Bucket":
        """One is let through. The caller has seen that there is a place."""
        return replace(self, ahead=self.ahead + 1 / self.rate)

    def put_back(self) -> "Bucket":
        """One that had taken a place did not go."""
        return replace(self, ahead=max(0.0, self.ahead - 1 / self.rate))

    def seconds_until(self, places: float) -> float:
        """After how long there will be so many places; of more than `size`, until it is full."""
        wanted = min(places, self.size)
        return max(0.0, self.ahead - (self.size - wanted) / self.rate)

    def after(self, seconds: float) -> "Bucket":
        return replace(self, ahead=max(0.0, self.ahead - seconds))

    def at_rate(self, rate: float) -> "Bucket":
        """The same after the rate was changed: one may go at once, so that the new one begins."""
        other = Bucket(rate)
        return replace(other, ahead=min(self.ahead, (other.size - 1) / rate))
