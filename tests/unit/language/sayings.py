"""Short ways to say a workspace, a journey or an expression, and to hear what is wrong with it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from textwrap import dedent
from typing import Any

from services.journey.core.flow import Flow, Moment, Scope
from services.journey.language.expressions import Mistake, Node, check, expression, parse
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.checker import Expected
from services.journey.language.expressions.context import Context
from services.journey.language.problems import Problem
from services.journey.language.workspace import Workspace, load_workspace

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

SETTINGS = """\
timezone: Asia/Seoul
channels:
  email: {adapter: log}
  sms: {adapter: log}
  push: {adapter: log}
  alimtalk: {adapter: log}
"""

TEMPLATES = {
    "templates/hello/email.liquid": "---\nsubject: Hello\n---\n<p>Hello {{ profile.name }}</p>\n",
    "templates/hello/sms.liquid": "Hello {{ profile.name }}\n",
    "templates/hello/alimtalk.liquid": "Hello {{ profile.name }}\n",
}

STEPS = {
    "first-nudge": "send",
    "first-order": "wait_for",
    "ask-stock": "call",
    "test-price": "split",
    "short-wait": "wait",
}
RUN = contexts.of_run_event("`exit`", STEPS)


def load(files: Mapping[str, str | bytes]) -> Workspace:
    """A workspace of these files and, unless they say otherwise, good settings and templates."""
    whole = {"dangol.yaml": SETTINGS, **TEMPLATES, **files}
    return load_workspace({p: c.encode() if isinstance(c, str) else c for p, c in whole.items()})


def problems_of(journey: str, **files: str) -> list[Problem]:
    """What is wrong with a journey file in an otherwise good workspace."""
    loaded = load({"journeys/j.yaml": dedent(journey), **files})
    return [problem for problem in loaded.problems if problem.file == "journeys/j.yaml"]


def places(problems: list[Problem] | tuple[Problem, ...]) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in problems]


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [problem.render() for problem in problems]
    return problems[0]


def journey(steps: str, *, top: str = "", trigger: str = "{event: Signed Up}") -> str:
    """A journey whose steps begin in line 3 (plus the lines of `top`)."""
    head = f"journey: j\ntrigger: {trigger}\n{dedent(top)}steps:\n"
    return head + "".join(f"  {line}\n" for line in dedent(steps).strip("\n").split("\n"))


def flow_of(source: str) -> Flow:
    loaded = load({"journeys/j.yaml": dedent(source)})
    assert loaded.problems == (), [problem.render() for problem in loaded.problems]
    (flow,) = loaded.flows.values()
    return flow


def scope(
    event: Mapping[str, Any] | None = None,
    *,
    name: str = "Product Added",
    context: Mapping[str, Any] | None = None,
    trigger: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] | None = None,
) -> Scope:
    return Scope(
        now=NOW,
        profile=profile or {},
        event=None if event is None else Moment(name, event, context or {}),
        trigger=None if trigger is None else Moment("Product Added", trigger),
        steps=steps or {},
    )


def parsed(text: str) -> Node:
    node = parse(text)
    assert isinstance(node, Node), node
    return node


def value(text: str, names: Scope | None = None) -> Any:
    """What an expression yields, whether or not the checker would let it pass."""
    return expression(text, parsed(text)).evaluate(names or scope({}))


def mistakes(text: str, context: Context = RUN, expected: Expected = "condition") -> list[Mistake]:
    node = parse(text)
    return [node] if isinstance(node, Mistake) else check(node, context, expected)


def mistake(text: str, context: Context = RUN, expected: Expected = "condition") -> Mistake:
    found = mistakes(text, context, expected)
    assert len(found) == 1, found
    return found[0]
