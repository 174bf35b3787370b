"""Which catalogue events may mean a customer at all: a quick look, ahead of the condition itself.

An audience mostly asks for something that the customer did with the very thing that the event is
about: `did("Viewed", where=e.sku == trigger.sku)`. Who did no such thing need not be asked. What a
look cannot tell it lets through: the condition decides.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from services.journey.language.expressions.syntax import (
    Call,
    Comparison,
    Constant,
    Logical,
    Node,
    Path,
)
from shared.event import Event

_OWN = frozenset({"name", "context", "at"})
"""Of an event these are no properties."""
_ANYTHING = object()
"""Stands for a value that cannot be looked up."""


class Doings:
    """What a customer did, by event and property."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events: dict[str, list[Event]] = {}
        self._values: dict[tuple[str, str], set[Any]] = {}
        for event in events:
            self._events.setdefault(event.name, []).append(event)

    def has(self, name: str) -> bool:
        return name in self._events

    def has_with(self, name: str, key: str, value: Any) -> bool:
        known = self._values.get((name, key))
        if known is None:
            found = (event.properties.get(key) for event in self._events.get(name, ()))
            known = self._values[name, key] = {_hashable(each) for each in found}
        if isinstance(value, list | dict):
            return bool(known)
        return value in known or _ANYTHING in known


def _hashable(value: Any) -> Any:
    return _ANYTHING if isinstance(value, list | dict) else value


Look = Callable[[Doings, Event], bool]
"""Whether the customer may be one of those whom the catalogue event means."""


def look_of(condition: Node, made: frozenset[str]) -> Look | None:
    """None where nothing can be told ahead. `made` are events that journeys make by themselves."""
    match condition:
        case Logical(operator="and", operands=operands):
            parts = [look for each in operands if (look := look_of(each, made)) is not None]
            return _all(parts) if parts else None
        case Logical(operator="or", operands=operands):
            found = [look_of(each, made) for each in operands]
            return None if None in found else _any([look for look in found if look is not None])
        case Call(function="did", arguments=(Constant(value=str(name)), *_)) if name not in made:
            return _did(name, condition.argument("where"))
    return None


def _all(looks: list[Look]) -> Look:
    return lambda doings, event: all(look(doings, event) for look in looks)


def _any(looks: list[Look]) -> Look:
    return lambda doings, event: any(look(doings, event) for look in looks)


def _did(name: str, where: Node | None) -> Look:
    same = None if where is None else next(_same(where), None)
    if same is None:
        return lambda doings, _event: doings.has(name)
    return lambda doings, event: doings.has_with(
        name, same.counted, event.properties.get(same.asked)
    )


@dataclass(frozen=True, slots=True)
class _Same:
    """`e.counted == trigger.asked`."""

    counted: str
    asked: str


def _same(where: Node) -> Iterator[_Same]:
    """Of a condition that can only hold where these are the same."""
    match where:
        case Logical(operator="and", operands=operands):
            for each in operands:
                yield from _same(each)
        case Comparison(operators=("==",), operands=(Path() as one, Path() as other)):
            for counted, asked in ((one, other), (other, one)):
                if counted.root == "e" and asked.root in ("event", "trigger"):
                    keys = _property(counted), _property(asked)
                    if keys[0] is not None and keys[1] is not None:
                        yield _Same(keys[0], keys[1])


def _property(path: Path) -> str | None:
    if len(path.keys) != 1:
        return None
    key = path.keys[0].value
    return key if isinstance(key, str) and key not in _OWN else None
