"""Results as text for people, and as rows for programs."""

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from services.console.testing.running import Report, Result, SuiteResult

_INDENT = " " * 8
_WIDEST = 48
"""Columns after which the left one of two texts side by side is no longer padded."""


def suite_lines(done: SuiteResult) -> Iterator[str]:
    """The journey, its tests, and each failure in full."""
    yield done.suite.journey
    for result in done.results:
        mark = "ok  " if result.passed else "FAIL"
        yield f"  {mark}  {result.case.name}"
        if not result.passed:
            yield from failure_lines(result)


def failure_lines(result: Result) -> list[str]:
    """Where the test stands, expected beside got, and the timeline between."""
    case = result.case
    lines = [f"{_INDENT}{case.file}:{case.line}", ""]
    rows = [("", "", "expected", "got")]
    rows += [(f"line {d.line}", d.what, d.expected, d.got) for d in result.differences]
    lines += [f"{_INDENT}{row}" for row in side_by_side(rows)]
    lines.append("")
    times = [(line.local.offset(line.at), line.local.time(line.at)) for line in result.lines]
    texts = [line.text if line.own else f"({line.text})" for line in result.lines]
    steps = [(*stamp, text) for stamp, text in zip(times, texts, strict=True)]
    lines += [f"{_INDENT}{row}" for row in side_by_side(steps)]
    lines.append("")
    return lines


def coverage_lines(report: Report) -> Iterator[str]:
    """What no test reached, and which journeys have no test."""
    missed = [(done, stop) for done in report.suites for stop in done.unreached]
    if missed:
        yield "reached by no test:"
        rows = [
            (f"{done.suite.file}:{stop.line}", done.suite.journey, f"{stop.step} ({stop.text})")
            for done, stop in missed
        ]
        yield from (f"  {row}" for row in side_by_side(rows))
    if report.untested:
        yield f"without tests: {', '.join(report.untested)}"


def summary(report: Report) -> str:
    passed = len(report.results) - report.failed
    return f"{passed} passed, {report.failed} failed in {report.seconds:.3f} s"


def row_of(result: Result) -> dict[str, Any]:
    """One object for one test."""
    case = result.case
    return {
        "journey": case.journey,
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "passed": result.passed,
        "seconds": round(result.seconds, 6),
        "differences": [
            {"line": d.line, "what": d.what, "expected": d.expected, "got": d.got}
            for d in result.differences
        ],
        "timeline": [
            {
                "at": line.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
                "offset": line.local.offset(line.at),
                "local": line.local.time(line.at),
                "text": line.text,
                "own": line.own,
            }
            for line in result.lines
        ],
    }


def side_by_side(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns two spaces apart, as wide as their widest text."""
    if not rows:
        return
    widths = [min(max(map(_columns, texts)), _WIDEST) for texts in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text + " " * (width - _columns(text)) for text, width in zip(row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _columns(text: str) -> int:
    """Columns on a terminal: a Korean syllable takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
