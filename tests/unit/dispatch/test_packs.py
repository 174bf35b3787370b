"""The packs' hours and caps at the moment of sending, beside the workspace's own."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.dispatch.policy import Contact, Drop, Hold, Message, Place, SendBy, decide
from shared.decisions import Category, Reason
from shared.packs import PACKS
from shared.workspace import Policies

SEOUL = ZoneInfo("Asia/Seoul")


def at(clock: str, day: int = 6) -> datetime:
    local = datetime.fromisoformat(f"2026-04-{day:02d}T{clock}").replace(tzinfo=SEOUL)
    return local.astimezone(UTC)


def verdict(
    now: datetime,
    *channels: str,
    category: Category = "marketing",
    night: bool | None = None,
    places: tuple[Place, ...] = (),
    zone: str = "Asia/Seoul",
    **policies: Any,
) -> SendBy | Hold | Drop:
    consents = dict.fromkeys(("email", "sms", "push", "brand_message"), True)
    message = Message("m", "j", "s", category, 50, channels, now, now)
    contact = Contact(
        ZoneInfo(zone),
        dict.fromkeys(consents, "address"),
        consents if night is None else {**consents, "night": night},
    )
    rules = {"packs": ["kr-marketing"], **policies}
    return decide(message, contact, Policies.model_validate(rules), now, places)


@pytest.mark.parametrize("channel", ["sms", "push"])
@pytest.mark.parametrize(
    ("clock", "quiet"),
    [("20:59:59", False), ("21:00:00", True), ("07:59:59", True), ("08:00:00", False)],
)
def test_korean_nights_are_from_nine_to_eight(channel: str, clock: str, quiet: bool) -> None:
    found = verdict(at(clock), channel)
    assert isinstance(found, Hold if quiet else SendBy)
    if isinstance(found, Hold):
        assert found.reason is Reason.QUIET_HOURS
        assert found.until == at("08:00", 7 if clock > "12" else 6)


@pytest.mark.parametrize(("clock", "quiet"), [("20:49:59", False), ("20:50:00", True)])
def test_kakao_closes_ten_minutes_earlier_whatever_was_agreed_to(clock: str, quiet: bool) -> None:
    assert isinstance(verdict(at(clock), "brand_message", night=True), Hold if quiet else SendBy)


def test_who_agreed_to_nights_is_told_at_night() -> None:
    assert isinstance(verdict(at("23:00"), "sms", night=True), SendBy)
    assert isinstance(verdict(at("23:00"), "sms", night=False), Hold)


def test_mail_and_what_is_no_advertising_have_no_night() -> None:
    assert isinstance(verdict(at("23:00"), "email"), SendBy)
    assert isinstance(verdict(at("23:00"), "sms", category="transactional"), SendBy)


def test_the_night_leads_to_the_next_channel() -> None:
    found = verdict(at("23:00"), "sms", "email")
    assert isinstance(found, SendBy)
    assert found.channel == "email"


def test_an_exception_of_the_workspace_is_none_from_the_law() -> None:
    never = [{"channels": ["sms"], "never": True}]
    assert isinstance(verdict(at("23:00"), "sms", quiet_hours=never), Hold)


def test_a_stricter_workspace_is_kept_as_well() -> None:
    early = [{"category": "marketing", "from": "18:00", "to": "10:00"}]
    found = verdict(at("23:00"), "sms", quiet_hours=early)
    assert isinstance(found, Hold)
    assert found.until == at("10:00", 7)
    assert isinstance(verdict(at("19:00"), "sms", quiet_hours=early), Hold)
    dropping = [{"category": "marketing", "from": "18:00", "to": "10:00", "then": "drop"}]
    assert isinstance(verdict(at("23:00"), "sms", quiet_hours=dropping), Drop)


def test_the_night_is_the_customers_own() -> None:
    assert isinstance(verdict(at("23:00"), "sms", zone="Europe/Berlin"), SendBy)


def test_three_advertising_texts_a_day_are_the_most_in_the_united_states() -> None:
    now = datetime(2026, 4, 6, 18, tzinfo=UTC)
    places = tuple(
        Place(f"m{n}", now - timedelta(hours=n), "marketing", "sms") for n in range(1, 4)
    )
    us: dict[str, Any] = {"packs": ["us-marketing"], "zone": "America/New_York"}
    assert isinstance(verdict(now, "sms", places=places[:2], **us), SendBy)
    found = verdict(now, "sms", places=places, **us)
    assert isinstance(found, Drop)
    assert found.reason is Reason.FREQUENCY_CAP


def test_every_rule_names_its_source() -> None:
    for pack in PACKS.values():
        assert all(rule.source for rule in pack.nights)
        assert all(rule.source for rule in pack.labels)
        assert pack.checked_on.year >= 2026
