"""One trace from an SDK's request to the provider's call, through the services as processes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bench.smtp_sink import Sink
from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import Pool
from tests.acceptance.test_up import SIGN_UP, fails, write_workspace
from tests.patience import SOON
from tests.processes import WRITE_KEY, Service
from tests.receiving import Receiver, receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


def spans(collector: Receiver) -> dict[str, list[tuple[str, Span]]]:
    """Name → the service and the span, of all that has been exported."""
    found: dict[str, list[tuple[str, Span]]] = {}
    for request in collector.requests:
        exported = ExportTraceServiceRequest.FromString(request.body)
        for resource in exported.resource_spans:
            named = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found.setdefault(span.name, []).append((named["service.name"], span))
    return found


def attributes(span: Span) -> dict[str, str | int]:
    return {
        a.key: a.value.string_value if a.value.HasField("string_value") else a.value.int_value
        for a in span.attributes
    }


@pytest.mark.slow
async def test_one_trace_leads_from_the_request_to_the_mail_server(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with Sink() as sink, receiver() as collector, httpx.AsyncClient(timeout=SOON) as client:
        environment = {
            "DANGOL_DATABASE_URL": dsn,
            "DANGOL_SMTP_URL": f"smtp://127.0.0.1:{sink.port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        services = [
            Service(part, environment, tmp_path / f"{part}.log")
            for part in ("ingest", "journey", "dispatch")
        ]
        await asyncio.gather(*(service.start() for service in services))
        await asyncio.gather(*(service.ready() for service in services))
        await apply(pool, read_folder(write_workspace(tmp_path / "w", "smtp")), "test", REAL)
        answer = await client.post(
            f"{services[0].url}/v1/batch",
            json={"batch": SIGN_UP},
            auth=(WRITE_KEY, ""),
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
        )
        assert answer.status_code == 200
        await sink.arrival("u1@shop.example")
        async with asyncio.timeout(SOON):
            while "provider call" not in spans(collector):
                await asyncio.sleep(0.05)
        assert [await service.end() for service in services] == [0, 0, 0]
    told = spans(collector)
    [(edge, request)] = [s for s in told["POST batch"] if s[1].trace_id.hex() == TRACE]
    [(_, append)] = told["append"]
    [(engine, message)] = told["message"]
    [(sending, call)] = told["provider call"]
    assert (edge, engine, sending) == ("dangol-ingest", "dangol-journey", "dangol-dispatch")
    assert {s.trace_id.hex() for s in (request, append, message, call)} == {TRACE}
    parents = [s.parent_span_id for s in (request, append, message, call)]
    assert parents == [
        bytes.fromhex(CALLER), request.span_id, append.span_id, message.span_id
    ]  # fmt: skip
    linked = {link.span_id for _, batch in told["decide batch"] for link in batch.links}
    assert linked == {append.span_id}
    assert attributes(call)["dangol.adapter"] == "smtp"
    assert attributes(call)["dangol.journey"] == "welcome"
    assert attributes(call)["dangol.outcome"] == "accepted"
    assert request.status.code == Status.STATUS_CODE_UNSET
    body = b"".join(r.body for r in collector.requests)
    assert b"shop.example" not in body
    assert WRITE_KEY.encode() not in body


def test_nothing_of_it_is_there_while_tracing_is_off() -> None:
    code = (
        "import sys, services.cli.up, services.cli.telemetry as t\n"
        "with t.traced('up', {}): pass\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry.sdk')"
        " or m.startswith('opentelemetry.exporter')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_what_cannot_be_done_is_told(dsn: str) -> None:
    said = await fails(
        "ingest", "--port", "0", DANGOL_DATABASE_URL=dsn,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )  # fmt: skip
    assert "http/protobuf" in said
