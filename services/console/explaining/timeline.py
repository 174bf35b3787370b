"""Everything that happened with one customer, over all journeys, newest first. Pure.

Events, messages, calls and consents are what the tables have. Entries, steps and ends are no rows
anywhere: the stored events go through the core once more, as for an explanation, and tell them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.console.explaining.checks import plain
from services.console.explaining.facts import MOST_DECISIONS, Endless, Fact, event_detail
from services.console.explaining.replay import Replay, notes_of, recorded
from services.console.explaining.stored import Stored
from services.console.simulation.observed import Decided, Observed
from services.journey.core.effects import Convert, Count
from services.journey.core.firing import is_by_firing
from shared.clock import EPOCH
from shared.event import Event
from shared.notices import Owed
from shared.packs import PACKS

_TOLD = frozenset({"reached", "variant", "migrated"})


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a timeline; `place` tells those of one instant apart."""

    fact: Fact
    journey: str
    place: str

    @property
    def at(self) -> datetime:
        return self.fact.at


class _Witness:
    """Observer of a replay: what runs did, journey by journey, and who turned out to be whom."""

    def __init__(self) -> None:
        self.found: list[tuple[Fact, str]] = []
        self._decisions = 0

    def __call__(self, observed: Observed) -> None:
        if not isinstance(observed, Decided):
            return
        self._decisions += 1
        if self._decisions > MOST_DECISIONS:
            raise Endless
        at, given = observed.at, observed.given
        if isinstance(given, Event) and given.kind == "link":
            detail = {"id": given.anonymous_id, "to": given.properties["to"]}
            self.found.append((Fact(at, "linked", detail=detail), ""))
        if isinstance(given, Event) and given.kind == "merge":
            self.found.append((Fact(at, "merged", detail={"id": given.previous_id}), ""))
        for effect in observed.decision.effects:
            match effect:
                case Count(journey=journey):
                    fact = self._count(observed, effect)
                    if fact is not None:
                        self.found.append((fact, journey))
                case Convert(journey=journey, value=value):
                    self.found.append((Fact(at, "goal", detail={"value": value}), journey))
                case _:
                    pass

    @staticmethod
    def _count(observed: Decided, count: Count) -> Fact | None:
        word, _colon, more = count.what.partition(":")
        at = observed.at
        match word:
            case "entered":
                detail = {"version": count.version, "key": ""}
                return Fact(at, "entered", detail=detail)
            case "held_out":
                return Fact(at, "held_out", detail={"by": more})
            case "refused":
                return Fact(at, "refused", detail={"reason": more})
            case "ended":
                if more == "restart":
                    return Fact(at, "restarted", count.step)
                return Fact(at, "ended", count.step, {"reason": more})
            case _ if word in _TOLD:
                detail = {"kind": "", "variant": more, "version": count.version}
                return Fact(at, word, count.step, detail)
            case _:
                return None


def timeline(stored: Stored, now: datetime) -> list[Item]:
    """All of it, newest first: of a bounded size, as what is stored is read."""
    witness = _Witness()
    replay = Replay(stored, now)
    replay.run(witness, ())
    found: list[tuple[Fact, str]] = [*_events(stored.events), *witness.found]
    found += map(_message, stored.messages)
    found += map(_call, stored.calls)
    found += map(_consent, stored.ledger)
    found += [_overdue(owed) for owed in stored.owed if owed.due_at <= now]
    found.sort(key=lambda pair: pair[0].at)
    if found:
        first = found[0][0].at
        notes = [n for n in notes_of(stored, stored.customer, now) if n.code in ("dropped", "cut")]
        told = [(Fact(first, "note", detail={"code": n.code, **n.detail}), "") for n in notes]
        found = [*told, *found]
    items: list[Item] = []
    last, place = EPOCH, 0
    for fact, journey in found:
        place = place + 1 if fact.at == last else 0
        last = fact.at
        items.append(Item(fact, journey, f"{place:06d}"))
    return items[::-1]


def _events(events: Iterable[Event]) -> Iterable[tuple[Fact, str]]:
    for event in events:
        if is_by_firing(event) or event.received_at is None:
            continue
        detail = event_detail(event)
        if event.historical:
            detail["imported"] = True
        journey = event.properties.get("journey") if event.kind in ("receipt", "enter") else None
        step = event.properties.get("step", "") if event.kind == "receipt" else ""
        yield Fact(event.received_at, "event", str(step), detail), str(journey or "")


def _message(row: Mapping[str, Any]) -> tuple[Fact, str]:
    detail: dict[str, Any] = {"id": row["id"], "channel": row["channel"] or row["channels"][0]}
    if row["decision"] is None:
        held = row["held_reason"]
        detail |= {"reason": held, "until": plain(row["not_before"]) if held else None}
        detail["why"] = row["detail"]
        return Fact(row["created_at"], "message_waits", row["step"], detail), row["journey"]
    detail |= {
        "decision": row["decision"],
        "reason": row["reason"],
        "passed_over": row["passed_over"],
        **recorded(row),
    }
    return Fact(row["decided_at"], "message", row["step"], detail), row["journey"]


def _call(row: Mapping[str, Any]) -> tuple[Fact, str]:
    if row["outcome"] is None:
        return Fact(row["created_at"], "called", row["step"], {"id": row["id"]}), row["journey"]
    detail = {"id": row["id"], "outcome": row["outcome"], "reason": row["reason"]}
    return Fact(row["decided_at"], "answered", row["step"], detail), row["journey"]


def _consent(row: Mapping[str, Any]) -> tuple[Fact, str]:
    detail = {
        "channel": row["channel"],
        "granted": row["granted"],
        "source": row["source"],
        "wording": row["wording"],
    }
    return Fact(row["stated_at"], "consent", detail=detail), ""


def _overdue(owed: Owed) -> tuple[Fact, str]:
    """From the instant at which it was due."""
    pack, _, name = owed.notice.partition("/")
    duty = next(duty for duty in PACKS[pack].duties if duty.id == name)
    detail = {
        "notice": owed.notice,
        "title": duty.title,
        "title_ko": duty.title_ko,
        "since": plain(owed.since),
        "reason": owed.why,
    }
    return Fact(owed.due_at, "notice_overdue", detail=detail), owed.journey
