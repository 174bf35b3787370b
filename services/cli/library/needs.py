"""What a journey of the library needs: events with their properties, traits, channels, addresses.

It is read from the files themselves, with the language's own parser, so it cannot be out of date.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from services.cli.library import catalogue
from services.cli.library.catalogue import Entry
from services.cli.library.words import in_language
from services.journey.language.expressions import Mistake, Node, parse
from services.journey.language.expressions.syntax import (
    Access,
    Call,
    Constant,
    Named,
    Path,
    Quantifier,
)

OWN = frozenset(
    {
        "Checkout Abandoned",
        "Consent Changed",
        "Message Clicked",
        "Message Opened",
        "Promoter Found",
        "Subscription Price Not Accepted",
    }
)
"""Events that Dangol, or a journey of the library, makes; no shop sends them."""

_CONDITIONS = frozenset({"where", "when", "until", "date", "value", "key", "audience"})
_VALUES = frozenset({"with", "properties", "set"})
_IN_TEMPLATES = re.compile(r"\b(trigger|profile)\.(consent\.[a-z_]+|[a-z_]+)")
_CLOCK = frozenset({"at", "late", "date", "segment"})
"""What `trigger` holds where the clock or a segment starts the journey."""

Names = tuple[str, ...]


@dataclass(slots=True)
class Needs:
    events: dict[str, set[str]] = field(default_factory=dict)
    """Event → the properties that are read from it."""
    catalogue: set[str] = field(default_factory=set)
    """Those of them that belong to no customer: they come through `POST /v1/catalog`."""
    emitted: dict[str, set[str]] = field(default_factory=dict)
    """Events that its journeys make, with the properties that they give them."""
    traits: set[str] = field(default_factory=set)
    channels: dict[str, None] = field(default_factory=dict)
    """In the order in which they are named."""
    segments: dict[str, None] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    """Addresses below the web site that the shop has to answer."""

    def join(self, other: "Needs") -> None:
        for event, properties in other.events.items():
            self.events.setdefault(event, set()).update(properties)
        self.catalogue |= other.catalogue
        for event, properties in other.emitted.items():
            self.emitted.setdefault(event, set()).update(properties)
        self.traits |= other.traits
        self.channels |= other.channels
        self.segments |= other.segments
        self.calls |= other.calls

    def sent(self) -> dict[str, set[str]]:
        """The events that the shop has to send, by name."""
        return {name: self.events[name] for name in sorted(self.events) if name not in OWN}


def needs_of(entries: Iterable[Entry], without: frozenset[str] = frozenset()) -> Needs:
    """`without` names segments whose own needs are left out."""
    needs = Needs()
    for entry in entries:
        for journey in entry.journeys:
            needs.join(_journey(journey, without))
    return needs


@cache
def _journey(name: str, without: frozenset[str]) -> Needs:
    content = _yaml(f"journeys/{name}.yaml")
    trigger = content["trigger"]
    started = tuple(one["event"] for one in trigger.get("any", [trigger]) if "event" in one)
    reader = _Reader(started)
    for key in ("trigger", "entry", "exit", "goal", "steps"):
        reader.read(content.get(key), started)
    if "audience" in trigger:
        reader.needs.catalogue.update(started)
    for segment in catalogue.segments_of(name):
        if segment in without:
            continue
        reader.needs.segments[segment] = None
        reader.read(_yaml(f"segments/{segment}.yaml"), ())
    for template in catalogue.templates_of(name):
        reader.template(catalogue.read(f"messages/{template}.yaml"))
    return reader.needs


def _yaml(path: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(
        in_language(catalogue.read(path), "ko")
    )
    return content


class _Reader:
    """Walks over one journey; `events` are those that `event` may be where it stands."""

    def __init__(self, started: Names) -> None:
        self.needs = Needs()
        self._started = started

    def read(self, value: Any, events: Names) -> None:
        if isinstance(value, list):
            for each in value:
                self.read(each, events)
        elif isinstance(value, Mapping):
            self._group(value, events)

    def _group(self, group: Mapping[str, Any], events: Names) -> None:
        if isinstance(group.get("event"), str):
            events = (group["event"],)
            self.needs.events.setdefault(group["event"], set())
        self._step(group)
        for key, value in group.items():
            here = events
            if key == "then":
                here = (group["wait_for"]["event"],)
            if key in _CONDITIONS and isinstance(value, str):
                self._condition(value, here)
            elif key in _VALUES:
                for each in value.values():
                    self._condition(str(each), here)
                if key == "set":
                    self.needs.traits.update(name.removeprefix("profile.") for name in value)
            else:
                self.read(value, here)

    def _step(self, step: Mapping[str, Any]) -> None:
        if "send" in step:
            other = step.get("else", [])
            for channel in (step["send"], *([other] if isinstance(other, str) else other)):
                self.needs.channels[channel] = None
        if "emit" in step:
            given = self.needs.emitted.setdefault(step["emit"], set())
            given.update(step.get("properties", {}))
        if "call" in step:
            self.needs.calls.add(step["call"].removeprefix("{site}"))

    def template(self, text: str) -> None:
        for root, name in _IN_TEMPLATES.findall(text):
            if root == "profile":
                self.needs.traits.add(name)
            else:
                self._property(self._started, name)

    def _condition(self, text: str, events: Names) -> None:
        node = parse(text)
        if not isinstance(node, Mistake):
            self._node(node, {"event": (events, ""), "trigger": (self._started, "")})

    def _node(self, node: Node, roots: Mapping[str, tuple[Names, str]]) -> None:
        """`roots`: name → the events whose property it is, and what stands before the property."""
        match node:
            case Path(root="profile", keys=(first, *rest)):
                inner = first.value == "consent" and rest
                self.needs.traits.add(f"consent.{rest[0].value}" if inner else str(first.value))
            case Path(root=root, keys=(first, *_)) if root in roots:
                events, before = roots[root]
                if not (root == "event" and first.value == "name"):
                    self._property(events, before + str(first.value))
            case Quantifier(variable=variable, source=Path(root=root, keys=(first, *_))):
                if root in roots:
                    events, before = roots[root]
                    roots = {**roots, variable: (events, f"{before}{first.value}[].")}
                self._node(node.condition, roots)
                return
            case Call(arguments=(Constant(value=str(event)),)) if node.function != "in_segment":
                self.needs.events.setdefault(event, set())
                roots = {**roots, "e": ((event,), "")}
            case Access(base=Call(arguments=(Constant(value=str(event)),)), keys=(first, *_)):
                self._property((event,), str(first.value))
            case Named(name="within"):
                return
            case _:
                pass
        for child in node.children():
            self._node(child, roots)

    def _property(self, events: Names, name: str) -> None:
        if events and name not in _CLOCK:
            for event in events:
                self.needs.events.setdefault(event, set()).add(name)
