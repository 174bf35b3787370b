"""OpenTelemetry, if the environment asks for it: the one place that imports its SDK.

The standard variables decide (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER`,
`OTEL_TRACES_SAMPLER`, …): https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from shared import tracing
from shared.errors import ConfigurationError
from shared.tracing import Attributes, Kind, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry import trace as otel
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_LAST_SPANS = 2.0
"""Seconds that the last spans have to get out: a collector that is away must not hold a stop up."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def is_wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return exporter != "none"
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


@contextmanager
def traced(part: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Trace for as long as this lasts, if that is wanted. Raises ConfigurationError."""
    if not is_wanted(environment):
        yield
        return
    try:
        provider, tracer = _start(part, environment)
    except ImportError as error:
        raise ConfigurationError(
            "traces are asked for (OTEL_…), and OpenTelemetry is not installed",
            hint="pip install 'dangol[otel]', or set OTEL_SDK_DISABLED=true",
        ) from error
    tracing.use(tracer)
    try:
        yield
    finally:
        tracing.use(None)
        last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_LAST_SPANS)


def _start(part: str, environment: Mapping[str, str]) -> "tuple[TracerProvider, Tracer]":
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {"service.version": version("dangol")}
    if not environment.get("OTEL_SERVICE_NAME", "").strip():
        named["service.name"] = f"dangol-{part}"
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(environment)))
    return provider, _Tracer(provider.get_tracer("dangol", named["service.version"]))


def _exporter(environment: Mapping[str, str]) -> "SpanExporter":
    wanted = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if wanted == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if wanted != "otlp":
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER is {wanted!r}", hint="use otlp, console or none"
        )
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environment[name] for name in names if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigurationError(
            f"traces are sent by http/protobuf, and not by {protocol!r}",
            hint="collectors listen for it on port 4318; unset OTEL_EXPORTER_OTLP_PROTOCOL",
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class _Span:
    """Implements `Span`."""

    def __init__(self, span: "otel.Span") -> None:
        self._span = span
        context = span.get_span_context()
        self.trace = ""
        if context.trace_flags.sampled:
            self.trace = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def failed(self, why: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, why))


class _Tracer:
    """Implements `Tracer`."""

    def __init__(self, tracer: "otel.Tracer") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str = "",
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> Iterator[Span]:
        around = self._propagator.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            name,
            around,
            kind=self._trace.SpanKind[kind.upper()],
            links=[self._trace.Link(found) for link in links if (found := self._context(link))],
            attributes=dict(attributes or {}),
            record_exception=False,  # an exception's words may name what no trace may tell
        ) as span:
            yield _Span(span)

    def _context(self, link: str) -> "otel.SpanContext | None":
        found = self._trace.get_current_span(
            self._propagator.extract({"traceparent": link})
        ).get_span_context()
        return found if found.is_valid else None
