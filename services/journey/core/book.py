"""The flows in force, found quickly: by event, by version, by moment of receipt."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo

from services.journey.core.flow import EventMatch, Flow, Segment
from services.journey.core.history import NOTHING, Needs
from services.journey.core.spans import Spans, resumed, within
from shared.clock import EPOCH


def named(matches: Iterable[EventMatch], name: str) -> tuple[EventMatch, ...]:
    return tuple(match for match in matches if match.event == name)


UTC = ZoneInfo("UTC")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Starter:
    """A flow that an event of one name may start, and under which of its conditions."""

    flow: Flow
    matches: tuple[EventMatch, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """A flow that entering or leaving a segment starts, and since when it has watched it."""

    flow: Flow
    on: Literal["enter", "exit"]
    segment: Segment
    since: datetime
    """When both were last published or changed: who is inside then is the baseline."""

    @property
    def baseline(self) -> int:
        """`since` as customers' states and their column for SQL name it."""
        return (self.since - EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Edition:
    """One published revision: the versions that events received from `active_from` on start."""

    active_from: datetime
    by_event: Mapping[str, tuple[Starter, ...]]
    """Event name → flows that it may start, ordered by journey id."""
    by_api: Mapping[str, Flow]
    """Journey id → flow that a call to the API may start."""
    watches: tuple[Watch, ...] = ()
    """Ordered by journey id."""
    segments: Mapping[str, Segment] = field(default_factory=dict)
    holdout: float = 0.0
    """Share of all customers, 0 to 1, who are held out of every marketing journey."""
    plans: tuple[Flow, ...] = ()
    """Flows that start for many customers at once, ordered by journey id."""

    @classmethod
    def of(
        cls,
        active_from: datetime,
        flows: Iterable[Flow],
        segments: Mapping[str, Segment] | None = None,
        before: Self | None = None,
        holdout: float = 0.0,
    ) -> Self:
        """`before` is the edition that this one follows: what it watched goes on being watched."""
        segments = segments or {}
        by_event: dict[str, list[Starter]] = {}
        flows = sorted(flows, key=lambda flow: flow.journey)
        for flow in flows:
            for name in dict.fromkeys(trigger.event for trigger in flow.triggers):
                by_event.setdefault(name, []).append(Starter(flow, named(flow.triggers, name)))
        by_api = {flow.journey: flow for flow in flows if flow.api}
        watched = {} if before is None else {w.flow.journey: w for w in before.watches}
        watches = tuple(
            _watch(
                flow,
                segments[flow.watches.segment],
                watched.get(flow.journey),
                active_from,
            )
            for flow in flows
            if flow.watches is not None
        )
        found = {name: tuple(starters) for name, starters in by_event.items()}
        plans = tuple(flow for flow in flows if flow.plan is not None)
        return cls(active_from, found, by_api, watches, segments, holdout, plans)


def _watch(flow: Flow, segment: Segment, before: Watch | None, from_now: datetime) -> Watch:
    assert flow.watches is not None
    if (
        before is not None
        and before.flow.version == flow.version
        and before.segment.digest == segment.digest
    ):
        from_now = before.since
    return Watch(flow, flow.watches.on, segment, from_now)


@dataclass(frozen=True, slots=True)
class Transfer:
    """What an apply does, when it comes into force, to a journey's runs on other versions."""

    at: datetime
    version: int | None
    """The version that the apply publishes; None where it removes the journey."""
    ends: bool
    """They end. Else they move to that version, where their step is found in it."""


class Book:
    """All flows that may still matter: the editions in force and the versions runs are pinned to.

    An event uses the edition that was in force when it was received, whenever it is decided; so do
    pauses and archivings.
    """

    def __init__(
        self,
        editions: Iterable[Edition],
        versions: Mapping[tuple[str, int], Flow],
        pauses: Mapping[str, Spans] | None = None,
        zone: ZoneInfo = UTC,
        needs: Needs = NOTHING,
        segments: Mapping[str, Segment] | None = None,
        *,
        archived: Mapping[str, Spans] | None = None,
        transfers: Mapping[str, tuple[Transfer, ...]] | None = None,
        country: str | None = None,
        unreadable: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """`zone` is the workspace's, for customers whose own is unknown, `country` for numbers that
        name none; `segments` are the newest of each name, for `in_segment`."""
        self._editions = sorted(editions, key=lambda edition: edition.active_from)
        self._starts = [edition.active_from for edition in self._editions]
        self._versions = versions
        self.pauses = pauses or {}
        """Journey id → its pauses, in order."""
        self._archived = archived or {}
        self.transfers = transfers or {}
        """Journey id → what applies did to its runs in flight, in order; without `pin`."""
        self.needs = needs
        self.zone = zone
        self.country = country
        self.unreadable = unreadable
        """Journeys and versions that were stored and cannot be read: they start nobody, and their
        runs rest."""
        self.segments = segments or {}
        self._watching = any(edition.watches for edition in self._editions)

    def started_by(self, event: str, received_at: datetime) -> tuple[Starter, ...]:
        edition = self._edition(received_at)
        found = () if edition is None else edition.by_event.get(event, ())
        if found and self._archived:
            return tuple(s for s in found if not self._is_archived(s.flow.journey, received_at))
        return found

    def started_by_api(self, journey: str, received_at: datetime) -> Flow | None:
        edition = self._edition(received_at)
        if edition is None or self._is_archived(journey, received_at):
            return None
        return edition.by_api.get(journey)

    def holdout(self, received_at: datetime) -> float:
        """The share of customers that the workspace holds out of marketing."""
        edition = self._edition(received_at)
        return 0.0 if edition is None else edition.holdout

    def is_paused(self, journey: str, at: datetime) -> bool:
        return bool(self.pauses) and within(self.pauses.get(journey, ()), at)

    def fires_at(self, journey: str, due: datetime, customer: str) -> datetime | None:
        """When a run that is due at `due` moves: then, or behind a pause; None: not yet known."""
        spans = self.pauses.get(journey)
        return due if spans is None else resumed(spans, due, customer)

    def flow(self, journey: str, version: int) -> Flow:
        return self._versions[journey, version]

    def watches(self, at: datetime) -> tuple[Watch, ...]:
        """The journeys that memberships start at this instant, by journey id."""
        if not self._watching:
            return ()
        edition = self._edition(at)
        found = () if edition is None else edition.watches
        if found and self._archived:
            return tuple(
                self._since_the_archive(watch, at)
                for watch in found
                if not self._is_archived(watch.flow.journey, at)
            )
        return found

    def _since_the_archive(self, watch: Watch, at: datetime) -> Watch:
        """Nobody watched while the journey was archived."""
        spans = self._archived.get(watch.flow.journey, ())
        since = [span.end for span in spans if span.end is not None and span.end <= at]
        return replace(watch, since=max((watch.since, *since)))

    @property
    def newest_from(self) -> datetime:
        """When the newest edition comes into force."""
        return self._starts[-1] if self._starts else EPOCH

    def segments_at(self, at: datetime) -> Mapping[str, Segment]:
        edition = self._edition(at)
        return {} if edition is None else edition.segments

    def plans(self, at: datetime) -> tuple[Flow, ...]:
        """The flows in force that start for many customers at once, ordered by journey id."""
        edition = self._edition(at)
        found = () if edition is None else edition.plans
        if found and self._archived:
            return tuple(flow for flow in found if not self._is_archived(flow.journey, at))
        return found

    def fired(self, journey: str, version: int, received_at: datetime) -> Flow | None:
        """The version that fired, as long as the journey is still published and can fire."""
        if (journey, version) in self.unreadable:
            return None
        found = any(flow.journey == journey for flow in self.plans(received_at))
        return self.flow(journey, version) if found else None

    def reigns(
        self, after: datetime, until: datetime
    ) -> Iterator[tuple[datetime, datetime, tuple[Flow, ...]]]:
        """The stretches of (after, until] in which one edition is in force, with its plans.

        An edition is in force from its first instant on, up to the next one's.
        """
        for place, edition in enumerate(self._editions):
            start = max(after, edition.active_from - _MICROSECOND)
            end = until
            if place + 1 < len(self._editions):
                end = min(until, self._starts[place + 1] - _MICROSECOND)
            if start < end:
                yield start, end, edition.plans

    def _edition(self, received_at: datetime) -> Edition | None:
        place = bisect_right(self._starts, received_at) - 1
        return self._editions[place] if place >= 0 else None

    def _is_archived(self, journey: str, at: datetime) -> bool:
        return within(self._archived.get(journey, ()), at)


EMPTY = Book((), {})
