"""telemetry.instruments and telemetry.gpu: names, units and buckets that dashboards read by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from telemetry import gpu, names
from telemetry.instruments import Instruments


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


def test_names_and_units(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    """Every instrument has its name and unit, and says what it is."""
    made = Instruments.create(meters.get_meter("test"))
    for instrument in vars(made).values():
        (instrument.record if hasattr(instrument, "record") else instrument.add)(1)
    metrics = read(reader)
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "damoscope.requests": "{request}",
        "damoscope.client.requests": "{request}",
        "damoscope.request.duration": "s",
        "damoscope.stage.duration": "s",
        "damoscope.batch.size": "{image}",
        "damoscope.detections": "{detection}",
        "damoscope.detection.score": "1",
        "damoscope.image.size": "By",
        "damoscope.inference.busy": "s",
        "damoscope.worker.busy": "s",
    }
    assert all(metric.description for metric in metrics.values())


@pytest.mark.parametrize("name", ["request_duration", "stage_duration"])
def test_buckets_of_durations(
    reader: InMemoryMetricReader, meters: MeterProvider, name: str
) -> None:
    """Buckets go from 0.5 ms to 60 s, and are no wider than half as much again up to 1 s."""
    getattr(Instruments.create(meters.get_meter("test")), name).record(0.1)
    (metric,) = read(reader).values()
    bounds = list(metric.data.data_points[0].explicit_bounds)
    assert bounds == sorted(set(bounds))
    assert (bounds[0], bounds[-1]) == (0.0005, 60)
    dense = [bound for bound in bounds if 0.001 <= bound <= 1]
    assert max(right / left for left, right in pairwise(dense)) <= 1.5 + 1e-9


def test_stages() -> None:
    """The stages of the metrics are the stages of the spans."""
    assert names.STAGES == (
        names.SPAN_UPLOAD,
        names.SPAN_QUEUE_WAIT,
        names.SPAN_PREPROCESS,
        names.SPAN_INFERENCE,
        names.SPAN_NMS,
    )


def test_gpus(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    """Each GPU of this host has its gauges; where there is none there are none."""
    count = gpu.observe(meters.get_meter("test"))
    metrics = read(reader)
    assert set(metrics) == ({names.M_GPU_UTILIZATION, names.M_GPU_MEMORY} if count else set())
    for metric in metrics.values():
        points = metric.data.data_points
        assert {point.attributes["gpu"] for point in points} == {str(n) for n in range(count)}
