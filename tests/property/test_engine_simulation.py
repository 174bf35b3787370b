"""The simulator's rows are what the core and dispatch's policies decide when a deliberately simple
driver takes them through the same day, instant by instant, its customers in any order."""

import difflib
import random
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.console.simulate import Simulation
from services.console.simulation.observed import Row
from services.dispatch.policy import Drop, Hold, Message, Place, SendBy, contact_of, order_key
from services.dispatch.policy import decide as judge
from services.journey.core.book import Book
from services.journey.core.decide import Decision, Tick, decide, next_due
from services.journey.core.effects import (
    EmitEvent,
    MakeCall,
    QueueMessage,
    StateConsent,
    WithdrawMessage,
)
from services.journey.core.state import Customer, State
from services.journey.deciding import emitted_event
from shared.decisions import Reason
from shared.event import Event, answer_event, encode, outcome_event
from shared.workspace import WorkspaceSettings
from tests.property.engine_journeys import (
    MINUTE,
    NAMES,
    SECOND,
    SOURCES,
    START,
    Input,
    book_of,
    compiled,
    profile,
)

_MOST_INSTANTS = 20_000


@dataclass
class Waiting:
    """A message that nobody has decided yet."""

    queued: QueueMessage
    message: Message


@dataclass
class Life:
    customer: Customer
    log: list[Event]
    """Still to come, earliest first."""
    waiting: list[Waiting] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    said: list[StateConsent] = field(default_factory=list)


class Driver:
    """Everybody's lives, one instant after another."""

    def __init__(self, book: Book, settings: WorkspaceSettings, seed: int) -> None:
        self._book = book
        self._settings = settings
        self._chance = random.Random(seed)
        self._rows: list[Row] = []

    def run(self, events: Sequence[Event]) -> list[Row]:
        lives = {
            name: Life(
                Customer(name, {}, State(needs=self._book.needs.id)),
                [event for event in events if event.customer == name],
            )
            for name in {event.customer for event in events}
        }
        for _ in range(_MOST_INSTANTS):
            instants = [at for life in lives.values() for at in self._instants(life)]
            if not instants:
                break
            everybody = sorted(lives)
            self._chance.shuffle(everybody)
            for name in everybody:
                if min(instants) in self._instants(lives[name]):
                    self._instant(lives[name], min(instants))
        else:
            raise AssertionError("the day has no end")
        return sorted(self._rows, key=lambda row: (row.at, row.customer, row.journey, row.step))

    def _instants(self, life: Life) -> list[datetime]:
        due = next_due(life.customer)
        first = life.log[0].received_at if life.log else None
        return [
            *(at for at in (due, first) if at is not None),
            *(waiting.message.decidable_at for waiting in life.waiting),
        ]

    def _instant(self, life: Life, at: datetime) -> None:
        """What the log has, then timers, then one message; its outcome is in the log at once."""
        while True:
            while life.log and life.log[0].received_at == at:
                self._keep(life, decide(self._book, life.customer, life.log.pop(0)))
            self._keep(life, decide(self._book, life.customer, Tick(at)))
            if life.log and life.log[0].received_at == at:
                continue
            due = [waiting for waiting in life.waiting if waiting.message.decidable_at == at]
            if not due:
                return
            self._decide(life, min(due, key=lambda waiting: order_key(waiting.message)), at)

    def _keep(self, life: Life, decision: Decision) -> None:
        life.customer = decision.customer
        for effect in decision.effects:
            if isinstance(effect, QueueMessage):
                message = Message(
                    effect.id, effect.journey, effect.step, effect.category, effect.priority,
                    effect.channels, effect.at, effect.at, effect.held_out,
                )  # fmt: skip
                life.waiting.append(Waiting(effect, message))
            elif isinstance(effect, WithdrawMessage):
                for waiting in [w for w in life.waiting if w.message.id == effect.message_id]:
                    self._row(life, waiting, effect.at, None, Reason.RUN_ENDED)
            elif isinstance(effect, EmitEvent):
                event = emitted_event(life.customer.id, effect)
                self._append(life, event, effect.at)
            elif isinstance(effect, MakeCall):
                answer = answer_event(
                    call_id=effect.id, customer=life.customer.id, at=effect.at, step=effect.step,
                    run_id=effect.run_id, outcome="sent", reason=None, response=None,
                )  # fmt: skip
                self._append(life, answer, effect.at)
            elif isinstance(effect, StateConsent):
                life.said.append(effect)

    def _append(self, life: Life, event: Event, at: datetime) -> None:
        stamped = msgspec.structs.replace(msgspec.json.decode(encode(event), type=Event))
        stamped = msgspec.structs.replace(stamped, received_at=at)
        insort(life.log, stamped, key=lambda event: event.received_at or START)

    def _decide(self, life: Life, waiting: Waiting, at: datetime) -> None:
        consents = {said.channel: said.granted for said in sorted(life.said, key=lambda s: s.at)}
        contact = contact_of(
            life.customer.id, life.customer.traits, channels=waiting.message.channels,
            zone=self._settings.zone(), country=self._settings.country, consents=consents,
        )  # fmt: skip
        verdict = judge(waiting.message, contact, self._settings.policies, at, life.places)
        if isinstance(verdict, Hold):
            waiting.message = replace(waiting.message, decidable_at=verdict.until, was_held=True)
            return
        if isinstance(verdict, SendBy) and verdict.takes_place:
            message = waiting.message
            place = Place(message.id, message.decidable_at, message.category, verdict.channel)
            life.places.append(place)
        reason = verdict.reason if isinstance(verdict, Drop) else None
        self._row(life, waiting, at, verdict.channel, reason)
        told = outcome_event(
            message_id=waiting.queued.id, customer=life.customer.id, at=at,
            step=waiting.queued.step, run_id=waiting.queued.run_id,
            decision="sent" if reason is None else "dropped",
            reason=reason, channel=verdict.channel,
        )  # fmt: skip
        self._append(life, told, at)

    def _row(
        self, life: Life, waiting: Waiting, at: datetime, channel: str | None, why: Reason | None
    ) -> None:
        life.waiting.remove(waiting)
        queued = waiting.queued
        self._rows.append(
            Row(
                at, life.customer.id, queued.journey, queued.step,
                channel or queued.channels[0], "sent" if why is None else "dropped", why,
            )
        )  # fmt: skip


# Days ---------------------------------------------------------------------------------------------

_channels = st.lists(st.sampled_from(("email", "sms", "push")), max_size=2, unique=True)
_caps = st.builds(
    lambda names, limit, per, then: {
        "category": "marketing", "channels": names, "limit": limit, "per": per, "then": then,
    },
    _channels, st.integers(1, 3), st.sampled_from(("5m", "1h", "24h")),
    st.sampled_from(("drop", "hold")),
)  # fmt: skip
_quiet = st.builds(
    lambda start, end, then, names: {
        "category": "marketing", "channels": names, "from": start, "to": end, "then": then,
    },
    st.sampled_from(("20:50", "10:45")), st.sampled_from(("08:00", "11:00")),
    st.sampled_from(("hold", "drop")), _channels,
)  # fmt: skip
workspaces = st.builds(
    lambda consent, quiet, caps, expires: WorkspaceSettings.model_validate(
        {
            "timezone": "Europe/Berlin",
            "country": "KR",
            "policies": {
                "consent": consent, "quiet_hours": quiet, "frequency_caps": caps,
                "expire_after": expires,
            },
        }
    ),
    st.sampled_from(("assumed", "required")), st.lists(_quiet, max_size=2),
    st.lists(_caps, max_size=2), st.sampled_from(("10m", "24h")),
)  # fmt: skip
_reached = {"email": "a@shop.example", "phone": "010-1234-5678", "push_token": "t"}
_everything = {"email": True, "sms": True, "push": True}
_seldom_reached = st.fixed_dictionaries(
    {},
    optional={
        "email": st.just("a@shop.example"),
        "phone": st.just("010-1234-5678"),
        "push_token": st.just("t"),
        "timezone": st.sampled_from(("Asia/Seoul", "America/New_York", "Mars/Olympus")),
        "consent": st.dictionaries(st.sampled_from(("email", "sms", "push")), st.booleans()),
        "tier": st.integers(1, 3),
    },
)
_traits = st.one_of(
    st.just({**_reached, "consent": _everything}),
    st.just({**_reached, "consent": _everything, "timezone": "Asia/Seoul"}),
    _seldom_reached,
)
_gaps = st.sampled_from(
    [SECOND, MINUTE, 5 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 60 * MINUTE, 300 * MINUTE]
)
_visits = st.lists(
    st.builds(
        Input,
        gap=_gaps,
        name=st.sampled_from(NAMES[:3]),
        cart=st.sampled_from(("a", "b", None)),
        total=st.integers(1, 3),
        skew=st.sampled_from([0, 0, 0, 5, 20]).map(lambda minutes: minutes * MINUTE),
    ),
    min_size=1,
    max_size=8,
)


def day(customers: Sequence[tuple[Mapping[str, Any], Sequence[Input]]]) -> list[Event]:
    """Everybody's events by receipt. Many fall on one instant, but no two of one customer."""
    events: list[Event] = []
    for number, (traits, visits) in enumerate(customers):
        name, at = f"u{number:02}", START
        said = Event(
            id=f"{name}-traits", kind="identify", timestamp=at, user_id=name, traits=dict(traits)
        )
        events.append(msgspec.structs.replace(said, received_at=at))
        for place, visit in enumerate(visits):
            at += visit.gap
            event = visit.event(place, at, name)
            events.append(msgspec.structs.replace(event, received_at=at))
    return sorted(events, key=lambda event: event.received_at or START)


def simulated(
    book_sources: Sequence[str], settings: WorkspaceSettings, events: Sequence[Event]
) -> list[Row]:
    flows = [compiled(source) for source in book_sources]
    return Simulation({flow.journey: flow for flow in flows}, settings).run(events)


def as_text(rows: Sequence[Row]) -> list[str]:
    return [
        f"{r.at:%m-%d %H:%M:%S.%f} {r.customer} {r.journey}/{r.step} {r.channel} {r.decision}"
        f" {r.reason or ''}"
        for r in rows
    ]


def explained(events: Sequence[Event], driven: Sequence[Row], simulated: Sequence[Row]) -> str:
    said = [f"  {event.received_at:%m-%d %H:%M:%S} {encode(event).decode()}" for event in events]
    difference = difflib.unified_diff(
        as_text(driven), as_text(simulated), "driven", "simulated", n=1, lineterm=""
    )
    return "\n".join(["the events:", *said, "", *difference])


@profile(120)
@given(
    names=st.lists(st.sampled_from(sorted(SOURCES)), min_size=4, max_size=5, unique=True),
    settings=workspaces,
    customers=st.lists(st.tuples(_traits, _visits), min_size=1, max_size=20),
    seed=st.integers(0, 1000),
)
def test_the_simulator_decides_what_the_engine_and_dispatch_decide(
    names: Sequence[str],
    settings: WorkspaceSettings,
    customers: Sequence[tuple[Mapping[str, Any], Sequence[Input]]],
    seed: int,
) -> None:
    sources = [SOURCES[name] for name in names]
    events = day(customers)
    driven = Driver(book_of([compiled(s) for s in sources]), settings, seed).run(events)
    rows = simulated(sources, settings, events)
    assert rows == driven, explained(events, driven, rows)


def rows_of(journeys: Sequence[str], inputs: Sequence[Input]) -> tuple[list[Row], list[Row]]:
    """Driven and simulated, in a workspace that lets everything through."""
    settings = WorkspaceSettings.model_validate({"policies": {"consent": "assumed"}})
    events = day([({"push_token": "t"}, inputs)])
    driven = Driver(book_of([compiled(text) for text in journeys]), settings, 0).run(events)
    return driven, simulated(journeys, settings, events)


ADDED = Input(MINUTE, "Added", "a", 1, skew=MINUTE)
TWO_EMITS = """
journey: speaker
trigger: {event: Added}
steps: [{emit: First}, {emit: Second}]
"""
IN_ORDER = """
journey: hearer
trigger: {event: First}
steps:
  - wait_for: {event: Second, timeout: 1h}
    then: [{send: push, template: t, id: in-order}]
    timed_out: [{send: push, template: t, id: too-late}]
"""


def test_emitted_events_are_simulated_in_their_order() -> None:
    driven, rows = rows_of([TWO_EMITS, IN_ORDER], [ADDED])
    assert as_text(rows) == as_text(driven)


MEASURING = """
journey: measuring
trigger: {event: Added}
steps: [{emit: Measured, properties: {age: now - trigger.at}}]
"""
MEASURED = """
journey: measured
trigger: {event: Measured, where: event.age < "2m"}
steps: [{send: push, template: t, id: fresh}]
"""


def test_emitted_properties_are_simulated_as_the_log_has_them() -> None:
    driven, rows = rows_of([MEASURING, MEASURED], [ADDED])
    assert as_text(rows) == as_text(driven)


ECHO = """
journey: echoing
trigger: {event: Added}
steps: [{emit: Echo}]
"""
ANSWER = """
journey: answering
trigger: {event: Echo}
steps:
  - wait_for: {event: Viewed, timeout: 1h}
    then: [{send: push, template: t, id: viewed-later}]
    timed_out: [{send: push, template: t, id: echo-last}]
"""


def test_an_emitted_event_comes_behind_what_was_received_at_the_same_instant() -> None:
    viewed = Input(timedelta(0), "Viewed", "a", 1, skew=timedelta(0))
    driven, rows = rows_of([ECHO, ANSWER], [ADDED, viewed])
    assert as_text(rows) == as_text(driven)
