"""Every metric is in Prometheus under its exported name, and says what the answers say."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from monitoring.stores.contract import Window
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.job import DetectionResult
from run.stack.ports import HOST
from telemetry import catalogue, gpu
from telemetry.instruments import Instruments
from tests.fullstack.service import ARRIVAL_S, OURS, Load, Service
from tests.run.stack.servers_api import agrees, eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: What system-metrics instrumentation reports of each process and its host.
SYSTEM = (
    "process_cpu_utilization_ratio",
    "process_memory_usage_bytes",
    "system_cpu_utilization_ratio",
    "system_memory_usage_bytes",
    "system_memory_utilization_ratio",
)
GPU = ("hw_gpu_utilization_ratio", "hw_gpu_memory_usage_bytes")


def _stage_s(results: list[DetectionResult], stage: str) -> float:
    return math.fsum(result.timings_ms.model_dump()[stage] for result in results) / 1e3


def _by_label(results: list[DetectionResult]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for result in results:
        for found in result.detections:
            scores.setdefault(found.label, []).append(found.score)
    return scores


def test_requests_are_counted_by_outcome_and_route(load: Load, service: Service) -> None:
    """As many as were sent, no more and no fewer, as counter and in the histogram."""
    service.wait_until_counted()
    expected = {
        ("ok", "api"): len(service.record.results["api"]),
        ("ok", "ui"): len(service.record.results["ui"]),
        ("invalid", "api"): len(service.record.invalid),
    }
    for metric in ("damoscope_requests_total", "damoscope_request_duration_seconds_count"):

        def counts(metric: str = metric) -> dict[tuple[str, str], float]:
            rows = service.servers.instant(f"sum by (outcome, route) ({metric}{{{OURS}}})")
            return {
                (row["metric"]["outcome"], row["metric"]["route"]): float(row["value"][1])
                for row in rows
            }

        agrees(counts, {labels: count for labels, count in expected.items() if count})


def test_request_durations_are_those_of_the_answers(load: Load, service: Service) -> None:
    """The histogram's sum is the sum of the answers' `total`."""
    service.wait_until_counted()
    results = service.record.results["api"]
    found = service.servers.value(
        f'sum(damoscope_request_duration_seconds_sum{{outcome="ok", route="api", {OURS}}})'
    )
    assert found is not None
    told_s = _stage_s(results, "total")
    # An answer is written after it says how long it took, which takes a busy machine a while.
    assert told_s <= found < 1.5 * told_s


@pytest.mark.parametrize("stage", catalogue.STAGES)
def test_stages_agree_with_the_answers(load: Load, service: Service, stage: str) -> None:
    """Count and sum of each stage's histogram, over all workers, are those of the answers."""
    service.wait_until_counted()
    results = service.record.all
    histogram, labels = "damoscope_stage_duration_seconds", f'{{stage="{stage}", {OURS}}}'
    # What was refused was read as well, but no answer says how long that took.
    read = len(service.record.invalid) if stage == catalogue.SPAN_UPLOAD else 0
    agrees(lambda: service.servers.value(f"sum({histogram}_count{labels})"), len(results) + read)
    total_s = service.servers.value(f"sum({histogram}_sum{labels})")
    assert total_s is not None
    if stage == catalogue.SPAN_UPLOAD:
        assert _stage_s(results, stage) <= total_s
        return
    assert total_s == pytest.approx(_stage_s(results, stage), abs=1e-6 * len(results))


def test_buckets_hold_every_image(load: Load, service: Service) -> None:
    """The buckets of the stages are those of the design, and their last one holds everything."""
    rows = service.servers.instant(
        f'sum by (le) (damoscope_stage_duration_seconds_bucket{{stage="nms", {OURS}}})'
    )
    buckets = {float(row["metric"]["le"]): float(row["value"][1]) for row in rows}
    assert sorted(buckets) == [*catalogue.DURATION_BUCKETS_S, math.inf]
    assert buckets[math.inf] == max(buckets.values()) >= len(load.results)


def test_images_batches_and_detections(load: Load, service: Service) -> None:
    """Sizes, batches, boxes, scores and busy seconds add up to those of the answers."""
    service.wait_until_counted()
    results = service.record.all
    scores = _by_label(results)
    assert scores, "no picture gave a box"
    batches = math.fsum(1 / result.batch_size for result in results)
    expected: dict[str, float] = {
        'damoscope_image_size_bytes_count{format="JPEG", OURS}': len(results),
        'damoscope_image_size_bytes_sum{format="JPEG", OURS}': sum(
            result.image.bytes for result in results
        ),
        "damoscope_batch_size_count{OURS}": batches,
        "damoscope_batch_size_sum{OURS}": len(results),
        'damoscope_inference_busy_seconds_total{provider="cpu", OURS}': math.fsum(
            result.timings_ms.inference / result.batch_size / 1e3 for result in results
        ),
    }
    for label, found in scores.items():
        labelled = f'{{label="{label}", OURS}}'
        expected[f"damoscope_detections_total{labelled}"] = len(found)
        expected[f"damoscope_detection_score_count{labelled}"] = len(found)
        expected[f"damoscope_detection_score_sum{labelled}"] = math.fsum(found)

    def values() -> dict[str, float | None]:
        return {
            expression: service.servers.value(f"sum({expression.replace('OURS', OURS)})")
            for expression in expected
        }

    agrees(values, pytest.approx(expected, rel=1e-4))


def test_gauges_of_queue_and_workers(load: Load, service: Service) -> None:
    """Once all is answered: nothing active, empty queues, two idle workers."""
    queues = {"detections-high": 0.0, "detections": 0.0, "detections-low": 0.0}

    def by(label: str, metric: str) -> dict[str, float]:
        rows = service.servers.instant(f"max by ({label}) ({metric}{{{OURS}}})")
        return {row["metric"][label]: float(row["value"][1]) for row in rows}

    eventually(lambda: service.servers.value(f"sum(damoscope_requests_active{{{OURS}}})") == 0)
    eventually(lambda: by("state", "damoscope_workers") == {"busy": 0.0, "idle": 2.0})
    assert by("queue", "damoscope_queue_depth") == queues
    assert by("queue", "damoscope_queue_oldest_age_seconds") == queues


@pytest.mark.parametrize("metric", SYSTEM)
def test_every_process_reports_itself_and_its_host(service: Service, metric: str) -> None:
    """CPU and memory come from the frontend and both workers."""
    rows = service.servers.instant(f"count by (job, instance) ({metric}{{{OURS}}})")
    jobs = Counter(row["metric"]["job"] for row in rows)
    assert jobs == {catalogue.SERVICE_FRONTEND: 1, catalogue.SERVICE_WORKER: 2}


def test_gpus_are_reported_where_there_are_any(service: Service) -> None:
    """One series for each GPU and worker; none on a machine without."""
    gpus = gpu.observe(Instruments(NoOpMeter("test")))
    for metric in GPU:
        assert len(service.servers.instant(f"{metric}{{{OURS}}}")) == 2 * gpus


@pytest.mark.parametrize(
    "metric",
    [
        "damoscope_stage_duration_seconds_bucket",
        "damoscope_request_duration_seconds_bucket",
        "damoscope_image_size_bytes_bucket",
        "damoscope_batch_size_bucket",
        "damoscope_detection_score_bucket",
    ],
)
def test_exemplars_open_their_traces(load: Load, service: Service, metric: str) -> None:
    """Each exemplar of each histogram names a trace that Jaeger has, and a span in it."""

    def of_load() -> list[dict[str, Any]]:
        found = service.servers.exemplars(f"{metric}{{{OURS}}}")
        return [each for each in found if load.began_s <= each["timestamp"] <= load.ended_s]

    exemplars = eventually(of_load, timeout_s=ARRIVAL_S)
    traces = {each["labels"]["trace_id"] for each in exemplars}
    spans = {
        trace_id: eventually(lambda: service.servers.spans(trace_id), timeout_s=ARRIVAL_S)  # noqa: B023
        for trace_id in traces
    }
    for each in exemplars:
        found = spans[each["labels"]["trace_id"]]
        assert each["labels"]["span_id"] in {span["spanID"] for span in found}
    if "batch" not in metric:  # those are of batches, which have traces of their own
        assert traces <= load.trace_ids | set(service.record.invalid)


def test_the_metrics_store_reads_the_same_from_prometheus(load: Load, service: Service) -> None:
    """What the dashboard asks is answered with exactly what was sent, by outcome and by stage."""
    service.wait_until_counted()
    window = Window(load.began_s - 300, time.time())
    store = PrometheusMetrics(f"http://{HOST}:{service.stack.ports.prometheus}")
    try:
        requests = store.increase(catalogue.REQUESTS, window, by=["outcome"])
        stages = store.histogram(catalogue.STAGE_DURATION, window, by=["stage"])
        workers = store.latest(catalogue.WORKERS, across="max", by=["state"])
    finally:
        store.close()
    results = service.record.all
    assert requests == {("ok",): len(results), ("invalid",): len(service.record.invalid)}
    for stage in catalogue.STAGES[1:]:
        assert stages[(stage,)].count == len(results)
        assert stages[(stage,)].sum == pytest.approx(_stage_s(results, stage), rel=1e-4)
    assert sum(workers.values()) == 2
