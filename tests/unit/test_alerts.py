"""The alert rules parse, do what their examples say, name real metrics, and have a runbook."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.prometheus.tool import run
from tests.unit.test_metrics import metrics_of_the_code

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
EXAMPLES = sorted((PROMETHEUS / "tests").glob("*.yml"))
FOREIGN = {
    "up",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
}


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def rules() -> list[dict[str, Any]]:
    return [r for path in RULES for group in load(path)["groups"] for r in group["rules"]]


def names_of_metrics(expression: str) -> set[str]:
    """The series that an expression asks for, as Prometheus stores them."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare))
    keywords = {"and", "or", "unless", "offset", "bool", "inf", "nan", "d", "h", "m", "s"}
    return {word for word in words if word not in keywords and not re.fullmatch(r"[smhdwy]", word)}


def is_known(name: str) -> bool:
    known = metrics_of_the_code()
    if name in known:
        return known[name][0] != "histogram"
    family = re.sub(r"_(?:bucket|sum|count)$", "", name)
    return family != name and known.get(family, ("",))[0] == "histogram"


def test_the_rules_parse() -> None:
    status, said = run("check", "rules", *map(str, RULES))
    assert status == 0, said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_examples_say(path: Path) -> None:
    status, said = run("test", "rules", str(path))
    assert status == 0, said


def test_every_alert_has_an_example_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    for path in EXAMPLES:
        for test in load(path)["tests"]:
            asked = test["promql_expr_test"]
            assert all("ALERTS" in each["expr"] for each in asked), test["name"]
            for each in asked:
                fires |= set(re.findall(r'alertname="(\w+)"', str(each["exp_samples"])))
    assert fires == {rule["alert"] for rule in rules()}  # whole sets are compared: others do not


def test_every_alert_asks_for_metrics_that_exist() -> None:
    for rule in rules():
        names = names_of_metrics(rule["expr"])
        assert names, rule["alert"]
        unknown = {name for name in names if name not in FOREIGN and not is_known(name)}
        assert not unknown, (rule["alert"], unknown)


def test_every_alert_says_what_it_means_and_where_it_is_told_what_to_do() -> None:
    for rule in rules():
        words = rule["annotations"]
        assert words.keys() == {"summary", "description", "runbook_url"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert words["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    page = (ROOT / "docs/runbook.md").read_text()
    sections = re.findall(r"^### (Dangol\w+)$", page, re.MULTILINE)
    alerts = list(dict.fromkeys(rule["alert"] for rule in rules()))
    assert sections == alerts
    for name, text in zip(
        sections, re.split(r"^### Dangol\w+$", page, flags=re.MULTILINE)[1:], strict=True
    ):
        assert "**Means.**" in text, name
        assert "**Do.**" in text, name
