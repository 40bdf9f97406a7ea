"""frontend.api.otlp: the OTLP/HTTP receiver, asked by hand and by the SDK's own exporters."""

from __future__ import annotations

import gzip
import io
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from google.rpc import code_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from frontend.api import otlp
from monitoring.stores.contract import Window
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.errors import Unavailable
from telemetry import catalogue
from tests.monitoring import traffic

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "telemetry.db")
    yield opened
    opened.close()


@pytest.fixture
def url(store: EmbeddedStore) -> Iterator[str]:
    """The address of a real server with the receiver in it."""
    app = FastAPI(telemetry={"tracing": False})
    app.include_router(otlp.router(store))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    host, port = listener.getsockname()
    yield f"http://{host}:{port}/otlp"
    server.should_exit = True
    thread.join()
    listener.close()


def image() -> bytes:
    frontend, worker = traffic.image(time.time_ns())
    return traffic.encoded(frontend + worker)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_from_the_sdk(url: str, store: EmbeddedStore, compression: Compression) -> None:
    """Spans of the real tracer, sent by the real exporter, can be read as one trace."""
    provider = TracerProvider(resource=traffic.resource(catalogue.SERVICE_FRONTEND))
    exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(catalogue.SPAN_REQUEST_API, kind=SpanKind.SERVER) as span:
        span.set_attributes(
            {
                catalogue.ATTR_ROUTE: "api",
                catalogue.ATTR_OUTCOME: "ok",
                catalogue.ATTR_DETECTIONS: 1,
            }
        )
        with tracer.start_as_current_span(catalogue.SPAN_UPLOAD):
            pass
    provider.shutdown()
    store.flush()
    (found,) = store.traces.search()
    assert (found.route, found.detections, list(found.stages_ms)) == ("api", 1, ["upload"])
    assert [span.name for span in store.traces.get(found.trace_id)] == [
        catalogue.SPAN_REQUEST_API, catalogue.SPAN_UPLOAD,
    ]  # fmt: skip


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_metrics_from_the_sdk(url: str, store: EmbeddedStore, compression: Compression) -> None:
    """Metrics of the real meter, sent by the real exporter, are counted once."""
    exporter = OTLPMetricExporter(f"{url}/v1/metrics", compression=compression)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], traffic.resource(catalogue.SERVICE_FRONTEND))
    counter = provider.get_meter("test").create_counter(catalogue.REQUESTS.name)
    window = Window.last(1200, time.time() + 600)
    for _ in range(3):
        counter.add(1, {"outcome": "ok"})
        provider.force_flush()
    provider.shutdown()
    store.flush()
    assert store.metrics.increase(catalogue.REQUESTS, window, by=["outcome"]) == {("ok",): 3}


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_logs_from_the_sdk(url: str, store: EmbeddedStore, compression: Compression) -> None:
    """Lines of Python's logging, sent by the real exporter, are kept with their trace."""
    provider = LoggerProvider(traffic.resource(catalogue.SERVICE_WORKER), shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{url}/v1/logs", compression=compression)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    handler = LoggingHandler(logger_provider=provider)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("process") as span:
        handler.handle(
            logging.makeLogRecord(
                {"name": "worker", "msg": "no", "levelname": "INFO", "levelno": 20}
            )
        )
    provider.shutdown()
    store.flush()
    context = span.get_span_context()
    (line,) = store.traces.lines(format_trace_id(context.trace_id))
    assert (line.logger, line.message, line.level) == ("worker", "no", "INFO")
    assert (line.span_id, line.service) == (
        format_span_id(context.span_id),
        catalogue.SERVICE_WORKER,
    )


def test_partial_success_of_lines(url: str) -> None:
    """Lines that cannot be taken are counted in the answer."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"short")
    response = httpx.post(
        f"{url}/v1/logs", content=message.SerializeToString(), headers=PROTOBUF, timeout=60
    )
    answer = ExportLogsServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_log_records == 1
    assert (
        httpx.post(f"{url}/v1/logs", content=b"\xff", headers=PROTOBUF, timeout=60).status_code
        == 400
    )


def test_answer_to_a_good_export(url: str) -> None:
    """A full success is 200 with an empty response message."""
    response = httpx.post(f"{url}/v1/traces", content=image(), headers=PROTOBUF, timeout=60)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-protobuf"
    message = ExportTraceServiceResponse.FromString(response.content)
    assert not message.HasField("partial_success")


def test_an_empty_export(url: str) -> None:
    """An export of nothing is a success."""
    for path in ("traces", "metrics", "logs"):
        assert httpx.post(f"{url}/v1/{path}", headers=PROTOBUF, timeout=60).status_code == 200


def test_partial_success_of_spans(url: str, store: EmbeddedStore) -> None:
    """Spans that cannot be taken are counted in the answer; the others are stored."""
    message = ExportTraceServiceRequest.FromString(image())
    message.resource_spans[0].scope_spans[0].spans.add(trace_id=b"short", name="bad")
    response = httpx.post(
        f"{url}/v1/traces", content=message.SerializeToString(), headers=PROTOBUF, timeout=60
    )
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert response.status_code == 200
    assert answer.partial_success.rejected_spans == 1
    assert "trace id" in answer.partial_success.error_message
    store.flush()
    assert len(store.traces.search()) == 1


def test_partial_success_of_metrics(url: str) -> None:
    """Kinds of metrics that are not stored are counted and named in the answer."""
    reader = InMemoryMetricReader()
    views = [View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())]
    MeterProvider([reader], views=views).get_meter("test").create_histogram("e").record(1)
    data = reader.get_metrics_data()
    assert data is not None
    body = encode_metrics(data).SerializeToString()
    response = httpx.post(f"{url}/v1/metrics", content=body, headers=PROTOBUF, timeout=60)
    answer = ExportMetricsServiceResponse.FromString(response.content)
    assert response.status_code == 200
    assert answer.partial_success.rejected_data_points == 1


def bomb() -> bytes:
    """A small gzip file that unpacks to more than is taken."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(otlp.MAX_UNPACKED_BYTES // 2**20 + 1):
            file.write(bytes(2**20))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"\xff\xff", {}, 400, id="not protobuf"),
        pytest.param(b"plain", {"content-encoding": "gzip"}, 400, id="not gzip"),
        pytest.param(gzip.compress(image())[:-20], {"content-encoding": "gzip"}, 400, id="cut"),
        pytest.param(image(), {"content-encoding": "br"}, 415, id="other encoding"),
        pytest.param(b"{}", {"content-type": "application/json"}, 415, id="json"),
        pytest.param(bytes(otlp.MAX_BODY_BYTES + 1), {}, 413, id="too large"),
        pytest.param(bomb(), {"content-encoding": "gzip"}, 413, id="gzip bomb"),
    ],
)
def test_refusals(url: str, body: bytes, headers: dict[str, str], status: int) -> None:
    """What cannot be taken gets the status that the OTLP specification names, and the reason."""
    for path in ("traces", "metrics", "logs"):
        response = httpx.post(
            f"{url}/v1/{path}", content=body, headers={**PROTOBUF, **headers}, timeout=60
        )
        assert response.status_code == status
        message = status_pb2.Status.FromString(response.content)
        assert message.code == code_pb2.INVALID_ARGUMENT
        assert message.message


def test_no_content_type(url: str) -> None:
    """A body that does not say what it is is refused."""
    assert httpx.post(f"{url}/v1/traces", content=image(), timeout=60).status_code == 415


def test_too_much_waiting(url: str, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store cannot keep up, senders hear when to come back."""

    def full(*_: object) -> None:
        raise Unavailable("too much telemetry is waiting to be stored")

    monkeypatch.setattr(store, "_submit", full)
    response = httpx.post(f"{url}/v1/traces", content=image(), headers=PROTOBUF, timeout=60)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert status_pb2.Status.FromString(response.content).code == code_pb2.UNAVAILABLE


def test_not_in_the_documentation(store: EmbeddedStore) -> None:
    """The receiver is no part of the documented API."""
    app = FastAPI()
    app.include_router(otlp.router(store))
    assert app.openapi()["paths"] == {}
