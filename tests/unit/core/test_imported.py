"""Imported events: part of profile and history, and no run starts, moves, ends or converts."""

from datetime import timedelta
from typing import Any

import msgspec

from services.journey.core.effects import StateConsent
from services.journey.core.flow import EventMatch
from services.journey.language.compile import compile_journey
from shared.event import Event
from tests.unit.core.flows import HOUR, NOON, Person, book, event, wait_then_send
from tests.unit.core.watching import world

YEAR = timedelta(days=365)


def imported(given: Event) -> Event:
    return msgspec.structs.replace(given, historical=True)


def identify(context: dict[str, Any] | None = None, **traits: Any) -> Event:
    return Event(
        id=f"i-{traits}", kind="identify", timestamp=NOON - YEAR, received_at=NOON, user_id="u1",
        traits=traits, context=context or {}, source="backend",
    )  # fmt: skip


def test_an_imported_trigger_starts_nothing_and_a_real_one_after_it_does() -> None:
    person = Person(book(wait_then_send()))
    person.take(imported(event()))
    assert person.customer.state.runs == ()
    assert person.effects == []
    person.take(event(at=NOON + HOUR))
    assert len(person.customer.state.runs) == 1


def test_an_imported_event_ends_no_run() -> None:
    person = Person(book(wait_then_send(exits=(EventMatch("Bought"),))))
    person.take(event())
    person.take(imported(event("Bought", NOON + timedelta(minutes=1))))
    assert person.counted("ended:exit") == 0
    assert len(person.customer.state.runs) == 1


def test_the_same_message_id_imported_and_sent_is_one_event() -> None:
    person = Person(book(wait_then_send()))
    assert person.take(imported(event())).taken_in
    assert not person.take(event()).taken_in


def test_an_import_lets_customers_into_segments_without_starting_what_watches_them() -> None:
    text = "journey: hello\ntrigger: {{segment: vip, on: {on}}}\nsteps:\n  - wait: 1h\n"
    for on in ("enter", "exit"):
        flow = compile_journey(text.format(on=on), 1)
        person = world([flow], vip='profile.tier == "gold"').person()
        person.take(imported(identify(tier="gold")))
        assert person.customer.state.runs == ()
        assert person.customer.state.members["hello"].inside
        real = msgspec.structs.replace(identify(tier="silver"), timestamp=NOON)
        person.take(real)
        assert len(person.customer.state.runs) == (on == "exit")


def test_an_imported_consent_tells_where_it_was_given() -> None:
    for source, told in ((None, "backend"), ("paper form", "paper form"), (7, "backend")):
        person = Person(book())
        person.take(imported(identify({"consent_source": source}, consent={"email": True})))
        (consent,) = (e for e in person.effects if isinstance(e, StateConsent))
        assert (consent.source, consent.at) == (told, NOON - YEAR)
        assert consent.imported


def test_an_event_that_is_not_imported_cannot_name_another_source_of_consent() -> None:
    person = Person(book())
    person.take(identify({"consent_source": "court order"}, consent={"email": True}))
    (consent,) = (e for e in person.effects if isinstance(e, StateConsent))
    assert consent.source == "backend"
    assert not consent.imported
