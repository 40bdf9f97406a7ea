"""telemetry.instruments and telemetry.gpu: names, units and buckets that dashboards read by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from telemetry import catalogue, gpu
from telemetry.catalogue import METRICS
from telemetry.definitions import Counter, Histogram, Level
from telemetry.instruments import Instruments

#: What the SDK exports, and whether it only grows.
KINDS = {
    (Sum, True): "counter",
    (Sum, False): "up-down counter",
    (Gauge, None): "gauge",
    (HistogramData, None): "histogram",
}


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def meters(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_every_metric_is_made_as_the_catalogue_says(
    reader: InMemoryMetricReader, meters: MeterProvider
) -> None:
    """Counters, histograms and levels have the name, unit, description, kind of their entries."""
    made = Instruments(meters.get_meter("test"))
    for metric in METRICS.values():
        match metric:
            case Counter():
                made.add(metric)
            case Histogram():
                made.record(metric, 1)
            case Level():
                made.observe(metric, lambda _: [Observation(1)])
    found = read(reader)
    assert set(found) == set(METRICS)
    for name, metric in METRICS.items():
        assert (found[name].unit, found[name].description) == (metric.unit, metric.description)
        data = found[name].data
        assert KINDS[type(data), getattr(data, "is_monotonic", None)] == metric.kind, name
        if isinstance(metric, Histogram):
            assert data.data_points[0].explicit_bounds == metric.buckets


def test_labels_and_context(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    """A value goes under its labels, and its exemplar names the span in whose context it came."""
    made = Instruments(meters.get_meter("test"))
    span = SpanContext(5, 7, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    inside = set_span_in_context(NonRecordingSpan(span), Context())
    made.add(catalogue.REQUESTS, 3, {"outcome": "ok"}, inside)
    (point,) = read(reader)[catalogue.REQUESTS.name].data.data_points
    assert (point.value, dict(point.attributes)) == (3, {"outcome": "ok"})
    assert [(each.trace_id, each.span_id) for each in point.exemplars] == [(5, 7)]


@pytest.mark.parametrize("metric", [catalogue.REQUEST_DURATION, catalogue.STAGE_DURATION])
def test_buckets_of_durations(metric: Histogram) -> None:
    """Buckets go from 0.5 ms to 60 s, and are no wider than half as much again up to 1 s."""
    bounds = list(metric.buckets)
    assert bounds == sorted(set(bounds))
    assert (bounds[0], bounds[-1]) == (0.0005, 60)
    dense = [bound for bound in bounds if 0.001 <= bound <= 1]
    assert max(right / left for left, right in pairwise(dense)) <= 1.5 + 1e-9


def test_gpus(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    """Each GPU of this host has its gauges; where there is none there are none."""
    count = gpu.observe(Instruments(meters.get_meter("test")))
    metrics = read(reader)
    assert set(metrics) == (
        {catalogue.GPU_UTILIZATION.name, catalogue.GPU_MEMORY.name} if count else set()
    )
    for metric in metrics.values():
        points = metric.data.data_points
        assert {point.attributes["gpu"] for point in points} == {str(n) for n in range(count)}
