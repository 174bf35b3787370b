"""The packs' hours and caps at the moment of sending, beside the workspace's own."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.dispatch.policy import Contact, Drop, Hold, Message, Place, SendBy, decide
from shared.decisions import Category, Reason
from shared.packs import PACKS, broken_rule, with_address
from shared.packs.holidays import is_us_working_day
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
    zone_known: bool = True,
    traits: Mapping[str, Any] | None = None,
    asked: bool = True,
    refused: bool = False,
    **policies: Any,
) -> SendBy | Hold | Drop:
    channels_known = ("email", "sms", "push", "brand_message")
    consents = dict.fromkeys(channels_known, not refused) if asked else {}
    message = Message("m", "j", "s", category, 50, channels, now, now)
    contact = Contact(
        ZoneInfo(zone),
        dict.fromkeys(channels_known, "address"),
        consents if night is None else {**consents, "night": night},
        traits=traits or {},
        zone_known=zone_known,
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


def reason(found: SendBy | Hold | Drop) -> Reason | None:
    return None if isinstance(found, SendBy) else found.reason


EXEMPT: dict[str, Any] = {
    "asked": False,
    "existing_customers": [
        {"journeys": ["j"], "goods": "coffee", "bought_at": "profile.coffee_bought_at"}
    ],
}


@pytest.mark.parametrize(
    ("bought", "now", "exempt"),
    [
        # The whole of the day six months later, as it is counted in Seoul.
        ("2025-10-06", "2026-04-06T23:59:59", True),
        ("2025-10-06", "2026-04-07T00:00:00", False),
        ("2025-10-06T23:30:00+09:00", "2026-04-06T12:00:00", True),
        ("2025-10-06T14:59:59Z", "2026-04-06T23:00:00", True),
        ("2025-10-06T15:00:00Z", "2026-04-07T12:00:00", True),
        ("2025-08-31", "2026-02-28T12:00:00", True),
        ("2025-08-31", "2026-03-01T00:00:00", False),
        ("2026-04-06", "2026-04-06T09:00:00", True),
        ("2026-04-07", "2026-04-06T09:00:00", False),
        ("soon", "2026-04-06T09:00:00", False),
        (None, "2026-04-06T09:00:00", False),
        (True, "2026-04-06T09:00:00", False),
        ("9999-12-31", "2026-04-06T09:00:00", False),
        ("0001-01-01T00:00:00Z", "2026-04-06T09:00:00", False),
    ],
)
def test_existing_customers_are_told_of_the_same_goods_for_six_months(
    bought: object, now: str, exempt: bool
) -> None:
    instant = datetime.fromisoformat(now).replace(tzinfo=SEOUL).astimezone(UTC)
    found = verdict(instant, "email", traits={"coffee_bought_at": bought}, **EXEMPT)
    assert reason(found) is (None if exempt else Reason.NO_CONSENT)


def test_an_existing_customer_who_has_refused_is_told_nothing() -> None:
    bought = {"coffee_bought_at": "2026-04-01"}
    found = verdict(at("12:00"), "sms", traits=bought, **{**EXEMPT, "asked": True}, refused=True)
    assert reason(found) is Reason.UNSUBSCRIBED


def test_the_exemption_is_none_from_the_night() -> None:
    bought = {"coffee_bought_at": "2026-04-01"}
    assert isinstance(verdict(at("23:00"), "sms", traits=bought, **EXEMPT), Hold)
    assert isinstance(verdict(at("12:00"), "sms", traits=bought, **EXEMPT), SendBy)


def test_the_exemption_is_of_the_journeys_that_are_named() -> None:
    other = [{"journeys": ["tea"], "goods": "tea", "bought_at": "profile.coffee_bought_at"}]
    bought = {"coffee_bought_at": "2026-04-01"}
    found = verdict(at("12:00"), "sms", traits=bought, **{**EXEMPT, "existing_customers": other})
    assert reason(found) is Reason.NO_CONSENT


@pytest.mark.parametrize(
    ("packs", "channel", "exempt"),
    [
        (["eu-marketing"], "email", True),
        (["eu-marketing"], "sms", True),
        (["us-marketing"], "email", True),
        (["us-marketing"], "sms", False),  # prior express written consent, whoever has bought
        (["eu-marketing", "us-marketing"], "sms", False),
        (["kr-marketing", "eu-marketing"], "email", False),  # six months are over in Korea
        ([], "email", False),
    ],
)
def test_with_several_packs_the_strictest_holds(
    packs: list[str], channel: str, exempt: bool
) -> None:
    bought = {"coffee_bought_at": "2024-01-01"}
    now = datetime(2026, 4, 6, 18, tzinfo=UTC)
    given = {"packs": packs, "zone": "America/New_York", "traits": bought, **EXEMPT}
    assert reason(verdict(now, channel, **given)) is (None if exempt else Reason.NO_CONSENT)


@pytest.mark.parametrize(
    ("born", "now", "young"),
    [
        ("2012-04-07", "2026-04-06T23:59:00", True),
        ("2012-04-07", "2026-04-07T00:00:00", False),
        ("2012-02-29", "2026-02-28T12:00:00", True),
        ("2012-02-29", "2026-03-01T12:00:00", False),
        ("04-07", "2026-04-06T12:00:00", False),  # without a year nothing is known
        (None, "2026-04-06T12:00:00", False),
    ],
)
def test_a_consent_of_somebody_under_fourteen_counts_for_nothing_in_korea(
    born: object, now: str, young: bool
) -> None:
    instant = datetime.fromisoformat(now).replace(tzinfo=SEOUL).astimezone(UTC)
    found = verdict(instant, "email", traits={"birthday": born})
    assert reason(found) is (Reason.NO_CONSENT if young else None)
    assert isinstance(verdict(instant, "email", packs=["eu-marketing"]), SendBy)


@pytest.mark.parametrize(
    ("utc", "quiet"),
    [
        # Summer: 8:00 in Honolulu is 18:00 UTC, 21:00 in New York is 01:00 UTC.
        ("2026-07-01T17:59:59", True),
        ("2026-07-01T18:00:00", False),
        ("2026-07-02T00:59:59", False),
        ("2026-07-02T01:00:00", True),
        # Winter: 02:00 UTC.
        ("2026-01-02T01:59:59", False),
        ("2026-01-02T02:00:00", True),
    ],
)
def test_where_nobody_knows_the_zone_it_is_quiet_when_it_is_anywhere_in_the_states(
    utc: str, quiet: bool
) -> None:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    found = verdict(now, "sms", packs=["us-marketing"], zone="Asia/Seoul", zone_known=False)
    assert isinstance(found, Hold if quiet else SendBy)
    if isinstance(found, Hold):
        again = verdict(
            found.until, "sms", packs=["us-marketing"], zone="Asia/Seoul", zone_known=False
        )
        assert isinstance(again, SendBy)
        assert found.until.hour == 18


@pytest.mark.parametrize(
    ("local", "opens"),
    [
        ("2026-04-07T10:00", None),
        ("2026-04-07T09:59:59", "2026-04-07T10:00"),
        ("2026-04-07T17:59:59", None),
        ("2026-04-07T18:00", "2026-04-08T10:00"),
        ("2026-04-10T18:00", "2026-04-13T10:00"),  # over a weekend
        ("2026-04-11T12:00", "2026-04-13T10:00"),
        ("2026-05-22T18:00", "2026-05-26T10:00"),  # and Memorial Day behind it
        ("2026-07-03T12:00", "2026-07-06T10:00"),  # the Fourth is a Saturday: observed on Friday
        (
            "2021-12-31T12:00",
            "2022-01-03T10:00",
        ),  # New Year's Day of 2022, observed the year before
        ("2026-11-26T12:00", "2026-11-27T10:00"),  # Thanksgiving
    ],
)
def test_the_strict_hours_of_the_states_are_those_of_working_days(
    local: str, opens: str | None
) -> None:
    zone = ZoneInfo("America/Chicago")
    now = datetime.fromisoformat(local).replace(tzinfo=zone).astimezone(UTC)
    strict: dict[str, Any] = {"packs": ["us-strict"], "zone": zone.key}
    found = verdict(now, "sms", **strict)
    if opens is None:
        assert isinstance(found, SendBy)
        return
    assert isinstance(found, Hold)
    assert found.until == datetime.fromisoformat(opens).replace(tzinfo=zone)
    assert isinstance(verdict(found.until, "sms", **strict), SendBy)
    assert isinstance(verdict(now, "email", **strict), SendBy)


def test_the_strict_hours_hold_in_every_zone_of_somebody_unknown() -> None:
    strict: dict[str, Any] = {"packs": ["us-strict"], "zone": "Asia/Seoul", "zone_known": False}
    found = verdict(datetime(2026, 7, 2, 22, tzinfo=UTC), "sms", **strict)
    assert isinstance(found, Hold)
    # Behind the holiday and the weekend, at ten in Honolulu, when it is four in New York.
    assert found.until == datetime(2026, 7, 6, 20, tzinfo=UTC)
    assert isinstance(verdict(found.until, "sms", **strict), SendBy)


def test_federal_holidays_of_2026() -> None:
    first = ["01-01", "01-19", "02-16", "05-25", "06-19", "07-03"]
    second = ["09-07", "10-12", "11-11", "11-26", "12-25"]
    expected = {date.fromisoformat(f"2026-{day}") for day in first + second}
    year = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    closed = {day for day in year if day.weekday() < 5 and not is_us_working_day(day)}
    assert closed == expected


@pytest.mark.parametrize(("phone", "quiet"), [("+12125550100", True), ("+447700900000", False)])
def test_a_number_of_another_country_is_not_in_the_states(phone: str, quiet: bool) -> None:
    now = datetime(2026, 4, 6, 10, tzinfo=UTC)
    us: dict[str, Any] = {"packs": ["us-marketing"], "zone": "Europe/London", "zone_known": False}
    found = verdict(now, "sms", traits={"phone": phone}, **us)
    assert isinstance(found, Hold if quiet else SendBy)


def test_where_nobody_knows_the_zone_the_korean_night_is_that_of_seoul() -> None:
    assert isinstance(verdict(at("23:00"), "sms", zone="UTC", zone_known=False), Hold)
    assert isinstance(verdict(at("12:00"), "sms", zone="UTC", zone_known=False), SendBy)


SENDER = {"name": "Tea & Co", "address": "1 Example Road,\nExampletown"}


@pytest.mark.parametrize(
    ("pack", "channel", "html", "ends"),
    [
        ("us-marketing", "email", "<p>x</p>", True),
        ("us-strict", "email", "<p>x</p>", True),
        ("kr-marketing", "email", "<html><BODY>x</BODY></html>", True),
        ("us-marketing", "email", "<p>1 Example&nbsp;Road<br>EXAMPLETOWN</p>", False),
        ("us-marketing", "sms", "x", False),
        ("eu-marketing", "email", "<p>x</p>", False),
    ],
)
def test_advertising_mail_names_the_postal_address_once(
    pack: str, channel: str, html: str, ends: bool
) -> None:
    policies = Policies.model_validate({"packs": [pack], "sender": SENDER})
    made = with_address(policies, channel, html)
    assert (made != html) is ends
    assert made.count("Tea &amp; Co · 1 Example Road") == ends
    assert "</body>" not in made.lower() or made.endswith("</p>\n</BODY></html>")
    assert with_address(policies, channel, made) == made
    assert with_address(Policies(packs=(pack,)), channel, html) == html


@pytest.mark.parametrize(
    ("html", "ends"),
    [
        ("<p>1 Example Road, Exampletown</p>", True),
        ("<p>Tea &amp; Co</p>", True),
        ("<p>Tea &amp; Co, 1 Example Road, Exampletown</p>", False),
    ],
)
def test_mail_to_korea_names_the_sender_too(html: str, ends: bool) -> None:
    policies = Policies.model_validate({"packs": ["kr-marketing"], "sender": SENDER})
    assert (with_address(policies, "email", html) != html) is ends
    policies = Policies.model_validate({"packs": ["us-marketing"], "sender": SENDER})
    assert (with_address(policies, "email", html) != html) is ("Example Road" not in html)


LINK = "https://shop.example/u/t0ken"
MAIL = f'<a href="{LINK}">수신거부</a> <a href="{LINK}">Unsubscribe</a> 02-000-0000 a@shop.example'


@pytest.mark.parametrize(
    ("pack", "channel", "parts", "body", "broken"),
    [
        ("kr-marketing", "email", {"subject": "(광고) 봄"}, MAIL, None),
        ("kr-marketing", "email", {"subject": "봄 (광고)"}, MAIL, "mail-label"),
        (
            "kr-marketing",
            "email",
            {"subject": "(광고) 봄"},
            MAIL.replace(LINK, "#"),
            "mail-refusal",
        ),
        (
            "kr-marketing",
            "sms",
            {},
            "(광고)[상점] 02-000-0000\n봄\n무료수신거부 080-000-0000",
            None,
        ),
        ("kr-marketing", "sms", {}, "봄\n무료수신거부 080-000-0000", "text-label"),
        ("kr-marketing", "sms", {}, "(광고)[상점] 02-000-0000\n봄", "text-refusal"),
        ("us-marketing", "email", {}, f'<a href="{LINK}">Stop</a>', None),
        ("us-marketing", "email", {}, '<a href="https://shop.example">Stop</a>', "mail-refusal"),
        ("eu-marketing", "sms", {}, f"Spring! {LINK}", None),
        ("eu-marketing", "sms", {}, "Spring!", "text-refusal"),
    ],
)
def test_what_is_filled_in_is_judged_as_well(
    pack: str, channel: str, parts: dict[str, str], body: str, broken: str | None
) -> None:
    found = broken_rule((pack,), channel, parts, body, LINK)
    assert found == (broken and f"{pack}/{broken}")


def test_without_a_public_address_links_are_not_judged() -> None:
    assert broken_rule(("us-marketing",), "email", {}, "Spring", "") is None


def test_every_rule_names_its_source_and_when_it_was_read() -> None:
    for pack in PACKS.values():
        assert pack.consent
        assert pack.checked_on.year >= 2026
        age = () if pack.age is None else (pack.age,)
        rules = (
            *pack.nights, *pack.labels, *pack.exemptions, *pack.duties, *pack.certificates, *age,
        )  # fmt: skip
        for rule in rules:
            assert rule.source
            assert rule.read_on.year >= 2026
