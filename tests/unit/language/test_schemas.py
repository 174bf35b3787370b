"""The editors' schemas: they take every good file, and catch what people mistype."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from services.cli.library import LANGUAGES, Language, Shop, build, entries, with_needs
from services.console.folder import belongs, read_folder
from services.journey.language.problems import Problems, Source
from services.journey.language.reading import read_tree
from services.journey.language.schema_words import WORDS
from services.journey.language.schemas import SCHEMAS
from services.journey.language.tree import data
from services.journey.language.workspace import load_workspace
from tests.unit.language.sayings import SETTINGS, TEMPLATES
from tests.unit.language.test_tracking import GOOD, PLAN

ROOT = Path(__file__).parents[3]
WORKSPACES = sorted(
    file.parent
    for top in ("examples", "services", "shared", "library")
    for file in (ROOT / top).rglob("dangol.yaml")
)
VALIDATORS = {name: Draft7Validator(schema()) for name, schema in SCHEMAS.items()}


def parsed(text: str) -> Any:
    """As editors read YAML: by its core schema."""
    tree = read_tree(Problems(Source.of("", text)))
    assert tree is not None
    return data(tree)


def kind_of(path: str) -> str | None:
    if not path.endswith(".yaml") or path.startswith("templates/"):
        return None
    folders = {"journeys": "journey", "segments": "segment", "tests": "tests"}
    return {"dangol.yaml": "settings", "events.yaml": "events"}.get(path) or folders[
        path.partition("/")[0]
    ]


def complaints(kind: str, text: str) -> list[str]:
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in VALIDATORS[kind].iter_errors(parsed(text))
    ]


def files_of(files: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    for path, content in files.items():
        kind = kind_of(path)
        if kind is not None:
            yield path, kind, content.decode()


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_is_a_schema(kind: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[kind]())
    assert "$defs" not in json.dumps(SCHEMAS[kind]())


@pytest.mark.parametrize("folder", WORKSPACES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_example_keeps_them(folder: Path) -> None:
    found = [
        f"{path}: {complaint}"
        for path, kind, text in files_of(read_folder(folder))
        for complaint in complaints(kind, text)
    ]
    assert found == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_whole_library_keeps_them(language: Language) -> None:
    names = tuple(entry.name for entry in entries())
    files = build(with_needs(names), language, Shop(), plan=True)
    wanted = {path: text.encode() for path, text in files.items() if belongs(path)}
    assert {kind for _path, kind, _text in files_of(wanted)} >= {"journey", "settings", "events"}
    found = [
        f"{path}: {complaint}"
        for path, kind, text in files_of(wanted)
        for complaint in complaints(kind, text)
    ]
    assert found == []


EVERYTHING = """\
journey: everything
title: 전부
stage: revenue
category: transactional
priority: 7
trigger:
  any:
    - {event: A}
    - event: B
      where: event.x == "a && b"
entry: {key: event.id, when_active: restart, reentry: 1h30m, max_age: 1h, holdout: 12.5%}
exit: [{event: C, where: true}]
goal: {event: D, where: event.x == 1, within: 3d, value: event.total}
steps:
  - wait: 1w2d3h4m5s
  - wait_until: {time: "9:00", weekdays: [mon, fri]}
  - wait_until: {date: profile.expires_at, offset: -3d, time: 10:00, missing: exit}
  - wait_for: {any: [{event: A}, {event: B}], timeout: 2d}
    id: waited
    then: [{exit: a}]
    timed_out: []
  - branch:
      - when: not (event.x in ["a", 'b;{}'])
        steps: []
      - otherwise: [{exit: 2026}]
  - split:
      - {variant: 1, weight: 0.5, steps: []}
      - {variant: two, weight: 1, steps: []}
  - send: email
    template: hello
    else: sms
    with: {a: 1, b: [x], c: trigger.x}
  - send: email
    template: hello
    else: [sms, alimtalk]
  - set: {profile.tier: gold, profile.seen: now}
  - emit: Nudged
    properties: {x: 1}
  - call: https://example.org/x
    with: {x: 1}
    timeout: 10s
  - repeat: {times: 3, every: 1d, until: profile.done == true, steps: [{wait: 1h}]}
tests:
  - name: x
    at: 2026-03-02T10:00+09:00
    customer: {id: u1, traits: {a: 1}, rfm: {recency: 1, frequency: 2}}
    calls: {call-11: {status: 200, response: {a: 1}}}
    events:
      - {event: A, properties: {id: 1}, context: {page: {url: x}}}
      - {after: 30m, traits: {b: 2}}
      - {at: 2026-03-03T10:00+09:00, receipt: opened, channel: email}
      - {catalog: Restocked, properties: {}}
    until: 30d
    expect:
      entered: true
      sent: [{step: send-7, channel: email, template: hello, after: 1h}]
      decided: [{decision: dropped, reason: no_consent, at: 2026-03-03T10:00+09:00}]
      ended: {reason: completed, step: x}
"""


def test_every_field_of_a_journey_is_taken() -> None:
    assert complaints("journey", EVERYTHING) == []
    assert complaints("journey", GOOD) == []
    assert complaints("events", PLAN.replace("MODE", "warn")) == []
    assert complaints("settings", SETTINGS) == []


@pytest.mark.parametrize(
    "trigger",
    [
        "{segment: vip, on: enter}",
        '{schedule: "0 10 * * mon", timezone: customer, segment: vip}',
        '{date: profile.birthday, offset: -3d, time: "10:00", every: year}',
        '{event: R, audience: \'did("V", within="30d", where=e.sku == trigger.sku)\'}',
        "{api: true}",
    ],
)
def test_every_trigger_is_taken(trigger: str) -> None:
    assert complaints("journey", f"journey: j\ntrigger: {trigger}\nsteps: [{{exit: x}}]\n") == []


TESTS = "journey: j\ntests: [{name: x, at: 2026-03-02T10:00Z, customer: {}, expect: {}}]\n"
JOURNEY = "journey: j\ntrigger: {event: A}\nsteps:\n  - wait: 1h\n  - send: sms\n    template: t\n"


@pytest.mark.parametrize(
    ("kind", "text", "old", "new"),
    [
        ("journey", JOURNEY, "journey: j", "journey: My Journey"),
        ("journey", JOURNEY, "trigger:", "triger:"),
        ("journey", JOURNEY, "{event: A}", "{evnt: A}"),
        ("journey", JOURNEY, "{event: A}", "{event: A, where: a && b}"),
        ("journey", JOURNEY, "{event: A}", "{event: A, where: 'event.x == 1 || event.y == 2'}"),
        ("journey", JOURNEY, "{event: A}", "{event: A, where: '{{ event.x }}'}"),
        ("journey", JOURNEY, "{event: A}", "{event: A, where: [x]}"),
        ("journey", JOURNEY, "{event: A}", "{segment: vip, on: entry}"),
        ("journey", JOURNEY, "{event: A}", "{schedule: daily}"),
        ("journey", JOURNEY, "wait: 1h", "wait: 1 hour"),
        ("journey", JOURNEY, "wait: 1h", "wait: 60"),
        ("journey", JOURNEY, "wait: 1h", "wait: ''"),
        ("journey", JOURNEY, "wait: 1h", "sleep: 1h"),
        ("journey", JOURNEY, "wait: 1h", "wait_until: {time: 25:00}"),
        ("journey", JOURNEY, "wait: 1h", "wait_until: {time: '09:00', weekdays: [monday]}"),
        ("journey", JOURNEY, "wait: 1h", "set: {tier: gold}"),
        ("journey", JOURNEY, "wait: 1h", "repeat: {times: 0, steps: [{exit: x}]}"),
        ("journey", JOURNEY, "send: sms", "send: text"),
        ("journey", JOURNEY, "send: sms", "else: kakao\n    send: sms"),
        ("journey", JOURNEY, "    template: t\n", ""),
        ("journey", JOURNEY, "steps:", "priority: 101\nsteps:"),
        ("journey", JOURNEY, "steps:", "category: advertising\nsteps:"),
        ("journey", JOURNEY, "steps:", "entry: {holdout: 0.1}\nsteps:"),
        ("journey", JOURNEY, "steps:", "entry: {reentry: sometimes}\nsteps:"),
        ("settings", SETTINGS, "adapter: log}", "adapter: lock}"),
        ("settings", SETTINGS, "  email:", "  mail:"),
        ("settings", SETTINGS, "timezone:", "time_zone:"),
        ("settings", SETTINGS, "channels:", "policies: {packs: [kr]}\nchannels:"),
        ("settings", SETTINGS, "channels:",
         "policies: {frequency_caps: [{limit: 2, per: day}]}\nchannels:"),
        ("settings", SETTINGS, "channels:",
         "policies: {quiet_hours: [{from: 9pm, to: '08:00'}]}\nchannels:"),
        ("settings", SETTINGS, "channels:", "holdout: 5\nchannels:"),
        ("settings", SETTINGS, "email: {adapter: log}", "email: {adapter: log, rate: fast}"),
        ("segment", "segment: a\nwhere: profile.x == 1\n", "where", "when"),
        ("segment", "segment: a\nwhere: profile.x == 1\n", "segment: a", "segment: A B"),
        ("events", "events:\n  A: {properties: {x: text}}\n", "text", "string"),
        ("events", "events:\n  A: {properties: {x: text}}\n", "properties", "property"),
        ("events", "events:\n  A: {properties: {x: text}}\n", "events:", "mode: strict\nevents:"),
        ("tests", TESTS, "expect", "expects"),
    ],
)  # fmt: skip
def test_typical_mistakes_are_caught_as_validate_catches_them(
    kind: str, text: str, old: str, new: str
) -> None:
    assert complaints(kind, text) == []
    broken = text.replace(old, new, 1)
    assert broken != text
    assert complaints(kind, broken) != []
    place = {"settings": "dangol.yaml", "events": "events.yaml", "segment": "segments/a.yaml",
             "journey": "journeys/j.yaml", "tests": "tests/j.yaml"}[kind]  # fmt: skip
    files = {"dangol.yaml": SETTINGS, **TEMPLATES, place: broken}
    loaded = load_workspace({name: content.encode() for name, content in files.items()})
    assert loaded.problems != ()


def test_what_is_said_of_fields_is_said_of_fields_that_there_are() -> None:
    seen: dict[str, set[str]] = {}
    for kind, root in (("journey", "Journey"), ("settings", "WorkspaceSettings"),
                       ("segment", "Segment"), ("events", "TrackingPlan")):  # fmt: skip
        schema = SCHEMAS[kind]()
        for name, each in ((root, schema), *schema["definitions"].items()):
            seen.setdefault(name, set()).update(each.get("properties", {}))
    strange = {
        f"{name}.{field}"
        for name, fields in WORDS.items()
        for field in fields
        if field not in seen.get(name, ())
    }
    assert strange == set()
