"""A journey fires for many customers at once; what the one customer makes of it.

Everybody who may be meant gets an `enter` event (`event_for`); whether they are meant is decided
here, when their event is taken in: the member is still one, the date is still that date. Whoever
is not meant is left as they were, so that another firing for the same occasion can still find them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.core.anniversaries import is_day, next_date
from services.journey.core.dedupe import OCCASION
from services.journey.core.effects import Count
from services.journey.core.flow import Audience, Flow, Moment, OnDate, Plan, Schedule, Scope
from services.journey.core.segments import is_nobody
from services.journey.core.state import Trigger
from services.journey.core.work import Walk
from shared.decisions import Refusal
from shared.event import Event
from shared.ids import derived_id
from shared.local_time import zone_of

SCHEDULED = "$scheduled"
ON_DATE = "$date"
"""Names of the triggers that no event of anybody stands behind."""
_ON_TIME = timedelta(minutes=1)
"""A firing later than this says how late it was."""
_TICK = timedelta(microseconds=1)
_KEY = "firing"


class Firing(msgspec.Struct, frozen=True):
    """One occasion on which a version of a journey fires.

    `label` names the occasion: the local moment of a schedule, the calendar day of a date, the id
    of a catalogue event. A customer is started once for a label, whatever zone they are in by then.
    """

    journey: str
    version: int
    label: str
    after: datetime
    """Only moments later than this and not later than `at` are meant."""
    at: datetime
    """The moment for which it was meant."""
    fired_at: datetime
    trigger: Trigger

    @property
    def id(self) -> str:
        """Firings of one label in several zones are several."""
        return derived_id("firing", self.journey, self.label, self.at.isoformat())

    @property
    def late(self) -> timedelta:
        late = self.fired_at - self.at
        return late if late > _ON_TIME else timedelta(0)


class _Told(msgspec.Struct, frozen=True):
    """What an `enter` event says of its firing."""

    label: str
    after: datetime
    at: datetime
    fired_at: datetime


Maker = Callable[[Flow, str, datetime, datetime], Firing]
"""A flow, a label, the moment that was meant and the moment that it is."""


def scheduled(flow: Flow, label: str, at: datetime, fired_at: datetime) -> Firing:
    return Firing(flow.journey, flow.version, label, at - _TICK, at, fired_at, Trigger(SCHEDULED))


def on_its_date(flow: Flow, label: str, at: datetime, fired_at: datetime) -> Firing:
    """For the customers whose day, or whose very instant, the label names."""
    return Firing(flow.journey, flow.version, label, at - _TICK, at, fired_at, Trigger(ON_DATE))


def on_instants(flow: Flow, after: datetime, until: datetime, fired_at: datetime) -> Firing:
    """For the customers whose instants lie in (after, until]."""
    label = f"{after.isoformat()}/{until.isoformat()}"
    return Firing(flow.journey, flow.version, label, after, until, fired_at, Trigger(ON_DATE))


def on_catalog(flow: Flow, event: Event) -> Firing:
    at = event.received_at
    assert at is not None, "the log stamps every event"
    trigger = Trigger(event.name, event.properties, event.context)
    return Firing(
        flow.journey, flow.version, event.id, event.timestamp - _TICK, event.timestamp, at, trigger
    )


def answers(plan: Plan | None, event: Event) -> bool:
    """Whether a catalogue event fires the plan. It has no profile: it belongs to no customer."""
    if not isinstance(plan, Audience) or plan.match.event != event.name:
        return False
    assert event.received_at is not None
    moment = Moment(event.name, event.properties, event.context)
    scope = Scope(event.received_at, {}, moment)
    return plan.match.where is None or plan.match.where.holds(scope)


def event_for(firing: Firing, customer: str) -> Event:
    """The `enter` event; its id derives from occasion and customer, so that a repeat is harmless.

    The customer's key goes where it says nothing about how the customer is known.
    """
    told = _Told(firing.label, firing.after, firing.at, firing.fired_at)
    occasion = derived_id("occasion", firing.journey, firing.label)
    properties: dict[str, Any] = {
        OCCASION: occasion,
        "journey": firing.journey,
        "version": firing.version,
        "properties": firing.trigger.properties,
        _KEY: msgspec.to_builtins(told),
    }
    return Event(
        id=derived_id("enter", occasion, customer),
        kind="enter",
        timestamp=firing.at,
        name=firing.trigger.name,
        anonymous_id=customer,
        properties=properties,
        context=firing.trigger.context,
        source="journey",
    )


def is_by_firing(event: Event) -> bool:
    return event.kind == "enter" and _KEY in event.properties


@dataclass(frozen=True, slots=True)
class Meant:
    """The firing means this customer: the flow, and the trigger as they meet it."""

    flow: Flow
    moment: Moment
    event: Event


def meant(work: Walk, event: Event, received_at: datetime) -> Meant | None:
    """None if the journey is gone, or the customer is not (or no longer) among those meant."""
    told = msgspec.convert(event.properties[_KEY], _Told)
    flow = work.book.fired(event.properties["journey"], event.properties["version"], received_at)
    # A customer of whom nothing has been heard may just have been erased: nobody is there to start.
    if flow is None or flow.plan is None or is_nobody(work.before.state):
        return None
    found = _meant(work, flow, flow.plan, told, event, received_at)
    if found is None:
        refused = f"refused:{Refusal.NOT_MATCHED}"
        work.effects.append(Count(flow.journey, flow.version, "", refused))
    return found


def _meant(
    work: Walk, flow: Flow, plan: Plan, told: _Told, event: Event, received_at: datetime
) -> Meant | None:
    match plan:
        case Audience():
            moment = Moment(event.name, event.properties["properties"], event.context)
            selects = plan.condition.holds(work.scope_of_start(moment, received_at))
            return Meant(flow, moment, event) if selects else None
        case Schedule():
            moment = _moment(event.name, told, told.at, {})
            member = plan.member.holds(work.scope_of_start(moment, received_at))
            return Meant(flow, moment, event) if member else None
        case OnDate():
            zone = zone_of(work.traits.get("timezone"), work.book.zone)
            nothing = Moment(event.name, {})
            value = plan.date.evaluate(work.scope_of_start(nothing, received_at))
            occasion = next_date(plan, value, zone, told.after)
            if occasion is None or occasion.at > told.at:
                return None
            # A day's firing is for that day, any other for instants: nobody is meant by both.
            if is_day(occasion.label) != is_day(told.label) or (
                is_day(told.label) and occasion.label != told.label
            ):
                return None
            own = msgspec.structs.replace(event, timestamp=occasion.at)
            moment = _moment(event.name, told, occasion.at, {"date": occasion.label})
            return Meant(flow, moment, own)


def _moment(name: str, told: _Told, at: datetime, known: Mapping[str, Any]) -> Moment:
    """`trigger.at` is the moment for which it was meant, `trigger.late` the seconds since then."""
    properties: dict[str, Any] = {**known, "at": at.isoformat().replace("+00:00", "Z")}
    late = told.fired_at - at
    if late > _ON_TIME:
        properties["late"] = round(late.total_seconds())
    return Moment(name, properties)
