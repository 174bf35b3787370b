"""Templates: parts, escaping, locales, bounds, and mistakes in their place."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.templates import (
    TemplateFailed,
    TemplateInvalid,
    choose,
    key,
    parse_template,
    render,
    template_name,
)
from shared.templates.korean import with_particle

EMAIL, SMS = "templates/hello/email.liquid", "templates/hello/sms.liquid"
MJML = "templates/hello/email.mjml"


def text(body: str, path: str = SMS, **names: Any) -> str:
    return render(parse_template(path, body), names).body


def test_an_email_has_parts_an_escaped_body_and_a_text() -> None:
    source = (
        "---\n"
        "subject: \"{{ profile.name | default: '고객' }}님, {{ trigger.name }}\"\n"
        "preheader: 곧 품절됩니다\n"
        "---\n"
        "<p>Hello {{ profile.name }}</p><p><a href='https://shop.example/'>Shop</a></p>\n"
    )
    names = {"profile": {"name": "<b>\nKim & Co"}, "trigger": {"name": "찻주전자"}}
    message = render(parse_template(EMAIL, source), names)
    assert message.parts == {
        "subject": "<b> Kim & Co님, 찻주전자",
        "preheader": "곧 품절됩니다",
    }
    assert "<p>Hello &lt;b&gt;\nKim &amp; Co</p>" in message.body
    assert message.text == "Hello <b> Kim & Co\n\nShop (https://shop.example/)"


def test_a_text_is_not_escaped_and_needs_no_front_matter() -> None:
    message = render(parse_template(SMS, "{{ profile.name }}"), {"profile": {"name": "A & B"}})
    assert (message.body, message.text, message.parts) == ("A & B", "A & B", {})


def test_unknown_names_render_empty() -> None:
    assert text("[{{ profile.x.y[0] }}{{ nothing }}{{ a | upcase }}]") == "[]"
    assert text("{% if nothing > 5 %}a{% else %}b{% endif %}") == "b"
    assert text("{% for p in nothing %}a{% endfor %}") == ""


def test_windows_line_ends_are_taken() -> None:
    message = render(parse_template(EMAIL, "---\r\nsubject: Hi\r\n---\r\n<p>x</p>\r\n"), {})
    assert message.parts == {"subject": "Hi"}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("ko-KR", "ko-kr"),
        ("ko_KR", "ko-kr"),
        ("ko-KP", "ko"),
        ("ko", "ko"),
        ("zh-Hant-TW", "zh-hant"),
        ("zh-Hans", "plain"),
        ("en", "plain"),
        ("", "plain"),
        (None, "plain"),
    ],
)
def test_the_file_nearest_to_the_locale_is_chosen(locale: str | None, expected: str) -> None:
    paths = ["sms.liquid", "sms.ko.liquid", "sms.ko-KR.liquid", "sms.zh-Hant.liquid"]
    templates = {}
    for path in paths:
        parsed = parse_template(f"templates/a/{path}", path)
        templates[parsed.name.key] = parsed
    found = choose(templates, "a", "sms", locale)
    assert found is not None
    assert (found.name.locale or "plain").lower() == expected


def test_no_file_is_no_template() -> None:
    assert choose({}, "a", "sms", "ko-KR") is None
    assert key("a", "sms", "ko-KR") == "a/sms.ko-kr"


@pytest.mark.parametrize(
    "path",
    [
        "email.liquid",
        "templates/email.liquid",
        "templates/a/b/email.liquid",
        "templates/a/email.html",
        "templates/a/email",
        "templates/a/email.ko_KR.liquid",
        "templates/a/email.ko..liquid",
        "segments/a/email.liquid",
    ],
)
def test_other_paths_are_no_templates(path: str) -> None:
    assert template_name(path) is None
    with pytest.raises(TemplateInvalid):
        parse_template(path, "")


@pytest.mark.parametrize(
    ("path", "source", "place", "message", "hint"),
    [
        (EMAIL, "<p>x</p>", (1, 1), "`subject` is missing", "subject"),
        (EMAIL, "---\nsubject: ''\n---\nx", (1, 1), "`subject` is missing", ""),
        (EMAIL, "---\nsubject: x\n", (1, 1), "never closed", "`---`"),
        (EMAIL, "---\nsubject: {{ x }}\n---\nx", (2, 10), "a part is one text", "quotes"),
        (EMAIL, "---\nsubject: [a]\n---\nx", (2, 10), "a part is one text", ""),
        (EMAIL, "---\nsubject: *a\n---\nx", (2, 10), "a part is one text", ""),
        (EMAIL, "---\n- a\n---\nx", (2, 1), "a part is one text", ""),
        (EMAIL, "---\na\n---\nx", (2, 1), "a part is one text", ""),
        (EMAIL, "---\nsubject: a\nsubject: b\n---\nx", (3, 1), "twice", "leave one"),
        (EMAIL, "---\nSubject: a\n---\nx", (2, 1), "no part's name", "`subject`"),
        (EMAIL, "---\nsubject: !x a\n---\nx", (2, 10), "tags", ""),
        (EMAIL, '---\nsubject: "a\n---\nx', (2, 10), "no YAML", "quotes"),
        (EMAIL, '---\nsubject: "{{ a | b }}"\n---\nx', (2, 18), "no filter `b`", ""),
        (EMAIL, "---\nsubject: x\n---\na\n {{ b | upcas }}", (5, 9), "no filter", "`upcase`"),
        (SMS, "a\n{{ b", (2, 1), "expected '}}'", ""),
        (SMS, "{% include 'a' %}", (1, 4), "unexpected tag 'include'", ""),
        (SMS, "{% render 'a' %}", (1, 4), "unexpected tag 'render'", ""),
        (SMS, "{% if a %}", (1, 1), "endif", ""),
        (SMS, "{% if a %}" * 40, (1, 314), "nesting", ""),
        (SMS, "x" * 300_001, (1, 1), "at most 300,000 characters", ""),
        ("templates/a/sms.mjml", "x", (1, 1), "MJML is for mail", "sms.liquid"),
        (MJML, "---\nsubject: x\n---\nx", (4, 1), "MJML: unable", "<mj-body>"),
        (
            MJML,
            "---\nsubject: x\n---\n<mjml>\n<mj-body>\n<mj-txt/>",
            (6, 2),
            "`mj-txt`",
            "`mj-text`",
        ),
        (
            MJML,
            "---\nsubject: x\n---\n<mjml><mj-include path='x'/></mjml>",
            (4, 8),
            "mj-include",
            "",
        ),
        (MJML, "---\nsubject: x\n---\n<mjml><mj-body><mj-section></mjml>", (4, 1), "MJML", ""),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(
    path: str, source: str, place: tuple[int, int], message: str, hint: str
) -> None:
    with pytest.raises(TemplateInvalid) as invalid:
        parse_template(path, source)
    problem = invalid.value.problems[0]
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.line, problem.column) == place


def test_all_problems_of_a_template_are_told() -> None:
    with pytest.raises(TemplateInvalid) as invalid:
        parse_template(EMAIL, '---\npreheader: "{{ a | b }}"\n---\n{{ c | d }}')
    assert len(invalid.value.problems) == 3


@pytest.mark.parametrize(
    "body",
    [
        "{{ (1..1000000000) | join }}",
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..200) %}{% for j in (1..200) %}{% endfor %}{% endfor %}",
        "{% for i in (1..15000) %}{% endfor %}" * 2,
        "{% tablerow i in (1..30000) %}{% endtablerow %}",
        "{% for i in (1..100) %}{% assign s = s | append: s | append: 'x' %}{% endfor %}",
        "{% capture s %}{% for i in (1..20000) %}" + "x" * 100 + "{% endfor %}{% endcapture %}",
        "{{ 'aaaaaaaaaa' " + "| replace: 'a', 'aaaaaaaaaa' " * 9 + "}}",
        "{{ '' | replace: '', 'x' | append: big | append: big | append: big }}",
        "{% assign n = 9 %}{% for i in (1..40) %}{% assign n = n | times: n %}{% endfor %}",
        "{% for i in (1..10000) %}{% assign x = big | upcase %}{% endfor %}",
        "{% for i in (1..10000) %}{% assign x = big | strip_html %}{% endfor %}",
        "{% for i in (1..5000) %}{% assign x = big | split: '' | sort %}{% endfor %}",
        "{% for i in (1..5000) %}{% assign x = items | map: 'a' | uniq %}{% endfor %}",
        "{{ 5 | divided_by: 0 }}",
        "{{ '2026-03-02' | date: '%9999999d' }}",
        "{{ 'a' | slice: 'b' }}",
    ],
)
def test_a_template_out_of_bounds_fails_soon(body: str) -> None:
    with pytest.raises(TemplateFailed):
        text(body, big="x" * 400_000, items=[{"a": n} for n in range(9_000)])


@pytest.mark.parametrize(
    "body",
    [
        "{{ profile.__class__ }}{{ profile['__class__'] }}{{ profile.keys }}",
        "{{ name.__len__ }}{{ name.upper }}{{ list.append }}{{ list.__class__.__mro__ }}",
        "{{ now }}{{ today }}{{ 'now' | date: '%Y' }}",
    ],
)
def test_a_template_reaches_neither_objects_nor_the_clock(body: str) -> None:
    assert text(body, profile={"a": 1}, name="x", list=[1]) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-02", "02.03.2026 00:00"),
        ("2026-03-02T21:05:00+09:00", "02.03.2026 21:05"),
        (datetime(2026, 3, 2, 12, tzinfo=UTC), "02.03.2026 12:00"),
        (0, "01.01.1970 00:00"),
        ("soon", "soon"),
        ("2026-02-30", "2026-02-30"),
        (10**17, str(10**17)),
        (True, "true"),
        (None, ""),
    ],
)
def test_dates_are_written_without_a_clock_or_a_machine_s_zone(value: Any, expected: str) -> None:
    assert text("{{ d | date: '%d.%m.%Y %H:%M' }}", d=value) == expected


def test_now_is_what_the_caller_says() -> None:
    assert text("{{ 'now' | date: '%Y' }}", now=datetime(1999, 1, 1, tzinfo=UTC)) == "1999"


def test_filters_of_money_work_in_both_worlds() -> None:
    body = "{{ p | divided_by: 1000 }},{{ p | modulo: 1000 | prepend: '000' | slice: -3, 3 }}"
    assert text(body, p=38050) == "38,050"
    assert text("---\nsubject: x\n---\n" + body, EMAIL, p=38050) == "38,050"


def test_the_text_part_keeps_what_can_be_read() -> None:
    html = (
        "<html><head><title>t</title><style>p {}</style></head><body>"
        "<h1>단골</h1><p>a<br>b &amp; c</p><ul><li>one</li><li>two</li></ul>"
        "<script>x()</script><img alt='logo' src='x'><a href='/local'>here</a>"
        "<table><tr><td>1</td><td>2</td></tr></table></body></html>"
    )
    plain = render(parse_template(EMAIL, f"---\nsubject: x\n---\n{html}"), {}).text
    assert "style" not in plain
    assert "x()" not in plain
    assert re.sub(r"\s+", " ", plain) == "단골 a b & c - one - two logohere 1 2"


@pytest.mark.parametrize(
    "html", ["<", "<p", "</p></p>", "<a><a>", "&#x110000;", "<![CDATA[x", "<!--"]
)
def test_the_text_part_of_odd_html_is_no_failure(html: str) -> None:
    render(parse_template(EMAIL, f"---\nsubject: x\n---\n{html}"), {})


# MJML, and filters of our own ----------------------------------------------------------------

LETTER = """---
subject: x
---
<mjml><mj-body>{% for item in trigger.items %}<mj-section><mj-column>
<mj-text>{{ item.name }}</mj-text></mj-column></mj-section>{% endfor %}</mj-body></mjml>
"""


def test_mjml_becomes_html_with_a_section_for_each_item() -> None:
    names = {"trigger": {"items": [{"name": "찻주전자"}, {"name": "<mj-raw>x"}]}}
    rendered = render(parse_template(MJML, LETTER), names)
    assert rendered.html
    assert rendered.body.startswith("<!doctype html>")
    assert "찻주전자" in rendered.body
    assert "&lt;mj-raw&gt;x" in rendered.body  # a name is text, never an element
    assert "<mj-" not in rendered.body
    assert "찻주전자" in rendered.text


SEOUL = {"locale": "ko", "timezone": "Asia/Seoul"}
NEW_YORK = {"locale": "en-US", "timezone": "America/New_York"}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "korean", "english"),
    [
        ("{{ x | currency }}", "38,000원", "$38,000.00"),
        ("{{ x | currency: 'KRW' }}", "38,000원", "₩38,000"),
        ("{{ x | currency: 'EUR' }}", "€38,000.00", "€38,000.00"),
        ("{{ x | number }}", "38,000", "38,000"),
        ("{{ none | currency }}", "", ""),
        ("{{ word | number }}", "many", "many"),
        ("{{ day | format_date }}", "2026년 3월 5일", "March 5, 2026"),
        ("{{ day | format_date: 'short' }}", "26. 3. 5.", "3/5/26"),
        ("{{ late | format_date }}", "2026년 3월 3일", "March 2, 2026"),
        ("{{ late | date: '%d. %H:%M' }}", "03. 02:00", "02. 12:00"),
        ("{{ day | date: '%d.' }}", "05.", "05."),
        ("{{ day | relative_time }}", "3일 후", "in 3 days"),
        ("{{ late | relative_time }}", "5시간 후", "in 5 hours"),
        ("{{ name | josa: '은/는' }}", "민수는", "민수는"),
    ],
)
def test_filters_write_as_the_reader_does(written: str, korean: str, english: str) -> None:
    values: dict[str, Any] = {
        "x": 38000,
        "word": "many",
        "day": "2026-03-05",
        "late": "2026-03-02T17:00:00Z",
        "name": "민수",
    }
    assert text(written, now=NOW, message=SEOUL, **values) == korean
    assert text(written, now=NOW, message=NEW_YORK, **values) == english


@pytest.mark.parametrize("written", ["{{ 5 | currency: 'XXY' }}", "{{ 'a' | josa: '에/게' }}"])
def test_what_a_filter_does_not_know_fails(written: str) -> None:
    with pytest.raises(TemplateFailed):
        text(written, message=SEOUL)


@pytest.mark.parametrize(
    ("word", "pair", "written"),
    [
        ("지영", "은/는", "지영은"),
        ("민수", "이/가", "민수가"),
        ("서울", "으로/로", "서울로"),
        ("부산", "으로/로", "부산으로"),
        ("라떼", "과/와", "라떼와"),
        ("38,000", "이/가", "38,000이"),
        ("1", "을/를", "1을"),
        ("2", "을/를", "2를"),
        ("URL", "으로/로", "URL로"),
        ("SMS", "은/는", "SMS는"),
        ("Dangol", "은/는", "Dangol은(는)"),
        ("Dangol", "으로/로", "Dangol(으)로"),
        ("라떼(ICE)", "을/를", "라떼(ICE)를"),
        ("'유자차'", "이/가", "'유자차'가"),
        ("", "은/는", ""),
    ],
)
def test_particles_are_chosen_by_ear(word: str, pair: str, written: str) -> None:
    assert with_particle(word, pair) == written
    assert with_particle(word, "/".join(pair.split("/")[::-1])) == written


def test_a_variable_of_a_kakao_template_needs_its_value() -> None:
    from services.journey.language.problems import Problem
    from services.journey.language.template_files import read_templates

    parts = '---\ntemplate_code: T1\n"#{이름}": "{{ profile.name }}"\n---\n'
    text = parts + "#{이름}님, #{주문}\n#{주문}\n"
    found: list[Problem] = []
    templates = read_templates({"templates/order/alimtalk.liquid": text.encode()}, found)
    (problem,) = found
    assert (problem.line, problem.column, problem.code) == (5, 9, "no_value")
    assert '"#{주문}": "{{ … }}"' in problem.hint
    assert set(templates.parsed["order/alimtalk"].parts) == {"template_code", "#{이름}"}
