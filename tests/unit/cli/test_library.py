"""The library of journeys: each entry is a workspace that validates and whose tests pass."""

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from services.cli.library import LANGUAGES, Entry, Language, Shop, build, entries, with_needs
from services.cli.library import catalogue as library
from services.cli.library.needs import needs_of
from services.cli.library.page import page
from services.console.folder import belongs
from services.console.preview import preview
from services.console.testing.running import Report, run_suites
from services.console.testing.suites import read_suites
from services.dispatch.channels.texts import template_code_of, variables_of, whole_text
from services.journey.core.flow import Flow, Send
from services.journey.language.workspace import Workspace, load_workspace
from shared.errors import BadInput
from shared.sms import size_of

ROOT = Path(__file__).parents[3]
NAMES = [entry.name for entry in entries()]
NOW = datetime(2026, 3, 2, 1, tzinfo=UTC)
SHOP = Shop(
    "참고상점", "Sample Shop", "02-123-4567", "080-123-4567", "hi@sample.example",
    "서울시 참고구 참고로 2", "2 Sample Road", "https://www.sample.example",
)  # fmt: skip
SAMPLE = {
    "profile": {
        "name": "김보기", "ad_consent_at": "2024-04-05", "birthday": "1990-03-08",
        "consent": {"email": True, "sms": True, "push": False, "night": False},
    },
    "trigger": {
        "order_id": "o1", "cart_id": "c1", "product_id": "p1", "subscription_id": "s1",
        "name": "찻주전자", "price": 38000, "old_price": 45000, "new_price": 29000, "total": 38000,
        "value": 38000, "amount": 29000, "points": 3200, "basis": "2025년 3월 구매",
        "expires_at": "2026-03-31", "renews_at": "2026-03-16", "effective_on": "2026-04-10",
        "tier": "골드", "remaining": 40000, "until": "2026-03-14", "valid_until": "2026-12-31",
        "benefits": "구매 금액의 2% 적립", "stated_at": "2026-03-02T01:00:00+00:00",
    },
    "with": {
        "code": "EXAMPLE-1", "expires_at": "2026-03-09", "stock": 3, "category": "다기",
        "score": 3, "comment": "깨져서 왔어요",
    },
}  # fmt: skip


@cache
def made(names: tuple[str, ...], language: Language) -> Mapping[str, str]:
    return build(with_needs(names), language, SHOP)


@cache
def loaded(names: tuple[str, ...], language: Language) -> Workspace:
    files = {p: text.encode() for p, text in made(names, language).items() if belongs(p)}
    return load_workspace(files)


def played(names: tuple[str, ...], language: Language) -> Report:
    files = {p: text.encode() for p, text in made(names, language).items() if belongs(p)}
    workspace = load_workspace(files)
    problems = list(workspace.problems)
    suites = read_suites(files, workspace.flows, problems)
    assert [problem.render() for problem in problems] == []
    # One entry alone does not meet the pack's duties; `dangol init` brings what does.
    others = [w.render() for w in workspace.warnings if w.code != "pack_duty"]
    assert others == []
    return run_suites(suites, workspace)


# Every one alone, and all together -----------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_each_alone_validates_and_tests_green(name: str, language: Language) -> None:
    report = played((name,), language)
    assert report.failed == 0, [r.case.name for r in report.results if r.differences]
    counts = {suite.suite.journey: len(suite.results) for suite in report.suites}
    assert counts.keys() == loaded((name,), language).flows.keys()
    assert all(2 <= count <= 5 for count in counts.values()), counts


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_together_validate_and_test_green(language: Language) -> None:
    assert played(tuple(NAMES), language).failed == 0
    assert loaded(tuple(NAMES), language).warnings == ()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("number", range(8))
def test_any_of_them_together_validate_and_test_green(number: int, language: Language) -> None:
    """Every pair and many more have been tried; these are some, always the same."""
    chosen = random.Random(number)
    names = tuple(sorted(chosen.sample(NAMES, chosen.randint(2, len(NAMES) - 1)), key=NAMES.index))
    assert played(names, language).failed == 0


def test_there_are_the_eighteen_and_the_three_in_order() -> None:
    wanted = [*map(str, range(1, 19)), "S1", "S2", "S3"]
    assert [entry.number for entry in entries()] == wanted


def test_what_is_in_the_library_is_used() -> None:
    journeys = [journey for entry in entries() for journey in entry.journeys]
    assert sorted(journeys) == list(library.names("journeys"))
    segments = {name for journey in journeys for name in library.segments_of(journey)}
    assert sorted(segments) == list(library.names("segments"))
    templates = {name for journey in journeys for name in library.templates_of(journey)}
    assert sorted(templates) == list(library.names("messages"))


# Classes -------------------------------------------------------------------------------------


def flows(language: Language = "ko") -> list[Flow]:
    return [*loaded(tuple(NAMES), language).flows.values()]


@pytest.mark.parametrize("flow", flows(), ids=lambda flow: flow.journey)
def test_advertising_is_measured_ends_and_disturbs_nobody(flow: Flow) -> None:
    if flow.category != "marketing":
        assert flow.entry.holdout == 0
        return
    assert flow.goal is not None
    assert flow.entry.holdout == (0 if flow.journey == "sunset" else 0.1)
    assert any(exit_.event == "Ticket Opened" for exit_ in flow.exits)
    assert "open-to-ads" in library.segments_of(flow.journey)
    source = library.read(f"journeys/{flow.journey}.yaml")
    assert "\n  reentry: " in source or "when_active: restart" in source
    channels = {c for step in flow.steps.values() if isinstance(step, Send) for c in step.channels}
    assert "alimtalk" not in channels


PRAISE = re.compile(
    r"할인|특가|무료배송|쿠폰|추천|인기|놓치지|지금 바로|discount|coupon|sale\b|free delivery"
    r"|bestseller|do not miss|hurry",
    re.IGNORECASE,
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_information_holds_no_praise_no_offer_and_no_label(language: Language) -> None:
    information = [flow for flow in flows() if flow.category == "transactional"]
    for template in {t for flow in information for t in library.templates_of(flow.journey)}:
        for path, text in made(tuple(NAMES), language).items():
            if path.startswith(f"templates/{template}/"):
                assert not PRAISE.search(text), path
                assert "(광고)" not in text, path
                assert "unsubscribe_url" not in text, path


def test_an_english_workspace_speaks_english_only() -> None:
    names = re.compile(r"[가-힣]")
    for path, text in made(tuple(NAMES), "en").items():
        if path.startswith("journeys/"):
            text = text.partition("\ntests:")[0]  # products of the tests may be Korean
        assert not names.search(text), path
        assert "alimtalk" not in text, path


# Texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", library.names("messages"))
def test_every_text_renders_whole_and_fits_its_channel(template: str, language: Language) -> None:
    workspace = loaded(tuple(NAMES), language)
    files = [f for f in made(tuple(NAMES), language) if f.startswith(f"templates/{template}/")]
    assert files
    for path in files:
        channel, *locale = path.rpartition("/")[2].removesuffix(".liquid").split(".")
        shown = preview(workspace, template, channel, SAMPLE, NOW, (locale or [language])[0])
        assert shown.file == path
        rendered = "\n".join([*shown.rendered.parts.values(), shown.rendered.body])
        assert not re.search(r"[{}\[]{1}(shop|link|phone|site|refusal)\b|\{\{|\{%", rendered), path
        if channel == "alimtalk":
            variables = variables_of(shown.rendered)
            assert isinstance(variables, dict), variables
            assert "#{" not in whole_text(shown.rendered, variables)
            assert template_code_of(shown.rendered) == f"EXAMPLE-{template}" + "-en" * bool(locale)
        if channel == "push":
            assert shown.rendered.parts["link"].startswith("https://www.sample.example/")
        assert not shown.warnings, (path, shown.warnings)
        if channel == "sms":
            assert size_of(shown.rendered.body).kind != "too long"
            assert language == "en" or not size_of(shown.rendered.body).unsendable


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_message_has_the_channels_that_its_journeys_send(language: Language) -> None:
    wanted: dict[str, set[str]] = {}
    for flow in flows(language):
        for step in flow.steps.values():
            if isinstance(step, Send):
                wanted.setdefault(step.template, set()).update(step.channels)
    found: dict[str, set[str]] = {}
    for path in made(tuple(NAMES), language):
        if path.startswith("templates/"):
            _, template, file = path.split("/")
            found.setdefault(template, set()).add(file.partition(".")[0])
    assert found == wanted


# What it needs -------------------------------------------------------------------------------


def test_the_page_is_what_the_library_holds() -> None:
    written = (ROOT / "docs/journey-library.md").read_text(encoding="utf-8")
    assert written == page(), "run python -m services.cli.library.page > docs/journey-library.md"


def test_every_event_that_a_shop_sends_is_described_and_no_other() -> None:
    assert list(needs_of(entries()).sent()) == sorted(library.read_yaml("events.yaml"))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_what_it_needs_names_every_event_that_its_journeys_listen_to(entry: Entry) -> None:
    needs = needs_of([entry])
    for journey in entry.journeys:
        flow = loaded((entry.name,), "ko").flows[journey]
        heard = {match.event for match in (*flow.triggers, *flow.exits)}
        heard |= {need.event for need in flow.needs}
        heard |= {m.event for m in flow.goal.matches} if flow.goal is not None else set()
        assert heard <= needs.events.keys(), journey
        for need in flow.needs:
            read = {name.partition("[]")[0] for name in needs.events[need.event]}
            assert set(need.fields) <= read, (journey, need.event)
        sent = {c for step in flow.steps.values() if isinstance(step, Send) for c in step.channels}
        assert sent <= needs.channels.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tracking_plan_knows_all_that_the_journeys_read(language: Language) -> None:
    files = build(with_needs(NAMES), language, SHOP, plan=True)
    plan = files["events.yaml"].replace("mode: warn", "mode: enforce")
    held = load_workspace({p: t.encode() for p, t in files.items() if belongs(p)})
    assert [w.render() for w in held.warnings] == []
    enforced = {**files, "events.yaml": plan}
    strict = load_workspace({p: t.encode() for p, t in enforced.items() if belongs(p)})
    assert [p.render() for p in strict.problems] == []
    spoilt = {**enforced, "events.yaml": plan.replace("      cart_id: text\n", "")}
    broken = load_workspace({p: t.encode() for p, t in spoilt.items() if belongs(p)})
    assert any("cart_id" in p.message for p in broken.problems)


def test_the_types_are_of_properties_that_are_read() -> None:
    read = {p.partition("[]")[0] for names in needs_of(entries()).sent().values() for p in names}
    typed = [name for names in library.read_yaml("properties.yaml").values() for name in names]
    assert len(typed) == len(set(typed))
    assert set(typed) <= read


def test_what_an_entry_needs_comes_with_it() -> None:
    assert [entry.name for entry in with_needs(["consent-renewal"])] == [
        "consent-result", "consent-renewal",
    ]  # fmt: skip


def test_the_library_comes_with_the_package() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = ROOT / "services/cli/library"
    data = [file for file in folder.rglob("*.*") if file.suffix in (".yaml", ".yml", ".md")]
    assert len(data) > 70
    assert {str(file.relative_to(ROOT)) for file in data} <= packed


# The shop ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unfit",
    [{"korean": 'A"B'}, {"english": "{{ x }}"}, {"phone": "1\n2"}, {"email": ""}, {"site": "shop"}],
)
def test_what_would_break_a_text_is_refused(unfit: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        Shop(**unfit)
