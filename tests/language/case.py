"""One worked case of the journey language: what its file says, and what comes of it.

A case is a YAML file that a person can read and work out by hand:

    page: the sentence that it holds the engine to
    workspace: {journeys/j.yaml: …}        # what is left out is `DEFAULTS`
    people: [u]                            # known from the start, with an address on each channel
    events: |
      10:00 u Signed Up | {plan: pro}      # day (04-06 if left out), time, who, event, properties
      04-07 10:00 u@d identify | {}        # user u on device d; @d is a device alone
      10:00 u receipt opened email
      10:00 - Product Restocked | {}       # an event of the catalogue
      {type: track, …}                     # or a line as it is
    expected: |
      11:00 u j/first email sent           # or the reason of a drop
    problems: [journeys/j.yaml:4]          # instead of events: all that validation must name

The comments behind lines are only here. Times are UTC, in 2026; 6 April is a Monday.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from services.console.simulate import simulate
from services.journey.language.workspace import Workspace, load_workspace

DEFAULTS = {
    "dangol.yaml": """
timezone: UTC
policies: {consent: assumed}
channels:
  email: {adapter: log}
  sms: {adapter: log}
  push: {adapter: log}
""",
    "templates/t/email.liquid": "---\nsubject: Hello\n---\n<p>Hello</p>\n",
    "templates/t/sms.liquid": "Hello\n",
    "templates/t/push.liquid": "---\ntitle: Hello\n---\nHello\n",
}
_EVENT = re.compile(
    r"(?:(?P<day>\d\d-\d\d) )?(?P<time>\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (?P<who>\S+)"
    r" (?P<name>[^|]+?)(?: \| (?P<given>.*))?"
)


@dataclass
class Case:
    name: str
    files: dict[str, bytes]
    lines: list[bytes] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    until: datetime | None = None

    def load(self) -> Workspace:
        return load_workspace(self.files)

    def rows(self) -> list[str]:
        """What is decided, in the words of `expected`."""
        space = self.load()
        assert not space.problems, "\n".join(map(str, space.problems))
        found = simulate(
            *(space.flows, space.settings, self.lines, self.until, space.segments),
            templates=space.templates,
        )
        return [_row(row) for row in found]

    def named(self) -> list[str]:
        """Each line that validation names, once."""
        spots = ((p.file, p.line) for p in self.load().problems)
        return [f"{file}:{line}" for file, line in dict.fromkeys(spots)]


class _Plain(SafeConstructor):
    """Leaves dates and instants the texts that they are on the wire."""


_Plain.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _plain() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Plain
    return yaml


def read(text: str, name: str = "") -> Case:
    return case_of(YAML(typ="safe", pure=True).load(text), name)


def case_of(told: dict[str, Any], name: str) -> Case:
    files = {**DEFAULTS, **told.get("workspace", {})}
    lines = [
        _line(f"00:00 {who} identify | {{email: {who}@shop.example, phone: '+82100000000{n}'"
              f", push_token: token-{who}}}")
        for n, who in enumerate(told.get("people", []))
    ]  # fmt: skip
    lines += [_line(given) for given in told.get("events", "").splitlines()]
    return Case(
        name=name,
        files={path: text.encode() for path, text in files.items() if text is not None},
        lines=lines,
        expected=told.get("expected", "").splitlines(),
        problems=told.get("problems", []),
        until=told.get("until"),
    )


def read_file(path: Path) -> Case:
    return read(path.read_text(encoding="utf-8"), path.stem)


def _line(given: str) -> bytes:
    """The line of an event file that is meant."""
    if given.startswith("{"):
        return _json(**_values(given))
    found = _EVENT.fullmatch(given)
    assert found is not None, f"no event: {given}"
    at = f"2026-{found['day'] or '04-06'}T{found['time']}{':00' * (found['time'].count(':') == 1)}Z"
    name, who = found["name"], found["who"]
    values = _values(found["given"] or "{}")
    if who == "-":
        return _json(type="catalog", timestamp=at, event=name, properties=values)
    if name.startswith("receipt "):
        _, outcome, channel = name.split()
        return _json(type="receipt", timestamp=at, customer=who, outcome=outcome, channel=channel)
    user, _, device = who.partition("@")
    ids = {"userId": user or None, "anonymousId": device or None}
    if name == "identify":
        return _json(type="identify", timestamp=at, traits=values, **ids)
    if name == "alias":
        return _json(type="alias", timestamp=at, previousId=values, **ids)
    return _json(type="track", timestamp=at, event=name, properties=values, **ids)


def _values(text: str) -> Any:
    """YAML in one line."""
    return _plain().load(text)


def _json(**fields: Any) -> bytes:
    given = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(given).encode()


def _row(row: dict[str, Any]) -> str:
    day, _, time = row["at"].removeprefix("2026-").removesuffix("Z").partition("T")
    when = time.removesuffix(":00") if time.count(":") == 2 else time
    told = row["reason"] or row["decision"]
    shown = f"{when} {row['customer']} {row['journey']}/{row['step']} {row['channel']} {told}"
    return shown if day == "04-06" else f"{day} {shown}"
