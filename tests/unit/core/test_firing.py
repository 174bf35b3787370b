"""What one customer makes of a firing: those meant and those not, once for each occasion."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.journey.core import firing
from services.journey.core.book import Book, Edition
from services.journey.core.decide import Decision, decide
from services.journey.core.effects import Count
from services.journey.core.firing import Firing, event_for
from services.journey.core.flow import Flow
from services.journey.core.spans import Span
from services.journey.core.state import Customer, State
from services.journey.language.workspace import load_workspace
from shared.clock import EPOCH
from shared.event import Event, catalog_event

NOW = datetime(2026, 3, 2, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def workspace(trigger: str, rest: str = "") -> tuple[Flow, Book]:
    files = {
        "dangol.yaml": "timezone: Asia/Seoul\n",
        "segments/vip.yaml": "segment: vip\nwhere: profile.tier == 'vip'\n",
        "journeys/j.yaml": f"journey: j\ntrigger: {trigger}\n{rest}\nsteps: [{{wait: 30d}}]\n",
    }
    found = load_workspace({name: text.encode() for name, text in files.items()})
    assert not found.problems, found.problems
    flow = found.flows["j"]
    book = Book(
        [Edition.of(EPOCH, [flow], found.segments)],
        {("j", flow.version): flow},
        zone=found.settings.zone(),
        segments=found.segments,
    )
    return flow, book


def person(**traits: Any) -> Customer:
    return Customer("u", traits, State(seen={1: 0}))


def received(event: Event, at: datetime) -> Event:
    return msgspec.structs.replace(event, received_at=at)


def told(book: Book, customer: Customer, fired: Firing, at: datetime = NOW + SECOND) -> Decision:
    return decide(book, customer, received(event_for(fired, customer.id), at))


def refused(decision: Decision) -> list[str]:
    return [e.what for e in decision.effects if isinstance(e, Count) and "refused" in e.what]


SCHEDULE = '{schedule: "0 10 * * mon", segment: vip}'


def test_a_member_enters_once_for_an_occasion() -> None:
    flow, book = workspace(SCHEDULE)
    fired = firing.scheduled(flow, "2026-03-02T10:00", NOW, NOW)
    first = told(book, person(tier="vip"), fired)
    (run,) = first.customer.state.runs
    assert run.trigger.name == firing.SCHEDULED
    assert run.trigger.properties == {"at": "2026-03-02T01:00:00Z"}
    assert not first.customer.state.known  # a firing says nothing about how they are known
    # The same occasion in another zone, with another id.
    elsewhere = firing.scheduled(flow, "2026-03-02T10:00", NOW + timedelta(hours=8), NOW)
    again = told(book, first.customer, elsewhere, NOW + timedelta(hours=8))
    assert not again.taken_in
    assert not again.effects


def test_who_is_no_member_is_left_as_they_were() -> None:
    flow, book = workspace(SCHEDULE)
    fired = firing.scheduled(flow, "2026-03-02T10:00", NOW, NOW)
    before = person(tier="none")
    decision = told(book, before, fired)
    assert decision.customer is before
    assert not decision.taken_in
    assert refused(decision) == ["refused:not_matched"]


def test_a_late_firing_says_so_and_one_beyond_max_age_starts_nothing() -> None:
    flow, book = workspace(SCHEDULE, "entry: {max_age: 2h}")
    later = NOW + timedelta(hours=1, seconds=30)
    fired = firing.scheduled(flow, "2026-03-02T10:00", NOW, later)
    (run,) = told(book, person(tier="vip"), fired, later).customer.state.runs
    assert run.trigger.properties == {"at": "2026-03-02T01:00:00Z", "late": 3630}
    too_late = told(book, person(tier="vip"), fired, NOW + timedelta(hours=2, seconds=1))
    assert refused(too_late) == ["refused:too_old"]


def test_nobody_enters_while_it_is_paused_or_once_it_is_gone() -> None:
    flow, book = workspace(SCHEDULE)
    fired = firing.scheduled(flow, "2026-03-02T10:00", NOW, NOW)
    paused = Book(
        [Edition.of(EPOCH, [flow], book.segments)],
        {("j", flow.version): flow},
        {"j": (Span(NOW),)},
        segments=book.segments,
    )
    assert refused(told(paused, person(tier="vip"), fired)) == ["refused:paused"]
    gone = Book(
        [Edition.of(EPOCH, [flow], book.segments), Edition.of(NOW, [], {})],
        {("j", flow.version): flow},
    )
    decision = told(gone, person(tier="vip"), fired)
    assert not decision.taken_in
    assert not decision.effects


DATE = '{date: profile.birthday, time: "10:00", every: year}'


def test_a_date_is_tested_again_in_the_customer_s_zone() -> None:
    flow, book = workspace(DATE)
    fired = firing.on_its_date(flow, "2026-03-02", NOW, NOW)
    (run,) = told(book, person(birthday="1990-03-02"), fired).customer.state.runs
    assert run.trigger.properties == {"at": "2026-03-02T01:00:00Z", "date": "2026-03-02"}
    for other in (
        person(birthday="1990-03-03"),
        person(),
        person(birthday="1990-03-02", timezone="Europe/Berlin"),
        person(birthday="1990-03-01T20:00:00-12:00", timezone="Asia/Tokyo"),
    ):
        decision = told(book, other, fired)
        if other.traits.get("timezone") == "Asia/Tokyo":  # an instant on that day over there
            assert decision.customer.state.runs
        else:
            assert decision.customer is other


def test_days_and_instants_have_firings_of_their_own() -> None:
    flow, book = workspace("{date: profile.ends}")
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    day = firing.on_its_date(flow, "2026-03-02", midnight - 9 * timedelta(hours=1), NOW)
    minute = firing.on_instants(flow, midnight - 10 * timedelta(hours=1), NOW, NOW)
    by_day, by_instant = person(ends="2026-03-02"), person(ends="2026-03-01T15:00:00Z")
    assert told(book, by_day, day).taken_in
    assert not told(book, by_instant, day).taken_in
    assert not told(book, by_day, minute).taken_in
    entered = told(book, by_instant, minute)
    assert entered.customer.state.runs[0].trigger.properties["at"] == "2026-03-01T15:00:00Z"
    assert entered.customer.state.runs[0].trigger.properties["late"] == 10 * 3600


AUDIENCE = "{event: Restocked, where: event.n > 0, audience: 'profile.sku == trigger.sku'}"


def test_a_catalogue_event_is_trigger_and_event() -> None:
    flow, book = workspace(AUDIENCE, "entry: {where: 'event.sku == trigger.sku'}")
    event = received(
        catalog_event(
            message_id="m1", name="Restocked", properties={"sku": "A", "n": 1}, at=NOW, source="x"
        ),
        NOW,
    )
    assert firing.answers(flow.plan, event)
    assert not firing.answers(flow.plan, msgspec.structs.replace(event, properties={"n": 0}))
    assert not firing.answers(flow.plan, msgspec.structs.replace(event, name="Else"))
    fired = firing.on_catalog(flow, event)
    (run,) = told(book, person(sku="A"), fired).customer.state.runs
    assert (run.trigger.name, run.trigger.properties) == ("Restocked", {"sku": "A", "n": 1})
    assert not told(book, person(sku="B"), fired).taken_in


def test_nobody_is_meant_who_is_not_there_any_more() -> None:
    flow, book = workspace("{event: Restocked, audience: 'profile.sku == null'}")
    event = catalog_event(message_id="m1", name="Restocked", properties={}, at=NOW, source="x")
    fired = firing.on_catalog(flow, received(event, NOW))
    assert told(book, person(), fired).taken_in
    erased = Customer("u", {}, State())
    decision = told(book, erased, fired)
    assert decision.customer is erased
    assert not decision.effects
