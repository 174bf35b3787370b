"""The Kubernetes manifests are what the published schemas say, and keep what we promise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from services.cli.app import app
from shared.settings import Settings
from tests.unit.test_alerts import is_known, names_of_metrics

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
FILES = sorted(p for p in FOLDER.rglob("*.yaml") if p.name != "kustomization.yaml")
PARTS = ("ingest", "journey", "dispatch", "console")
OF_OPERATORS = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
"""Kinds that others add to a cluster: Kubernetes' own schemas do not know them."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [found for found in YAML(typ="safe").load_all(path) if found]


def all_of(kind: str) -> Iterator[dict[str, Any]]:
    yield from (d for path in FILES for d in documents(path) if d["kind"] == kind)


def pods() -> dict[str, dict[str, Any]]:
    found = [*all_of("Deployment"), *all_of("Job")]
    return {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_manifests_are_what_the_published_schemas_say(path: Path) -> None:
    for found in documents(path):
        if found["apiVersion"] not in OF_OPERATORS:
            kubernetes_validate.validate(found, "1.33", strict=True)


def test_what_a_schema_refuses_would_be_found() -> None:
    (found,) = (d for d in all_of("Deployment") if d["metadata"]["name"] == "dangol-ingest")
    found["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(found, "1.33", strict=True)


def test_kustomizations_name_every_file() -> None:
    for folder in ("base", "keda", "monitoring"):
        (custom,) = documents(FOLDER / folder / "kustomization.yaml")
        files = {p.name for p in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert {r for r in custom["resources"] if r.endswith(".yaml")} == files
        for name in custom["resources"]:
            assert (FOLDER / folder / name).exists(), name


def test_nothing_runs_as_root_or_writes_into_its_image() -> None:
    assert set(pods()) == {f"dangol-{part}" for part in (*PARTS, "migrate")}
    for name, pod in pods().items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}], name
        assert container["resources"]["limits"]["memory"], name
        assert container["resources"]["requests"]["cpu"], name


def test_services_are_commands_and_are_asked_whether_they_live_and_can_work() -> None:
    commands = {command.name for command in app.registered_commands}
    for part in PARTS:
        pod = pods()[f"dangol-{part}"]
        (container,) = pod["containers"]
        assert container["args"] == [part, "--host", "0.0.0.0", "--port", "8420"]
        assert part in commands
        asked = {
            name: container[f"{name}Probe"]["httpGet"]["path"]
            for name in ("liveness", "readiness", "startup")
        }
        assert asked == {"liveness": "/healthz", "readiness": "/readyz", "startup": "/healthz"}
        waits = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod["terminationGracePeriodSeconds"] > waits + 15, "it may take its time to stop"


def test_every_service_survives_the_drain_of_a_node() -> None:
    budgets = {d["metadata"]["name"]: d["spec"] for d in all_of("PodDisruptionBudget")}
    assert set(budgets) == {f"dangol-{part}" for part in PARTS}
    selected = {
        d["metadata"]["name"]: d["spec"]["selector"]["matchLabels"] for d in all_of("Deployment")
    }
    for name, budget in budgets.items():
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == selected[name]


def test_workers_are_scaled_by_metrics_that_exist_up_to_the_number_of_partitions() -> None:
    (config,) = all_of("ConfigMap")
    scaled = {d["metadata"]["name"]: d["spec"] for d in all_of("ScaledObject")}
    assert set(scaled) == {"dangol-journey", "dangol-dispatch"}
    for name, spec in scaled.items():
        assert spec["scaleTargetRef"]["name"] == name
        for trigger in spec["triggers"]:
            (metric,) = names_of_metrics(trigger["metadata"]["query"])
            assert is_known(metric), metric
    assert str(scaled["dangol-journey"]["maxReplicaCount"]) == config["data"]["DANGOL_PARTITIONS"]


def test_settings_exist() -> None:
    known = {f"DANGOL_{name.upper()}" for name in Settings.model_fields}
    (config,) = all_of("ConfigMap")
    (secret,) = all_of("Secret")
    assert set(config["data"]) | set(secret["stringData"]) <= known
