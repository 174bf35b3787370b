"""Hand-made flows for tests of the core: what the language would compile."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.journey.core.book import Book, Edition
from services.journey.core.decide import Decision, Tick, decide
from services.journey.core.effects import Effect, QueueMessage, WithdrawMessage
from services.journey.core.flow import (
    Entry,
    EventMatch,
    Expression,
    Flow,
    Scope,
    Send,
    Step,
    Wait,
)
from services.journey.core.spans import Span
from services.journey.core.state import Customer, State
from shared.clock import EPOCH
from shared.event import Event, outcome_event

NOON = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def expression(evaluate: Callable[[Scope], Any]) -> Expression:
    return Expression("by hand", evaluate)


def prop(name: str) -> Expression:
    def read(scope: Scope) -> Any:
        assert scope.event is not None
        return scope.event.properties.get(name)

    return expression(read)


SAME_CART = expression(
    lambda s: (
        s.event is not None
        and s.trigger is not None
        and s.event.properties.get("cart") == s.trigger.properties.get("cart")
    )
)


def flow(
    journey: str = "cart",
    *,
    steps: Iterable[Step],
    trigger: str = "Added",
    entry: Entry | None = None,
    exits: tuple[EventMatch, ...] = (),
    version: int = 1,
) -> Flow:
    found = {step.id: step for step in steps}
    return Flow(
        journey=journey,
        version=version,
        category="marketing",
        priority=50,
        triggers=(EventMatch(trigger),),
        entry=entry or Entry(),
        exits=exits,
        steps=found,
        first=next(iter(found)),
    )


def wait_then_send(journey: str = "cart", **options: Any) -> Flow:
    return flow(
        journey,
        steps=[Wait("wait", "send", HOUR), Send("send", None, ("email",), "hello")],
        **options,
    )


def book(*flows: Flow, active_from: datetime = EPOCH, paused: Iterable[str] = ()) -> Book:
    return Book(
        [Edition.of(active_from, flows)],
        {(f.journey, f.version): f for f in flows},
        {journey: (Span(EPOCH),) for journey in paused},
    )


def event(name: str = "Added", at: datetime = NOON, **properties: Any) -> Event:
    return Event(
        id=f"{name}-{at.isoformat()}-{properties}",
        kind="track",
        name=name,
        timestamp=at,
        received_at=at,
        user_id="u1",
        properties=properties,
    )


class Person:
    """A customer and everything that was decided for them."""

    def __init__(self, flows: Book) -> None:
        self.book = flows
        self.customer = Customer("u1", {}, State())
        self.effects: list[Effect] = []

    def take(self, given: Event | Tick) -> Decision:
        decision = decide(self.book, self.customer, given)
        self.customer = decision.customer
        self.effects.extend(decision.effects)
        return decision

    def tick(self, at: datetime) -> Decision:
        return self.take(Tick(at))

    def decided(self, message: QueueMessage, at: datetime, decision: str = "sent") -> Decision:
        told = outcome_event(
            message_id=message.id, customer="u1", at=at, step=message.step,
            run_id=message.run_id, decision=decision, reason=None, channel="email",
        )  # fmt: skip
        return self.take(msgspec.structs.replace(told, received_at=at))

    @property
    def messages(self) -> list[QueueMessage]:
        return [effect for effect in self.effects if isinstance(effect, QueueMessage)]

    @property
    def withdrawn(self) -> list[str]:
        return [e.message_id for e in self.effects if isinstance(e, WithdrawMessage)]

    def counted(self, what: str) -> int:
        return sum(getattr(effect, "what", None) == what for effect in self.effects)
