"""When journeys that start for many at once come to one customer.

The engine asks "who is meant now" for all customers at each firing; here one customer is asked
"when next", by the same pure functions. What comes of it is the same `enter` event.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from services.journey.core import firing
from services.journey.core.anniversaries import next_date
from services.journey.core.book import Book
from services.journey.core.calendar import Occasion, next_occasion
from services.journey.core.flow import Audience, Flow, Moment, OnDate, Schedule
from services.journey.core.state import Customer
from services.journey.core.work import Walk
from shared.event import Event
from shared.local_time import zone_of

_TICK = timedelta(microseconds=1)


def by_clock(flows: Iterable[Flow]) -> tuple[Flow, ...]:
    """The flows that the clock starts, ordered by journey id."""
    found = (flow for flow in flows if isinstance(flow.plan, Schedule | OnDate))
    return tuple(sorted(found, key=lambda flow: flow.journey))


def by_catalog(flows: Iterable[Flow], event: Event) -> list[firing.Firing]:
    """The firings of a catalogue event."""
    return [firing.on_catalog(flow, event) for flow in flows if firing.answers(flow.plan, event)]


class Planner:
    """One customer's next firings; asked again only when the customer has changed."""

    def __init__(self, book: Book, flows: Sequence[Flow], since: datetime) -> None:
        """`since` is the instant at which the customer is first met."""
        self._book = book
        self._flows = flows
        self._reached = since - _TICK
        self._asked: Customer | None = None
        self._next: list[tuple[datetime, Flow, Occasion]] = []

    def next_at(self, customer: Customer) -> datetime | None:
        self._ask(customer)
        return min((at for at, _flow, _occasion in self._next), default=None)

    def due(self, customer: Customer, at: datetime) -> list[Event]:
        """The `enter` events of what fires at this instant, by journey id; each comes once."""
        self._ask(customer)
        events = [
            firing.event_for(_firing(flow, occasion), customer.id)
            for due, flow, occasion in self._next
            if due == at
        ]
        self._reached = max(self._reached, at)
        self._asked = None
        return events

    def _ask(self, customer: Customer) -> None:
        if self._asked is customer:
            return
        self._asked = customer
        found = ((flow, self._occasion(flow, customer)) for flow in self._flows)
        self._next = [(occasion.at, flow, occasion) for flow, occasion in found if occasion]

    def _occasion(self, flow: Flow, customer: Customer) -> Occasion | None:
        zone = zone_of(customer.traits.get("timezone"), self._book.zone)
        match flow.plan:
            case Schedule() as plan:
                clock = zone if plan.local else plan.zone or self._book.zone
                return next_occasion(plan.cron, clock, self._reached)
            case OnDate() as plan:
                scope = Walk(self._book, customer).scope_of_start(
                    Moment(firing.ON_DATE, {}), self._reached
                )
                return next_date(plan, plan.date.evaluate(scope), zone, self._reached)
            case Audience() | None:
                return None
            case _:
                assert_never(flow.plan)


def _firing(flow: Flow, occasion: Occasion) -> firing.Firing:
    make = firing.scheduled if isinstance(flow.plan, Schedule) else firing.on_its_date
    return make(flow, occasion.label, occasion.at, occasion.at)
