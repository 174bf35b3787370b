"""deploy/: what can be held without an engine. docs/deploy.md tells how it was run on one."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from services.cli.app import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
_LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def compose() -> dict[str, Any]:
    loaded = YAML(typ="safe").load(DEPLOY / "docker-compose.yml")
    services: dict[str, Any] = loaded["services"]
    return services


def ours() -> dict[str, Any]:
    return {name: s for name, s in compose().items() if "DANGOL_IMAGE" in s["image"]}


def test_what_the_image_is_made_of_is_locked_by_hash_and_is_what_is_tested() -> None:
    installs = re.findall(r"pip install (.*?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes -r requirements/" in install or "--no-index" in install
    tested = dict(_LOCKED.findall((ROOT / "requirements/dev.lock").read_text()))
    image = dict(_LOCKED.findall((ROOT / "requirements/image.lock").read_text()))
    assert {name: tested.get(name) for name in image} == image


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_is_well() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/readyz", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("FROM ${PYTHON_IMAGE}") == 2


def test_every_image_of_compose_is_pinned_and_can_be_named_otherwise() -> None:
    for name, service in compose().items():
        match = re.fullmatch(r"\$\{([A-Z]+_IMAGE):-([\w./-]+):v?\d+(\.\d+)+\}", service["image"])
        assert match, (name, service["image"])


def test_our_containers_need_no_rights() -> None:
    assert set(ours()) == {"migrate", "ingest", "journey", "dispatch", "console", "apply", "inbox"}
    for name, service in ours().items():
        assert service["read_only"] is True, name
        assert service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_compose_runs_commands_that_exist_on_the_port_of_the_health_check() -> None:
    commands = {command.name for command in app.registered_commands}
    for name, service in ours().items():
        if "entrypoint" in service:
            continue
        assert service["command"][0] in commands
        if name in ("ingest", "journey", "dispatch", "console"):
            assert service["command"][-4:] == ["--host", "0.0.0.0", "--port", "8420"]


def test_settings_are_those_of_the_page_and_no_secret_has_a_default() -> None:
    text = (DEPLOY / "docker-compose.yml").read_text() + (DEPLOY / ".env.example").read_text()
    page = (ROOT / "docs/operations.md").read_text()
    for name in set(re.findall(r"\b(DANGOL_[A-Z_]+)\b", text)) - {"DANGOL_IMAGE"}:
        assert f"`{name}`" in page, f"{name} is no setting of docs/operations.md"
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN)\w*)([^}]*)\}", text):
        assert name[1].startswith(":?"), f"{name[0]} must be set"
    example = re.findall(r"^(\w*(?:PASSWORD|TOKEN|KEYS))=(.*)$", text, re.MULTILINE)
    assert example
    assert not [name for name, value in example if value]


def test_ports_are_published_on_loopback_unless_somebody_says_otherwise() -> None:
    for name, service in compose().items():
        for port in service.get("ports", []):
            assert port.startswith("${BIND:-127.0.0.1}:"), name


def test_prometheus_scrapes_every_service() -> None:
    config = YAML(typ="safe").load(DEPLOY / "prometheus/prometheus.yml")
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["ingest", "journey", "dispatch", "console"]
    assert set(found["names"]) <= set(compose())
