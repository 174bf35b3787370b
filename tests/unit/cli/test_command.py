"""The command's manners: what it prints where, and with what status it exits."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from services.cli import app as command
from services.cli.app import call

DANGOL = str(Path(sys.executable).parent / "dangol")
JOURNEY = """journey: welcome
trigger: {event: Signed Up}
steps:
  - wait: 1h
  - send: email
    template: hello
"""


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


@pytest.fixture
def broken(workspace: Path) -> Path:
    file = workspace / "journeys/welcome.yaml"
    file.write_text(JOURNEY.replace("1h", "1 fortnight").replace("hello", "helo"))
    return workspace


# Help ----------------------------------------------------------------------------------------


def commands(group: typer.Typer, *path: str) -> Iterator[tuple[str, ...]]:
    for each in group.registered_commands:
        assert each.name is not None
        yield (*path, each.name)
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        name = sub.typer_instance.info.name
        assert name is not None
        yield from commands(sub.typer_instance, *path, name)


@pytest.mark.parametrize("path", list(commands(command.app)), ids=" ".join)
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*path, "--help"]) == 0
    said = capsys.readouterr().out
    told = " ".join(said.split())
    assert f"dangol {' '.join(path)}" in told.partition("Example: ")[2]
    assert "Exit status: 0" in told
    assert "\x1b" not in said


NAMES = list(commands(command.app))


@pytest.mark.parametrize("path", NAMES, ids=" ".join)
def test_every_command_stands_in_the_docs(path: tuple[str, ...]) -> None:
    """In the table of docs/commands.md: in full, or after another of its row or group."""
    text = (Path(__file__).parents[3] / "docs/commands.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `dangol ")]
    known = "|".join(re.escape(name) for name in {" ".join(path), " ".join(path[1:] or path)})
    assert any(re.search(rf"`(dangol )?({known})\b", row) for row in rows)


@pytest.mark.parametrize("path", NAMES, ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    root = typer.main.get_command(command.app)
    for name in path:
        root = root.commands[name]  # type: ignore[attr-defined]
    silent = [
        parameter.name
        for parameter in root.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert silent == []


def test_the_commands_of_the_interface_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--help"]) == 0
    said = capsys.readouterr().out
    listed = {line.split()[0] for line in said.partition("Commands:")[2].splitlines() if line}
    assert listed >= {
        *("up", "demo", "migrate", "validate", "simulate", "plan", "apply"),
        *("pause", "resume", "archive", "key", "schema", "doctor"),
    }


def test_help_comes_without_loading_what_only_commands_need() -> None:
    code = "import sys, services.cli.app; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for heavy in ("pydantic'", "sqlalchemy'", "asyncpg'", "fastapi'", "httpx'", "rich'", "ruamel"):
        assert f"'{heavy}" not in loaded


def test_validate_comes_without_loading_the_database(workspace: Path) -> None:
    code = (
        "import sys; from services.cli.app import call; "
        f"code = call(['validate', {str(workspace)!r}]); print([*sys.modules]); exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for heavy in ("sqlalchemy'", "asyncpg'", "fastapi'", "httpx'", "structlog'"):
        assert f"'{heavy}" not in done.stdout


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dangol 0.")


# Failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["validate"],
        ["validate", "x", "--nonsense"],
        ["simulate", "x"],
        ["up", "--port", "x"],
        ["key", "nonsense"],
        ["schema", "nonsense"],
        ["apply", "x", "--base-revision", "-1"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_two_and_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: dangol" in said.err


def test_an_error_is_told_in_two_lines_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["validate", str(tmp_path / "nope")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"error: {tmp_path / 'nope'} does not exist\nhint: name the folder that holds dangol.yaml\n"
    )


def test_a_defect_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(command, "app", broken)
    assert call([]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: a defect" in said
    assert "Traceback" not in said
    monkeypatch.setenv("DANGOL_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        call([])


def test_an_interrupt_exits_with_130_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "app", interrupted)
    assert call([]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [DANGOL, "key", "list"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "DANGOL_BATCH": "many"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: DANGOL_BATCH: ")
    assert "Traceback" not in done.stderr


# Validate and simulate -----------------------------------------------------------------------


def test_a_workspace_in_order_is_said_to_be(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["validate", str(workspace)]) == 0
    assert capsys.readouterr().out == f"{workspace} is in order: 1 journey\n"


def test_every_problem_is_shown_with_its_place_and_a_caret(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["validate", str(broken)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("journeys/welcome.yaml:4:11: `1 fortnight` is no duration")
    assert lines[1:3] == ["      - wait: 1 fortnight", "              ^^^^^^^^^^^"]
    assert any(line.startswith("journeys/welcome.yaml:6:") for line in lines)
    assert lines[-1] == "2 problems"
    assert "\x1b" not in said.err


def test_problems_come_as_one_object_a_line_for_scripts(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["validate", str(broken), "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["line"]) for row in rows] == [
        ("journeys/welcome.yaml", 4),
        ("journeys/welcome.yaml", 6),
    ]
    assert call(["validate", str(broken), "--json"]) == 1


EVENTS = [
    {
        "type": "identify",
        "userId": "u1",
        "timestamp": "2026-03-02T11:00:00Z",
        "traits": {"email": "a@example.com"},
    },
    {
        "type": "track",
        "event": "Signed Up",
        "userId": "u1",
        "timestamp": "2026-03-02T11:00:00Z",
    },
]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    file = tmp_path / "events.ndjson"
    text = "".join(json.dumps(event) + "\n" for event in EVENTS)
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return file


def test_a_simulation_prints_one_decision_a_line_for_scripts(
    workspace: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["simulate", str(workspace), "--events", str(events), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "at": "2026-03-02T12:00:00Z",
        "customer": "u1",
        "journey": "welcome",
        "step": "send-2",
        "channel": "email",
        "decision": "sent",
        "reason": None,
    }


def test_a_simulation_prints_a_table_for_people(
    workspace: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["simulate", str(workspace), "--events", str(events)]) == 0
    said = capsys.readouterr()
    heading, row = said.out.splitlines()
    assert " ".join(heading.split()) == "at customer journey step channel decision reason"
    assert " ".join(row.split()) == "2026-03-02T12:00:00Z u1 welcome send-2 email sent"
    assert said.err == "1 message; nothing was stored or sent\n"


def test_a_simulation_stops_where_it_is_told_to(
    workspace: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["simulate", str(workspace), "--events", str(events), "--json"]
    assert call([*arguments, "--until", "2026-03-02T11:30:00"]) == 0
    assert capsys.readouterr().out == ""
    assert call([*arguments, "--until", "noon"]) == 2
    assert "is no instant" in capsys.readouterr().err


def test_a_simulation_names_the_line_that_is_no_event(
    workspace: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with events.open("a") as file:
        file.write("{nonsense\n")
    assert call(["simulate", str(workspace), "--events", str(events)]) == 1
    said = capsys.readouterr().err
    assert f"error: {events}" in said
    assert "3" in said.splitlines()[0]


def test_a_simulation_of_a_broken_workspace_or_of_no_file_is_refused(
    broken: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["simulate", str(broken), "--events", str(events)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("journeys/welcome.yaml:4:11:")
    assert "error: the workspace has 2 problems" in said
    (broken / "journeys/welcome.yaml").write_text(JOURNEY)
    assert call(["simulate", str(broken), "--events", str(broken / "nope")]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_the_schema_is_one_that_editors_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["schema", "journey"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert {"journey", "trigger", "steps"} <= schema["properties"].keys()


def test_the_schema_of_a_segment_is_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["schema", "segment"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"].keys() == {"segment", "title", "where"}
    assert set(schema["required"]) == {"segment", "where"}


def test_graph_writes_the_picture_twice(workspace: Path, tmp_path: Path) -> None:
    assert call(["graph", "welcome", "--workspace", str(workspace), "-o", str(tmp_path)]) == 0
    assert (tmp_path / "welcome.svg").read_text().startswith("<svg ")
    assert "flowchart TD" in (tmp_path / "welcome.mmd").read_text()


def test_graph_prints_the_picture_as_json_and_writes_nothing(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["graph", "welcome", "--workspace", str(workspace), "-o", str(tmp_path), "--json"]
    assert call(arguments) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert drawn.keys() == {"journey", "version", "svg", "mermaid"}
    assert not (tmp_path / "welcome.svg").exists()


def test_preview_prints_everything_as_json(
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (workspace / "templates/hello/sms.liquid").write_text("안녕하세요 {{ profile.name }}님")
    sample = tmp_path / "sample.yaml"
    sample.write_text("profile: {name: 콩떡}\n")
    asked = ["preview", "hello", "--workspace", str(workspace), "--sample", str(sample), "--json"]
    assert call(asked) == 0
    mail = json.loads(capsys.readouterr().out)
    assert (mail["file"], mail["channel"]) == ("templates/hello/email.liquid", "email")
    assert (mail["parts"], mail["size"]) == ({"subject": "Hello"}, None)
    assert "<p>Hello</p>" in mail["html"]
    assert not (tmp_path / "hello.html").exists()
    assert call([*asked, "-o", str(tmp_path / "mail.html")]) == 0
    assert "<p>Hello</p>" in (tmp_path / "mail.html").read_text()
    capsys.readouterr()
    assert call([*asked, "--channel", "sms"]) == 0
    text = json.loads(capsys.readouterr().out)
    assert (text["html"], text["text"]) == (None, "안녕하세요 콩떡님")
    assert text["size"] == {"bytes": 17, "kind": "SMS"}


SCRIPTED = [path for path in NAMES if path[0] not in (
    # Servers, which run until they are stopped; what prints nothing but a file's content.
    "up", "ingest", "journey", "dispatch", "console", "demo", "fake-providers", "schema",
) and path != ("erasures", "export")]  # fmt: skip


@pytest.mark.parametrize("path", SCRIPTED, ids=" ".join)
def test_every_command_with_a_result_gives_it_as_json(path: tuple[str, ...]) -> None:
    root = typer.main.get_command(command.app)
    for name in path:
        root = root.commands[name]  # type: ignore[attr-defined]
    assert "--json" in {option for parameter in root.params for option in parameter.opts}


def test_graph_names_the_nearest_journey(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["graph", "welcom", "--workspace", str(workspace), "--mermaid"]) == 1
    assert "did you mean `welcome`" in capsys.readouterr().err
