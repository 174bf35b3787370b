"""Journeys hear of consents: an event for each channel whose consent has become another."""

from datetime import timedelta
from typing import Any

import msgspec

from services.journey.core.effects import EmitEvent
from services.journey.core.state import Customer, State
from shared.event import Event
from tests.unit.core.flows import HOUR, NOON, Person, book

MINUTE = timedelta(minutes=1)


def stated(ident: str, at: timedelta = timedelta(), **consent: Any) -> Event:
    return Event(
        id=ident, kind="identify", timestamp=NOON + at, received_at=NOON + MINUTE, user_id="u1",
        traits={"consent": consent}, source="site",
    )  # fmt: skip


def changes(person: Person) -> list[tuple[str, bool]]:
    told = [effect for effect in person.effects if isinstance(effect, EmitEvent)]
    person.effects.clear()
    assert all(effect.name == "Consent Changed" for effect in told)
    return [(effect.properties["channel"], effect.properties["granted"]) for effect in told]


def test_a_consent_given_refused_and_withdrawn_is_told_and_a_repeated_one_is_not() -> None:
    person = Person(book())
    person.take(stated("1", email=True, sms=False))
    assert changes(person) == [("email", True), ("sms", False)]
    person.take(stated("2", HOUR, email=True, sms=False, push=True))
    assert changes(person) == [("push", True)]
    person.take(stated("3", 2 * HOUR, email=False))
    assert changes(person) == [("email", False)]


def test_the_event_says_what_when_and_where_and_happens_at_the_receipt() -> None:
    person = Person(book())
    person.take(stated("1", -HOUR, email=True))
    (told,) = person.effects[-1:]
    assert isinstance(told, EmitEvent)
    assert told.at == NOON + MINUTE
    assert told.known
    assert told.properties == {
        "channel": "email", "granted": True,
        "stated_at": (NOON - HOUR).isoformat(), "source": "site",
    }  # fmt: skip


def test_a_statement_older_than_the_known_one_tells_nothing() -> None:
    person = Person(book())
    person.take(stated("1", email=False))
    changes(person)
    person.take(stated("2", -HOUR, email=True))
    assert changes(person) == []


def test_what_is_no_yes_or_no_tells_nothing() -> None:
    person = Person(book())
    person.take(stated("1", email="yes", sms=None, push=1))
    assert changes(person) == []


def test_a_consent_where_something_else_stood_is_told() -> None:
    person = Person(book())
    person.customer = Customer("u1", {"consent": "yes"}, State())
    person.take(stated("1", email=True))
    assert changes(person) == [("email", True)]


def test_an_imported_consent_tells_nothing() -> None:
    person = Person(book())
    person.take(msgspec.structs.replace(stated("1", email=True), historical=True))
    assert changes(person) == []
    assert person.customer.traits == {"consent": {"email": True}}


def test_ids_tell_channels_and_statements_apart_and_are_the_same_again() -> None:
    def ids(event: Event) -> set[str]:
        person = Person(book())
        person.take(event)
        return {effect.id for effect in person.effects if isinstance(effect, EmitEvent)}

    assert ids(stated("1", email=True, sms=True)) == ids(stated("1", email=True, sms=True))
    assert len(ids(stated("1", email=True, sms=True)) | ids(stated("2", email=True))) == 3
