"""Explaining what a real engine has decided, from what it has stored."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.console.explaining import stored
from services.console.explaining.answer import ExplainAnswer, answer_of
from services.console.explaining.replay import explain
from services.console.explaining.stored import read
from services.console.publish import apply, set_status
from services.journey.core.firing import scheduled
from services.journey.core.flow import Schedule
from services.journey.core.occasions import Due
from services.journey.firings import rows as firings
from services.journey.language.workspace import load_workspace
from shared.clock import REAL, wall_clock
from shared.event import outcome_event
from tests.integration.consoling import client
from tests.integration.test_identity import elsewhere, guest, identify, relaying, settled
from tests.integration.test_journey_worker import House, house, track, workspace

__all__ = ["house"]

CART = """
journey: cart
title: Carts
trigger: {event: Added, where: event.price >= 10000}
entry: {key: event.cart, where: profile.email != null}
exit: [{event: Bought, where: event.cart == trigger.cart}]
steps:
  - {send: email, template: hello, id: nudge}
  - branch:
      - when: profile.tier == "gold" or steps.nudge.outcome != "sent"
        steps: [{exit: told}]
  - wait: 1h
  - {send: email, template: hello, id: again}
"""
USER = "user-1"


async def decide(house: House, decision: str, reason: str | None = None) -> None:
    """What dispatch does: the message's record, and its outcome through the log."""
    await house.until("SELECT count(*) = 1 FROM messages WHERE decision IS NULL")
    at = wall_clock()
    row = await house.pool.fetchrow(
        "UPDATE messages SET status = 'decided', decision = $1, reason = $2, decided_at = $3,"
        " channel = 'email', attempts = 1 WHERE decision IS NULL"
        " RETURNING id, customer, run_id, step",
        decision,
        reason,
        at,
    )
    assert row is not None
    told = outcome_event(
        message_id=row["id"], customer=row["customer"], at=at, step=row["step"],
        run_id=row["run_id"], decision=decision, reason=reason, channel="email",
    )  # fmt: skip
    await house.log.append([told])


async def explained(
    house: House, customer: str, journey: str = "cart", later: timedelta = timedelta(0)
) -> ExplainAnswer:
    past = await read(house.pool, customer, journey)
    return answer_of(explain(past, customer, journey, wall_clock() + later), "en")


def said(answer: ExplainAnswer, *kinds: str) -> list[str]:
    return [fact.text for fact in answer.facts if fact.kind in kinds]


async def test_an_entry_its_message_and_its_exit_are_told_with_what_they_saw(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example", tier="silver")])
        await house.log.append([track("Added", USER, cart="c1", price=38000)])
        await decide(house, "sent")
        await house.caught_up()
        await house.log.append([track("Bought", USER, cart="c2")])
        await house.log.append([track("Bought", USER, cart="c1")])
        await house.caught_up()
    answer = await explained(house, USER)
    assert [fact.kind for fact in answer.facts] == [
        "event", "entered", "reached", "message", "reached", "waits", "event", "no_exit", "event",
        "ended",
    ]  # fmt: skip
    assert "the event's price was 38,000" in said(answer, "entered")[0]
    assert "the customer's email was “a@shop.example”" in said(answer, "entered")[0]
    assert "the customer's tier was “silver”" in said(answer, "reached")[1]
    assert said(answer, "message") == ["The message of nudge was sent (e-mail)."]
    (message,) = [fact for fact in answer.facts if fact.kind == "message"]
    assert message.detail["on_record"] is True
    assert message.at == await house.pool.fetchval("SELECT decided_at FROM messages")
    assert "the event's cart was “c2”" in said(answer, "no_exit")[0]
    assert "because an exit was met" in said(answer, "ended")[0]
    assert answer.summary[0].startswith("The customer entered this journey once.")
    assert answer.live == []
    assert answer.notes == []


async def test_a_message_that_was_really_dropped_is_dropped_in_the_replay(house: House) -> None:
    """Consent is assumed there, so the policies alone would send it."""
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        await house.log.append([track("Added", USER, cart="c1", price=38000)])
        await decide(house, "dropped", "suppressed")
        await house.caught_up()
    answer = await explained(house, USER)
    (why,) = said(answer, "message")
    assert why.startswith("The message of nudge was not sent (e-mail). The address is blocked")
    assert said(answer, "ended") == ["The journey ended at exit-2-1-1: told."]
    assert answer.summary[-1] == why


async def test_who_never_entered_learns_why(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([track("Added", USER, cart="c1", price=8000)])
        await house.log.append([track("Added", USER, cart="c1", price=20000)])
        await house.log.append([track("Viewed", "u2")])
        await house.caught_up()
    answer = await explained(house, USER)
    matched, entry = said(answer, "refused")
    assert "`event.price >= 10000` does not hold: the event's price was 8,000." in matched
    assert "The customer does not meet the entry condition." in entry
    assert "`profile.email != null` does not hold: the customer's email was missing." in entry
    assert [fact.detail["reason"] for fact in answer.facts if fact.kind == "refused"] == [
        "not_matched",
        "entry_condition",
    ]
    assert answer.summary[0] == "The customer has never entered this journey."
    (check,) = [
        fact.checks[0] for fact in answer.facts if fact.detail.get("reason") == "not_matched"
    ]
    assert check.values == [{"what": "event.price", "value": 8000}]
    nothing = await explained(house, "u2")
    assert nothing.facts == []
    assert nothing.summary[-1] == "No event that starts it has come from this customer."


async def test_a_guest_who_merged_is_explained_by_either_id(house: House) -> None:
    await house.publish(cart=CART)
    anon = elsewhere(USER)
    async with relaying(house), house.running(house.worker("w1"), house.worker("w2")):
        said_by = identify(USER, None, email="a@shop.example")
        said_by = msgspec.structs.replace(said_by, user_id=None, anonymous_id=anon)
        await house.log.append([said_by, guest("Added", anon, cart="c1", price=20000)])
        await settled(house)
        await house.log.append([identify(USER, anon, tier="gold")])
        await settled(house)
        await decide(house, "sent")
        await settled(house)
    by_user, by_guest = await explained(house, USER), await explained(house, anon)
    assert by_guest.customer == USER
    assert [note.code for note in by_guest.notes] == ["belongs_to"]
    assert by_guest.facts == by_user.facts
    kinds = [fact.kind for fact in by_user.facts]
    assert kinds[:5] == ["event", "entered", "reached", "linked", "merged"]
    assert said(by_user, "message") == ["The message of nudge was sent (e-mail)."]
    assert "the customer's tier was “gold”" in said(by_user, "reached")[-1]


async def test_each_event_meets_the_version_and_pause_of_its_receipt(house: House) -> None:
    await house.publish(cart=CART)
    pool = house.pool
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        await house.log.append([track("Added", USER, cart="c1", price=8000)])
        await house.caught_up()
        await apply(pool, workspace(cart=CART.replace("10000", "5000")), "test", REAL)
        in_force = await pool.fetchval("SELECT max(active_from) FROM workspaces")
        while wall_clock() < in_force:
            await asyncio.sleep(0.02)
        await house.log.append([track("Added", USER, cart="c2", price=8000)])
        await decide(house, "sent")
        await house.caught_up()
        await set_status(pool, "cart", "paused", REAL)
        paused = await pool.fetchval("SELECT max(at) FROM journey_changes")
        while wall_clock() < paused:
            await asyncio.sleep(0.02)
        await house.log.append([track("Added", USER, cart="c3", price=8000)])
        await house.caught_up()
    answer = await explained(house, USER, later=timedelta(hours=3))
    reasons = [fact.detail.get("reason") for fact in answer.facts if fact.kind == "refused"]
    assert reasons == ["not_matched", "paused"]
    entered = [fact for fact in answer.facts if fact.kind == "entered"]
    assert [(fact.detail["key"], fact.detail["version"]) for fact in entered] == [("c2", 2)]
    assert not said(answer, "timed_out", "ended"), "the pause holds the wait"
    assert "paused" in [note.code for note in answer.notes]


async def test_what_has_been_dropped_is_said_and_the_record_still_tells(house: House) -> None:
    await house.publish(cart=CART)
    pool = house.pool
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        await house.log.append([track("Added", USER, cart="c1", price=38000)])
        await decide(house, "sent")
        await house.caught_up()
    await pool.execute("DELETE FROM history")
    await pool.execute("UPDATE journey_versions SET created_at = created_at - interval '3 years'")
    answer = await explained(house, USER)
    assert {note.code for note in answer.notes} == {"dropped", "not_replayed"}
    assert said(answer, "message") == ["The message of nudge was sent (e-mail)."]
    assert [run.step for run in answer.live] == ["wait-3"]


async def test_what_the_provider_said_is_told_with_its_message(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        await house.log.append([track("Added", USER, cart="c1", price=38000)])
        await decide(house, "failed", "rejected")
        await house.caught_up()
    await house.pool.execute(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at, outcome, detail) SELECT partition, id, 1, 'email', 'ses', 'd', now(),"
        " 'rejected_message', '400 MessageRejected' FROM messages"
    )
    (told,) = said(await explained(house, USER), "message")
    assert told.endswith("The provider said: 400 MessageRejected.")


async def test_the_api_answers_in_korean_and_refuses_what_there_is_not(
    house: House, dsn: str
) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([track("Added", USER, cart="c1", price=8000)])
        await house.caught_up()
    async with client(dsn, house.pool) as api:
        path: Any = {"journey": "cart", "lang": "ko"}
        answer = await api.get(f"/api/customers/{USER}/explain", params=path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["facts"][1]["text"] == (
            "고객이 여정에 들어가지 않았습니다. 이벤트가 시작 조건에 맞지 않습니다."
            " `event.price >= 10000` 조건을 충족하지 않습니다(이벤트의 price: 8,000)."
        )
        assert (await api.get("/api/customers/u9/explain", params=path)).status_code == 404
        nowhere = await api.get(f"/api/customers/{USER}/explain", params={"journey": "none"})
        assert nowhere.status_code == 404
        assert (await api.get(f"/api/customers/{USER}/explain")).status_code == 422


async def test_a_timeline_has_everything_newest_first_page_by_page(house: House, dsn: str) -> None:
    await house.publish(cart=CART)
    anon = elsewhere(USER)
    async with relaying(house), house.running(house.worker("w1"), house.worker("w2")):
        said_by = identify(USER, None, email="a@shop.example", consent={"email": True})
        said_by = msgspec.structs.replace(said_by, user_id=None, anonymous_id=anon)
        await house.log.append([said_by, guest("Added", anon, cart="c1", price=20000)])
        await settled(house)
        await house.log.append([identify(USER, anon, tier="silver")])
        await settled(house)
        await decide(house, "sent")
        await settled(house)
        await house.log.append([track("Bought", USER, cart="c1")])
        await settled(house)
    async with client(dsn, house.pool) as api:
        answer = await api.get(f"/api/customers/{anon}/timeline", params={"limit": 500})
        assert answer.status_code == 200, answer.text
        assert "Link" not in answer.headers
        rows = answer.json()
        assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
        told = [(row["kind"], row["journey"], row["step"]) for row in rows]
        assert told[:2] == [("ended", "cart", "wait-3"), ("event", None, None)]
        for expected in (
            ("entered", "cart", None),
            ("reached", "cart", "nudge"),
            ("message", "cart", "nudge"),
            ("consent", None, None),
            ("linked", None, None),
            ("merged", None, None),
        ):
            assert told.count(expected) == 1, (expected, told)
        events = [row["detail"]["name"] for row in rows if row["kind"] == "event"]
        assert events == ["Bought", "", "Consent Changed", "Added", ""]
        paged, path = [], f"/api/customers/{USER}/timeline?limit=3"
        while path:
            page = await api.get(path)
            paged += page.json()
            path = page.links.get("next", {}).get("url", "")
        assert paged == rows
        assert (await api.get("/api/customers/nobody/timeline")).status_code == 404
        assert (await api.get(f"/api/customers/{USER}/timeline?before=x")).status_code == 400


SEGMENT = {"segments/rich.yaml": b"segment: rich\nwhere: profile.points > 100\n"}
WEEKLY = """
journey: weekly
trigger: {schedule: "0 10 * * *", segment: rich}
steps: [{wait: 1h}, {exit: done}]
"""
RISING = """
journey: rising
trigger: {segment: rich, on: enter}
steps: [{wait: 1h}, {exit: done}]
"""


async def test_a_firing_that_meant_others_says_what_it_asked(house: House) -> None:
    files = {**workspace(weekly=WEEKLY, rising=RISING), **SEGMENT}
    await apply(house.pool, files, "test", REAL)
    async with house.running():
        await house.log.append([identify(USER, None, points=50)])
        await house.log.append([identify("rich", None, points=50)])
        await house.log.append([identify("rich", None, points=500)])
        await house.caught_up()
    (flow,) = [
        f for f in load_workspace(files).flows.values() if isinstance(f.plan, Schedule)
    ]  # fmt: skip
    at = wall_clock()
    fired = scheduled(replace(flow, version=1), "2026-03-02T10:00", at, at)
    async with house.pool.acquire() as connection:
        await firings.insert(connection, [Due(fired)])
    answer = await explained(house, USER, "weekly", timedelta(minutes=1))
    assert [fact.kind for fact in answer.facts] == ["event", "refused", "segment_now"]
    assert "`profile.points > 100` does not hold: the customer's points was 50" in (
        answer.facts[1].text
    )
    assert answer.facts[1].detail["reason"] == "not_matched"
    meant = await explained(house, "rich", "weekly", timedelta(minutes=1))
    assert "entered" in [fact.kind for fact in meant.facts]
    rising = await explained(house, "rich", "rising")
    assert [fact.kind for fact in rising.facts][:4] == ["event", "inside", "entered", "waits"]
    never = await explained(house, USER, "rising")
    (now,) = never.facts
    assert now.kind == "segment_now"
    assert "is not in the segment rich now" in now.text


async def test_what_an_apply_did_to_a_run_in_flight_is_told_at_its_moment(house: House) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        await house.log.append([track("Added", USER, cart="c1", price=38000)])
        await decide(house, "sent")
        await house.caught_up()
        changed = workspace(cart=CART.replace("wait: 1h", "wait: 2h"))
        await apply(house.pool, changed, "test", REAL, in_flight="end")
        in_force = await house.pool.fetchval("SELECT max(active_from) FROM workspaces")
        await house.until("SELECT clock_timestamp() > $1", in_force)
        await house.log.append([track("Viewed", USER)])
        await house.caught_up()
    answer = await explained(house, USER, later=timedelta(days=1))
    (ended,) = [fact for fact in answer.facts if fact.kind == "ended"]
    assert (ended.detail["reason"], ended.at) == ("superseded", in_force)
    assert "a new version was published" in ended.text


async def test_of_very_much_only_the_newest_is_replayed_and_it_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.publish(cart=CART)
    async with house.running():
        await house.log.append([identify(USER, None, email="a@shop.example")])
        for number in range(4):
            await house.log.append([track("Added", USER, cart=f"c{number}", price=8000)])
        await house.log.append([track("Added", USER, cart="c4", price=20000)])
        await decide(house, "sent")
        await house.caught_up()
    monkeypatch.setattr(stored, "MOST_EVENTS", 2)
    answer = await explained(house, USER)
    assert [note.code for note in answer.notes] == ["cut"]
    assert "Only the newest 2 events were replayed" in answer.notes[0].text
    assert len(said(answer, "refused")) == 1
    assert len(said(answer, "entered")) == 1, "what is known of before still lets them enter"
    assert said(answer, "message") == ["The message of nudge was sent (e-mail)."]


LISTENING = """
journey: listening
trigger: {event: Added}
steps:
  - wait_for: {event: Bought, where: event.total > 5, timeout: 1h}
    id: ear
    then: [{split: [{variant: a, weight: 1, steps: []}], id: fork}]
    timed_out: []
"""


async def test_what_a_wait_heard_and_what_it_did_not_is_told(house: House) -> None:
    await house.publish(cart=LISTENING.replace("listening", "cart"))
    async with house.running():
        await house.log.append([track("Added", USER)])
        await house.caught_up()
        await house.log.append([track("Bought", USER, total=3), track("Bought", USER, total=8)])
        await house.caught_up()
    answer = await explained(house, USER)
    kinds = [fact.kind for fact in answer.facts]
    assert kinds == [
        "event", "entered", "waits", "event", "listens", "event", "matched", "variant", "ended",
    ]  # fmt: skip
    assert said(answer, "matched") == [
        "The event that ear waited for had come. `event.total > 5` holds: the event's total was 8."
    ]
