"""Templates that break a pack's rules are refused, with the rule's name."""

import pytest

from tests.unit.language.sayings import load, only

SETTINGS = """timezone: Asia/Seoul
policies: {packs: [PACK]}
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
