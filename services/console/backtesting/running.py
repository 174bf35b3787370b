"""A draft and what is live, over the same customers, one after another. Pure.

Neither needs to know of other customers, so only one chunk of them is held at a time. An event of
before the stretch is taken in as if it had been imported at its beginning: it is part of profile
and history, and nobody enters by it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.console.backtesting.audiences import Doings
from services.console.backtesting.sides import Known, Side, Tally, before
from services.console.explaining.stored import owned
from services.journey.core.firing import is_by_firing
from shared.event import Event

EXAMPLES = 10
MOST_CATALOGUE = 5_000
"""Catalogue events that are taken."""
MOST_WIDE = 50
"""Where an audience may be anybody: then each is asked of every customer."""


@dataclass(slots=True)
class People:
    """Customers who would be sent more, or fewer, messages than what is live sends them."""

    more: int = 0
    fewer: int = 0
    same: int = 0
    """Who would be sent as many, and any."""
    examples_more: list[str] = field(default_factory=list)
    examples_fewer: list[str] = field(default_factory=list)

    def add(self, customer: str, draft: int, live: int) -> None:
        if draft > live:
            self.more += 1
            if len(self.examples_more) < EXAMPLES:
                self.examples_more.append(customer)
        elif draft < live:
            self.fewer += 1
            if len(self.examples_fewer) < EXAMPLES:
                self.examples_fewer.append(customer)
        elif draft:
            self.same += 1


class Backtest:
    """Takes customers in; holds no more than counts and a few examples."""

    def __init__(
        self,
        draft: Side,
        live: Side,
        since: datetime,
        until: datetime,
        catalogue: Sequence[Event] = (),
    ) -> None:
        """`catalogue`: the catalogue events of the stretch, in the order of their receipt. Of those
        that start a journey on one of the sides the newest `MOST_CATALOGUE` are taken."""
        found = [(event, [*draft.looks(event), *live.looks(event)]) for event in catalogue]
        asked = [(event, looks) for event, looks in found if looks]
        wide = any(None in looks for _, looks in asked)
        self._catalogue = asked[-(MOST_WIDE if wide else MOST_CATALOGUE) :]
        self._asked = len(asked)
        self._audiences = bool(draft.catalogue or live.catalogue)
        self.draft = draft
        self.live = live
        self.since = since
        self.until = until
        self.people = People()
        self.customers = 0
        self._starts = draft.starts | live.starts
        self._always = draft.always or live.always
        self._written = draft.written | live.written

    def customer(self, customer: str, events: Sequence[Event], known: Known) -> None:
        """`events` are all that matter of theirs, in the order of their receipt."""
        self.customers += 1
        catalogue = list(self._meant(events))
        if not (self._always or catalogue or any(map(self._starts_something, events))):
            return
        given = [
            event if self._is_within(event) else before(event, self.since)
            for event in owned(events, customer)
            if not self._is_made(event)
        ]
        given += catalogue
        known = self._unstated(events, known)
        sent = [
            sum(row.decision == "sent" for row in side.run(customer, given, known, self.until))
            for side in (self.draft, self.live)
        ]
        self.people.add(customer, *sent)

    def _meant(self, events: Sequence[Event]) -> Iterator[Event]:
        """The catalogue events that may mean somebody who did this."""
        if not self._catalogue:
            return
        doings = Doings(events)
        for event, looks in self._catalogue:
            if any(look is None or look(doings, event) for look in looks):
                yield event

    def _is_within(self, event: Event) -> bool:
        return event.received_at is not None and event.received_at >= self.since

    def _starts_something(self, event: Event) -> bool:
        if event.name not in self._starts and event.kind != "enter":
            return False
        return self._is_within(event) and not event.historical

    @staticmethod
    def _is_made(event: Event) -> bool:
        """What journeys made then they make again: emitted events, and firings."""
        return is_by_firing(event) or (event.source == "journey" and event.kind == "track")

    def _unstated(self, events: Iterable[Event], known: Known) -> Known:
        """The traits that no stored event states, and no journey writes, were stated before."""
        stated = {name for e in events for name in (*e.traits, *e.traits_once)}
        traits = {
            name: value
            for name, value in known.traits.items()
            if name not in stated and name not in self._written
        }
        return Known(traits, known.consents, known.score)

    def report(self) -> dict[str, Any]:
        """By journey and together: both sides, and the difference."""
        draft, live = self.draft.tallies, self.live.tallies
        return {
            "since": self.since,
            "until": self.until,
            "customers": self.customers,
            "endless": max(self.draft.endless, self.live.endless),
            "people": {
                "more": self.people.more,
                "fewer": self.people.fewer,
                "same": self.people.same,
                "examples_more": self.people.examples_more,
                "examples_fewer": self.people.examples_fewer,
            },
            "total": _pair(_total(self.draft), _total(self.live)),
            "journeys": [
                {"journey": name, **_pair(draft.get(name), live.get(name))}
                for name in sorted({*draft, *live})
            ],
            "notes": sorted(self.draft.blind | self.live.blind),
            "catalogue": {
                "taken": len(self._catalogue),
                "left_out": self._asked - len(self._catalogue),
            }
            if self._audiences
            else None,
        }


def _total(side: Side) -> Tally:
    total = Tally()
    for tally in side.tallies.values():
        total.add(tally)
    return total


def _pair(draft: Tally | None, live: Tally | None) -> dict[str, Any]:
    """A journey that one side does not have is null there."""
    return {
        "draft": None if draft is None else draft.as_dict(),
        "live": None if live is None else live.as_dict(),
    }
