"""The flows in force, found quickly: by event, by version, by moment of receipt."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from services.journey.core.flow import EventMatch, Flow
from services.journey.core.history import NOTHING, Needs


def named(matches: Iterable[EventMatch], name: str) -> tuple[EventMatch, ...]:
    return tuple(match for match in matches if match.event == name)


UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Starter:
    """A flow that an event of one name may start, and under which of its conditions."""

    flow: Flow
    matches: tuple[EventMatch, ...]


@dataclass(frozen=True, slots=True)
class Edition:
    """One published revision: the versions that events received from `active_from` on start."""

    active_from: datetime
    by_event: Mapping[str, tuple[Starter, ...]]
    """Event name → flows that it may start, ordered by journey id."""
    by_api: Mapping[str, Flow]
    """Journey id → flow that a call to the API may start."""

    @classmethod
    def of(cls, active_from: datetime, flows: Iterable[Flow]) -> Self:
        by_event: dict[str, list[Starter]] = {}
        flows = sorted(flows, key=lambda flow: flow.journey)
        for flow in flows:
            for name in dict.fromkeys(trigger.event for trigger in flow.triggers):
                by_event.setdefault(name, []).append(Starter(flow, named(flow.triggers, name)))
        by_api = {flow.journey: flow for flow in flows if flow.api}
        return cls(active_from, {name: tuple(found) for name, found in by_event.items()}, by_api)


class Book:
    """All flows that may still matter: the editions in force and the versions runs are pinned to.

    An event uses the edition that was in force when it was received, whenever it is decided.
    """

    def __init__(
        self,
        editions: Iterable[Edition],
        versions: Mapping[tuple[str, int], Flow],
        paused: frozenset[str] = frozenset(),
        zone: ZoneInfo = UTC,
        needs: Needs = NOTHING,
    ) -> None:
        """`zone` is the workspace's, for customers whose own is unknown."""
        self._editions = sorted(editions, key=lambda edition: edition.active_from)
        self._starts = [edition.active_from for edition in self._editions]
        self._versions = versions
        self.paused = paused
        self.needs = needs
        self.zone = zone

    def started_by(self, event: str, received_at: datetime) -> tuple[Starter, ...]:
        edition = self._edition(received_at)
        return () if edition is None else edition.by_event.get(event, ())

    def started_by_api(self, journey: str, received_at: datetime) -> Flow | None:
        edition = self._edition(received_at)
        return None if edition is None else edition.by_api.get(journey)

    def _edition(self, received_at: datetime) -> Edition | None:
        place = bisect_right(self._starts, received_at) - 1
        return self._editions[place] if place >= 0 else None

    def flow(self, journey: str, version: int) -> Flow:
        return self._versions[journey, version]


EMPTY = Book((), {})
