"""The metrics of ingest: every name in one place. No label carries a key, an id or a text."""

from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.ingest.refused import Refused
from services.ingest.wire import WireKind
from shared.event import Event

_APPEND_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class IngestMetrics:
    """One per process; `registry` is the one that `/metrics` shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Requests answered, by route ("batch", "track", …) and HTTP status.
        self._requests = Counter(
            "dangol_ingest_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        # Events that are durably in the log and were answered 200, by kind.
        self._accepted = Counter(
            "dangol_ingest_events_accepted", "Events accepted.", ["kind"], registry=registry
        )
        # Events put aside because nothing can be done with them, by reason.
        self._refused = Counter(
            "dangol_ingest_events_refused", "Events put aside.", ["reason"], registry=registry
        )
        # Bytes of request bodies, inflated.
        self.body_bytes = Counter(
            "dangol_ingest_body_bytes", "Bytes of bodies, inflated.", registry=registry
        )
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
        # Children of two counters, kept because looking them up costs more than counting.
        self._request_children: dict[tuple[str, int], Counter] = {}
        self._kind_children = {kind: self._accepted.labels(kind) for kind in get_args(WireKind)}

    def answered(self, route: str, status: int) -> None:
        child = self._request_children.get((route, status))
        if child is None:
            child = self._requests.labels(route, str(status))
            self._request_children[route, status] = child
        child.inc()

    def took(self, events: Iterable[Event], refused: Iterable[Refused]) -> None:
        counts: dict[str, int] = {}
        for event in events:
            counts[event.kind] = counts.get(event.kind, 0) + 1
        for kind, count in counts.items():
            self._kind_children[kind].inc(count)
        for item in refused:
            self._refused.labels(item.reason.value).inc()
