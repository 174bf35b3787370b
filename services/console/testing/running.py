"""Runs tests, each on a virtual clock of its own, with all journeys of the workspace."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

from services.console.simulate import Simulation
from services.console.simulation.listening import Answer, listening
from services.console.testing.expecting import Difference, compare
from services.console.testing.suites import Case, Stop, Suite
from services.console.testing.trace import MOST_DECISIONS, Endless, Line, Trace
from services.journey.language.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test."""

    case: Case
    differences: Sequence[Difference]
    lines: Sequence[Line]
    """The timeline."""
    reached: frozenset[tuple[str, int | None]]
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class SuiteResult:
    suite: Suite
    results: Sequence[Result]

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if not result.passed]

    @property
    def unreached(self) -> list[Stop]:
        """Steps and ways that no test came to; none where there are no tests at all."""
        reached = set().union(*(result.reached for result in self.results))
        return [
            stop
            for stop in self.suite.stops
            if self.results and (stop.step, stop.way) not in reached
        ]


@dataclass(frozen=True, slots=True)
class Report:
    suites: Sequence[SuiteResult]
    seconds: float

    @property
    def results(self) -> list[Result]:
        return [result for suite in self.suites for result in suite.results]

    @property
    def failed(self) -> int:
        return sum(not result.passed for result in self.results)

    @property
    def untested(self) -> list[str]:
        return [each.suite.journey for each in self.suites if not each.results]


def run_suites(suites: Iterable[Suite], workspace: Workspace) -> Report:
    began = perf_counter()
    bench = _Bench(workspace)
    done = [SuiteResult(suite, [bench.run(case) for case in suite.cases]) for suite in suites]
    return Report(done, perf_counter() - began)


class _Bench:
    def __init__(self, workspace: Workspace) -> None:
        self._answers: list[Answer] = []
        # One customer alone cannot be compared with others: a test states the scores.
        self._settings = workspace.settings.model_copy(update={"rfm": None})
        self._segments = workspace.segments
        self._templates = workspace.templates
        self._flows = {
            name: listening(flow, self._answers) for name, flow in workspace.flows.items()
        }

    def run(self, case: Case) -> Result:
        began = perf_counter()
        self._answers.clear()
        script = case.script
        trace = Trace(self._flows[case.journey], self._answers, script.start, self._settings.zone())
        try:
            simulation = Simulation(
                *(self._flows, self._settings, trace, self._segments, script.stubs),
                templates=self._templates,
            )
            simulation.run(script.events, script.until)
        except Endless:
            line = case.test.expect.node.spot.line
            got = f"{MOST_DECISIONS} decisions and no end: give the test an `until`"
            differences = [Difference(line, "an end", "nothing waits any more", got)]
        else:
            trace.close(script.until)
            differences = compare(case.test.expect, trace)
        return Result(
            case,
            differences,
            tuple(trace.lines),
            frozenset(trace.reached),
            perf_counter() - began,
        )
