"""The metrics of ingest: every name in one place. No label carries a key, an id or a
customer's text."""

from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from services.ingest.refused import Reason, Refused
from services.ingest.wire import WireKind
from shared.event import Encoded, Event
from shared.tracking import Violation

_KIND = attrgetter("kind")
_APPEND_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Tally(Collector):
    """A counter that costs an addition: prometheus_client's own locks and checks each time, which
    was a tenth of a request's cost. For one event loop; `/metrics` is answered on it too."""

    def __init__(
        self, name: str, about: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name, self._about, self._labels = name, about, labels
        self.counts: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        self.counts[labels] = self.counts.get(labels, 0) + amount

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        yield family


class IngestMetrics:
    """One per process; `registry` is the one that `/metrics` shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Requests answered, by route ("batch", "track", …) and HTTP status.
        self._requests = Tally(
            "dangol_ingest_requests", "Requests answered.", ["route", "status"], registry
        )
        # Events that are durably in the log and were answered 200, by kind.
        self._accepted = Tally(
            "dangol_ingest_events_accepted", "Events accepted.", ["kind"], registry
        )
        for kind in get_args(WireKind):
            self._accepted.add((kind,), 0)
        # Events put aside because nothing can be done with them, by reason.
        self._refused = Tally(
            "dangol_ingest_events_refused", "Events put aside.", ["reason"], registry
        )
        for reason in Reason:
            self._refused.add((reason.value,), 0)
        # What events break of the tracking plan, by the write key's name: keys are few.
        self._broken = Tally(
            "dangol_ingest_plan_violations",
            "What events break of the tracking plan.",
            ["source", "violation"],
            registry,
        )
        # Bytes of request bodies, inflated.
        self._body_bytes = Tally(
            "dangol_ingest_body_bytes", "Bytes of bodies, inflated.", [], registry
        )
        self._body_bytes.add((), 0)
        # Seconds of one append to the log, which may carry the events of many requests.
        self.append_seconds = Histogram(
            "dangol_ingest_append_seconds",
            "Seconds of one append to the log.",
            buckets=_APPEND_SECONDS,
            registry=registry,
        )
        # Appends that failed; their requests were answered 503.
        self.append_failures = Counter(
            "dangol_ingest_append_failures", "Appends that failed.", registry=registry
        )
        # Events that wait for the log or are being appended now.
        self.queue_depth = Gauge(
            "dangol_ingest_queue_depth", "Events waiting for the log.", registry=registry
        )
        # Requests of SDKs that never send twice, which wait for a log or database that is away.
        self.held = Gauge(
            "dangol_ingest_held", "Requests waiting for our trouble to end.", registry=registry
        )

    def answered(self, route: str, status: int) -> None:
        self._requests.add((route, str(status)))

    def body(self, size: int) -> None:
        self._body_bytes.add((), size)

    def broke(self, source: str, broken: Iterable[tuple[str, Violation]]) -> None:
        for _event, violation in broken:
            self._broken.add((source, violation.breach))

    def took(self, events: Sequence[Event | Encoded], refused: Iterable[Refused] = ()) -> None:
        if len(events) == 1:
            self._accepted.add((events[0].kind,))
        else:
            for kind, count in Counts(map(_KIND, events)).items():
                self._accepted.add((kind,), count)
        for item in refused:
            self._refused.add((item.reason.value,))
