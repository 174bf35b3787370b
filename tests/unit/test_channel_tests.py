"""`docs/channel-tests.md` names tests that exist, and leaves no item out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "channel-tests.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()[7:]]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)) - {"tests/unit/test_channel_tests.py"})


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("name", NAMED)
def test_each_named_test_exists(name: str) -> None:
    file, _, function = name.partition("::")
    assert (ROOT / file).is_file()
    if file.endswith(".py"):
        assert function in functions(ROOT / file)


def test_every_item_is_there_and_every_line_names_a_test_or_says_why_not() -> None:
    assert [row[0] for row in ROWS if row[0]] == [str(n) for n in range(1, 18)]
    for _, what, tests in ROWS:
        assert ("`tests/" in tests) or (tests == "none" and "there is no" in what), what
