"""A seeded shop: what its visitors do, in batches, the same for the same seed whenever they come.

The visitors are dealt out to several posters, each with a stream of its own, so that the order of
one visitor's events does not hang on how fast anybody is. Most come as strangers and log in on the
way; some go on under the strange id, some share a device, and some events are sent twice.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Wire = dict[str, Any]

_NAMES = ("Viewed", "Product Added", "Order Completed", "Searched")
_WEIGHTS = (45, 25, 14, 16)
_KNOWN_AT_ONCE = 0.35
_LOGS_IN = 0.8
_STILL_A_STRANGER = 0.15
"""Of who has logged in: events that bear the anonymous id alone."""
_BOTH = 0.3
_SHARED_DEVICE = 0.004
_SENT_TWICE = 0.02
TOUR_IN = "tour_in_seconds"
"""A property that the poster turns into an instant when it posts the event."""


@dataclass
class _Visitor:
    number: int
    left: int
    """Events that are still to come of them."""
    known: bool = False
    begun: bool = False
    cart: int = 0
    orders: int = 0
    queue: deque[Wire] = field(default_factory=deque)

    @property
    def user(self) -> str:
        return f"u{self.number}"

    @property
    def device(self) -> str:
        return f"a{self.number}"


class Stream:
    """One poster's share: `width` visitors at a time, whose numbers leave the remainder `share`."""

    def __init__(self, seed: int, share: int, shares: int, width: int) -> None:
        self._chance = random.Random(f"{seed}/{share}")
        self._name = f"{seed}-{share}"
        self._next = share
        self._shares = shares
        self._visitors = [self._visitor() for _ in range(width)]
        self._made = 0
        self._recent: deque[Wire] = deque(maxlen=500)

    def batches(self, events: int, size: int) -> Iterator[list[Wire]]:
        """So many events in all."""
        while events > 0:
            batch = [self._event() for _ in range(min(size, events))]
            events -= len(batch)
            yield batch

    def _visitor(self) -> _Visitor:
        number, self._next = self._next, self._next + self._shares
        return _Visitor(number, self._chance.randint(6, 40))

    def _event(self) -> Wire:
        if self._recent and self._chance.random() < _SENT_TWICE:
            return self._chance.choice(self._recent)
        place = self._chance.randrange(len(self._visitors))
        visitor = self._visitors[place]
        if not visitor.queue:
            self._act(visitor)
        event = visitor.queue.popleft()
        visitor.left -= 1
        if visitor.left <= 0 and not visitor.queue:
            self._visitors[place] = self._visitor()
        self._made += 1
        event["messageId"] = f"{self._name}-{self._made}"
        self._recent.append(event)
        return event

    def _act(self, visitor: _Visitor) -> None:
        if not visitor.begun:
            visitor.begun = True
            if self._chance.random() < _KNOWN_AT_ONCE:
                self._log_in(visitor, first=True)
            else:
                # A stranger has a device and no address.
                traits = {"push_token": f"t-{visitor.device}"}
                visitor.queue.append(
                    {"type": "identify", "anonymousId": visitor.device, "traits": traits}
                )
            return
        logs_in = not visitor.known and self._chance.random() < _LOGS_IN / 8
        if logs_in:
            self._log_in(visitor, first=False)
        else:
            visitor.queue.append(self._track(visitor))

    def _log_in(self, visitor: _Visitor, *, first: bool) -> None:
        visitor.known = True
        visitor.queue.append(
            {
                "type": "identify",
                "userId": visitor.user,
                **({} if first else {"anonymousId": visitor.device}),
                "traits": traits_of(visitor.number),
            }
        )
        visitor.queue.append(
            {
                "type": "track",
                "event": "Signed Up",
                "userId": visitor.user,
                "properties": {
                    "plan": self._chance.choice(("free", "paid")),
                    TOUR_IN: self._chance.randint(-2, 4),
                },
            }
        )

    def _track(self, visitor: _Visitor) -> Wire:
        name = self._chance.choices(_NAMES, _WEIGHTS)[0]
        price = self._chance.randint(1, 100)
        properties: Wire = {"price": price, "sku": f"s{self._chance.randint(1, 6)}"}
        if name in ("Product Added", "Order Completed"):
            properties["cart_id"] = f"c{visitor.number}-{visitor.cart}"
        if name == "Order Completed":
            visitor.orders += 1
            properties |= {"order_id": f"o{visitor.number}-{visitor.orders}", "total": price * 2}
            visitor.cart += 1
        return {"type": "track", "event": name, "properties": properties} | self._ids(visitor)

    def _ids(self, visitor: _Visitor) -> Wire:
        if not visitor.known:
            return {"anonymousId": visitor.device}
        if self._chance.random() < _STILL_A_STRANGER:
            return {"anonymousId": visitor.device}
        if self._chance.random() < _SHARED_DEVICE:
            other = self._chance.choice(self._visitors)
            return {"userId": visitor.user, "anonymousId": other.device}
        if self._chance.random() < _BOTH:
            return {"userId": visitor.user, "anonymousId": visitor.device}
        return {"userId": visitor.user}


def traits_of(number: int) -> Wire:
    """What a user states first, and nothing later: dispatch's decisions can be told by the id."""
    traits: Wire = {"push_token": f"t-u{number}", "plan": number % 3}
    if number % 9:
        traits["email"] = f"u{number}@shop.example"
    if number % 11 == 0:
        traits["consent"] = {"email": False}
    return traits
