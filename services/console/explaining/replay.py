"""The stored past of one customer, once more through the core, with a trace. Pure.

Everything that was in force then is in the book: each event meets the versions, pauses and
archivings of its receipt. Ids derive from what caused them, so the replay makes the very messages
that were made, and those are decided as they really were. What the replay and the record do not
agree on is said.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.console.explaining.checks import check, plain
from services.console.explaining.facts import Endless, Fact, Tracer
from services.console.explaining.stored import Stored, owned
from services.console.simulate import Begin, Past, Simulation
from services.console.simulation.listening import Answer, listening
from services.console.simulation.observed import Observer
from services.journey import published
from services.journey.core.book import Book
from services.journey.core.firing import Firing, event_for
from services.journey.core.flow import Call, Flow, Moment, OnDate, Schedule, Scope, Set
from services.journey.core.state import Customer, Run, State, Trigger
from services.journey.language.compile import compile_journey
from shared.erasure import HISTORY_RETENTION
from shared.event import Event
from shared.local_time import known_zones, zone_of
from shared.workspace import WorkspaceSettings

_compiled = lru_cache(maxsize=4096)(compile_journey)
_UNDER_WAY = timedelta(minutes=2)
"""What is as new as this may not be on record yet."""


@dataclass(frozen=True, slots=True)
class Note:
    """What the reader must know to read the facts rightly."""

    code: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    customer: str
    asked_for: str
    linked: tuple[str, ...]
    flow: Flow | None
    """The newest version."""
    journey: str
    status: str
    zone: ZoneInfo
    """The customer's."""
    facts: tuple[Fact, ...]
    notes: tuple[Note, ...]
    live: tuple[Run, ...]
    """The runs that the customer has now."""


Heard = Callable[[Flow], Flow]


class Replay:
    """The book of the customer's past, ready to be gone through."""

    def __init__(self, stored: Stored, now: datetime, heard: Heard = lambda flow: flow) -> None:
        """`heard` may change the flows into some that tell more."""

        def compiled(source: str, version: int) -> Flow:
            return heard(_compiled(source, version))

        self._stored = stored
        self._now = now
        self.versions = published.Versions(stored.rows.by_version(), {}, compiled)
        self.settings = WorkspaceSettings.model_validate(stored.rows.settings or {})
        self.zone = zone_of(stored.traits.get("timezone"), self.settings.zone())

    def flows(self, journey: str) -> list[Flow]:
        """All versions of a journey."""
        return [self.versions[key] for key in self.versions if key[0] == journey]

    def run(self, observer: Observer, fired: Iterable[Event]) -> tuple[Book, Customer, list[Note]]:
        """The book, the customer as they were before, and what went wrong."""
        stored = self._stored
        book = published.book_of(stored.rows, self.versions)
        past = Past(book, stored.record)
        simulation = Simulation({}, self.settings, observer, past=past)
        begin = _begin(stored, book, self.versions.compiled.values())
        events = [*owned(stored.events, stored.customer), *fired]
        try:
            simulation.run(sorted(events, key=_received), self._now, [begin])
        except Endless:
            return book, begin.customer, [Note("endless")]
        return book, begin.customer, []


def explain(stored: Stored, asked_for: str, journey: str, now: datetime) -> Explanation:
    """Slow where there is much of a customer: up to some seconds for the most that is replayed."""
    answers: list[Answer] = []
    replay = Replay(
        stored,
        now,
        lambda f: listening(f, answers, to_all=True) if f.journey == journey else f,
    )
    flows = replay.flows(journey)
    newest = max(flows, key=lambda flow: flow.version, default=None)
    tracer = Tracer(journey, flows, answers)
    book, before, notes = replay.run(tracer, _fired(stored, replay.zone))
    facts = _on_record(stored, tracer.facts, journey, now)
    facts += _now(newest, book, tracer.customers.get(stored.customer, before), now)
    notes += notes_of(stored, asked_for, now)
    notes += _notes(stored, journey, newest, facts)
    return Explanation(
        customer=stored.customer,
        asked_for=asked_for,
        linked=stored.linked,
        flow=newest,
        journey=journey,
        status=stored.status,
        zone=replay.zone,
        facts=tuple(facts),
        notes=tuple(notes),
        live=tuple(run for run in stored.state.runs if run.journey == journey),
    )


def _received(event: Event) -> datetime:
    assert event.received_at is not None
    return event.received_at


def _fired(stored: Stored, zone: ZoneInfo) -> list[Event]:
    """The occasions of the journey that the customer was not among, as if they had been asked."""
    known = {event.id for event in stored.events}
    events = []
    for row in stored.firings:
        zones = row["zones"]
        is_here = (
            zones is None or zone.key in zones or (row["rest"] and zone.key not in known_zones())
        )
        if not is_here or row["trigger"].get("name") == "$date":
            continue
        firing = Firing(
            row["journey"],
            row["version"],
            row["label"],
            row["since"],
            row["at"],
            row["fired_at"],
            msgspec.convert(row["trigger"], Trigger),
        )
        event = event_for(firing, stored.customer)
        if event.id not in known:
            events.append(msgspec.structs.replace(event, received_at=firing.fired_at))
    return events


def _begin(stored: Stored, book: Book, flows: Iterable[Flow]) -> Begin:
    """What is known of the customer from before the oldest event that is replayed.

    A trait that no stored event states, and no journey writes, was stated before; so were entries
    and live runs from before.
    """
    stated = {
        name for e in stored.events for name in (*e.traits, *e.traits_once) if e.kind == "identify"
    }
    written = {
        name.partition(".")[0]
        for flow in flows
        for step in flow.steps.values()
        if isinstance(step, Set)
        for name in step.values
    }
    older = {n: v for n, v in stored.traits.items() if n not in stated and n not in written}
    first = min(map(_received, stored.events), default=None)
    entries = stored.state.entries
    state = State(
        runs=tuple(r for r in stored.state.runs if first is None or r.entered_at < first),
        entries={name: at for name, at in entries.items() if first is None or at < first},
        needs=book.needs.id,
        rfm=stored.state.rfm,
    )
    return Begin(Customer(stored.customer, older, state), stored.consents)


def _on_record(stored: Stored, traced: Iterable[Fact], journey: str, now: datetime) -> list[Fact]:
    """The facts with what the record has of their messages, and the messages that they lack."""
    rows = {row["id"]: row for row in stored.messages if row["journey"] == journey}
    facts: list[Fact] = []
    for fact in traced:
        if fact.kind != "message":
            facts.append(fact)
            continue
        row = rows.pop(fact.detail["id"], None)
        if row is not None:
            facts.append(replace(fact, detail={**fact.detail, **recorded(row)}))
        elif fact.at < now - _UNDER_WAY:
            facts.append(replace(fact, detail={**fact.detail, "on_record": False}))
    facts += [_unreplayed(row) for row in rows.values()]
    return sorted(facts, key=lambda fact: fact.at)


def _unreplayed(row: Mapping[str, Any]) -> Fact:
    """A message that waits, or one of a past that is not there to be replayed."""
    detail = {"id": row["id"], "channel": row["channel"] or row["channels"][0]}
    if row["decision"] is None:
        held = row["held_reason"]
        detail |= {"reason": held, "until": plain(row["not_before"]) if held else None}
        detail["why"] = row["detail"]
        return Fact(row["created_at"], "message_waits", row["step"], detail)
    detail |= {
        "decision": row["decision"],
        "reason": row["reason"],
        "passed_over": row["passed_over"],
        "held_out": row["held_out"],
        "replayed": False,
        **recorded(row),
    }
    return Fact(row["decided_at"], "message", row["step"], detail)


def recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """What only the record knows of a decided message."""
    return {
        "on_record": True,
        "attempts": row["attempts"],
        "provider_id": row["provider_id"],
        "made_at": plain(row["created_at"]),
        "held_reason": row["held_reason"],
        "why": row["detail"],
        "provider_said": row["provider_said"],
    }


def _now(flow: Flow | None, book: Book, customer: Customer, now: datetime) -> list[Fact]:
    """Where the customer stands with what starts the journey by itself."""
    if flow is None:
        return []
    history = {**customer.state.history, **customer.loaded}
    nothing = Moment("", {})
    rfm = customer.state.rfm
    scope = Scope(now, customer.traits, nothing, nothing, history, {}, book.segments, rfm)
    if flow.watches is not None:
        segment = book.segments.get(flow.watches.segment)
        if segment is not None:
            seen = (check(segment.condition, scope),)
            detail = {"segment": segment.name, "on": flow.watches.on, "inside": seen[0].holds}
            return [Fact(now, "segment_now", detail=detail, checks=seen)]
    match flow.plan:
        case OnDate(date=date):
            detail = {"what": date.source, "value": plain(date.evaluate(scope))}
            return [Fact(now, "date_now", detail=detail)]
        case Schedule(member=member, segment=name):
            seen = (check(member, scope),)
            detail = {"segment": name, "on": "enter", "inside": seen[0].holds}
            return [Fact(now, "segment_now", detail=detail, checks=seen)]
        case _:
            return []


def notes_of(stored: Stored, asked_for: str, now: datetime) -> list[Note]:
    """What is to be known of the customer's past as it is stored."""
    found: list[Note] = []
    if asked_for != stored.customer:
        found.append(Note("belongs_to", {"id": asked_for, "customer": stored.customer}))
    kept_since = (now - HISTORY_RETENTION).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if stored.since is not None and stored.since < kept_since:
        found.append(Note("dropped", {"since": plain(kept_since)}))
    if stored.cut:
        first = _received(stored.events[0])
        found.append(Note("cut", {"events": len(stored.events), "since": plain(first)}))
    if stored.state.erased_at is not None:
        found.append(Note("erased", {"at": plain(stored.state.erased_at)}))
    return found


def _notes(stored: Stored, journey: str, flow: Flow | None, facts: Iterable[Fact]) -> list[Note]:
    found: list[Note] = []
    if stored.status != "active":
        found.append(Note(stored.status))
    texts = [text for (name, _v), text in stored.rows.by_version().items() if name == journey]
    if any("rfm." in text for text in texts):
        found.append(Note("scores"))
    if flow is not None and any(isinstance(step, Call) for step in flow.steps.values()):
        found.append(Note("answers"))
    if any(f.kind == "message" and not f.detail["on_record"] for f in facts):
        found.append(Note("not_on_record"))
    if any(f.kind == "message" and not f.detail.get("replayed", True) for f in facts):
        found.append(Note("not_replayed"))
    return found
