"""The profile takes an event in: traits, newest statement first, and consent among them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from services.journey.core.effects import EmitEvent, StateConsent
from shared.address import phone_number
from shared.clock import EPOCH
from shared.event import CONSENT_CHANGED, Event
from shared.ids import derived_id

_CONSENT = "consent"


def take_traits(
    traits: dict[str, Any], stated: Mapping[str, int], event: Event, country: str | None = None
) -> tuple[dict[str, Any], dict[str, int], list[StateConsent]]:
    """Traits, statement times and consent statements after an `identify`.

    For each trait the newest statement wins, by the client's corrected time; on a tie the later
    arrival, or what is known already where the event has been forwarded. A trait stated as null is
    removed. `traits_once` fill what nobody has stated yet. A phone number that can be read is kept
    as E.164; `country` is that of numbers which name none.
    """
    at = _milliseconds(event.timestamp)
    tied = 1 if event.passed else 0
    new_traits, new_stated = dict(traits), dict(stated)
    for name, value in event.traits.items():
        if name == _CONSENT and isinstance(value, Mapping):
            continue
        if at >= new_stated.get(name, at - tied) + tied:
            new_stated[name] = at
            _set(new_traits, name, _readable(name, value, country))
    for name, value in event.traits_once.items():
        if name != _CONSENT and name not in new_stated and name not in new_traits:
            new_stated[name] = at
            _set(new_traits, name, _readable(name, value, country))
    consents = list(_consent_statements(event))
    if consents:
        own = dict(_group(traits.get(_CONSENT)))
        for statement in consents:
            name = f"{_CONSENT}.{statement.channel}"
            if at >= new_stated.get(name, at - tied) + tied:
                new_stated[name] = at
                own[statement.channel] = statement.granted
        new_traits[_CONSENT] = own
        if tied:
            consents = [_weighed(statement, stated, at) for statement in consents]
    return new_traits, new_stated, consents


def _readable(name: str, value: Any, country: str | None) -> Any:
    """What is no number stays as it was stated: the customer's page shows why it is none."""
    if name != "phone" or not isinstance(value, str | int) or isinstance(value, bool):
        return value
    return phone_number(str(value), country) or value


def consent_changes(
    customer: str,
    known: bool,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    event: Event,
    at: datetime,
) -> Iterator[EmitEvent]:
    """An event for each channel whose consent the `identify` has changed, never asked included.

    An import tells of consents that were given long ago: whoever gave them has been told then.
    """
    if event.historical:
        return
    was, is_now = (_group(traits.get(_CONSENT)) for traits in (before, after))
    for statement in _consent_statements(event):
        channel, granted = statement.channel, statement.granted
        if is_now.get(channel) is granted and was.get(channel) is not granted:
            yield EmitEvent(
                id=derived_id("consent", customer, event.id, channel),
                name=CONSENT_CHANGED,
                properties={
                    "channel": channel,
                    "granted": granted,
                    "stated_at": event.timestamp.isoformat(),
                    "source": statement.source,
                },
                known=known,
                at=at,
            )


def _group(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _weighed(statement: StateConsent, stated: Mapping[str, int], at: int) -> StateConsent:
    known = stated.get(f"{_CONSENT}.{statement.channel}")
    return msgspec.structs.replace(statement, counts=known is None or at > known)


def write_trait(
    traits: Mapping[str, Any], stated: Mapping[str, int], name: str, value: Any, at: datetime
) -> tuple[dict[str, Any], dict[str, int]]:
    """What `set` does: like a statement at `at`. A dot in the name leads into a group."""
    way = name.split(".")
    new_traits = _within(traits, way, value)
    return new_traits, {**stated, way[0]: max(_milliseconds(at), stated.get(way[0], 0))}


def _within(group: Mapping[str, Any], way: list[str], value: Any) -> dict[str, Any]:
    changed = dict(group)
    if len(way) > 1:
        inner = changed.get(way[0])
        value = _within(inner if isinstance(inner, Mapping) else {}, way[1:], value)
    _set(changed, way[0], value)
    return changed


def _consent_statements(event: Event) -> Iterator[StateConsent]:
    stated = event.traits.get(_CONSENT)
    if not isinstance(stated, Mapping):
        return
    source = _consent_source(event)
    for channel, granted in stated.items():
        if isinstance(granted, bool):
            yield StateConsent(
                *(channel, granted, event.timestamp, source, event.id), imported=event.historical
            )


def _consent_source(event: Event) -> str:
    """Where consent was given: an import tells it in `context`, since it only carries it over."""
    if event.historical:
        told = event.context.get("consent_source")
        if isinstance(told, str) and told:
            return told
    return event.source


def _set(traits: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        traits.pop(name, None)
    else:
        traits[name] = value


def _milliseconds(instant: datetime) -> int:
    return int((instant - EPOCH).total_seconds() * 1000)
