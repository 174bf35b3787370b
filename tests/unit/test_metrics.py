"""docs/metrics.md lists every metric of the code, with its kind and labels, and no other."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.ingest.metrics import IngestMetrics, Tally

DOCS = Path(__file__).parents[2] / "docs"
_ROW = re.compile(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \| (.+) \|$", re.MULTILINE)

Known = Mapping[str, tuple[str, tuple[str, ...]]]
"""Name as Prometheus stores it → kind and labels."""


def metrics_of_the_code() -> Known:
    for module in ("services.dispatch.metrics", "services.journey.metrics", "services.cli.health"):
        importlib.import_module(module)
    own = CollectorRegistry()
    IngestMetrics(own)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for registry in (REGISTRY, own):
        for collector in list(registry._collector_to_names):
            if isinstance(collector, Tally):
                found[f"{collector._name}_total"] = ("counter", tuple(collector._labels))
            elif isinstance(collector, MetricWrapperBase):
                kind = str(collector._type)
                name = collector._name + ("_total" if kind == "counter" else "")
                found[name] = (kind, tuple(collector._labelnames))
    return {name: what for name, what in found.items() if name.startswith("dangol_")}


def test_the_page_lists_the_metrics_of_the_code() -> None:
    text = (DOCS / "metrics.md").read_text()
    page = {
        name: (kind, tuple(labels.split(",")) if labels else ())
        for name, labels, kind, _means in _ROW.findall(text)
    }
    assert page == metrics_of_the_code()
    assert len(page) == len(_ROW.findall(text)), "a metric is listed twice"


def test_names_follow_the_convention_of_prometheus() -> None:
    for name, (kind, labels) in metrics_of_the_code().items():
        assert re.fullmatch(r"dangol_[a-z]+(_[a-z]+)+", name), name
        assert kind != "counter" or name.endswith("_total"), name
        assert kind == "counter" or not name.endswith(("_total", "_count", "_sum")), name
        assert not {"le", "job", "instance"} & set(labels), name


def test_other_pages_name_only_metrics_that_exist() -> None:
    known = metrics_of_the_code()
    for page in DOCS.rglob("*.md"):
        for name in re.findall(
            r"`[^`\n]*?\b(dangol_(?:ingest|journey|dispatch)_\w+)", page.read_text()
        ):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in known or family in known or f"{name}_total" in known, (page.name, name)
