"""Small collectors to send to, and a process that sends."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.paths import ROOT
from tests.servers import PATIENCE_S


@dataclass
class Collected:
    """What a collector has received."""

    endpoint: str
    #: Paths that were posted to; empty for gRPC.
    paths: set[str] = field(default_factory=set)
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    logs: list[ExportLogsServiceRequest] = field(default_factory=list)
    #: By path: the headers that came last. By HTTP only.
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def span_names(self) -> list[str]:
        return [span.name for span in self.spans]

    @property
    def lines(self) -> list[Any]:
        """Log records."""
        return [
            record
            for request in self.logs
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """Attributes of the process that sent the spans."""
        return _plain(self.traces[0].resource_spans[0].resource.attributes)

    def metric(self, name: str) -> Any:
        """The last that was received of a metric."""
        found = [
            metric
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return found[-1]


def _plain(attributes: Any) -> dict[str, Any]:
    def value(item: KeyValue) -> Any:
        return getattr(item.value, item.value.WhichOneof("value") or "string_value")

    return {item.key: value(item) for item in attributes}


@contextmanager
def http_collector(tls: ssl.SSLContext | None = None) -> Iterator[Collected]:
    """A collector that takes OTLP/HTTP on a free port, with TLS or without."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collected.paths.add(self.path)
            collected.headers[self.path] = {k.lower(): v for k, v in self.headers.items()}
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if "traces" in self.path:
                collected.traces.append(ExportTraceServiceRequest.FromString(body))
            elif "logs" in self.path:
                collected.logs.append(ExportLogsServiceRequest.FromString(body))
            else:
                collected.metrics.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if tls:
            server.socket, scheme = tls.wrap_socket(server.socket, server_side=True), "https"
        collected = Collected(f"{scheme}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collected
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def grpc_collector() -> Iterator[Collected]:
    """A collector that takes OTLP/gRPC on a free port."""

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, gRPC's name
            collected.traces.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, gRPC's name
            collected.metrics.append(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, gRPC's name
            collected.logs.append(request)
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    collected = Collected(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    try:
        yield collected
    finally:
        server.stop(None).wait()


@contextmanager
def silent_collector() -> Iterator[str]:
    """The address of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


#: Makes one span with one measurement in it, and ends.
PROGRAM = """
from opentelemetry.trace import get_current_span
from telemetry import setup
from telemetry.catalogue import BATCH_SIZE

telemetry = setup.start("damoscope-worker")
with telemetry.tracer.start_as_current_span("work") as span:
    telemetry.instruments.record(BATCH_SIZE, 3)
telemetry.shutdown(30)
print(format(span.get_span_context().trace_id, "032x"))
"""


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process with these `OTEL_*` variables and no others."""
    # requests, by which OTLP/HTTP goes, prefers a machine's own bundle to any other certificate.
    others = ("OTEL_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return kept | variables


def run(program: str = PROGRAM, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, under these `OTEL_*` variables and no others."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(**variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
