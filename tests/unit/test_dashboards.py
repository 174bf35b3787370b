"""The Grafana dashboards: every expression parses and asks for metrics and labels that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.prometheus.tool import run
from tests.unit.test_alerts import is_known, names_of_metrics
from tests.unit.test_metrics import metrics_of_the_code

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
FOREIGN = {"up", "ALERTS", "process_resident_memory_bytes", "process_cpu_seconds_total"}
FROM_PROMETHEUS = {"job", "instance", "service", "le", "alertname", "alertstate", "severity"}
_VARIABLES = {"$__rate_interval": "5m", "$__range": "1d", "$journey": ".*"}

board = pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def expressions(path: Path) -> list[str]:
    found = [t["expr"] for p in load(path)["panels"] for t in p.get("targets", [])]
    for name, value in _VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def labels_of(expression: str) -> set[str]:
    in_braces = re.findall(r"\{([^}]*)\}", expression)
    asked = {name for text in in_braces for name in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", text)}
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return asked | {name.strip() for text in grouped for name in text.split(",")}


@board
def test_every_expression_parses(path: Path, tmp_path: Path) -> None:
    """As recording rules, which promtool checks."""
    rules = [{"record": f"dangol:{n}", "expr": e} for n, e in enumerate(expressions(path))]
    file = tmp_path / "rules.yml"
    with file.open("w") as out:
        YAML().dump({"groups": [{"name": "board", "rules": rules}]}, out)
    status, said = run("check", "rules", str(file))
    assert status == 0, said
    assert f"{len(rules)} rules found" in said


@board
def test_every_expression_asks_for_metrics_and_labels_that_exist(path: Path) -> None:
    known = metrics_of_the_code()
    for expression in expressions(path):
        assert "$" not in expression, expression
        names = names_of_metrics(expression) - FOREIGN
        unknown = {name for name in names if not is_known(name)}
        assert not unknown, (expression, unknown)
        labels = set(FROM_PROMETHEUS)
        for name in names:
            family = name if name in known else re.sub(r"_(?:bucket|sum|count)$", "", name)
            labels |= set(known[family][1])
        if "ALERTS" not in expression:
            assert labels_of(expression) <= labels, expression


@board
def test_panels_have_a_place_of_their_own_a_unit_and_legends_of_their_labels(path: Path) -> None:
    loaded = load(path)
    assert len({p["id"] for p in loaded["panels"]}) == len(loaded["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in loaded["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert named <= labels_of(target["expr"]), (panel["title"], named)


def test_boards_are_provisioned_and_told_apart() -> None:
    loaded = [load(path) for path in BOARDS]
    assert len({b["uid"] for b in loaded}) == len(loaded) == 3
    assert all("dangol" in b["tags"] for b in loaded)
    safe = YAML(typ="safe")
    provider = safe.load(DEPLOY / "grafana/provisioning/dashboards/dangol.yml")["providers"][0]
    grafana = safe.load(DEPLOY / "docker-compose.yml")["services"]["grafana"]
    mounts = dict(m.split(":")[:2] for m in grafana["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/overview.json"
    source = safe.load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["type"] == "prometheus"
