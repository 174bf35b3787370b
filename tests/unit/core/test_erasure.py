"""An erasure as the core decides it: nothing of before is left, whatever way it still comes."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.core.decide import next_look
from services.journey.core.effects import Erase, Forget
from services.journey.core.identity_effects import Belong, Forward
from services.journey.core.merge import Merge, Record, content
from services.journey.core.state import AtTime, Run, Trigger
from shared.erasure import LOG_RETENTION
from shared.event import Event, erase_event, link_event, merge_event
from tests.unit.core.flows import HOUR, NOON, Person, book, event, wait_then_send

R = NOON + 2 * HOUR
"""When the erasure is received."""
INSTANT = timedelta(microseconds=1)


def erasure(at: datetime = R, request: str = "e1", **options: Any) -> Event:
    told = erase_event(request=request, customer="u1", at=at, **options)
    return msgspec.structs.replace(told, received_at=at)


def identify(at: datetime, **traits: Any) -> Event:
    return Event(
        id=f"i{at}", kind="identify", timestamp=at, user_id="u1", traits=traits, received_at=at
    )


def effects_of(person: Person, kind: type) -> list[Any]:
    return [effect for effect in person.effects if isinstance(effect, kind)]


def test_an_erasure_leaves_nothing_and_ends_runs() -> None:
    person = Person(book(wait_then_send()))
    person.take(identify(NOON - HOUR, email="a@example.com", consent={"email": True}))
    person.take(event())
    person.tick(NOON + HOUR)
    person.take(erasure())
    state = person.customer.state
    assert person.customer.traits == {}
    assert (state.runs, state.goals, state.entries, state.stated) == ((), (), {}, {})
    assert state.erased_at == R
    assert person.counted("ended:erased") == 1
    assert person.withdrawn == [person.messages[0].id]
    assert effects_of(person, Erase) == [Erase("e1", R)]


def test_what_was_received_before_is_discarded_when_met_and_says_so() -> None:
    person = Person(book(wait_then_send()))
    person.take(erasure())
    for at in (R - HOUR, R):
        late = msgspec.structs.replace(event(at=at), id=f"late {at}", received_at=at)
        assert not person.take(late).taken_in
    assert person.counted("refused:erased") == 2
    assert person.customer.state.runs == ()


def test_what_our_own_services_decided_before_is_discarded_however_late_the_log_has_it() -> None:
    person = Person(book(wait_then_send()))
    person.take(erasure())
    emitted = msgspec.structs.replace(
        event(), source="journey", timestamp=R - INSTANT, received_at=R + HOUR
    )
    person.take(emitted)
    assert person.counted("entered") == 0
    from_the_client = msgspec.structs.replace(emitted, id="x", source="web")
    person.take(from_the_client)
    assert person.counted("entered") == 1, "an SDK that was offline begins a new customer"


def test_later_events_begin_a_new_customer() -> None:
    person = Person(book(wait_then_send()))
    person.take(identify(NOON, email="a@example.com"))
    person.take(erasure())
    person.take(event(at=R + INSTANT))
    assert person.customer.traits == {}
    assert person.counted("entered") == 1


def test_a_repeated_event_begins_nobody_anew() -> None:
    person = Person(book(wait_then_send()))
    person.take(event())
    person.take(erasure())
    again = msgspec.structs.replace(event(), received_at=R + HOUR)
    assert not person.take(again).taken_in
    assert person.counted("entered") == 1


def test_a_repeated_erasure_leaves_the_new_life_alone() -> None:
    person = Person(book(wait_then_send()))
    person.take(erasure())
    person.take(event(at=R + HOUR))
    again = msgspec.structs.replace(erasure(), received_at=R + 2 * HOUR)
    assert not person.take(again).taken_in
    assert len(person.customer.state.runs) == 1
    person.take(erasure(R + 3 * HOUR, "e2"))
    assert not person.customer.state.runs


def test_the_row_goes_when_the_log_holds_nothing_of_before_any_more() -> None:
    person = Person(book(wait_then_send()))
    person.take(event())
    person.take(erasure())
    end = R + LOG_RETENTION
    assert next_look(person.book, person.customer, R) == end
    person.tick(end - INSTANT)
    assert effects_of(person, Forget) == []
    person.tick(end)
    assert effects_of(person, Forget) == [Forget()]


def test_the_row_of_a_new_life_stays() -> None:
    person = Person(book(wait_then_send()))
    person.take(erasure())
    person.take(identify(R + HOUR, name="Ann"))
    person.tick(R + LOG_RETENTION)
    assert effects_of(person, Forget) == []
    assert person.customer.state.erased_at is None
    assert person.customer.traits == {"name": "Ann"}


def test_an_erasure_tells_the_ids_that_belong_to_the_customer() -> None:
    person = Person(book(wait_then_send()))
    person.take(msgspec.structs.replace(event(), anonymous_id="a1"))
    person.take(erasure())
    (told,) = effects_of(person, Forward)
    assert (told.event.kind, told.event.customer, told.event.properties) == (
        "erase",
        "a1",
        {"of": "u1"},
    )
    assert person.customer.state.links == ()


def anonymous(forward: str) -> Person:
    """An id that belongs to somebody."""
    person = Person(book(wait_then_send()))
    link = link_event(anonymous_id="u1", user_id=forward, alias=False, at=NOON)
    person.take(msgspec.structs.replace(link, received_at=NOON))
    assert person.customer.state.forward == forward
    return person


def test_a_linked_id_lets_go_of_its_link() -> None:
    person = anonymous("bob")
    person.take(erasure(of="bob"))
    assert person.customer.state.forward == ""
    assert effects_of(person, Belong)[-1] == Belong("")
    own = msgspec.structs.replace(event(at=R + HOUR), user_id=None, anonymous_id="u1")
    person.take(own)
    assert person.counted("entered") == 1, "it is a customer of its own again"
    link = link_event(anonymous_id="u1", user_id="bob", alias=False, at=R + 2 * HOUR)
    again = msgspec.structs.replace(link, id="link-2", received_at=R + 2 * HOUR)
    person.take(again)
    assert person.customer.state.forward == "bob", "and may be linked again"


def test_an_id_that_belongs_to_somebody_else_is_left_alone() -> None:
    person = anonymous("eve")
    person.take(erasure(of="bob"))
    assert person.customer.state.forward == "eve"
    assert effects_of(person, Erase) == []


def test_an_erasure_that_meets_a_linked_id_goes_to_whom_it_belongs() -> None:
    person = anonymous("bob")
    person.take(erasure())
    (passed,) = effects_of(person, Forward)
    assert (passed.event.kind, passed.event.customer) == ("erase", "bob")


def test_of_a_merge_only_what_is_from_behind_the_erasure_is_taken_in() -> None:
    def run(name: str, at: datetime) -> Run:
        return Run(name, "cart", 1, name, at, Trigger("Added"), "wait", AtTime(R + 9 * HOUR))

    def past(name: str, at: datetime) -> Event:
        return msgspec.structs.replace(event(at=at, n=name), id=name)

    before, after = R - HOUR, R + HOUR
    milliseconds = int(R.timestamp() * 1000)
    merge = Merge(
        "a1",
        traits={"old": 1, "new": 2, "consent": {"email": True, "sms": True}},
        stated={
            "old": milliseconds - 1, "new": milliseconds + 1,
            "consent.email": milliseconds - 1, "consent.sms": milliseconds + 1,
        },
        runs=(run("r-old", before), run("r-new", after)),
        entries={"cart\x1fold": before, "cart\x1fnew": after},
        records=(
            Record("consents", {"channel": "email", "stated_at": before.isoformat()}),
            Record("consents", {"channel": "sms", "stated_at": after.isoformat()}),
        ),
        events=(past("e-old", before), past("e-new", after)),
    )  # fmt: skip
    told = merge_event(source="a1", user_id="u1", part="p", content=content(merge), at=after)
    person = Person(book(wait_then_send()))
    person.take(erasure())
    person.take(msgspec.structs.replace(told, received_at=R + 2 * HOUR))
    assert person.customer.traits == {"new": 2, "consent": {"sms": True}}
    assert [found.id for found in person.customer.state.runs] == ["r-new"]
    assert list(person.customer.state.entries) == ["cart\x1fnew"]
    rows = [getattr(e, "record", None) or getattr(e, "event", None) for e in person.effects]
    kept = [r.row["channel"] for r in rows if isinstance(r, Record)]
    assert kept == ["sms"]
    assert [e.id for e in rows if isinstance(e, Event)] == ["e-new"]
