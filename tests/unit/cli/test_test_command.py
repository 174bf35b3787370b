"""`dangol test`: what it prints where, and with what status it exits."""

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from services.cli.app import call
from services.cli.commands import test as command

JOURNEY = """journey: welcome
trigger: {event: Signed Up}
steps:
  - wait: 1h
  - send: email
    template: hello
tests:
  - name: is greeted
    at: 2026-03-02T10:00Z
    customer: {id: u1, traits: {email: a@shop.example}}
    events: [{event: Signed Up}]
    expect: {sent: [{channel: email, after: 1h}]}
"""
SHOP = Path(__file__).parents[3] / "examples/shop"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "journeys").mkdir(parents=True)
    (folder / "templates/hello").mkdir(parents=True)
    (folder / "dangol.yaml").write_text(
        "policies: {consent: assumed}\nchannels:\n  email: {adapter: log}\n"
    )
    (folder / "journeys/welcome.yaml").write_text(JOURNEY)
    (folder / "templates/hello/email.liquid").write_text("---\nsubject: Hello\n---\n<p>Hello</p>\n")
    return folder


def spoil(workspace: Path, old: str, new: str) -> None:
    file = workspace / "journeys/welcome.yaml"
    file.write_text(file.read_text().replace(old, new))


def test_passing_tests_exit_with_zero(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["test", str(workspace)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:2] == ["welcome", "  ok    is greeted"]
    assert lines[-1].startswith("1 passed, 0 failed in ")
    assert said.err == ""


def test_a_failure_exits_with_one_and_is_told(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(workspace, "after: 1h", "after: 2h")
    assert call(["test", str(workspace)]) == 1
    said = capsys.readouterr().out
    assert "  FAIL  is greeted\n        journeys/welcome.yaml:8\n" in said
    assert "line 12  sent 1 after  2h        1h\n" in said
    assert "0 passed, 1 failed in " in said


def test_problems_are_told_as_validate_does(
    workspace: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spoil(workspace, "wait: 1h", "wait: soon")
    assert call(["validate", str(workspace)]) == 1
    validated = capsys.readouterr()
    file = tmp_path / "junit.xml"
    assert call(["test", str(workspace), "--junit", str(file)]) == 1
    assert capsys.readouterr() == validated
    assert Xml.fromstring(file.read_bytes()).attrib["errors"] == "1"
    assert call(["validate", str(workspace), "--json"]) == 1
    validated = capsys.readouterr()
    assert call(["test", str(workspace), "--json"]) == 1
    assert capsys.readouterr().out == validated.out


def test_a_problem_of_a_test_itself_is_told_in_the_same_way(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(workspace, "{channel: email, after: 1h}", "{step: sned-2}")
    assert call(["test", str(workspace)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("journeys/welcome.yaml:12:28: the journey has no step `sned-2`\n")
    assert "hint: did you mean `send-2`?" in said


@pytest.mark.parametrize("arguments", [[], ["{}", "welcom"], ["{}", "--nonsense"]], ids=str)
def test_a_wrong_call_exits_with_two(
    workspace: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["test", *(each.format(workspace) for each in arguments)]) == 2
    assert "Usage: dangol test" in capsys.readouterr().err


def test_a_folder_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["test", str(tmp_path / "nope")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'nope'} does not exist\n")


def test_only_the_journeys_named_are_tested(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = JOURNEY.replace("journey: welcome", "journey: other").replace("after: 1h", "after: 2h")
    (workspace / "journeys/other.yaml").write_text(other)
    assert call(["test", str(workspace)]) == 1
    assert "1 passed, 1 failed" in capsys.readouterr().out
    assert call(["test", str(workspace), "welcome"]) == 0
    assert "other" not in capsys.readouterr().out


def test_a_journey_without_tests_is_told_and_no_error(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(workspace, JOURNEY[JOURNEY.index("tests:") :], "")
    assert call(["test", str(workspace)]) == 0
    assert "without tests: welcome\n0 passed, 0 failed in " in capsys.readouterr().out


def test_json_is_one_object_a_test(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(workspace, "after: 1h", "after: 2h")
    assert call(["test", str(workspace), "--json"]) == 1
    said = capsys.readouterr()
    (row,) = map(json.loads, said.out.splitlines())
    assert (row["journey"], row["name"], row["passed"]) == ("welcome", "is greeted", False)
    assert (row["file"], row["line"]) == ("journeys/welcome.yaml", 8)
    assert row["differences"] == [
        {"line": 12, "what": "sent 1 after", "expected": "2h", "got": "1h"}
    ]
    assert row["timeline"][-1] == {
        "at": "2026-03-02T11:00:00Z",
        "offset": "+1h",
        "local": "2026-03-02T11:00+00:00",
        "text": "ends at send-2: completed",
        "own": True,
    }
    assert said.err.startswith("0 passed, 1 failed in ")


def test_junit_is_written_beside_the_text(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "junit.xml"
    assert call(["test", str(workspace), "--junit", str(file)]) == 0
    assert Xml.fromstring(file.read_bytes()).attrib["tests"] == "1"
    assert "1 passed" in capsys.readouterr().out


def test_a_watch_tests_again_after_a_change_and_ends_quietly(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(100))

    def pause() -> None:
        match next(looks):
            case 1:
                spoil(workspace, "after: 1h", "after: 11h")
            case 4:
                spoil(workspace, "wait: 1h", "wait: soon")
            case 7:
                workspace.rename(workspace.with_name("gone"))
            case 10:
                raise KeyboardInterrupt

    monkeypatch.setattr(command, "_pause", pause)
    assert call(["test", str(workspace), "--watch"]) == 130
    said = capsys.readouterr()
    assert "1 passed, 0 failed" in said.out
    assert "0 passed, 1 failed" in said.out
    assert "\x1b" not in said.out
    assert "`soon` is no duration" in said.err
    assert f"error: {workspace} does not exist" in said.err
    assert said.err.count(f"watching {workspace}; Ctrl-C ends it") == 4
    assert "Aborted" not in said.err


def test_a_watch_of_nothing_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["test", str(tmp_path / "nope"), "--watch"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_example_shop_passes_and_its_tests_reach_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(["test", str(SHOP)]) == 0
    said = capsys.readouterr().out
    assert "reached by no test" not in said
    assert "without tests" not in said
