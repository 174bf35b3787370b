"""Tokens, tracked links, and who is a machine."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.doors.links import Click, Leave, Opening, make_links
from services.dispatch.doors.pages import preference_page
from services.dispatch.doors.tracking import tracked, who_asks
from shared.templates import Rendered

LINKS = make_links("https://shop.example/", b"k" * 32)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERSON = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605"}


def token(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_token_says_nothing_and_is_read_again() -> None:
    leave = Leave("kim@shop.example", "email", "m1", "h")
    url = LINKS.preferences(leave)
    assert url.startswith("https://shop.example/u/")
    assert "kim" not in url
    assert LINKS.read(token(url)) == leave
    assert LINKS.preferences(leave) == url
    assert make_links("https://other.example", b"x" * 32).read(token(url)) is None


@given(st.text(max_size=300))
def test_what_is_no_token_is_nothing(text: str) -> None:
    assert LINKS.read(text) is None


@given(st.integers(0, 200), st.sampled_from("AB-_9"))
def test_a_changed_token_is_nothing(place: int, sign: str) -> None:
    made = token(LINKS.click(Click("u1", "m1", "https://shop.example/item?id=1")))
    place %= len(made)
    changed = made[:place] + sign + made[place + 1 :]
    found = LINKS.read(changed)
    assert found is None or changed[:-1] == made[:-1]  # the last sign has bits that nobody reads


def test_links_of_a_mail_lead_through_us_and_back() -> None:
    body = (
        '<body><a class="x" href="https://shop.example/a?b=1&amp;c=2">A</a>'
        "<a href='http://shop.example/b'>B</a><a href=\"mailto:x@shop.example\">C</a></body>"
    )
    content = tracked(Rendered({}, body, html=True), LINKS, "u1", "m1")
    hrefs = [part.split('"')[0].split("'")[0] for part in content.body.split("/c/")[1:]]
    assert [LINKS.read(href) for href in hrefs] == [
        Click("u1", "m1", "https://shop.example/a?b=1&c=2"),
        Click("u1", "m1", "http://shop.example/b"),
    ]
    assert "mailto:x@shop.example" in content.body
    assert content.body.endswith('style="display:block;border:0"></body>')


@pytest.mark.parametrize(
    "content",
    [
        Rendered({"track": "false"}, '<a href="https://shop.example/">A</a>', html=True),
        Rendered({}, "https://shop.example/", html=False),
    ],
)
def test_what_is_not_to_be_tracked_stays_as_it_is(content: Rendered) -> None:
    assert tracked(content, LINKS, "u1", "m1") is content


def test_the_link_of_a_push_message_leads_through_us() -> None:
    content = Rendered({"title": "x", "link": "https://shop.example/a"}, "b", html=False)
    found = tracked(content, LINKS, "u1", "m1")
    assert LINKS.read(token(found.parts["link"])) == Click("u1", "m1", "https://shop.example/a")
    assert found.body == "b"


def test_our_own_links_are_not_tracked() -> None:
    own = f'<a href="{LINKS.preferences(Leave("u1", "email", "m1", "h"))}">off</a>'
    assert "/c/" not in tracked(Rendered({}, own, html=True), LINKS, "u1", "m1").body


@pytest.mark.parametrize(
    ("method", "headers", "age", "who"),
    [
        ("GET", PERSON, timedelta(minutes=1), "person"),
        ("HEAD", PERSON, timedelta(minutes=1), "machine"),
        ("GET", {}, timedelta(minutes=1), "machine"),
        ("GET", {"user-agent": "Mozilla/5.0"}, timedelta(minutes=1), "apple"),
        ("GET", {"user-agent": "Barracuda Sentinel"}, timedelta(minutes=1), "machine"),
        ("GET", {**PERSON, "sec-purpose": "prefetch;prerender"}, timedelta(minutes=1), "machine"),
        ("GET", PERSON, timedelta(milliseconds=300), "machine"),
        ("GET", {"user-agent": "GoogleImageProxy"}, timedelta(minutes=1), "person"),
    ],
)
def test_machines_are_told_apart(
    method: str, headers: dict[str, str], age: timedelta, who: str
) -> None:
    assert who_asks(method, headers, NOW - age, NOW) == who


def test_the_page_says_what_holds_and_needs_no_script() -> None:
    page = preference_page("ko", ("email", "sms", "night"), {"email": True, "sms": False})
    assert 'value="email" checked' in page
    assert 'value="sms">' in page
    assert "아직 동의하신 적이 없습니다" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert LINKS.read(token(LINKS.opening(Opening("u1", "m1")))) == Opening("u1", "m1")
