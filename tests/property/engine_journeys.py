"""Journeys and events for the property tests of the engine.

Few names, few carts, few lengths of time: collisions are what the tests are for.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow
from services.journey.core.history import Needs
from services.journey.language.compile import compile_journey
from shared.clock import EPOCH
from shared.event import Event, erase_event

START = datetime(2026, 4, 6, 8, 40, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

_ASKED = os.environ.get("PROPERTY_EXAMPLES")


def profile(examples: int) -> settings:
    """The same examples in every run. `PROPERTY_EXAMPLES=20000 pytest …` runs that many new ones
    instead (give pytest a longer `--timeout` with it)."""
    return settings(
        max_examples=int(_ASKED or examples),
        derandomize=_ASKED is None,
        deadline=None,
        print_blob=_ASKED is not None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


JOURNEYS = """
journey: reminder
trigger: {event: Added}
entry: {key: event.cart, when_active: restart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
goal: {event: Bought, where: event.cart == trigger.cart, within: 30m, value: event.total}
steps:
  - wait: 10m
  - {send: push, template: a, id: first, with: {total: trigger.total, then: now}}
  - wait: 20m
  - {send: email, else: sms, template: b, id: second}
---
journey: listener
priority: 70
trigger: {event: Added, where: event.total > 1}
entry: {key: event.cart, reentry: 30m}
steps:
  - {send: email, template: a, id: ask}
  - wait_for:
      any: [{event: Bought, where: event.total >= trigger.total}, {event: Viewed}]
      timeout: 10m
    id: answer
    then:
      - set: {profile.tier: event.total, profile.seen_at: now}
      - {send: push, template: a, id: thanks, with: {total: event.total}}
      - wait: 1m
    timed_out:
      - wait: 5m
      - {send: sms, template: a, id: nudge}
  - branch:
      - when: steps.answer.event.total > 1 and profile.tier != null
        steps: [{send: push, template: b, id: more}]
      - when: steps.ask.outcome == "dropped"
        steps: [{exit: deaf}]
---
journey: loop
trigger: {event: Viewed}
entry: {where: 'count("Added", within="1h") < 4'}
exit: [{event: Bought, where: 'count("Bought") >= 2'}]
steps:
  - id: rounds
    repeat:
      times: 3
      every: 10m
      until: 'did("Bought", within="20m")'
      steps:
        - {send: push, template: a, id: again}
        - wait: 5m
  - {send: email, template: b, id: over}
---
journey: twins
trigger: {any: [{event: Viewed, where: event.cart == "a"}, {event: Bought}]}
entry: {when_active: restart, holdout: 40%, max_age: 10m}
goal: {event: Thanked, within: 1h}
steps:
  - id: coin
    split:
      - {variant: heads, weight: 1, steps: [{wait: 5m}, {send: sms, template: a, id: heads}]}
      - variant: tails
        weight: 1
        steps:
          - wait_for: {event: Added, timeout: 10m}
            then: [{exit: came-back}]
      - {variant: edge, weight: 1, steps: []}
  - {send: email, template: a, id: both}
---
journey: echo
trigger: {event: Bought}
entry: {key: event.cart}
steps:
  - emit: Thanked
    properties: {cart: trigger.cart, total: trigger.total, at: now}
  - wait: 10m
  - set: {profile.tier: trigger.total}
  - emit: Thanked
    properties: {cart: none, tier: profile.tier}
---
journey: thanks
category: transactional
trigger: {event: Thanked}
entry: {key: event.cart, reentry: never}
exit: [{event: Added, where: profile.tier == 3}]
steps:
  - wait_until: {time: "09:00"}
  - {send: email, template: a, id: morning}
  - wait_until: {date: profile.seen_at, offset: 10m, missing: exit}
  - {send: email, template: a, id: dated}
---
journey: chain
trigger: {event: Added}
entry: {where: profile.tier != 2}
steps:
  - wait_for: {event: Added, timeout: 5m}
    then:
      - wait_for: {event: Added, where: event.cart != trigger.cart, timeout: 10m}
        then: [{send: push, template: a, id: thrice, with: {cart: event.cart}}]
    timed_out:
      - wait_until: {date: profile.due, offset: 5m}
      - set: {profile.group.tier: trigger.total}
  - {send: sms, template: a, id: end}
---
journey: reader
trigger: {any: [{event: Added}, {event: Message Clicked, where: event.step != "more"}]}
exit: [{event: Message Opened, where: 'steps.second.clicked and count("Message Opened") > 1'}]
goal: {event: Bought, where: steps.first.opened, within: 1h}
steps:
  - {send: email, template: a, id: first}
  - wait_for: {event: Message Opened, where: event.step == "first", timeout: 10m}
    then: [{send: push, template: b, id: more}]
  - branch:
      - when: steps.first.clicked
        steps: [{exit: eager}]
      - when: steps.first.opened == false
        steps: [{wait: 5m}]
  - repeat: {times: 2, steps: [{send: sms, template: a, id: second}, {wait: 10m}]}
---
journey: asker
trigger: {event: Viewed}
entry: {key: event.cart, when_active: restart, holdout: 20%}
exit: [{event: Bought}]
steps:
  - {call: "https://shop.example/stock", id: stock, with: {cart: trigger.cart, tier: profile.tier}}
  - wait_for: {event: Added, timeout: 5m}
    then: [{call: "https://shop.example/hold", id: hold}]
  - branch:
      - when: steps.stock.response.total > 1
        steps: [{send: sms, template: a, id: few}]
      - when: steps.stock.outcome == "dropped"
        steps: [{send: sms, template: a, id: spared}]
---
journey: rush
trigger: {event: Viewed}
entry: {key: event.total, reentry: 10m}
exit: [{event: Viewed, where: event.total > trigger.total}]
steps:
  - {send: push, template: a, id: one}
  - {send: push, template: a, id: two}
  - branch:
      - when: last("Added").total >= 2
        steps: [{wait: 10m}]
      - otherwise: [{wait: 5m}]
  - {send: push, template: a, id: three}
"""
SOURCES = {
    text.split("journey: ", 1)[1].split("\n", 1)[0]: text for text in JOURNEYS.split("---\n")
}
NAMES = ("Added", "Bought", "Viewed", "Thanked")
LENGTHS = ("1s", "1m", "5m", "10m", "1h", "1d")


@cache
def compiled(source: str) -> Flow:
    return compile_journey(source, 1)


def book_of(flows: Sequence[Flow]) -> Book:
    return Book(
        [Edition.of(EPOCH, flows)],
        {(flow.journey, flow.version): flow for flow in flows},
        zone=ZoneInfo("Europe/Berlin"),
        needs=Needs(need for flow in flows for need in flow.needs),
    )


# Made-up journeys: whatever the language lets one nest --------------------------------------------

_lengths = st.sampled_from(LENGTHS)
_conditions = st.sampled_from(
    (
        "trigger.total > 1", "profile.tier == 2", "trigger.cart == null",
        'count("Added", within="10m") > 1', 'did("Bought", within="1h")', "profile.plan != null",
        'last("Viewed").total > trigger.total', 'now > last("Added").at + "5m"',
        'sum("Bought", of=e.total) > 3',
    )
)  # fmt: skip
_matching = st.sampled_from(
    ("event.total > 1", "event.cart == trigger.cart", "event.total == profile.tier")
)
_plain = st.one_of(
    _lengths.map(lambda length: {"wait": length}),
    st.sampled_from(("push", "email", "sms")).map(lambda c: {"send": c, "template": "t"}),
    st.sampled_from(("trigger.total", "now", "gold", 'count("Viewed")', "trigger.cart")).map(
        lambda value: {"set": {"profile.tier": value}}
    ),
    st.sampled_from(("09:00", "12:30")).map(lambda at: {"wait_until": {"time": at}}),
    st.sampled_from(("profile.due", "profile.tier", "trigger.at")).map(
        lambda d: {"wait_until": {"date": d, "offset": "-5m", "missing": "exit"}}
    ),
    st.just({"emit": "Thanked", "properties": {"cart": "trigger.cart", "tier": "profile.tier"}}),
    st.just({"call": "https://shop.example/x", "with": {"total": "trigger.total"}}),
    st.just({"exit": "early"}),
)


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    some = st.lists(inner, min_size=1, max_size=3)
    any_number = st.lists(inner, max_size=2)
    awaited = st.fixed_dictionaries(
        {"event": st.sampled_from(NAMES), "timeout": _lengths}, optional={"where": _matching}
    )
    arm = st.fixed_dictionaries({"when": _conditions, "steps": any_number})
    rounds = st.fixed_dictionaries(
        {"times": st.integers(1, 3), "steps": some},
        optional={"every": _lengths, "until": _conditions},
    )
    return st.one_of(
        st.fixed_dictionaries({"wait_for": awaited, "then": any_number, "timed_out": any_number}),
        st.fixed_dictionaries({"branch": st.lists(arm, min_size=1, max_size=2)}),
        st.tuples(some, any_number).map(
            lambda both: {
                "split": [
                    {"variant": name, "weight": 1, "steps": steps}
                    for name, steps in zip(("a", "b"), both, strict=True)
                ]
            }
        ),
        st.fixed_dictionaries({"repeat": rounds}),
    )


_steps = st.lists(st.recursive(_plain, _nested, max_leaves=6), min_size=1, max_size=4)
_match = st.fixed_dictionaries(
    {"event": st.sampled_from(NAMES[:3])}, optional={"where": st.just("event.total > 1")}
)
_made_up = st.fixed_dictionaries(
    {"trigger": _match, "steps": _steps},
    optional={
        "exit": st.lists(_match, min_size=1, max_size=1),
        "goal": _match,
        "entry": st.fixed_dictionaries(
            {},
            optional={
                "key": st.just("event.cart"),
                "when_active": st.just("restart"),
                "reentry": st.sampled_from(("never", "10m")),
            },
        ),
    },
)


def _yaml(value: object) -> str:
    """Flow style, expressions unquoted where the language wants them so."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(held)}" for key, held in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    plain = isinstance(value, str) and not set(value) & set(",[]{}:#")
    return str(value) if plain else json.dumps(value)


def _named(made: Sequence[Mapping[str, object]]) -> list[str]:
    return [
        "\n".join(f"{key}: {_yaml(value)}" for key, value in {"journey": name, **fields}.items())
        for name, fields in zip(("made-a", "made-b"), made, strict=False)
    ]


sources = st.one_of(
    st.lists(st.sampled_from(sorted(SOURCES)), min_size=1, max_size=4, unique=True).map(
        lambda names: [SOURCES[name] for name in names]
    ),
    st.tuples(_made_up, _made_up).map(_named),
    st.tuples(st.tuples(_made_up), st.sampled_from(sorted(SOURCES))).map(
        lambda both: [*_named(both[0]), SOURCES[both[1]]]
    ),
)


# What the customer does ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """One event, `gap` after the one before; `skew` is how wrong the customer's clock is."""

    gap: timedelta
    name: str
    cart: str | None
    total: int
    skew: timedelta
    repeats: int = 0
    """Send the event again that came so many before this one; 0: a new one."""

    def event(self, number: int, at: datetime, customer: str = "u1") -> Event:
        happened = at - self.skew
        if self.name == "erase":
            return erase_event(request=f"{customer}-{number}", customer=customer, at=at)
        if self.name == "identify":
            traits = {"tier": self.total, "due": happened.isoformat(), "plan": self.cart}
            return Event(
                id=f"{customer}-{number}", kind="identify", timestamp=happened,
                user_id=customer, traits={**traits, "consent": {"email": self.total > 1}},
            )  # fmt: skip
        properties = {"cart": self.cart, "total": self.total, "at": happened.isoformat()}
        return Event(
            id=f"{customer}-{number}", kind="track", name=self.name, timestamp=happened,
            user_id=customer, properties=properties,
        )  # fmt: skip


_gaps = st.sampled_from(
    [timedelta(0)] * 3
    + [SECOND, MINUTE, 4 * MINUTE, 5 * MINUTE, 10 * MINUTE, 10 * MINUTE, 20 * MINUTE]
    + [timedelta(hours=1), timedelta(hours=5), timedelta(days=8)]
)
inputs = st.lists(
    st.builds(
        Input,
        gap=_gaps,
        name=st.sampled_from((*NAMES[:3], *NAMES[:3], "identify")),
        cart=st.sampled_from(("a", "b", None)),
        total=st.integers(1, 3),
        skew=st.sampled_from([timedelta(0)] * 4 + [5 * MINUTE, 20 * MINUTE, -5 * MINUTE]),
        repeats=st.sampled_from((0, 0, 0, 0, 0, 1, 2)),
    ),
    min_size=1,
    max_size=14,
)
