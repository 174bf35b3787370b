"""Worked cases of the language's page: each expectation was worked out by hand from the page."""

from pathlib import Path

import pytest

from tests.language.case import read_file

CASES = sorted(Path(__file__).with_name("cases").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = read_file(path)
    if case.problems:
        assert case.named() == case.problems
    else:
        assert case.rows() == case.expected
