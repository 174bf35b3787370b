from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.dispatch.policy import (
    Contact,
    Drop,
    Hold,
    Message,
    PassedOver,
    Place,
    SendBy,
    contact_of,
    decide,
    order_key,
    retry_delay,
)
from services.dispatch.policy.retry import LADDER
from shared.decisions import Reason
from shared.workspace import Policies

NOON = datetime(2026, 4, 6, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ASSUMED = {"consent": "assumed"}
SMS_NIGHT = {"channels": ["sms"], "from": "11:00", "to": "18:00"}
NIGHT = {"from": "11:00", "to": "18:00"}
SIX = datetime(2026, 4, 6, 18, tzinfo=UTC)


def policies(**fields: Any) -> Policies:
    return Policies.model_validate(ASSUMED | fields)


def message(*channels: str, **fields: Any) -> Message:
    plain = Message(
        id="m1",
        journey="welcome",
        step="hi",
        category="marketing",
        priority=50,
        channels=channels or ("email",),
        created_at=NOON,
        decidable_at=NOON,
    )
    return replace(plain, **fields)


def contact(**fields: Any) -> Contact:
    plain = Contact(
        zone=ZoneInfo("UTC"),
        addresses={"email": "ann@shop.example", "sms": "+821012345678", "push": "t"},
    )
    return replace(plain, **fields)


def place(hours_ago: float, name: str = "other", channel: str = "email", **fields: Any) -> Place:
    plain = Place(name, NOON - timedelta(hours=hours_ago), "marketing", channel)
    return replace(plain, **fields)


def test_a_permitted_message_is_sent_on_its_first_channel_and_counts() -> None:
    verdict = decide(message("email", "sms"), contact(), policies(), NOON, ())
    assert verdict == SendBy("email", "ann@shop.example", takes_place=True)


@pytest.mark.parametrize(
    ("rule", "consents", "reason"),
    [
        pytest.param("required", {"email": True}, None, id="granted"),
        pytest.param("required", {"email": False}, Reason.UNSUBSCRIBED, id="withdrawn"),
        pytest.param("required", {}, Reason.NO_CONSENT, id="never asked"),
        pytest.param("required", {"sms": True}, Reason.NO_CONSENT, id="another channel's"),
        pytest.param("assumed", {}, None, id="assumed"),
        pytest.param("assumed", {"email": False}, Reason.UNSUBSCRIBED, id="withdrawn all the same"),
    ],
)
def test_consent_is_per_channel(
    rule: str, consents: dict[str, bool], reason: Reason | None
) -> None:
    verdict = decide(message(), contact(consents=consents), policies(consent=rule), NOON, ())
    assert verdict == (
        SendBy("email", "ann@shop.example", takes_place=True)
        if reason is None
        else Drop(reason, "email")
    )


@pytest.mark.parametrize(
    ("category", "scope", "sent"),
    [
        ("marketing", "all", False),
        ("marketing", "marketing", False),
        ("transactional", "all", False),
        ("transactional", "marketing", True),
    ],
)
def test_a_bounce_stops_all_and_a_complaint_only_marketing(
    category: str, scope: str, sent: bool
) -> None:
    verdict = decide(
        message(category=category), contact(suppressed={"email": scope}), policies(), NOON, ()
    )
    assert isinstance(verdict, SendBy) == sent
    if not sent:
        assert verdict == Drop(Reason.SUPPRESSED, "email")


def test_an_absent_address_is_a_reason_of_its_own() -> None:
    assert decide(message(), contact(addresses={}), policies(), NOON, ()) == Drop(
        Reason.NO_ADDRESS, "email"
    )


def test_transactional_skips_holdout_consent_quiet_hours_and_caps_and_takes_no_place() -> None:
    strict = policies(
        consent="required",
        quiet_hours=[NIGHT],
        frequency_caps=[{"limit": 1, "per": "24h"}],
    )
    verdict = decide(
        message(category="transactional", held_out=True),
        contact(consents={"email": False}),
        strict,
        NOON,
        [place(1)],
    )
    assert verdict == SendBy("email", "ann@shop.example", takes_place=False)


def test_a_held_out_customer_is_dropped_before_anything_else() -> None:
    verdict = decide(message(held_out=True), contact(addresses={}), policies(), NOON, ())
    assert verdict == Drop(Reason.HELD_OUT, "email")


def test_the_order_is_consent_suppression_address_quiet_cap() -> None:
    who = contact(consents={"email": False}, suppressed={"email": "all"}, addresses={})
    rules = policies(quiet_hours=[NIGHT], frequency_caps=[{"limit": 1, "per": "24h"}])
    seen = []
    mended: list[dict[str, Any]] = [
        {"consents": {}},
        {"suppressed": {}},
        {"addresses": {"email": "ann@shop.example"}},
    ]
    for fixed in mended:
        verdict = decide(message(), who, rules, NOON, [place(1)])
        assert isinstance(verdict, Drop)
        seen.append(verdict.reason)
        who = replace(who, **fixed)
    assert seen == [Reason.UNSUBSCRIBED, Reason.SUPPRESSED, Reason.NO_ADDRESS]
    assert decide(message(), who, rules, NOON, [place(1)]) == Hold(SIX, Reason.QUIET_HOURS, "email")
    later = message(decidable_at=SIX)
    assert decide(later, who, rules, SIX, [place(1)]) == Drop(Reason.FREQUENCY_CAP, "email")


def test_the_next_channel_follows_what_a_person_lacks() -> None:
    who = contact(
        consents={"push": False}, suppressed={"sms": "all"}, addresses={"email": "a@b.example"}
    )
    verdict = decide(message("push", "sms", "alimtalk", "email"), who, policies(), NOON, ())
    assert verdict == SendBy(
        "email",
        "a@b.example",
        takes_place=True,
        passed_over=(
            PassedOver("push", Reason.UNSUBSCRIBED),
            PassedOver("sms", Reason.SUPPRESSED),
            PassedOver("alimtalk", Reason.NO_ADDRESS),
        ),
    )


def test_where_all_channels_lack_something_the_last_one_gives_the_reason() -> None:
    who = contact(consents={"email": False}, addresses={})
    assert decide(message("email", "sms"), who, policies(), NOON, ()) == Drop(
        Reason.NO_ADDRESS, "sms", (PassedOver("email", Reason.UNSUBSCRIBED),)
    )


def test_quiet_hours_that_name_channels_lead_to_the_next_channel() -> None:
    verdict = decide(
        message("sms", "email"), contact(), policies(quiet_hours=[SMS_NIGHT]), NOON, ()
    )
    assert verdict == SendBy(
        "email", "ann@shop.example", True, (PassedOver("sms", Reason.QUIET_HOURS),)
    )


def test_quiet_hours_that_name_none_hold_the_message_on_its_channel() -> None:
    rules = policies(quiet_hours=[NIGHT, {"channels": ["email"], "never": True}])
    assert decide(message("sms", "email"), contact(), rules, NOON, ()) == Hold(
        SIX, Reason.QUIET_HOURS, "sms"
    )


def test_quiet_hours_may_drop() -> None:
    rules = policies(quiet_hours=[NIGHT | {"then": "drop"}])
    assert decide(message(), contact(), rules, NOON, ()) == Drop(Reason.QUIET_HOURS, "email")


def test_a_message_is_held_for_a_passed_channel_where_no_other_can_be_used() -> None:
    who = contact(addresses={"sms": "+821012345678"})
    verdict = decide(message("sms", "email"), who, policies(quiet_hours=[SMS_NIGHT]), NOON, ())
    assert verdict == Hold(
        SIX, Reason.QUIET_HOURS, "sms", (PassedOver("email", Reason.NO_ADDRESS),)
    )


def test_of_several_holds_the_earliest_is_taken() -> None:
    sooner = {"channels": ["push"], "from": "11:00", "to": "17:00"}
    for channels in (("sms", "push"), ("push", "sms")):
        verdict = decide(
            message(*channels), contact(), policies(quiet_hours=[SMS_NIGHT, sooner]), NOON, ()
        )
        assert isinstance(verdict, Hold)
        assert (verdict.until, verdict.channel) == (SIX - HOUR, "push")


def test_a_hold_for_all_does_not_outlast_one_that_names_its_channel() -> None:
    sooner = {"channels": ["sms"], "from": "11:00", "to": "17:00"}
    cap = {"limit": 1, "per": "24h", "then": "hold"}
    verdict = decide(
        message("sms", "email"),
        contact(),
        policies(quiet_hours=[sooner], frequency_caps=[cap]),
        NOON,
        [place(1)],
    )
    assert verdict == Hold(
        SIX - HOUR, Reason.QUIET_HOURS, "sms", (PassedOver("email", Reason.FREQUENCY_CAP),)
    )


@pytest.mark.parametrize(
    ("places", "fits"),
    [
        pytest.param([place(1)], False, id="one within the window"),
        pytest.param([place(24)], True, id="one that leaves it at this instant"),
        pytest.param([place(23.999)], False, id="one that is about to leave"),
        pytest.param([place(0)], False, id="one of the same instant"),
        pytest.param([place(-0.001)], True, id="one that became decidable later"),
        pytest.param([place(1, name="m1")], True, id="its own, from an earlier attempt"),
        pytest.param([place(1, category="transactional")], True, id="one of another category"),
    ],
)
def test_a_cap_counts_the_instants_within_its_window(places: list[Place], fits: bool) -> None:
    rules = policies(frequency_caps=[{"category": "marketing", "limit": 1, "per": "24h"}])
    verdict = decide(message(), contact(), rules, NOON, places)
    assert isinstance(verdict, SendBy if fits else Drop)


def test_a_cap_that_names_channels_counts_those_and_leads_to_the_next() -> None:
    rules = policies(frequency_caps=[{"channels": ["sms", "push"], "limit": 1, "per": "24h"}])
    free = decide(message("sms"), contact(), rules, NOON, [place(1, channel="email")])
    assert isinstance(free, SendBy)
    verdict = decide(message("sms", "email"), contact(), rules, NOON, [place(1, channel="push")])
    assert verdict == SendBy(
        "email", "ann@shop.example", True, (PassedOver("sms", Reason.FREQUENCY_CAP),)
    )
    assert decide(message("sms", "push"), contact(), rules, NOON, [place(1, channel="push")]) == (
        Drop(Reason.FREQUENCY_CAP, "push", (PassedOver("sms", Reason.FREQUENCY_CAP),))
    )


def test_a_cap_that_holds_waits_until_enough_places_have_left() -> None:
    rules = policies(frequency_caps=[{"limit": 2, "per": "24h", "then": "hold"}])
    places = [place(3, "a"), place(20, "b"), place(10, "c"), place(30, "d")]
    verdict = decide(message(), contact(), rules, NOON, places)
    assert verdict == Hold(NOON + 14 * HOUR, Reason.FREQUENCY_CAP, "email")
    assert isinstance(verdict, Hold)
    again = message(decidable_at=verdict.until, was_held=True)
    assert isinstance(decide(again, contact(), rules, verdict.until, places), SendBy)


def test_of_several_full_caps_a_drop_wins_and_the_latest_end_holds() -> None:
    hold = {"limit": 1, "per": "24h", "then": "hold"}
    longer = {"limit": 1, "per": "7d", "then": "hold"}
    held = decide(message(), contact(), policies(frequency_caps=[hold, longer]), NOON, [place(1)])
    assert held == Hold(NOON + timedelta(days=7) - HOUR, Reason.FREQUENCY_CAP, "email")
    dropping = policies(frequency_caps=[hold, longer | {"then": "drop"}])
    assert isinstance(decide(message(), contact(), dropping, NOON, [place(1)]), Drop)


def test_a_hold_is_cut_short_at_the_expiry_and_then_dropped() -> None:
    rules = policies(quiet_hours=[NIGHT], expire_after="2h")
    fresh = message()
    first = decide(fresh, contact(), rules, NOON, ())
    assert first == Hold(NOON + 2 * HOUR, Reason.QUIET_HOURS, "email")
    woken = message(decidable_at=NOON + 2 * HOUR, was_held=True)
    assert decide(woken, contact(), rules, NOON + 2 * HOUR, ()) == Drop(Reason.EXPIRED, "email")


def test_a_hold_that_ends_exactly_at_the_expiry_is_sent_even_a_moment_late() -> None:
    rules = policies(quiet_hours=[NIGHT], expire_after="6h")
    assert decide(message(), contact(), rules, NOON, ()) == Hold(SIX, Reason.QUIET_HOURS, "email")
    woken = message(decidable_at=SIX, was_held=True)
    for late in (timedelta(0), timedelta(seconds=1)):
        assert isinstance(decide(woken, contact(), rules, SIX + late, ()), SendBy)
    assert decide(woken, contact(), rules, SIX + HOUR, ()) == Drop(Reason.EXPIRED, "email")


def test_a_message_that_was_never_held_does_not_expire_but_is_not_held_past_it() -> None:
    old = message(created_at=NOON - 30 * HOUR, decidable_at=NOON - 30 * HOUR)
    rules = policies(expire_after="24h")
    assert isinstance(decide(old, contact(), rules, NOON, ()), SendBy)
    quiet = policies(expire_after="24h", quiet_hours=[NIGHT])
    assert decide(old, contact(), quiet, NOON, ()) == Drop(Reason.EXPIRED, "email")


def test_a_channel_that_failed_for_good_is_not_tried_again() -> None:
    tried = message("email", "sms", failed=(PassedOver("email", Reason.REJECTED),))
    assert decide(tried, contact(), policies(), NOON, ()) == SendBy(
        "sms", "+821012345678", True, (PassedOver("email", Reason.REJECTED),)
    )


def test_one_customers_messages_are_decided_by_instant_priority_journey_step() -> None:
    first = message(id="z", decidable_at=NOON - HOUR, priority=0)
    urgent = message(id="y", priority=90, journey="zebra")
    by_journey = message(id="x", journey="apple", step="z")
    by_step = message(id="w", journey="apple", step="a")
    due = [by_journey, urgent, first, by_step]
    assert sorted(due, key=order_key) == [first, urgent, by_step, by_journey]


def test_retries_climb_a_ladder_and_end() -> None:
    waits = [retry_delay(used, "m1") for used in range(1, 8)]
    assert waits[-1] is None
    for wait, step in zip(waits[:-1], LADDER, strict=True):
        assert wait is not None
        assert step <= wait <= step * 1.25
    assert waits[0] == retry_delay(1, "m1")
    assert waits[0] != retry_delay(1, "m2")


def test_a_contact_is_made_of_traits() -> None:
    traits = {
        "email": " Ann@Shop.Example ",
        "phone": "010-1234-5678",
        "push_token": "",
        "timezone": "Europe/Berlin",
    }
    who = contact_of(
        "u1",
        traits,
        channels=("email", "sms", "push", "slack", "carrier_pigeon"),
        zone=ZoneInfo("Asia/Seoul"),
        country="KR",
    )
    assert who.zone.key == "Europe/Berlin"
    assert who.addresses == {"email": "Ann@shop.example", "sms": "+821012345678", "slack": "u1"}
