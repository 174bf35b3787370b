"""Simulations and tests go by the tracking plan as ingest does."""

import json
from pathlib import Path

import pytest

from services.cli.app import call
from services.cli.demo.day import Script
from services.cli.demo.words import Language
from services.console.folder import read_folder
from services.console.testing.suites import read_suites
from services.journey.language.problems import Problem
from services.journey.language.workspace import load_workspace
from shared.tracking import Judge

PLAN = """\
mode: MODE
events:
  Bought: {properties: {total: {type: number, required: true}}}
  Restocked: {properties: {sku: text}}
"""
JOURNEY = """\
journey: thanks
trigger: {event: Bought}
steps: [{send: email, template: hello}]
tests:
  - name: it thanks
    at: 2026-03-02T10:00+09:00
    customer: {id: u1, traits: {email: a@example.com, anything: 1}}
    events:
      - {event: Bought, properties: {total: "1"}}
      - {event: Left}
      - {catalog: Restocked, properties: {sku: 1}}
      - {event: Bought, properties: {total: 1, more: 1}}
    expect: {}
"""
FILES = {
    "dangol.yaml": "policies: {consent: assumed}\nchannels:\n  email: {adapter: log}\n",
    "templates/hello/email.liquid": "---\nsubject: Hello\n---\n<p>Hello</p>\n",
    "journeys/thanks.yaml": JOURNEY,
}


def written(folder: Path, mode: str) -> Path:
    for name, text in {**FILES, "events.yaml": PLAN.replace("MODE", mode)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def line(event: str, second: int, **properties: object) -> str:
    at = f"2026-03-02T10:00:{second:02}Z"
    said = {"type": "track", "event": event, "userId": f"u{second}", "timestamp": at}
    return json.dumps({**said, "properties": properties, "context": {"traits": {}}})


@pytest.mark.parametrize(("mode", "customers"), [("enforce", ["u3"]), ("warn", ["u1", "u2", "u3"])])
def test_a_simulation_keeps_out_what_ingest_would(
    mode: str, customers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text("\n".join([line("Bought", 1), line("Bought", 2, total="x"),
                                 line("Bought", 3, total=3), line("Left", 4)]))  # fmt: skip
    shop = written(tmp_path / "shop", mode)
    assert call(["simulate", str(shop), "--events", str(events), "--json"]) == 0
    said = capsys.readouterr()
    assert [json.loads(row)["customer"] for row in said.out.splitlines()] == customers
    why = [told for told in said.err.splitlines() if "sets this event aside" in told]
    assert why == (
        []
        if mode == "warn"
        else [
            "line 1: the tracking plan sets this event aside: `total` is missing",
            "line 2: the tracking plan sets this event aside: `total` is of another type",
            "line 4: the tracking plan sets this event aside: the event is not listed",
        ]
    )


def test_a_test_is_told_of_events_that_would_never_come() -> None:
    for mode, lines in (("warn", []), ("enforce", [9, 10, 11])):
        files = {**FILES, "events.yaml": PLAN.replace("MODE", mode)}
        content = {name: text.encode() for name, text in files.items()}
        loaded = load_workspace(content)
        assert loaded.problems == ()
        found: list[Problem] = []
        read_suites(content, loaded.flows, found, loaded.tracking)
        assert [(problem.line, problem.code) for problem in found] == [
            (number, "test_event") for number in lines
        ]
    assert found[0].message == "events.yaml sets this event aside: `total` is of another type"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_example_shops_day_keeps_its_plan(language: Language) -> None:
    files = read_folder(Path(__file__).parents[3] / "examples/shop")
    plan = load_workspace(files).tracking
    assert plan is not None
    judge, seen = Judge(plan), set()
    for act in Script(language).acts():
        for event in act.body.get("batch", [act.body]):
            if event["type"] == "track":
                seen.add(event["event"])
                assert judge.violations(event["event"], event["properties"]) == [], event
    assert len(seen) > 3
