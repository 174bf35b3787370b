"""A whole workspace: settings, segments, tests and file names, beside the journeys."""

from pathlib import Path

import pytest

from services.journey.language.workspace import load_workspace
from tests.unit.language.sayings import SETTINGS, TEMPLATES, journey, load, only, places

GOOD = journey("- {send: email, template: hello}")


def test_a_good_workspace_has_flows_sources_and_templates() -> None:
    loaded = load({"journeys/j.yaml": "\ufeff" + GOOD.replace("\n", "\r\n")})
    assert loaded.problems == ()
    assert loaded.settings.timezone == "Asia/Seoul"
    assert set(loaded.flows) == {"j"}
    source = loaded.journeys["j"]
    assert (source.file, source.source) == ("journeys/j.yaml", GOOD)
    assert source.digest == load({"journeys/other.yaml": GOOD}).journeys["j"].digest
    assert set(loaded.templates) == {"hello/email", "hello/sms", "hello/alimtalk"}


def test_a_journey_with_a_problem_has_no_flow_and_the_others_have() -> None:
    loaded = load({"journeys/a.yaml": GOOD, "journeys/b.yaml": "journey: b"})
    assert loaded.problems
    assert set(loaded.flows) == set(loaded.journeys) == {"j"}


def test_the_holdout_is_kept_as_it_is_written() -> None:
    settings = load({"dangol.yaml": SETTINGS + "holdout: 2.5%\n"}).settings
    assert settings.holdout == 0.025
    stored = settings.model_dump(mode="json", by_alias=True)
    assert stored["holdout"] == "2.5%"
    assert type(settings).model_validate(stored) == settings


def test_an_empty_workspace_lacks_its_settings() -> None:
    found = only(list(load_workspace({}).problems))
    assert (found.file, found.line) == ("dangol.yaml", 1)
    assert "missing" in found.message


def test_without_settings_channels_are_not_looked_for() -> None:
    files = {"journeys/j.yaml": GOOD, **TEMPLATES}
    loaded = load_workspace({path: text.encode() for path, text in files.items()})
    assert [p.file for p in loaded.problems] == ["dangol.yaml"]


@pytest.mark.parametrize(
    ("settings", "place", "message", "hint"),
    [
        ("timezone: Asia/Seul", (1, 11), "`Asia/Seul` is no time zone", ""),
        ("timezone: 9", (1, 11), "no time zone", ""),
        ("country: Korea", (1, 10), "`Korea` is no country", ""),
        ("locale: Korean (Seoul)", (1, 9), "no locale", ""),
        ("holdout: 5", (1, 10), "`5` is no share of customers: write 10%", ""),
        ("holdout: 101%", (1, 10), "no share", ""),
        ("timezoen: UTC", (1, 1), "no field `timezoen`", "`timezone`"),
        ("policies: {quiet: []}", (1, 12), "no field `quiet`", ""),
        ("policies: {consent: maybe}", (1, 21), "not one of required, assumed", ""),
        ("policies: {packs: [kr-markting]}", (1, 20), "no pack called", "`kr-marketing`"),
        ("policies:\n  quiet_hours:\n    - {form: '20:00'}", (3, 8), "no field `form`", "`from`"),
        ("policies:\n  quiet_hours:\n    - {from: '20:00'}", (3, 7), "need `from` and `to`", ""),
        ("policies:\n  quiet_hours:\n    - {from: '2000', to: '08:00'}", (3, 14), "time of", ""),
        ("policies:\n  quiet_hours: [{channels: [emial], never: true}]", (2, 29),
         "no channel called `emial`", "`email`"),
        ("policies:\n  frequency_caps: [{limit: 0, per: 1d}]", (2, 28), "the least is 1", ""),
        ("policies:\n  frequency_caps: [{limit: 1, per: 1 day}]", (2, 36), "no duration", ""),
        ("policies:\n  frequency_caps: [{limit: 1}]", (2, 20), "`per` is missing", ""),
        ("policies:\n  frequency_caps: [{limit: 1, per: 1d, channels: [sns]}]", (2, 51),
         "no channel called `sns`", "`sms`"),
        ("policies: {expire_after: soon}", (1, 26), "no duration", ""),
        ("channels: {emial: {adapter: log}}", (1, 12), "no channel called `emial`", "`email`"),
        ("channels: {email: {adapter: smpt}}", (1, 29), "no adapter of `email`", "`smtp`"),
        ("channels: {email: {}}", (1, 19), "`adapter` is missing", ""),
        ("channels: {email: log}", (1, 19), "a group of fields", ""),
        ("channels: {email: {adapter: log, rate: fast}}", (1, 40), "no rate", ""),
        ("channels: {email: {adapter: log, rate: 0}}", (1, 40), "no rate", ""),
        ("channels: {email: {adapter: log, domain_rates: {gmail.com: often}}}", (1, 60),
         "no rate", ""),
        ("channels: {email: {adapter: log, domain_rates: {gmail: 1/s}}}", (1, 56),
         "no domain", ""),
        ("channels: {sms: {adapter: log, domain_rates: {a.example: 1/s}}}", (1, 32),
         "are for e-mail", "`rate`"),
        ("channels: {email: {adapter: log, concurrency: 0}}", (1, 47), "the least is 1", ""),
        ("channels: {email: {adapter: log, concurrency: 5/s}}", (1, 47), "no whole number", ""),
        ("channels: {sms: {adapter: solapi, failover: [twilio], twilio: {concurrency: many}}}",
         (1, 77), "no whole number", ""),
        ("channels: {sms: {adapter: solapi, failover: [twilio], twilio: {rate: fast}}}", (1, 70),
         "no rate", ""),
        ("channels: {email: {adapter: log, failover: [sendgird]}}", (1, 45), "no adapter", ""),
        ("channels: [email]", (1, 11), "a group of fields", ""),
        ("channels: {email: {adapter: log}, email: {adapter: log}}", (1, 35), "twice", ""),
        ("- a", (1, 1), "a group of fields", ""),
        ("a: [", (1, 5), "closing bracket", ""),
        ("", (1, 1), "the file is empty", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_the_settings_is_told_in_its_place(
    settings: str, place: tuple[int, int], message: str, hint: str
) -> None:
    found = only(list(load({"dangol.yaml": settings}).problems))
    assert found.file == "dangol.yaml"
    assert (found.line, found.column) == place
    assert message in found.message
    assert hint in found.hint


def test_a_channel_of_broken_settings_still_counts_as_set_up() -> None:
    broken = SETTINGS.replace("Asia/Seoul", "Asia/Seul")
    found = load({"dangol.yaml": broken, "journeys/j.yaml": GOOD}).problems
    assert [problem.place for problem in found] == ["dangol.yaml:1:11"]


# Segments ------------------------------------------------------------------------------------


def segment(name: str, where: str) -> dict[str, str]:
    return {f"segments/{name}.yaml": f"segment: {name}\nwhere: {where}\n"}


def problems_but_not_yet(files: dict[str, str]) -> list[tuple[str, str]]:
    found = load(files).problems
    return [(p.place, p.message) for p in found]


def test_segments_are_compiled_with_what_can_change_them() -> None:
    files = segment("vip", "profile.tier == 'gold'") | segment("idle", "not did('A', within='3d')")
    found = load(files | segment("both", "in_segment('vip') and in_segment('idle')"))
    assert found.problems == ()
    about = {n: (s.events, s.profile, s.timed) for n, s in found.segments.items()}
    assert about == {
        "vip": (frozenset(), True, False),
        "idle": (frozenset({"A"}), False, True),
        "both": (frozenset({"A"}), True, True),
    }


def test_a_thicket_of_segments_is_refused() -> None:
    files = segment("s0", "profile.x")
    for number in range(1, 12):
        inner = f"in_segment('s{number - 1}')"
        files |= segment(f"s{number}", f"{inner} or {inner}")
    [(place, message)] = problems_but_not_yet(files)
    assert place == "segments/s9.yaml:2:8"
    assert "looks up 1023 others" in message


@pytest.mark.parametrize(
    ("where", "column", "message"),
    [
        ("event.x == 1", 8, "`event` is not known in a segment"),
        ("trigger.x == 1", 8, "`trigger` is not known"),
        ("steps.a.outcome == 'sent'", 8, "`steps` is not known"),
        ("in_segment('vpi')", 19, "no segment `vpi`"),
        ("profile.x = 1", 18, "compares nothing"),
        ("5", 8, "never hold"),
    ],
)
def test_a_segment_names_only_what_a_customer_has(where: str, column: int, message: str) -> None:
    found = problems_but_not_yet(segment("vip", where))
    assert [place for place, _ in found] == [f"segments/vip.yaml:2:{column}"]
    assert message in found[0][1]


def test_segments_may_be_made_of_others() -> None:
    files = segment("a", "in_segment('b') and in_segment('c')")
    files |= segment("b", "in_segment('c')") | segment("c", "profile.x")
    assert problems_but_not_yet(files) == []


def test_segments_in_a_circle_are_told_at_each_reference() -> None:
    files = segment("a", "in_segment('b')") | segment("b", "profile.x or in_segment('c')")
    files |= segment("c", "in_segment('a')") | segment("d", "in_segment('a')")
    found = problems_but_not_yet(files)
    assert [place for place, _ in found] == [
        "segments/a.yaml:2:19",
        "segments/b.yaml:2:32",
        "segments/c.yaml:2:19",
    ]
    assert "`a` → `b` → `c` → `a`" in found[0][1]


def test_a_segment_of_itself_is_a_circle() -> None:
    found = problems_but_not_yet(segment("a", "in_segment('a')"))
    assert found == [("segments/a.yaml:2:19", "segments go in a circle: `a` → `a`")]


def test_a_segment_of_the_same_name_twice_is_refused() -> None:
    files = {"segments/a.yaml": "segment: x\nwhere: profile.x\n"}
    files |= {"segments/b.yaml": "segment: x\nwhere: profile.x\n"}
    found = problems_but_not_yet(files)
    assert found[0][0] == "segments/b.yaml:1:10"


# Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("journeys/a.yml", "ends in .yml"),
        ("segments/a.yml", "ends in .yml"),
        ("journeys/deep/a.yaml", "in a folder within"),
        ("templates/hello/emial.liquid", "no channel `emial`"),
        ("templates/hello/email.html", "ends in .liquid"),
        ("templates/hello/email.ko_KR.liquid", "ends in .liquid"),
    ],
)
def test_a_file_that_would_be_overlooked_is_told(path: str, message: str) -> None:
    found = only(list(load({path: "---\nsubject: x\n---\n"}).problems))
    assert found.file == path
    assert message in found.message


def test_two_files_for_one_language_are_told() -> None:
    content = TEMPLATES["templates/hello/email.liquid"]
    files = {f"templates/hello/email.{locale}.liquid": content for locale in ("en", "EN")}
    assert "are the same template" in only(list(load(files).problems)).message


@pytest.mark.parametrize(
    "path",
    ["README.md", "journeys/README.md", "templates/hello/notes.txt", "templates/hello/logo.png"],
)
def test_notes_and_pictures_are_nobody_s_business(path: str) -> None:
    assert load({path: b"\xff\x00"}).problems == ()


def test_a_template_for_one_language_alone_is_not_enough() -> None:
    files = {"templates/ko/email.ko.liquid": "---\nsubject: x\n---\n안녕"}
    found = load({**files, "journeys/j.yaml": GOOD.replace("hello", "ko")}).problems
    assert "has no file for `email`" in only(list(found)).message


def test_a_broken_template_is_told_in_its_own_file_only() -> None:
    files = {
        "templates/hello/email.liquid": "---\nsubject: Hi\n---\n<p>\n{{ profile.name | shout }}"
    }
    found = only(list(load({**files, "journeys/j.yaml": GOOD}).problems))
    assert found.place == "templates/hello/email.liquid:5:19"
    assert found.source_line == "{{ profile.name | shout }}"


def test_tests_in_files_of_their_own_name_a_journey() -> None:
    test = (
        "journey: {}\ntests:\n  - name: t\n    at: 2026-03-02T20:00Z\n    customer: {{id: a}}\n"
        "    events: [{{event: A}}]\n    expect: {{sent: []}}\n"
    )
    files = {"journeys/j.yaml": GOOD}
    assert load({**files, "tests/t.yaml": test.format("j")}).problems == ()
    found = only(list(load({**files, "tests/t.yaml": test.format("jj")}).problems))
    assert found.place == "tests/t.yaml:1:10"
    assert "`j`" in found.hint


def test_problems_come_sorted_by_file_and_place() -> None:
    files = {"journeys/b.yaml": "journey: b", "journeys/a.yaml": "x: 1\njourney: a"}
    found = load({**files, "dangol.yaml": "timezone: X"}).problems
    assert [p.file for p in found] == sorted(p.file for p in found)
    assert list(found) == sorted(found)
    assert places(found[:1]) == [(1, 11)]


def test_the_example_shop_is_in_order() -> None:
    shop = Path(__file__).parents[3] / "examples" / "shop"
    files = {
        path.relative_to(shop).as_posix(): path.read_bytes()
        for path in shop.rglob("*")
        if path.is_file()
    }
    loaded = load_workspace(files)
    assert loaded.problems == (), [problem.render() for problem in loaded.problems]
    assert len(loaded.flows) >= 4


def test_what_korean_carriers_cannot_carry_is_told_in_a_korean_workspace() -> None:
    settings = {"dangol.yaml": b"country: KR\nchannels:\n  email: {adapter: log}\n"}
    texts = {
        "templates/hello/sms.liquid": "안녕 {{ profile.name | default: '—' }} — ₩5,000\n".encode()
    }
    found = only(list(load({**settings, **texts}).problems))
    assert (found.file, found.line, found.column) == ("templates/hello/sms.liquid", 1, 38)
    assert "`—` `₩`" in found.message
    assert "`₩` → `원`" in found.hint
    assert not load(texts).problems


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("{{ nmae }}", "`nmae` is nothing that a template knows", "`profile.nmae`"),
        ("{{ live.stock }}", "asks no live source: it renders empty", "`call`"),
        ("{{ profil.name }}", "`profil` is nothing", "did you mean `profile`"),
        ("{{ journey.titel }}", "`journey` has no `titel`", "did you mean `title`"),
        ("{{ steps.first_nuge.outcome }}", "has a step `first_nuge`", "`first_nudge`"),
    ],
)
def test_a_name_that_holds_nothing_is_warned_of(body: str, message: str, hint: str) -> None:
    text = f"---\nsubject: x\n---\n<p>\n  {body}</p>\n".encode()
    journey = """
journey: j
trigger: {event: E}
steps: [{send: email, template: hello, id: first-nudge, with: {gift: 1}}]
"""
    loaded = load({"templates/hello/email.liquid": text, "journeys/j.yaml": journey})
    assert not loaded.problems
    warning = only(list(loaded.warnings))
    assert (warning.file, warning.line, warning.column) == ("templates/hello/email.liquid", 5, 6)
    assert message in warning.message
    assert hint in warning.hint


@pytest.mark.parametrize(
    "body",
    [
        "{{ profile.x }}{{ trigger.y }}{{ event.name }}{{ message.locale }}{{ unsubscribe_url }}",
        "{% assign mine = 1 %}{{ mine }}{% for p in trigger.items %}{{ p.name }}{% endfor %}",
    ],
)
def test_names_that_may_hold_something_are_not(body: str) -> None:
    text = f"---\nsubject: x\n---\n{body}\n".encode()
    assert not load({"templates/hello/email.liquid": text}).warnings
