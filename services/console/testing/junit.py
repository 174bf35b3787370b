"""Results as JUnit XML, which every CI service reads: a suite per journey, a case per test."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from xml.etree import ElementTree as Xml

from services.console.testing.report import failure_lines
from services.console.testing.running import Report, Result
from services.journey.language.problems import Problem
from shared.errors import BadInput

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


def report_xml(report: Report) -> bytes:
    suites = [done for done in report.suites if done.results]
    root = _element(None, "testsuites", _counts(len(report.results), report.failed))
    root.set("time", f"{report.seconds:.3f}")
    for done in suites:
        suite = _element(root, "testsuite", {"name": done.suite.journey})
        suite.attrib |= _counts(len(done.results), len(done.failed))
        suite.set("time", f"{sum(result.seconds for result in done.results):.3f}")
        for result in done.results:
            _case(suite, result)
    return _written(root)


def problems_xml(problems: Iterable[Problem]) -> bytes:
    """For a workspace that cannot be tested: each problem is an error."""
    listed = list(problems)
    root = _element(None, "testsuites", _counts(len(listed), 0, len(listed)))
    suite = _element(root, "testsuite", {"name": "workspace", **root.attrib})
    for problem in listed:
        named = {"classname": "workspace", "name": problem.place}
        case = _element(suite, "testcase", named | _place(problem.file, problem.line))
        _element(
            case, "error", {"message": problem.message, "type": problem.code}, problem.render()
        )
    return _written(root)


def write_whole(file: Path, content: bytes) -> None:
    """The file as a whole or not at all. Raises BadInput where it cannot be written."""
    try:
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
            draft.write(content)
        try:
            Path(draft.name).chmod(0o666 & ~_umask())
            Path(draft.name).replace(file)
        except OSError:
            Path(draft.name).unlink()
            raise
    except OSError as error:
        raise BadInput(
            f"cannot write {file}: {error.strerror}",
            hint="--junit names a file in a folder that exists",
        ) from error


def _umask() -> int:
    """The process's mask; it can be read only by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _case(suite: Xml.Element, result: Result) -> None:
    case = result.case
    named = {"classname": case.journey, "name": case.name, "time": f"{result.seconds:.3f}"}
    element = _element(suite, "testcase", named | _place(case.file, case.line))
    if not result.passed:
        message = "; ".join(
            f"{d.what}: expected {d.expected}, got {d.got}" for d in result.differences
        )
        lines = (line.removeprefix(" " * 8) for line in failure_lines(result))
        about = {"message": message, "type": "difference"}
        _element(element, "failure", about, "\n".join(lines))


def _counts(tests: int, failures: int, errors: int = 0) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": str(errors), "skipped": "0"}


def _place(file: str, line: int) -> dict[str, str]:
    return {"file": file, "line": str(line)}


def _element(
    parent: Xml.Element | None, tag: str, attributes: dict[str, str], text: str = ""
) -> Xml.Element:
    clean = {name: _FORBIDDEN.sub("�", value) for name, value in attributes.items()}
    element = Xml.Element(tag, clean)
    element.text = _FORBIDDEN.sub("�", text) or None
    if parent is not None:
        parent.append(element)
    return element


def _written(root: Xml.Element) -> bytes:
    Xml.indent(root)
    written: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return written
