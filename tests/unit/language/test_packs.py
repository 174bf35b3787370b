"""Templates that break a pack's rules are refused, with the rule's name."""

import pytest

from tests.unit.language.sayings import load, only

SETTINGS = """timezone: Asia/Seoul
policies:
  packs: [PACK]
  sender: {name: 예시상점, address: 서울시 예시구 보기로 1}
channels:
  email: {adapter: log}
  sms: {adapter: log}
  push: {adapter: log}
"""
JOURNEY = """journey: ad
category: CATEGORY
trigger: {event: X}
steps:
  - {send: CHANNEL, template: ad}
"""
GOOD = {
    "email": """---
subject: "(광고) 봄 소식"
---
<p>봄</p><p>수신을 원하지 않으시면 <a href="{{ unsubscribe_url }}">수신거부</a>,
<a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
<p>예시상점 · 02-000-0000 · hello@shop.example</p>
""",
    "sms": "(광고)[예시상점] 02-000-0000\n봄 소식\n무료수신거부 080-000-0000\n",
    "push": '---\ntitle: "(광고) 예시상점"\n---\n봄 소식. 수신거부: 설정 > 알림\n',
}


def problems(
    channel: str, text: str, category: str = "marketing", pack: str = "kr-marketing"
) -> list[tuple[int, str]]:
    loaded = load(
        {
            "dangol.yaml": SETTINGS.replace("PACK", pack),
            "journeys/ad.yaml": JOURNEY.replace("CHANNEL", channel).replace("CATEGORY", category),
            f"templates/ad/{channel}.liquid": text,
        }
    )
    return [(p.line, p.message.partition(":")[0]) for p in loaded.problems]


@pytest.mark.parametrize("channel", GOOD)
def test_a_lawful_template_passes(channel: str) -> None:
    assert problems(channel, GOOD[channel]) == []


@pytest.mark.parametrize(
    ("channel", "old", "new", "line", "rule"),
    [
        ("email", "(광고) ", "", 2, "mail-label"),
        ("email", "(광고)", "[광고]", 2, "mail-label"),
        ("email", "(광고)", "(광 고)", 2, "mail-label"),
        ("email", "(광고)", "(AD)", 2, "mail-label"),
        ("email", "(광고)", "봄 (광고)", 2, "mail-label"),
        ("email", "Unsubscribe", "그만", 4, "mail-refusal"),
        ("email", "수신거부", "그만", 4, "mail-refusal"),
        ("email", " · hello@shop.example", "", 4, "mail-sender"),
        ("email", "02-000-0000 · ", "", 4, "mail-sender"),
        ("sms", "(광고)", "", 1, "text-label"),
        ("sms", " 02-000-0000", "", 1, "text-label"),
        ("sms", "[예시상점]", "", 1, "text-label"),
        ("sms", "무료수신거부 080-000-0000", "", 1, "text-refusal"),
        ("sms", "080-000-0000", "02-000-0000", 1, "text-refusal"),
        ("push", "(광고) ", "", 2, "push-label"),
        ("push", "수신거부", "끄기", 4, "push-refusal"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_name(
    channel: str, old: str, new: str, line: int, rule: str
) -> None:
    assert (line, f"kr-marketing/{rule}") in problems(channel, GOOD[channel].replace(old, new))


def test_information_needs_no_label() -> None:
    assert problems("sms", "주문이 접수되었습니다\n", "transactional") == []


def test_every_language_of_an_advertisement_is_checked() -> None:
    loaded = load(
        {
            "dangol.yaml": SETTINGS.replace("PACK", "kr-marketing"),
            "journeys/ad.yaml": JOURNEY.replace("CHANNEL", "sms").replace("CATEGORY", "marketing"),
            "templates/ad/sms.liquid": GOOD["sms"],
            "templates/ad/sms.en.liquid": "Spring\n",
        }
    )
    assert {p.file for p in loaded.problems} == {"templates/ad/sms.en.liquid"}


@pytest.mark.parametrize("pack", ["us-marketing", "eu-marketing"])
def test_other_packs_ask_for_a_way_out(pack: str) -> None:
    assert problems("email", "---\nsubject: Spring\n---\n<p>x</p>\n", pack=pack)
    good = '---\nsubject: Spring\n---\n<a href="{{ unsubscribe_url }}">Unsubscribe</a>\n'
    assert problems("email", good, pack=pack) == []
    assert problems("sms", "Spring\n", pack=pack)
    assert problems("sms", "Spring. Reply STOP to opt out\n", pack=pack) == []


@pytest.mark.parametrize("pack", ["us-marketing", "us-strict", "kr-marketing"])
def test_mail_to_korea_and_the_states_needs_a_sender_with_a_postal_address(pack: str) -> None:
    settings = SETTINGS.replace("PACK", pack).replace("  sender", "  #")
    mail = '---\nsubject: Spring\n---\n<a href="{{ unsubscribe_url }}">Unsubscribe</a>\n'
    text = "Spring. Reply STOP to opt out\n"
    if pack == "kr-marketing":
        mail, text = GOOD["email"], GOOD["sms"]

    def found(channel: str, text: str, category: str = "marketing") -> list[str]:
        journey = JOURNEY.replace("CHANNEL", channel).replace("CATEGORY", category)
        files = {"dangol.yaml": settings, "journeys/ad.yaml": journey}
        return [
            f"{p.file}:{p.line} {p.message.partition(':')[0]}"
            for p in load({**files, f"templates/ad/{channel}.liquid": text}).problems
        ]

    assert found("email", mail) == [f"dangol.yaml:3 {pack}/mail-address"]
    assert found("email", mail, "transactional") == []
    assert found("sms", text) == []


def test_consent_cannot_be_assumed_where_a_pack_asks_for_it() -> None:
    text = (
        "policies: {packs: [kr-marketing], consent: assumed}\nchannels:\n  email: {adapter: log}\n"
    )
    found = only(list(load({"dangol.yaml": text}).problems))
    assert (found.line, found.code) == (1, "pack")
    assert "cannot be assumed" in found.message


def test_a_pack_that_there_is_not_gets_the_nearest_name() -> None:
    text = "policies: {packs: [kr-marketting]}\nchannels:\n  email: {adapter: log}\n"
    assert "`kr-marketing`" in only(list(load({"dangol.yaml": text}).problems)).hint


DUTIES = """journey: {0}
category: {1}
trigger: {{event: Consent Changed}}
steps:
  - {{send: sms, template: told}}
"""


def warned(settings: str, **journeys: str) -> list[tuple[int, str]]:
    files = {"dangol.yaml": settings, "templates/told/sms.liquid": GOOD["sms"]}
    files |= {f"journeys/{name}.yaml": text for name, text in journeys.items()}
    loaded = load(files)
    assert loaded.problems == ()
    return [(w.line, w.message.partition(":")[0]) for w in loaded.warnings if w.code == "pack_duty"]


def test_the_notices_that_korean_law_asks_for_are_missed() -> None:
    settings = SETTINGS.replace("PACK", "kr-marketing")
    missing = [(3, "kr-marketing/consent-renewal"), (3, "kr-marketing/consent-result")]
    assert warned(settings) == missing
    name = "consent-result"
    assert warned(settings, result=DUTIES.format(name, "transactional")) == missing[:1]
    assert warned(settings, result=DUTIES.format(name, "marketing")) == missing, "it is no ad"
    assert warned(SETTINGS.replace("PACK", "eu-marketing")) == []


def test_another_system_may_give_them() -> None:
    policies = "packs: [kr-marketing]\n  met_elsewhere: [kr-marketing/consent-result]"
    settings = SETTINGS.replace("packs: [PACK]", policies)
    assert warned(settings) == [(3, "kr-marketing/consent-renewal")]


def test_how_to_add_them_is_said() -> None:
    loaded = load({"dangol.yaml": SETTINGS.replace("PACK", "kr-marketing")})
    hints = [w.hint for w in loaded.warnings]
    assert any("dangol init . --lang ko --with consent-result" in hint for hint in hints)
    assert all("Art. 50" in hint for hint in hints)


def test_who_sends_texts_in_bulk_shows_a_certificate() -> None:
    settings = SETTINGS.replace("PACK", "kr-marketing")
    solapi = settings.replace("sms: {adapter: log}", "sms: {adapter: solapi}")
    assert (7, "kr-marketing/bulk-sender") in warned(solapi)
    held = settings.replace("sms: {adapter: log}", 'sms: {adapter: solapi, certificate: "제1호"}')
    assert "kr-marketing/bulk-sender" not in [name for _line, name in warned(held)]


EXEMPTION = """timezone: Asia/Seoul
policies:
  packs: [PACK]
  existing_customers:
    - {journeys: [JOURNEY], goods: coffee, bought_at: TRAIT}
  met_elsewhere: [DUTY]
channels:
  sms: {adapter: log}
"""


@pytest.mark.parametrize(
    ("given", "line", "said"),
    [
        ({}, 0, ""),
        ({"JOURNEY": "adverts"}, 5, "no journey `adverts`"),
        ({"JOURNEY": "notice"}, 5, "no advertising"),
        ({"TRAIT": "coffee"}, 5, "no trait"),
        ({"TRAIT": "trigger.bought"}, 5, "no trait"),
        ({"DUTY": "kr-marketing/consent"}, 6, "no pack in force knows a duty"),
        ({"PACK": ""}, 5, "no pack in force knows an exemption"),
    ],
)
def test_exceptions_are_checked(given: dict[str, str], line: int, said: str) -> None:
    words = {
        "PACK": "kr-marketing",
        "JOURNEY": "ad",
        "TRAIT": "profile.coffee_bought_at",
        "DUTY": "kr-marketing/consent-result",
        **given,
    }
    text = EXEMPTION
    for word, value in words.items():
        text = text.replace(word, value)
    loaded = load(
        {
            "dangol.yaml": text,
            "journeys/ad.yaml": JOURNEY.replace("CHANNEL", "sms").replace("CATEGORY", "marketing"),
            "journeys/notice.yaml": DUTIES.format("notice", "transactional"),
            "templates/ad/sms.liquid": GOOD["sms"],
            "templates/told/sms.liquid": "x",
        }
    )
    found = [(p.line, p.message) for p in loaded.problems]
    assert bool(found) is bool(said), found
    if said:
        assert any(at == line and said in message for at, message in found), found
