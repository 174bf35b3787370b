"""`events.yaml`: the tracking plan, which says what events there are and what they hold.

The language checks conditions against it, ingest holds events to it. Both without I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

PropertyType = Literal["text", "number", "integer", "boolean", "time", "list", "object"]
Mode = Literal["warn", "enforce"]
Breach = Literal[
    "unknown_event", "missing_property", "wrong_type", "unlisted_value", "unlisted_property"
]
"""The words are stored and shown: add, never rename."""

HARMLESS: frozenset[Breach] = frozenset({"unlisted_property"})
"""Counted, but never a reason to set an event aside: no condition may name the property, so it
changes nothing."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _short(value: object) -> object:
    """`total: number` for `total: {type: number}`."""
    return {"type": value} if isinstance(value, str) else value


def _nothing(value: object) -> object:
    """An event of which the file says nothing but the name, or an empty list of properties."""
    return {} if value is None else value


class PropertyPlan(_Model):
    type: PropertyType
    required: bool = False
    """Null counts as missing."""
    values: Annotated[tuple[str | int | float, ...], Field(max_length=500)] = ()
    """Those that there are; none given: any."""
    description: str = ""


class EventPlan(_Model):
    description: str = ""
    properties: Annotated[
        dict[str, Annotated[PropertyPlan, BeforeValidator(_short)]], BeforeValidator(_nothing)
    ] = {}


class TrackingPlan(_Model):
    mode: Mode = "warn"
    """`warn`: what breaks the plan is counted; `enforce`: it is set aside as well."""
    events: Annotated[
        dict[str, Annotated[EventPlan, BeforeValidator(_nothing)]], BeforeValidator(_nothing)
    ]


class Violation(NamedTuple):
    breach: Breach
    property: str = ""
    """Empty where it is the event as a whole."""

    def __str__(self) -> str:
        return _SAID[self.breach].format(f"`{self.property[:60]}`")


_SAID: Mapping[Breach, str] = {
    "unknown_event": "the event is not listed",
    "missing_property": "{} is missing",
    "wrong_type": "{} is of another type",
    "unlisted_value": "{} has a value that is not listed",
    "unlisted_property": "{} is not listed",
}


class Judge:
    """Tells what an event breaks of a plan; made once, asked for each event."""

    def __init__(self, plan: TrackingPlan) -> None:
        self.enforces = plan.mode == "enforce"
        self._events = {name: _Rules(event.properties) for name, event in plan.events.items()}

    def violations(self, name: str, properties: Mapping[str, Any]) -> list[Violation]:
        """Empty for an event that keeps the plan."""
        rules = self._events.get(name)
        return [Violation("unknown_event")] if rules is None else rules.broken_by(properties)


def first_harm(violations: Iterable[Violation]) -> Violation | None:
    """The first for which an enforced plan sets the event aside."""
    return next((each for each in violations if each.breach not in HARMLESS), None)


class _Rules:
    def __init__(self, properties: Mapping[str, PropertyPlan]) -> None:
        self._fits = {name: _FITS[plan.type] for name, plan in properties.items()}
        self._required = [name for name, plan in properties.items() if plan.required]
        self._values = {name: plan.values for name, plan in properties.items() if plan.values}

    def broken_by(self, properties: Mapping[str, Any]) -> list[Violation]:
        found = [
            Violation("missing_property", name)
            for name in self._required
            if properties.get(name) is None
        ]
        fits = self._fits
        for name, value in properties.items():
            fit = fits.get(name)
            if fit is None:
                found.append(Violation("unlisted_property", name))
            elif value is None:
                continue
            elif not fit(value):
                found.append(Violation("wrong_type", name))
            elif name in self._values and value not in self._values[name]:
                found.append(Violation("unlisted_value", name))
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    """1.0 too: JSON does not tell the two apart, and JavaScript writes what it likes."""
    return _is_number(value) and value == int(value)  # type: ignore[call-overload]


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not value[:4].isdigit():
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_FITS: Mapping[PropertyType, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_whole,
    "boolean": lambda value: isinstance(value, bool),
    "time": _is_time,
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
