"""The tests of a workspace by journey, and the steps and ways that they are to reach."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.console.testing.script import Script, read_script
from services.journey.core.flow import Flow
from services.journey.language.documents import read_document
from services.journey.language.model import steps as model
from services.journey.language.model.journey import Journey, JourneyTest, TestsFile
from services.journey.language.problems import Problem, Problems
from services.journey.language.resolve import Placed, resolve
from shared.templates import Template
from shared.tracking import Judge, TrackingPlan


@dataclass(frozen=True, slots=True)
class Case:
    """One test, ready to run."""

    journey: str
    name: str
    file: str
    """Relative to the workspace."""
    line: int
    test: JourneyTest
    script: Script


@dataclass(frozen=True, slots=True)
class Stop:
    """A step, or one of the ways on from it: an arm, a variant, `then` or `timed_out`."""

    step: str
    text: str
    line: int
    way: int | None = None
    """Counts from 0 in the order of the file; None for the step itself."""


@dataclass(frozen=True, slots=True)
class Suite:
    journey: str
    file: str
    stops: tuple[Stop, ...]
    """In the order of the file."""
    cases: tuple[Case, ...]


def read_suites(
    files: Mapping[str, bytes],
    flows: Mapping[str, Flow],
    found: list[Problem],
    tracking: TrackingPlan | None = None,
    templates: Mapping[str, Template] | None = None,
) -> list[Suite]:
    """The suites of a workspace that has no problems, by journey id.

    What is wrong with a test itself (its times run backwards, a step that is not there, an event
    that an enforced tracking plan would set aside) is added to `found`.
    """
    judge = None if tracking is None else Judge(tracking)
    asking = frozenset(t.name.name for t in (templates or {}).values() if t.call is not None)
    homes: dict[str, tuple[str, tuple[Stop, ...]]] = {}
    cases: dict[str, list[Case]] = {name: [] for name in flows}
    for file in sorted(file for file in files if file.endswith(".yaml")):
        if file.startswith("journeys/"):
            whole = read_document(Journey, file, files[file], found)
            assert whole is not None, "the workspace has no problems"
            journey = whole.model.journey.text
            homes[journey] = file, _stops(whole.model)
            cases[journey] += _cases(whole.model, flows[journey], whole.problems, judge, asking)
        elif file.startswith("tests/"):
            apart = read_document(TestsFile, file, files[file], found)
            assert apart is not None, "the workspace has no problems"
            journey = apart.model.journey.text
            cases[journey] += _cases(apart.model, flows[journey], apart.problems, judge, asking)
    return [Suite(name, *homes[name], tuple(cases[name])) for name in sorted(homes)]


def _cases(
    holder: Journey | TestsFile,
    flow: Flow,
    problems: Problems,
    judge: Judge | None,
    asking: frozenset[str],
) -> list[Case]:
    return [
        Case(
            journey=flow.journey,
            name=test.name.text,
            file=problems.source.file,
            line=test.name.line,
            test=test,
            script=read_script(test, flow, problems, judge, asking),
        )
        for test in holder.tests
    ]


def _stops(journey: Journey) -> tuple[Stop, ...]:
    nothing: list[Problem] = []
    placed = resolve(journey, Problems(journey.journey.source, nothing), segments=None)
    return tuple(stop for each in placed.steps for stop in _stops_of(each))


def _stops_of(placed: Placed) -> list[Stop]:
    step = placed.step
    word = model.key_scalar(step)
    line = word.line if step.id is None else step.id.line
    stops = [Stop(placed.id, step.kind, line)]
    match step:
        case model.Branch(branch=arms):
            texts = [
                (f"when {arm.when.text}" if isinstance(arm, model.When) else "otherwise", arm)
                for arm in arms
            ]
            ways = [(text, arm.node.spot.line) for text, arm in texts]
        case model.Split(split=variants):
            ways = [(f"variant {each.variant.text}", each.variant.line) for each in variants]
        case model.WaitFor():
            ways = [(key, step.node.key_spot(key).line) for key in ("then", "timed_out")]
        case _:
            ways = []
    return stops + [Stop(placed.id, text, at, way) for way, (text, at) in enumerate(ways)]
