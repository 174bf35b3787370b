"""One dispatcher, a real PostgreSQL: what becomes of a message, and what is kept of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.dispatch.channels import log, registry
from services.dispatch.channels.port import Outcome, Outgoing, Result
from services.dispatch.policy.retry import LADDER
from shared.message import MessageContext
from tests.integration.dispatching import NOON, House, passed_over, shown, until
from tests.patience import in_time

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


async def test_an_attempt_is_recorded_before_the_provider_is_called(house: House) -> None:
    seen: list[Any] = []

    async def look(message: Outgoing) -> Result:
        seen.append((await house.row(), await house.attempts(), await house.places()))
        return Result(Outcome.ACCEPTED, "p-1", "250 thanks")

    house.provider.otherwise = look
    await house.message()
    async with house.dispatching():
        assert await house.decided() == [("sent", None, "email")]
    (row, attempts, places) = seen[0]
    assert (row["status"], row["attempts"], row["channel"]) == ("attempting", 1, "email")
    assert [(a["number"], a["adapter"], a["outcome"]) for a in attempts] == [(1, "fake", None)]
    assert places == [("m1", NOON, "email")]
    (after,) = await house.attempts()
    assert (after["outcome"], after["provider_id"]) == ("accepted", "p-1")
    assert (after["started_at"], after["finished_at"]) == (NOON, NOON)
    assert after["detail"] == "250 thanks"
    assert (await house.row())["provider_id"] == "p-1"


async def test_the_log_is_told_of_the_decision_at_its_instant(house: House) -> None:
    await house.message()
    async with house.dispatching():
        await house.decided()
    (event,) = await house.events()
    assert (event.id, event.kind, event.user_id) == ("m1:decided", "outcome", "ann")
    assert event.timestamp == NOON
    assert event.properties == {
        "message_id": "m1",
        "run_id": "run of m1",
        "step": "hi",
        "decision": "sent",
        "reason": None,
        "channel": "email",
    }


async def test_a_drop_makes_no_attempt_and_takes_no_place(house: House) -> None:
    await house.publish(policies={"consent": "required"})
    await house.customer("bob", consents={"email": False})
    await house.message("m1")
    await house.message("m2", customer="bob")
    async with house.dispatching():
        assert await house.decided("m1", "m2") == [
            ("dropped", "no_consent", "email"),
            ("dropped", "unsubscribed", "email"),
        ]
    assert house.provider.sent == []
    assert await house.attempts() == []
    assert await house.places() == []
    assert {event.properties["reason"] for event in await house.events()} == {
        "no_consent",
        "unsubscribed",
    }


async def test_what_a_template_knows_is_read_at_the_moment_of_sending(house: House) -> None:
    text = (
        "{{ profile.name }}|{{ trigger.sku }}|{{ event.name }}|{{ steps['first'].outcome }}|"
        "{{ journey.id }}|{{ journey.title }}|{{ message.id }}|{{ message.channel }}|"
        "{{ coupon }}|{{ unsubscribe_url }}|{{ nothing }}"
    )
    await house.publish(templates={"templates/hello/sms.liquid": text.encode()})
    context = MessageContext(
        trigger={"sku": "A1"},
        event={"name": "Product Added"},
        steps={"first": {"outcome": "sent"}},
        values={"coupon": "SPRING", "profile": "hidden"},
        title="Welcome",
    )
    await house.message(channels=("sms",), context=context, not_before=NOON + HOUR)
    async with house.dispatching():
        await house.customer(traits={"name": "Anna", "phone": "+821012345678"})
        house.move(HOUR)
        await house.decided()
    (sent,) = house.provider.sent
    assert sent.content.body == "Anna|A1|Product Added|sent|welcome|Welcome|m1|sms|SPRING||"
    assert sent.address == "+821012345678"


async def test_the_template_follows_the_customers_locale(house: House) -> None:
    await house.publish(
        locale="de",
        templates={
            "templates/hello/sms.ko.liquid": "안녕".encode(),
            "templates/hello/sms.de.liquid": b"Hallo",
        },
    )
    await house.customer("kim", traits={"phone": "+821012345678", "locale": "ko-KR"})
    await house.customer("odd", traits={"phone": "+821012345678", "locale": 7})
    await house.message("m1", customer="kim", channels=("sms",))
    await house.message("m2", customer="odd", channels=("sms",))
    async with house.dispatching():
        await house.decided("m1", "m2")
    bodies = {sent.message_id: sent.content.body for sent in house.provider.sent}
    assert bodies == {"m1": "안녕", "m2": "Hallo"}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"template": "missing"}, "templates/missing has no file for email"),
        ({"template": "broken"}, "templates/broken/email.liquid cannot be read"),
        ({"template": "failing"}, "FilterArgumentError"),
        ({"context": b"\xc1"}, "what the run kept for the message cannot be read"),
    ],
)
async def test_a_template_that_fails_drops_only_its_message(
    house: House, broken: dict[str, Any], why: str
) -> None:
    await house.publish(
        templates={
            "templates/broken/email.liquid": b"{% if %}",
            "templates/failing/email.liquid": b'---\nsubject: "a"\n---\n{{ "x" | divided_by: 0 }}',
        }
    )
    await house.message("m1", **broken)
    await house.message("m2")
    async with house.dispatching():
        decided = await house.decided("m1", "m2")
    assert decided == [("dropped", "template_error", "email"), ("sent", None, "email")]
    assert await house.attempts("m1") == []
    assert [place[0] for place in await house.places()] == ["m2"]
    said = await house.pool.fetchval("SELECT detail FROM messages WHERE id = 'm1'")
    assert said == why


async def test_a_held_message_wakes_at_the_right_second_and_is_judged_again(house: House) -> None:
    await house.publish(
        timezone="Asia/Seoul", policies={"quiet_hours": [{"from": "20:50", "to": "08:00"}]}
    )
    eight = datetime(2026, 4, 6, 23, tzinfo=UTC)
    await house.message()
    async with house.dispatching():
        held = await house.held()
        assert held["not_before"] == held["decidable_at"] == eight
        assert (held["held_reason"], held["channel"]) == ("quiet_hours", "email")
        house.move_to(eight - timedelta(microseconds=1))
        assert (await house.held())["attempts"] == 0
        await house.customer(traits={"email": "new@shop.example"})
        house.move_to(eight)
        assert await house.decided() == [("sent", None, "email")]
    assert house.provider.sent[0].address == "new@shop.example"
    assert await house.places() == [("m1", eight, "email")]


@pytest.mark.parametrize("concurrency", [2, 32])
async def test_a_hold_that_ended_while_nobody_ran_is_decided_in_its_order(
    house: House, concurrency: int
) -> None:
    """Cap of one in 4 h that holds; the dispatcher comes two days late, and may have room for one
    message alone, whose new place in the order is behind those that it has no room for."""
    cap = {"limit": 1, "per": "4h", "then": "hold"}
    await house.publish(policies={"frequency_caps": [cap]})
    for number in range(3):
        await house.message(f"m{number}", at=NOON + number * MINUTE)
    house.clock.move(timedelta(days=2))
    async with house.dispatching(concurrency=concurrency):
        await house.decided("m0", "m1", "m2")
    assert house.provider.ids == ["m0", "m1", "m2"]
    assert [place[:2] for place in await house.places()] == [
        ("m0", NOON),
        ("m1", NOON + 4 * HOUR),
        ("m2", NOON + 8 * HOUR),
    ]


async def test_a_hold_does_not_outlast_the_expiry(house: House) -> None:
    await house.publish(
        policies={"quiet_hours": [{"from": "11:00", "to": "18:00"}], "expire_after": "2h"}
    )
    await house.message()
    async with house.dispatching():
        assert (await house.held())["not_before"] == NOON + 2 * HOUR
        house.move(2 * HOUR)
        assert await house.decided() == [("dropped", "expired", "email")]


async def test_one_place_goes_to_the_first_in_order(house: House) -> None:
    await house.publish(policies={"frequency_caps": [{"limit": 1, "per": "24h"}]})
    await house.message("a-late", at=NOON + MINUTE, priority=100)
    await house.message("b-low", priority=10)
    await house.message("c-high", priority=90, journey="z")
    house.clock.move(HOUR)
    async with house.dispatching():
        await house.decided("a-late", "b-low", "c-high")
    assert house.provider.ids == ["c-high"]
    assert (await house.decision("b-low"))[:2] == ("dropped", "frequency_cap")


async def test_the_next_channel_follows_a_channel_that_failed_for_good(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.REJECTED_MESSAGE, Outcome.ACCEPTED]
    await house.message(channels=("email", "sms"))
    async with house.dispatching():
        assert await house.decided() == [("sent", None, "sms")]
    assert [sent.channel for sent in house.provider.sent] == ["email", "sms"]
    assert passed_over(await house.row()) == [("email", "rejected")]
    assert [a["outcome"] for a in await house.attempts()] == ["rejected_message", "accepted"]
    assert await house.places() == [("m1", NOON, "sms")], "one message, one place"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.REJECTED_MESSAGE, "rejected"),
        (Outcome.UNDELIVERABLE_ADDRESS, "undeliverable"),
    ],
)
async def test_a_final_failure_gives_the_place_back(
    house: House, outcome: Outcome, reason: str
) -> None:
    await house.publish(policies={"frequency_caps": [{"limit": 1, "per": "24h"}]})
    house.provider.answers["m1"] = [outcome]
    await house.message("m1")
    async with house.dispatching():
        assert await house.decided() == [("failed", reason, "email")]
        assert await house.places() == []
        await house.customer(traits={"email": "other@shop.example"})
        await house.message("m2", at=NOON)
        house.ring()
        assert await house.decided("m2") == [("sent", None, "email")]


async def test_an_address_where_nobody_is_gets_nothing_more(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.UNDELIVERABLE_ADDRESS]
    await house.customer("twin", traits={"email": "ANN@shop.example"})
    await house.message("m1", channels=("email", "sms"))
    async with house.dispatching():
        assert await house.decided() == [("sent", None, "sms")]
        await house.message("m2", category="transactional")
        await house.message("m3", customer="twin")
        house.ring()
        decided = await house.decided("m2", "m3")
    assert decided == [("dropped", "suppressed", "email")] * 2
    assert (await house.pool.fetchval("SELECT address_hash FROM suppressions")).isalnum()


async def test_a_complaint_closes_an_address_to_marketing_only(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.UNDELIVERABLE_ADDRESS]
    await house.message("m1")
    async with house.dispatching():
        await house.decided()
        await house.pool.execute("UPDATE suppressions SET scope = 'marketing'")
        await house.message("m2")
        await house.message("m3", category="transactional")
        house.ring()
        assert [decision[0] for decision in await house.decided("m2", "m3")] == ["dropped", "sent"]


async def test_retries_climb_the_ladder_until_it_works(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.RETRYABLE, Outcome.RETRYABLE, Outcome.ACCEPTED]
    await house.message()
    async with house.dispatching():
        for step in LADDER[:2]:
            wait = (await house.held())["not_before"] - house.clock.now()
            assert step <= wait <= step * 1.25
            assert (await house.row())["decidable_at"] == NOON
            house.move(wait)
        assert await house.decided() == [("sent", None, "email")]
    assert (await house.row())["attempts"] == 3
    assert await house.places() == [("m1", NOON, "email")]
    assert len(await house.events()) == 1


async def test_the_ladder_ends_and_the_next_channel_is_tried(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.RETRYABLE] * 7
    await house.message(channels=("email", "sms"))
    async with house.dispatching():
        for _ in LADDER:
            house.move_to((await house.held())["not_before"])
        assert await house.decided() == [("sent", None, "sms")]
    assert passed_over(await house.row()) == [("email", "retries_exhausted")]
    assert len(house.provider.sent) == 8


async def test_a_retry_is_judged_anew(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.RETRYABLE]
    await house.message()
    async with house.dispatching():
        due = (await house.held())["not_before"]
        await house.pool.execute("INSERT INTO consents VALUES (0, 'ann', 'email', false, $1)", NOON)
        house.move_to(due)
        assert await house.decided() == [("dropped", "unsubscribed", "email")]
    assert await house.places() == []


async def test_a_throttled_message_waits_as_the_provider_wishes(house: House) -> None:
    house.provider.answers["m1"] = [Result(Outcome.THROTTLED, retry_after=timedelta(seconds=90))]
    await house.message()
    async with house.dispatching():
        assert (await house.held())["not_before"] == NOON + timedelta(seconds=90)
        house.move(timedelta(seconds=90))
        assert await house.decided() == [("sent", None, "email")]


async def test_a_broken_connection_pauses_its_channel_and_loses_nothing(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.BROKEN_CONNECTION] * 9
    house.provider.answers["m2"] = [Outcome.BROKEN_CONNECTION] * 6
    await house.message("m1")
    async with house.dispatching():
        waits = []
        for _ in range(9):
            held = await house.held("m1")
            assert held["held_reason"] == "channel_paused"
            waits.append(held["not_before"] - house.clock.now())
            if len(waits) == 3:
                await house.message("m2", customer="bob", channels=("email", "sms"))
                await house.customer("bob")
                await house.message("m3", channels=("sms",))
                house.ring()
                assert await house.decided("m3") == [("sent", None, "sms")]
                assert (await house.held("m2"))["attempts"] == 0, "a pause leads to no other"
            house.move_to(held["not_before"])
        assert waits == [timedelta(seconds=s) for s in (1, 2, 4, 8, 16, 32, 60, 60, 60)]
        assert await house.decided("m1", "m2") == [("sent", None, "email")] * 2


async def test_a_channel_without_a_usable_adapter_waits_for_its_settings(house: House) -> None:
    await house.publish(channels={"email": {"adapter": "carrier-pigeon"}})
    await house.message()
    async with house.dispatching(create=registry.create):
        assert (await house.held())["held_reason"] == "channel_paused"
        await house.publish(channels={"email": {"adapter": "log"}})
        house.wakeups.ring("dangol_workspace")
        house.move(MINUTE)
        assert await house.decided() == [("sent", None, "email")]


async def test_the_adapter_log_keeps_the_rendered_message(house: House) -> None:
    await house.message()
    async with house.dispatching(create=log.create):
        assert await house.decided() == [("sent", None, "email")]
    (attempt,) = await house.attempts()
    assert shown(attempt["detail"]) == {"parts": {"subject": "Hi ann"}, "body": "<p>Hi</p>"}


async def test_messages_of_a_paused_journey_wait(house: House) -> None:
    await house.pool.execute("INSERT INTO journeys VALUES ('welcome', 'paused')")
    await house.message("m1")
    await house.message("m2", journey="other", at=NOON + MINUTE)
    house.clock.move(HOUR)
    async with house.dispatching():
        assert await house.decided("m2") == [("sent", None, "email")]
        row = await house.row("m1")
        assert (row["status"], row["attempts"]) == ("queued", 0)
        await house.pool.execute("UPDATE journeys SET status = 'active'")
        house.ring()
        assert await house.decided("m1") == [("sent", None, "email")]


async def test_staged_messages_are_not_offered(house: House) -> None:
    await house.message("m1", status="staged")
    await house.message("m2", at=NOON + MINUTE)
    house.clock.move(HOUR)
    async with house.dispatching():
        await house.decided("m2")
        assert (await house.row("m1"))["status"] == "staged"


async def test_held_out_customers_are_sent_nothing(house: House) -> None:
    await house.message(held_out=True)
    async with house.dispatching():
        assert await house.decided() == [("dropped", "held_out", "email")]
    assert house.provider.sent == []
    assert await house.places() == []


async def test_a_new_revision_is_used_from_the_next_message_on(house: House) -> None:
    await house.message("m1", channels=("sms",))
    async with house.dispatching():
        await house.decided("m1")
        await house.publish(templates={"templates/hello/sms.liquid": b"new"})
        house.wakeups.ring("dangol_workspace")
        await house.message("m2", channels=("sms",))
        house.ring()
        await house.decided("m2")
    assert [sent.content.body for sent in house.provider.sent] == ["Hi ann", "new"]


async def test_a_dispatcher_is_woken_by_a_notification(house: House, dsn: str) -> None:
    stopping = asyncio.Event()
    listening = asyncio.create_task(house.wakeups.run(stopping))
    try:
        async with house.dispatching():
            await house.message()
            started = asyncio.get_running_loop().time()
            await house.pool.execute("SELECT pg_notify('dangol_messages', '')")
            await house.decided()
            took = asyncio.get_running_loop().time() - started
            assert in_time(took, 4), "not by its own looking"
    finally:
        stopping.set()
        await listening


async def test_a_customer_with_more_due_messages_than_fit_keeps_their_order(house: House) -> None:
    names = [f"m{number:02}" for number in range(30)]
    for number, name in reversed(list(enumerate(names))):
        await house.message(name, at=NOON + number * MINUTE)
    house.clock.move(HOUR)
    async with house.dispatching(concurrency=4):
        await house.decided(*names)
    assert house.provider.ids == names


async def test_an_adapter_that_fails_leaves_an_unknown_and_the_house_runs_on(house: House) -> None:
    async def fail(message: Outgoing) -> Result:
        raise RuntimeError("a defect")

    house.provider.answers["m1"] = [fail]
    await house.message("m1")
    await house.message("m2")
    async with house.dispatching():
        assert await house.decided("m1", "m2") == [
            ("unknown", None, "email"),
            ("sent", None, "email"),
        ]
    assert [place[0] for place in await house.places()] == ["m1", "m2"]


async def test_an_operator_may_prefer_two_messages_to_none(house: House) -> None:
    await house.publish(channels={"email": {"adapter": "fake", "on_unknown": "retry"}})
    house.provider.answers["m1"] = [Outcome.UNKNOWN, Outcome.ACCEPTED]
    await house.message(channels=("email", "sms"))
    async with house.dispatching():
        house.move_to((await house.held())["not_before"])
        assert await house.decided() == [("sent", None, "email")]
    assert [sent.channel for sent in house.provider.sent] == ["email", "email"]


async def test_unknown_never_goes_on_to_the_next_channel(house: House) -> None:
    house.provider.answers["m1"] = [Outcome.UNKNOWN]
    await house.message(channels=("email", "sms"))
    async with house.dispatching():
        assert await house.decided() == [("unknown", None, "email")]
    assert len(house.provider.sent) == 1


async def test_replaced_adapters_are_closed(house: House) -> None:
    await house.message("m1")
    async with house.dispatching(lease=1.0):
        await house.decided("m1")
        await house.publish(channels={"email": {"adapter": "fake", "rate": "5/s"}})
        house.wakeups.ring("dangol_workspace")

        async def closed() -> bool:
            return house.provider.closed == 1

        await until(closed)
        await house.message("m2")
        house.ring()
        await house.decided("m2")
    assert house.provider.closed == 2
