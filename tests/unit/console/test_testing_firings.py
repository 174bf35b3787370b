"""`dangol test` of journeys that a clock or a catalogue event starts."""

from services.console.testing.running import Result, run_suites
from services.console.testing.suites import read_suites
from services.journey.language.workspace import load_workspace

SETTINGS = "timezone: Asia/Seoul\nchannels:\n  push: {adapter: log}\n"
VIP = "segment: vip\nwhere: profile.tier == 'vip'\n"
TRAITS = "push_token: t, tier: vip, birthday: 1990-03-05, consent: {push: true}"
STEPS = "steps:\n  - send: push\n    template: t\n    id: told\n"


def results(trigger: str, *tests: str) -> list[Result]:
    source = f"journey: j\ntrigger: {trigger}\n{STEPS}tests:\n"
    for test in tests:
        source += f"  - {{name: a, at: 2026-03-02T09:00+09:00, {test}}}\n"
    files = {
        "dangol.yaml": SETTINGS,
        "segments/vip.yaml": VIP,
        "journeys/j.yaml": source,
        "templates/t/push.liquid": "---\ntitle: x\n---\ny",
    }
    encoded = {name: text.encode() for name, text in files.items()}
    workspace = load_workspace(encoded)
    found = list(workspace.problems)
    suites = read_suites(encoded, workspace.flows, found)
    assert not found
    return list(run_suites(suites, workspace).results)


def told(result: Result) -> list[str]:
    return [line.text for line in result.lines]


def test_a_schedule_needs_no_events() -> None:
    member, other = results(
        '{schedule: "0 10 * * mon", segment: vip}',
        f"customer: {{traits: {{{TRAITS}}}}}, until: 1d,"
        " expect: {sent: [{step: told, at: 2026-03-02T10:00+09:00}], ended: {reason: completed}}",
        "customer: {traits: {tier: none}}, until: 1d, expect: {sent: [], entered: false}",
    )
    assert member.passed, member.differences
    assert other.passed, other.differences
    assert "the schedule fires" in told(member)
    assert told(other)[-2:] == ["the schedule fires", "does not enter: not_matched"]


def test_a_birthday() -> None:
    (result,) = results(
        '{date: profile.birthday, offset: -1d, time: "10:00", every: year}',
        f"customer: {{traits: {{{TRAITS}}}}},"
        " expect: {sent: [{step: told, at: 2026-03-04T10:00+09:00}]}",
    )
    assert result.passed, result.differences
    assert "the date has come" in told(result)


def test_a_catalogue_event() -> None:
    viewed = "{event: Viewed, properties: {sku: A}}"
    gone = "{after: 1h, catalog: Restocked, properties: {sku: A, stock: 0}}"
    back = "{after: 1h, catalog: Restocked, properties: {sku: A, stock: 1}}"
    audience = "'did(\"Viewed\", where=e.sku == trigger.sku)'"
    (result,) = results(
        f"{{event: Restocked, where: event.stock > 0, audience: {audience}}}",
        f"customer: {{traits: {{{TRAITS}}}}}, events: [{viewed}, {gone}, {back}],"
        " expect: {sent: [{step: told, after: 2h}]}",
    )
    assert result.passed, result.differences
    assert any(line.startswith("catalogue event Restocked") for line in told(result))
