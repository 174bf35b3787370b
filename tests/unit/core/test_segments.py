"""Segments: who enters and leaves, when it is found, and what is the baseline."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.journey.core import segments
from services.journey.core.decide import decide
from services.journey.core.flow import Flow
from services.journey.core.spans import Span
from services.journey.core.state import Member, pack, unpack
from services.journey.language.compile import compile_journey
from shared.event import Event, look_event
from tests.unit.core.flows import HOUR, NOON, Person, event
from tests.unit.core.watching import World, watching, world

DAY = timedelta(days=1)
GOLD = 'profile.tier == "gold"'
LAPSED = 'did("Bought") and not did("Bought", within="3d")'


def traits(at: datetime, **stated: Any) -> Event:
    return Event(
        id=f"identify-{at.isoformat()}-{stated}",
        kind="identify",
        timestamp=at,
        received_at=at,
        user_id="u1",
        traits=stated,
    )


def look(at: datetime) -> Event:
    return msgspec.structs.replace(look_event(customer="u1", at=at), received_at=at)


def said(person: Person) -> list[tuple[str, datetime]]:
    return [(message.journey, message.at) for message in person.messages]


# Found at the event ----------------------------------------------------------------------------


def test_a_trait_that_lets_a_customer_in_starts_the_journey_at_once() -> None:
    found = world([watching("hello", "vip")], vip=GOLD).person()
    found.take(traits(NOON, tier="silver"))
    assert said(found) == []
    found.take(traits(NOON + HOUR, tier="gold"))
    assert said(found) == [("hello", NOON + HOUR)]
    found.take(traits(NOON + 2 * HOUR, tier="gold"))
    assert len(found.messages) == 1, "who is inside already does not enter"


def test_leaving_starts_those_who_watch_for_it_and_coming_back_enters_again() -> None:
    flows = [watching("hello", "vip"), watching("bye", "vip", "exit")]
    found = world(flows, vip=GOLD).person()
    for hours, tier in enumerate(["gold", "silver", "gold"]):
        found.take(traits(NOON + hours * HOUR, tier=tier))
        found.decided(found.messages[-1], NOON + hours * HOUR)
    assert said(found) == [("hello", NOON), ("bye", NOON + HOUR), ("hello", NOON + 2 * HOUR)]
    assert len({message.id for message in found.messages}) == 3


def test_an_event_that_is_counted_lets_in_and_others_do_not() -> None:
    found = world([watching("hello", "buyers")], buyers='count("Bought") >= 2').person()
    found.take(event("Bought", NOON))
    found.take(event("Viewed", NOON + HOUR))
    assert said(found) == []
    found.take(event("Bought", NOON + 2 * HOUR))
    assert said(found) == [("hello", NOON + 2 * HOUR)]


def test_what_the_run_was_started_by_is_the_segment() -> None:
    steps = (
        '  - branch: [{when: trigger.segment == "vip", '
        "steps: [{send: email, template: t, id: said}]}]"
    )
    found = world([watching("hello", "vip", steps=steps)], vip=GOLD).person()
    found.take(traits(NOON, tier="gold"))
    assert [m.context.trigger for m in found.messages] == [{"segment": "vip"}]
    assert [m.context.event["name"] for m in found.messages] == [segments.ENTERED]


def test_a_customer_who_appears_inside_enters_and_leaves_nothing() -> None:
    flows = [watching("hello", "no-order"), watching("bye", "no-order", "exit")]
    found = world(flows, no_order='count("Bought") == 0').person()
    found.take(event("Viewed", NOON))
    assert said(found) == [("hello", NOON)]


def test_a_journey_changes_segments_and_another_follows_in_the_same_decision() -> None:
    crown = compile_journey(
        "journey: crown\ntrigger: {event: Won}\nsteps: [{set: {profile.tier: gold}}]", 1
    )
    found = world([crown, watching("hello", "vip")], vip=GOLD).person()
    found.take(event("Won", NOON))
    assert said(found) == [("hello", NOON)]


def test_journeys_that_undo_each_other_come_to_an_end() -> None:
    up = watching("up", "vip", "exit", "  - set: {profile.tier: gold}")
    down = watching("down", "vip", "enter", "  - set: {profile.tier: silver}")
    found = world([up, down], vip=GOLD).person()
    found.take(traits(NOON, tier="gold"))
    assert (found.counted("entered"), found.customer.traits["tier"]) == (2, "gold")
    found.take(traits(NOON + HOUR, tier="silver"))
    ids = [member.changes for member in found.customer.state.members.values()]
    assert all(changes >= 2 for changes in ids)


def test_a_timer_s_set_is_followed_at_its_instant() -> None:
    later = compile_journey(
        "journey: later\ntrigger: {event: Won}\nsteps: [{wait: 1h}, {set: {profile.tier: gold}}]", 1
    )
    found = world([later, watching("hello", "vip")], vip=GOLD).person()
    found.take(event("Won", NOON))
    found.take(event("Viewed", NOON + 2 * HOUR))
    assert said(found) == [("hello", NOON + HOUR)]


def test_entry_checks_hold_for_segments_too() -> None:
    flow = watching("hello", "vip", more="entry: {reentry: never, where: profile.email != null}\n")
    found = world([flow], vip=GOLD).person()
    found.take(traits(NOON, tier="gold"))
    assert found.counted("refused:entry_condition") == 1
    found.take(traits(NOON + HOUR, tier="silver", email="a@shop.example"))
    found.take(traits(NOON + 2 * HOUR, tier="gold"))
    found.decided(found.messages[-1], NOON + 2 * HOUR)
    found.take(traits(NOON + 3 * HOUR, tier="silver"))
    found.take(traits(NOON + 4 * HOUR, tier="gold"))
    assert said(found) == [("hello", NOON + 2 * HOUR)]
    assert found.counted("refused:reentry") == 1


def test_in_segment_is_exact_at_the_moment_of_decision() -> None:
    steps = (
        '  - wait: 2d\n  - branch: [{when: in_segment("lapsed"), steps: '
        "[{send: email, template: t}]}]"
    )
    flow = compile_journey(
        f"journey: j\ntrigger: {{event: Bought}}\nentry: {{when_active: restart}}\nsteps:\n{steps}",
        1,
    )
    found = world([flow], lapsed='not did("Bought", within="2d")').person()
    found.take(event("Bought", NOON))
    found.tick(NOON + 2 * DAY - timedelta(microseconds=1))
    assert said(found) == []
    found.tick(NOON + 2 * DAY)
    assert said(found) == [("j", NOON + 2 * DAY)]


# Found by a look -------------------------------------------------------------------------------


def test_a_look_finds_what_time_has_changed_and_only_once() -> None:
    found = world([watching("miss-you", "lapsed")], lapsed=LAPSED).person()
    found.take(event("Bought", NOON))
    found.take(look(NOON + 3 * DAY - HOUR))
    assert said(found) == []
    assert segments.next_change(found.book, found.customer, NOON) == NOON + 3 * DAY
    late = NOON + 3 * DAY + timedelta(minutes=3)
    found.take(look(late))
    found.take(look(late))
    found.take(look(late + HOUR))
    assert said(found) == [("miss-you", late)]


def test_an_event_first_finds_what_time_had_changed_before_it() -> None:
    """Who lapsed and comes back before any sweep has left and entered."""
    flows = [watching("back", "lapsed", "exit"), watching("miss-you", "lapsed")]
    found = world(flows, lapsed=LAPSED).person()
    found.take(event("Bought", NOON))
    found.take(event("Bought", NOON + 4 * DAY))
    assert said(found) == [("miss-you", NOON + 4 * DAY), ("back", NOON + 4 * DAY)]


def test_an_event_at_the_very_instant_comes_before_time() -> None:
    found = world([watching("miss-you", "lapsed")], lapsed=LAPSED).person()
    found.take(event("Bought", NOON))
    found.take(event("Bought", NOON + 3 * DAY))
    assert said(found) == []


def test_a_look_at_nobody_does_nothing() -> None:
    found = world([watching("hello", "none")], none='not did("Bought", within="1d")').person()
    decision = found.take(look(NOON))
    assert decision.customer.state.members == {}
    assert said(found) == []


def test_a_look_is_no_event_of_the_customer() -> None:
    found = world([watching("hello", "some")], some='count("$look", within="9d") > 0').person()
    found.take(event("Viewed", NOON))
    seen = found.customer.state.seen
    found.take(look(NOON + HOUR))
    assert found.customer.state.seen == seen
    assert said(found) == []


# Baselines -------------------------------------------------------------------------------------


def newly_watched(condition: str, *events: Event, since: datetime) -> Person:
    """Events before a journey that watches the segment is published, at `since`."""
    nothing = World().publish(NOON - 9 * DAY, [], {"s": condition})
    before = nothing.person()
    after = nothing.publish(
        since, [watching("hello", "s"), watching("bye", "s", "exit")], {"s": condition}
    )
    found = Person(after.book())
    # The rows that the table has of the past, as the shell fills them in.
    found.customer = msgspec.structs.replace(
        before.customer,
        state=msgspec.structs.replace(before.customer.state, needs=found.book.needs.id),
    )
    for each in events:
        found.take(each)
    return found


def test_who_is_inside_at_the_publish_does_not_enter() -> None:
    found = newly_watched(GOLD, traits(NOON, tier="gold"), since=NOON + HOUR)
    assert said(found) == []
    found.take(traits(NOON + 2 * HOUR, tier="gold", name="Ann"))
    assert said(found) == []
    found.take(traits(NOON + 3 * HOUR, tier="silver"))
    assert said(found) == [("bye", NOON + 3 * HOUR)]


def test_the_first_event_behind_the_publish_is_told_from_the_state_before_it() -> None:
    found = newly_watched(GOLD, traits(NOON, tier="silver"), since=NOON + HOUR)
    found.take(traits(NOON + 2 * HOUR, tier="gold"))
    assert said(found) == [("hello", NOON + 2 * HOUR)]


def test_what_time_changed_behind_the_publish_is_no_part_of_the_baseline() -> None:
    found = newly_watched(LAPSED, event("Bought", NOON), since=NOON + 2 * DAY)
    found.take(look(NOON + 5 * DAY))
    assert said(found) == [("hello", NOON + 5 * DAY)]


def test_who_had_lapsed_before_the_publish_enters_nobody() -> None:
    found = newly_watched(LAPSED, event("Bought", NOON), since=NOON + 4 * DAY)
    found.take(look(NOON + 5 * DAY))
    assert said(found) == []
    found.take(event("Bought", NOON + 6 * DAY))
    assert said(found) == [("bye", NOON + 6 * DAY)]


def test_events_that_the_segment_does_not_read_leave_the_baseline_open() -> None:
    found = newly_watched(LAPSED, event("Bought", NOON), since=NOON + 2 * DAY)
    found.take(event("Viewed", NOON + 2 * DAY + HOUR))
    assert found.customer.state.members == {}
    found.take(look(NOON + 3 * DAY))
    assert said(found) == [("hello", NOON + 3 * DAY)]


def republished(change: Flow, condition: str) -> Person:
    """Silver at first; made gold while the journey is another, or asks something else."""
    first = World().publish(NOON - DAY, [watching("hello", "vip")], {"vip": GOLD})
    found = first.person()
    found.take(traits(NOON, tier="silver"))
    found.take(traits(NOON + HOUR, points=900))
    found.book = first.publish(NOON + 2 * HOUR, [change], {"vip": condition}).book()
    return found


def test_a_changed_segment_is_a_new_baseline() -> None:
    found = republished(watching("hello", "vip"), 'profile.tier == "gold" or profile.points > 500')
    found.take(traits(NOON + 3 * HOUR, points=901))
    assert said(found) == []
    assert found.customer.state.members["hello"].inside is True


def test_a_changed_journey_is_a_new_baseline_and_an_unchanged_one_is_not() -> None:
    changed = republished(watching("hello", "vip", version=2), GOLD)
    [watch] = changed.book.watches(NOON + 3 * HOUR)
    assert watch.since == NOON + 2 * HOUR
    unchanged = republished(watching("hello", "vip"), GOLD)
    [watch] = unchanged.book.watches(NOON + 3 * HOUR)
    assert watch.since == NOON - DAY


def test_a_journey_that_was_away_begins_with_a_new_baseline() -> None:
    flow, segment = watching("hello", "vip"), {"vip": GOLD}
    away = World().publish(NOON, [flow], segment).publish(NOON + HOUR, [], segment)
    [watch] = away.publish(NOON + 2 * HOUR, [flow], segment).book().watches(NOON + 3 * HOUR)
    assert watch.since == NOON + 2 * HOUR
    archived = {"hello": (Span(NOON + 3 * HOUR, NOON + 5 * HOUR),)}
    book = World().publish(NOON, [flow], segment).book(archived=archived)
    assert [w.since for w in book.watches(NOON + 2 * HOUR)] == [NOON]
    assert book.watches(NOON + 4 * HOUR) == ()
    assert [w.since for w in book.watches(NOON + 6 * HOUR)] == [NOON + 5 * HOUR]


def test_a_change_of_a_segment_that_another_refers_to_changes_both() -> None:
    flow = watching("hello", "both")
    both = 'in_segment("vip") and profile.email != null'
    first = World().publish(NOON, [flow], {"vip": GOLD, "both": both})
    second = first.publish(NOON + HOUR, [flow], {"vip": "profile.vip == true", "both": both})
    [watch] = second.book().watches(NOON + 2 * HOUR)
    assert watch.since == NOON + HOUR


def test_a_paused_journey_keeps_the_membership_and_starts_nobody() -> None:
    made = world([watching("hello", "vip")], vip=GOLD)
    found = made.person()
    found.book = made.book(paused=["hello"])
    found.take(traits(NOON, tier="gold"))
    assert (said(found), found.counted("refused:paused")) == ([], 1)
    found.book = made.book()
    found.take(traits(NOON + HOUR, tier="gold", name="Ann"))
    assert said(found) == []


def test_a_deleted_segment_keeps_its_last_content_for_runs_that_ask_it() -> None:
    steps = (
        '  - wait: 1d\n  - branch: [{when: in_segment("vip"), steps: [{send: email, template: t}]}]'
    )
    flow = compile_journey(f"journey: j\ntrigger: {{event: Won}}\nsteps:\n{steps}", 1)
    first = World().publish(NOON, [flow], {"vip": GOLD})
    found = first.person()
    found.take(traits(NOON, tier="gold"))
    found.take(event("Won", NOON))
    found.book = first.publish(NOON + HOUR, [], {}).book()
    found.tick(NOON + DAY)
    assert said(found) == [("j", NOON + DAY)]


# Two who turn out to be one --------------------------------------------------------------------


def test_memberships_join_so_that_nobody_enters_twice() -> None:
    out, inside, newer = Member(1, False, 2), Member(1, True, 3), Member(2, False)
    assert segments.joined({"j": out}, {"j": inside}) == {"j": Member(1, True, 6)}
    assert segments.joined({"j": inside}, {"j": out}) == {"j": Member(1, True, 6)}
    assert segments.joined({"j": inside}, {"j": newer}) == {"j": newer}
    assert segments.joined({}, {"j": inside}) == {"j": inside}
    assert segments.joined({}, {"j": out}) == {}


def test_memberships_are_stored_and_rows_without_them_are_read() -> None:
    found = world([watching("hello", "vip")], vip=GOLD).person()
    old = pack(found.customer.state)
    assert unpack(old).members == {}
    found.take(traits(NOON, tier="gold"))
    assert unpack(pack(found.customer.state)) == found.customer.state


def test_nothing_is_kept_where_nobody_watches() -> None:
    found = world([], vip=GOLD).person()
    decision = decide(found.book, found.customer, traits(NOON, tier="gold"))
    assert decision.customer.state.members == {}
