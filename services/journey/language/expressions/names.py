"""How each root name is looked up: `event`, `trigger`, `profile`, `steps`, `now`, a variable."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.journey.core.flow import Moment, Scope, Value
from services.journey.language.expressions.syntax import Key, Path, step_id
from services.journey.language.expressions.values import step_into

Closure = Callable[[Scope], Value]
_NOTHING: Mapping[str, Any] = {}


class Frame(Scope, frozen=True):
    """A scope within any(…) or all(…): the outer names and the variables so far."""

    variables: dict[str, Value] = msgspec.field(default_factory=dict)


def look_up(path: Path) -> Closure:
    keys = path.keys
    way = tuple(key.value for key in keys)
    match path.root:
        case "now":
            return lambda scope: scope.now
        case "profile":
            return _field(_profile, way)
        case "trigger":
            return _field(_trigger, way)
        case "event" if not keys[0].quoted and keys[0].value == "name":
            return _event_name
        case "event" if not keys[0].quoted and keys[0].value == "context":
            return _field(_event_context, way[1:])
        case "event":
            return _field(_event, way)
        case "steps":
            return _step(keys)
        case "rfm":
            return _score(str(way[0]))
    return _variable(path.root, keys)


def into_event(moment: Value, keys: tuple[Key, ...]) -> Value:
    """`.total` of a kept event: a property, but `.name` and `.context` are its own."""
    if not isinstance(moment, Moment):
        return step_into(moment, tuple(key.value for key in keys))
    if not keys:
        return moment
    first, rest = keys[0], tuple(key.value for key in keys[1:])
    if first.quoted or first.value not in ("name", "context"):
        return step_into(moment.properties, (first.value, *rest))
    return step_into(moment.name if first.value == "name" else moment.context, rest)


def _profile(scope: Scope) -> Mapping[str, Any]:
    return scope.profile


def _trigger(scope: Scope) -> Mapping[str, Any]:
    return _NOTHING if scope.trigger is None else scope.trigger.properties


def _event(scope: Scope) -> Mapping[str, Any]:
    return _NOTHING if scope.event is None else scope.event.properties


def _event_context(scope: Scope) -> Mapping[str, Any]:
    return _NOTHING if scope.event is None else scope.event.context


def _event_name(scope: Scope) -> Value:
    return None if scope.event is None else scope.event.name


def _field(base: Callable[[Scope], Mapping[str, Any]], way: tuple[str | int, ...]) -> Closure:
    if len(way) != 1 or not isinstance(way[0], str):
        return lambda scope: step_into(base(scope), way)
    name = way[0]
    if base is _event:  # the commonest look-up of all, so without the call in between
        return lambda scope: None if scope.event is None else scope.event.properties.get(name)
    if base is _profile:
        return lambda scope: scope.profile.get(name)
    return lambda scope: base(scope).get(name)


def _step(keys: tuple[Key, ...]) -> Closure:
    step, field_name, rest = step_id(keys[0]), keys[1].value, keys[2:]

    def look(scope: Scope) -> Value:
        result = scope.steps.get(step)
        value = result.get(field_name) if isinstance(result, Mapping) else None
        return into_event(value, rest) if rest else value

    return look


def _score(band: str) -> Closure:
    return lambda scope: None if scope.rfm is None else getattr(scope.rfm, band)


def _variable(name: str, keys: tuple[Key, ...]) -> Closure:
    def look(scope: Scope) -> Value:
        assert isinstance(scope, Frame)
        return into_event(scope.variables.get(name), keys)

    return look
