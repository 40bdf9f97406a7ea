"""The repository's files in the real servers: what is sent arrives, whole and right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from run import health
from run.stack.native import Stack
from run.stack.ports import HOST
from telemetry import catalogue
from tests.run.stack.board import panels
from tests.run.stack.servers_api import Servers, agrees, eventually
from tests.run.stack.telemetry_source import FAILED_IMAGE, STAGES_S, Sent, Source

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: Span -> (service, kind, parent).
TRACE = {
    catalogue.SPAN_REQUEST_API: (catalogue.SERVICE_FRONTEND, "server", None),
    catalogue.SPAN_UPLOAD: (catalogue.SERVICE_FRONTEND, "internal", catalogue.SPAN_REQUEST_API),
    catalogue.SPAN_ENQUEUE: (catalogue.SERVICE_FRONTEND, "producer", catalogue.SPAN_REQUEST_API),
    catalogue.SPAN_QUEUE_WAIT: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_ENQUEUE),
    catalogue.SPAN_PROCESS: (catalogue.SERVICE_WORKER, "consumer", catalogue.SPAN_ENQUEUE),
    catalogue.SPAN_PREPROCESS: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
    catalogue.SPAN_INFERENCE: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
    catalogue.SPAN_NMS: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
}
OK, FAILED = 40, 4


@pytest.fixture(scope="module")
def servers(stack: Stack) -> Servers:
    """Queries to the running stack."""
    return Servers(stack.ports)


@pytest.fixture(scope="module")
def sent(source: Source, servers: Servers) -> Sent:
    """44 images, four of them failed, spread over some scrapes so that rates exist."""
    eventually(lambda: servers.value('up{job="damoscope"}'))
    source.flush()
    eventually(lambda: servers.value("damoscope_workers"))
    sent = Sent()
    for _ in range(4):
        sent.traces += source.send(OK // 4).traces
        sent.traces += source.send(FAILED // 4, error=FAILED_IMAGE).traces
        time.sleep(4)
    eventually(lambda: servers.value("sum(damoscope_requests_total)") == source.images)
    return sent


def under_load(source: Source, sent: Sent, ask: Callable[[], list[Any]]) -> list[Any]:
    """What `ask` finds while images go on coming.

    An exemplar is offered for one export, and a rate needs samples of the last minute: both may
    be over before a busy machine comes to look.
    """

    def look() -> list[Any]:
        found = ask()
        if not found:
            sent.traces += source.send(1).traces
            sent.traces += source.send(1, error=FAILED_IMAGE).traces
        return found

    return eventually(look)


def test_trace_is_whole_in_jaeger(sent: Sent, servers: Servers) -> None:
    """Every image's trace has each span once, with its service, kind and parent."""
    for trace_id in sent.traces:
        spans = eventually(lambda: _complete(servers, trace_id))  # noqa: B023 asked right here
        by_id = {span["spanID"]: span["operationName"] for span in spans}
        found = {}
        for span in spans:
            kind = next(tag["value"] for tag in span["tags"] if tag["key"] == "span.kind")
            parents = [by_id[reference["spanID"]] for reference in span["references"]]
            found[span["operationName"]] = (span["service"], kind, *(parents or [None]))
        assert found == TRACE


def _complete(servers: Servers, trace_id: str) -> list[dict[str, Any]]:
    spans = servers.spans(trace_id)
    return spans if len(spans) >= len(TRACE) else []


def test_metrics_count_what_was_sent(sent: Sent, servers: Servers) -> None:
    """Every metric is in Prometheus under its exported name, with the right value."""
    images = float(len(sent))
    inference = 'damoscope_stage_duration_seconds_{}{{stage="inference"}}'
    expected = {
        'damoscope_requests_total{outcome="ok", route="api"}': OK,
        'damoscope_requests_total{outcome="failed"}': FAILED,
        "sum(damoscope_request_duration_seconds_count)": images,
        "sum(damoscope_requests_active)": 0.0,
        "damoscope_queue_depth": 3.0,
        "damoscope_queue_oldest_age_seconds": 0.5,
        "sum(damoscope_workers)": 2.0,
        "damoscope_batch_size_count": images,
        'damoscope_detections_total{label="phone"}': images,
        'damoscope_detection_score_sum{label="phone"}': images * 0.9,
        'damoscope_image_size_bytes_sum{format="JPEG"}': images * 200_000,
        'damoscope_inference_busy_seconds_total{provider="cpu"}': images * STAGES_S["inference"],
        inference.format("count"): images,
        inference.format("sum"): images * STAGES_S["inference"],
        "hw_gpu_utilization_ratio": 0.4,
        "hw_gpu_memory_usage_bytes": 2.0**30,
    }
    agrees(lambda: {each: servers.value(each) for each in expected}, pytest.approx(expected))

    def stages() -> dict[str, float]:
        rows = servers.instant("sum by (stage) (damoscope_stage_duration_seconds_count)")
        return {row["metric"]["stage"]: float(row["value"][1]) for row in rows}

    agrees(stages, dict.fromkeys(catalogue.STAGES, images))


def test_metrics_are_named_and_labelled_as_the_catalogue_says(sent: Sent, servers: Servers) -> None:
    """The Collector makes of each metric just the names and labels that the catalogue has."""
    series = servers.instant('{job=~"damoscope-.+", __name__!~"target_info|traces_.+|.+:.+"}')
    labels: dict[str, set[str]] = {}
    for row in series:
        labels.setdefault(row["metric"]["__name__"], set()).update(row["metric"])
    metrics = {
        metric.exported + part: metric
        for metric in catalogue.METRICS.values()
        for part in metric.parts
    }
    assert set(labels) == set(metrics)
    for name, found in labels.items():
        of_all = {"__name__", "job", "instance", "le"}
        assert found - of_all == set(metrics[name].attributes), name


def test_metrics_say_which_process_sent_them(sent: Sent, servers: Servers) -> None:
    """`job` and `instance` are service.name and service.instance.id; the host is joinable."""
    rows = servers.instant("damoscope_stage_duration_seconds_count")
    assert {(row["metric"]["job"], row["metric"]["instance"]) for row in rows} == {
        (name, f"{name}-1") for name in (catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER)
    }
    assert servers.instant('target_info{job="damoscope-worker", host_id="test-host"}')


@pytest.mark.parametrize(
    "metric",
    ["damoscope_stage_duration_seconds_bucket", "damoscope_request_duration_seconds_bucket"],
)
def test_exemplars_open_their_traces(
    source: Source, sent: Sent, servers: Servers, metric: str
) -> None:
    """Exemplars reach Prometheus, and the trace id of each one is a trace in Jaeger."""
    exemplars = under_load(source, sent, lambda: servers.exemplars(metric))
    trace_ids = {exemplar["labels"]["trace_id"] for exemplar in exemplars}
    assert trace_ids <= set(sent.traces)
    for trace_id in trace_ids:
        assert eventually(lambda: servers.spans(trace_id))  # noqa: B023


def test_monitor_tab_has_both_services(sent: Sent, servers: Servers) -> None:
    """Jaeger's metrics API answers with calls, errors and latencies for both services."""
    both = {catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER}

    def services(kind: str, **query: Any) -> set[str]:
        rows = servers.monitor(kind, **query)
        return {label["value"] for row in rows for label in row["labels"] if row["metricPoints"]}

    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("calls", {}), ("errors", {}), ("latencies", {"quantile": 0.95}),
    )  # fmt: skip
    for kind, query in asked:
        eventually(lambda: services(kind, **query) >= both)  # noqa: B023 asked right here


def test_recording_rules_have_values(source: Source, sent: Sent, servers: Servers) -> None:
    """Every recorded series exists while there is load."""
    rules = servers.rules("record")
    assert len(rules) > 10
    for rule in rules:
        under_load(source, sent, lambda: servers.instant(rule["name"]))  # noqa: B023
        assert rule["health"] in ("ok", "unknown")


def test_dashboard_panels_have_data(source: Source, sent: Sent, servers: Servers) -> None:
    """Every expression of every panel of the Grafana dashboard gets data back."""
    asked = panels()
    assert len(asked) > 30
    # A rate needs two scrapes, of the Collector's own metrics too.
    for _, query in asked:
        under_load(source, sent, lambda: servers.instant(query))  # noqa: B023


def test_every_server_is_scraped(stack: Stack, servers: Servers) -> None:
    """Prometheus reaches all five targets, and the health endpoints answer."""
    eventually(lambda: servers.value("min(up)") == 1.0 and servers.value("count(up)") == 5.0)
    up = servers.instant("up")
    assert Counter(row["metric"]["job"] for row in up) == Counter(
        ["alertmanager", "damoscope", "jaeger", "otel-collector", "prometheus"]
    )
    assert health.http(f"http://{HOST}:{stack.ports.collector_health}/")(0)
    assert health.http(f"http://{HOST}:{stack.ports.jaeger_health}/status")(0)
    # The names that alerts and dashboard use for the collector's own counters.
    assert servers.value("sum(otelcol_receiver_accepted_spans_total)")
    assert servers.value("sum(otelcol_exporter_sent_spans_total)")
