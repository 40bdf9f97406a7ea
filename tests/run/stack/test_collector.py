"""The Collector alone, with the repository's files: what it makes of what it takes, and whose."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitoring.stores.embedded.store import EmbeddedStore
from run.processes import Supervisor
from run.stack.binaries import locate
from run.stack.native import ROOT
from run.stack.ports import HOST, Ports
from run.stack.servers import Layout, collector
from telemetry import catalogue
from tests.monitoring.readings import Process
from tests.run.stack.servers_api import eventually
from tests.security import proxies

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

OPEN_METRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
TOKEN = "a-token-of-the-test"
CALLS = "traces_span_metrics_calls_total"
#: As few spans as a queue may hold, which is a batch, and so many that two exports do not fit.
QUEUED, MANY = 1024, 600

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@contextmanager
def running(
    folder: Path, overlay: str = "otel-collector.yaml", **environment: str
) -> Iterator[Ports]:
    """The Collector until the end of the block; Jaeger, where it sends traces, is away."""
    ports = Ports.free()
    layout = Layout(ROOT, folder, ports, locate(ROOT), "secret", overlay)
    layout.logs.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        program = collector(layout)
    supervisor = Supervisor(layout.logs)
    try:
        supervisor.start(program)
        supervisor.wait_until_ready(60)
        yield ports
    finally:
        supervisor.stop()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """One for the tests that need no other."""
    with running(
        tmp_path_factory.mktemp("collector"),
        COLLECTOR_SPAN_SERIES="20",
        DEPLOYMENT_ENVIRONMENT="exam-hall",
    ) as found:
        yield found


def spans(names: list[str], service: str, instance: str, **resource: str) -> list[ReadableSpan]:
    """Ended spans of one process."""
    kept = InMemorySpanExporter()
    identity = {"service.name": service, "service.instance.id": instance, **resource}
    provider = TracerProvider(resource=Resource.create(identity))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")
    for name in names:
        tracer.start_span(name).end()
    return list(kept.get_finished_spans())


def send(exporter: SpanExporter, what: list[ReadableSpan]) -> bool:
    """Whether they were taken."""
    try:
        return exporter.export(what) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def scraped(ports: Ports) -> Samples:
    """What Prometheus reads from it: (name, labels) -> value."""
    url = f"http://{HOST}:{ports.collector_metrics}/metrics"
    with urlopen(Request(url, headers=OPEN_METRICS), timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def post_metrics(ports: Ports, export: bytes) -> None:
    """Send one export of metrics."""
    headers = {"content-type": "application/x-protobuf"}
    url = f"http://{HOST}:{ports.otlp_http}/v1/metrics"
    with urlopen(Request(url, export, headers), timeout=10) as answer:
        assert answer.status == 200


def calls(ports: Ports, service: str) -> list[tuple[dict[str, str], float]]:
    """Span counts of one service: labels and value."""
    return [
        (dict(labels), value)
        for (name, labels), value in scraped(ports).items()
        if name == CALLS and ("job", service) in labels
    ]


def test_span_metrics_are_those_of_a_service(ports: Ports) -> None:
    """Two processes count together, in one series without any trace of either: what there is for
    one that has ended is what there is anyway."""
    endpoint = f"http://{HOST}:{ports.otlp_http}/v1/traces"
    for instance in ("one", "two", "two"):
        host = {"host.id": f"host-of-{instance}", "service.version": "1"}
        assert send(HttpExporter(endpoint), spans(["nms"], "pair", instance, **host))
    ((labels, _),) = eventually(lambda: [each for each in calls(ports, "pair") if each[1] == 3])
    assert labels == {
        "job": "pair",
        "service_name": "pair",
        "span_name": "nms",
        "span_kind": "SPAN_KIND_INTERNAL",
        "status_code": "STATUS_CODE_UNSET",
    }
    assert len(calls(ports, "pair")) == 1
    told = {labels for name, labels in scraped(ports) if name == "target_info"}
    assert not any(("job", "pair") in labels for labels in told)


def test_span_names_without_end_are_counted_as_one(ports: Ports) -> None:
    """Beyond the limit of a service no series is added, and nothing goes uncounted."""
    endpoint = f"http://{HOST}:{ports.otlp_http}/v1/traces"
    names = [f"GET /pages/{number}" for number in range(60)]
    assert send(HttpExporter(endpoint), spans(names, "chatty", "one"))

    def all_of_them() -> list[tuple[dict[str, str], float]]:
        found = calls(ports, "chatty")
        return found if sum(value for _, value in found) == len(names) else []

    found = eventually(all_of_them)
    (rest,) = [value for labels, value in found if labels.get("otel_metric_overflow") == "true"]
    assert rest >= len(names) - 20
    assert len(found) <= 21


def test_a_scrape_of_one_machine_says_what_the_collector_says(ports: Ports, tmp_path: Path) -> None:
    """The same exports, sent to the Collector and to the embedded store, come out as the same
    names, labels and values."""
    now_s = time.time()
    one, two = (Process(name, start_s=now_s - 60, host="h1") for name in ("one", "two"))
    exports = [
        one.counter(catalogue.REQUESTS, now_s, 7, outcome="ok", route="api"),
        two.counter(catalogue.REQUESTS, now_s, 2, outcome="failed", route="ui"),
        one.counter(catalogue.INFERENCE_BUSY, now_s, 1.5, provider="cpu"),
        one.histogram(catalogue.STAGE_DURATION, now_s, [0.0004, 0.02, 100.0], stage="nms"),
        one.histogram(catalogue.BATCH_SIZE, now_s, [1.0, 4.0], catalogue.BATCH_SIZE.buckets),
        two.gauge(catalogue.SYSTEM_CPU, now_s, 0.25, state="user", cpu="0"),
        two.gauge(catalogue.QUEUE_OLDEST_AGE, now_s, 3.5, queue="detections"),
        one.counter(catalogue.REQUESTS_ACTIVE, now_s, 4, monotonic=False),
    ]
    store = EmbeddedStore(tmp_path / "telemetry.db")
    try:
        for body in map(_with_unit, exports):
            post_metrics(ports, body)
            assert store.receive_metrics(body).count == 0
        store.flush()
        text, _ = store.exposition.text(OPEN_METRICS["accept"])
    finally:
        store.close()
    ours = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    theirs = {
        key: value
        for key, value in scraped(ports).items()
        if ("job", catalogue.SERVICE_FRONTEND) in key[1] and not key[0].endswith("_created")
    }
    assert theirs.pop(("target_info", _info("one"))) == theirs.pop(("target_info", _info("two")))
    assert {key for key in ours if key[0] == "target_info"} == {
        ("target_info", frozenset({*_identity(name), ("host_id", "h1")})) for name in ("one", "two")
    }
    assert {key: value for key, value in ours.items() if key[0] != "target_info"} == theirs


def test_series_of_a_process_that_is_gone_end(tmp_path: Path) -> None:
    """Without any word of it: those of one that goes on sending stay."""
    with running(tmp_path, COLLECTOR_METRIC_EXPIRATION="3s") as ports:
        began_s = time.time()
        gone, stays = (Process(name, start_s=began_s - 60) for name in ("gone", "stays"))

        def seen(*senders: Process) -> set[str]:
            """The processes that are scraped, after these have sent what they count."""
            for each in senders:
                export = each.counter(catalogue.REQUESTS, time.time(), 7, outcome="ok", route="api")
                post_metrics(ports, _with_unit(export))
            return {
                value
                for name, labels in scraped(ports)
                if name == "damoscope_requests_total"
                for label, value in labels
                if label == "instance"
            }

        eventually(lambda: seen(gone, stays) == {"gone", "stays"})
        eventually(lambda: seen(stays) == {"stays"})


def test_what_the_queue_does_not_hold_is_counted(tmp_path: Path) -> None:
    """Jaeger is away and the queue is full: spans beyond it are dropped, by the name that the alert
    SpansDropped reads; what is in the queue stays there."""
    with running(tmp_path, COLLECTOR_QUEUE_SPANS=str(QUEUED)) as ports:
        endpoint = f"http://{HOST}:{ports.otlp_http}/v1/traces"

        def own(name: str) -> float:
            with urlopen(
                f"http://{HOST}:{ports.collector_telemetry}/metrics", timeout=10
            ) as answer:
                text = answer.read().decode()
            return sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith((f"{name}{{", f"{name} ")) and "jaeger" in line
            )

        def dropped() -> float:
            send(HttpExporter(endpoint, timeout=1), spans(["nms"] * MANY, "many", "one"))
            return own("otelcol_exporter_enqueue_failed_spans_total")

        assert eventually(dropped) % MANY == 0
        assert 0 < own("otelcol_exporter_queue_size") <= QUEUED
        rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/platform.yml").read_text())
        (alert,) = (
            each for each in rules["groups"][0]["rules"] if each.get("alert") == "SpansDropped"
        )
        assert "otelcol_exporter_enqueue_failed_spans_total[" in alert["expr"]


def _with_unit(export: bytes) -> bytes:
    """The export as the SDK would send it: the unit is part of a metric's name in Prometheus."""
    message = ExportMetricsServiceRequest.FromString(export)
    metric = message.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.unit = catalogue.METRICS[metric.name].unit
    return message.SerializeToString()


def _identity(instance: str) -> set[tuple[str, str]]:
    return {("job", catalogue.SERVICE_FRONTEND), ("instance", instance)}


def _info(instance: str) -> frozenset[tuple[str, str]]:
    """What it says of a process, of which the deployment's name is its own."""
    said = {("host_id", "h1"), ("deployment_environment_name", "exam-hall")}
    return frozenset(_identity(instance) | said)


@pytest.fixture(autouse=True)
def own_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine that names others in its environment, which win in `requests`."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def guarded(folder: Path) -> Iterator[tuple[Ports, Path, Path]]:
    """The Collector that asks for TOKEN over TLS; its certificate, and its token's file."""
    (certificate, key), token = proxies.certificate(folder), folder / "token"
    token.write_text(TOKEN)
    with running(
        folder / "home",
        "deploy/otel-collector.secured.yaml",
        OTLP_CERTIFICATE_FILE=str(certificate),
        OTLP_KEY_FILE=str(key),
        OTLP_TOKEN_FILE=str(token),
    ) as ports:
        yield ports, certificate, token


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ports, Path]]:
    """One with deploy/otel-collector.secured.yaml, and its certificate."""
    folder = tmp_path_factory.mktemp("secured")
    with guarded(folder) as (ports, certificate, _):
        yield ports, certificate


def exporters(
    ports: Ports, certificate: Path, headers: Mapping[str, str]
) -> dict[str, SpanExporter]:
    """By either protocol, set up as the SDK's own variables would."""
    options: dict[str, Any] = {"headers": dict(headers), "timeout": 3}
    return {
        "http": HttpExporter(
            f"https://{HOST}:{ports.otlp_http}/v1/traces", str(certificate), **options
        ),
        "grpc": GrpcExporter(
            f"https://{HOST}:{ports.otlp_grpc}",
            credentials=grpc.ssl_channel_credentials(certificate.read_bytes()),
            **options,
        ),
    }


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("headers", "taken"),
    [({"authorization": f"Bearer {TOKEN}"}, True), ({"authorization": "Bearer other"}, False),
     ({}, False)],
    ids=["with the token", "with another", "without"],
)  # fmt: skip
def test_who_may_send(
    secured: tuple[Ports, Path], protocol: str, headers: dict[str, str], taken: bool
) -> None:
    """Over TLS with the token; nobody else."""
    ports, certificate = secured
    exporter = exporters(ports, certificate, headers)[protocol]
    assert send(exporter, spans(["nms"], "sender", "one")) == taken


def test_without_tls_nothing_is_taken(secured: tuple[Ports, Path]) -> None:
    """Not even with the token, which would go over the network in the open."""
    ports, _ = secured
    exporter = HttpExporter(
        f"http://{HOST}:{ports.otlp_http}/v1/traces",
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=3,
    )
    assert not send(exporter, spans(["nms"], "sender", "one"))


def test_a_token_that_is_replaced(tmp_path: Path) -> None:
    """The file is read again: the new one is taken and the old one is not, without a restart."""
    with guarded(tmp_path) as (ports, certificate, token):

        def taken(said: str) -> bool:
            exporter = exporters(ports, certificate, {"authorization": f"Bearer {said}"})["http"]
            return send(exporter, spans(["nms"], "sender", "one"))

        assert taken(TOKEN)
        token.write_text("another-token")
        eventually(lambda: taken("another-token"))
        assert not taken(TOKEN)
