"""Recording many values at once gives what recording each of them gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

from telemetry import histograms
from telemetry.histograms import record_all

BOUNDS = [0.1, 0.2, 0.5, 1.0]
LABELS = {"label": "phone"}


class Recorded:
    """A histogram with a reader."""

    def __init__(self, **options: Any) -> None:
        temporality = options.pop("temporality", AggregationTemporality.CUMULATIVE)
        self.reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
        provider = MeterProvider(
            metric_readers=[self.reader], shutdown_on_exit=False, views=options.pop("views", ())
        )
        self.histogram = provider.get_meter("test").create_histogram(
            "scores", explicit_bucket_boundaries_advisory=BOUNDS
        )

    def points(self) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]

    def figures(self) -> list[tuple[Any, ...]]:
        """What a point says, but for its times and exemplars."""
        return [
            (
                dict(point.attributes),
                point.count,
                pytest.approx(point.sum),
                point.min,
                point.max,
                tuple(getattr(point, "bucket_counts", ())),
            )
            for point in self.points()
        ]


def sampled() -> Context:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("image")
    return set_span_in_context(span, Context())


@given(st.lists(st.lists(st.floats(0, 2), max_size=40), min_size=1, max_size=4))
def test_the_same_figures(batches: list[list[float]]) -> None:
    """Over any sequence of batches, an empty one included."""
    one, many = Recorded(), Recorded()
    for values in batches:
        for value in values:
            one.histogram.record(value, LABELS)
        record_all(many.histogram, values, LABELS, Context())
        if any(batches):
            one.reader.get_metrics_data()
    if any(batches):
        assert many.figures() == one.figures()


def test_most_values_pass_by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value is recorded; were it more, it would be slow again unnoticed."""
    recorded = Recorded()
    calls: list[float] = []
    original = type(recorded.histogram).record

    def record(self: Any, amount: float, *args: Any, **kwargs: Any) -> None:
        calls.append(amount)
        original(self, amount, *args, **kwargs)

    monkeypatch.setattr(type(recorded.histogram), "record", record)
    record_all(recorded.histogram, [0.15, 0.7, 0.16, 0.71, 0.17] * 20, LABELS, Context())
    assert len(calls) == 1
    assert recorded.points()[0].count == 100


def test_exemplars() -> None:
    """Over many images every bucket that values fell into names a trace."""
    recorded, context = Recorded(), sampled()
    for _ in range(100):
        record_all(recorded.histogram, [0.05, 0.15, 0.7], LABELS, context)
    assert sorted(each.value for each in recorded.points()[0].exemplars) == [0.05, 0.15, 0.7]


@pytest.mark.parametrize(
    "options",
    [
        {"temporality": AggregationTemporality.DELTA},
        {
            "views": [
                View(instrument_name="scores", aggregation=ExponentialBucketHistogramAggregation())
            ]
        },
        {"views": [View(instrument_name="scores", attribute_keys=set())]},
    ],
    ids=["delta", "exponential", "attributes dropped"],
)
def test_other_settings_of_the_sdk(options: dict[str, Any]) -> None:
    """Where sums are kept otherwise, each value is recorded."""
    recorded = Recorded(**options)
    record_all(recorded.histogram, [0.15, 0.16, 0.17, 0.7], LABELS, Context())
    (point,) = recorded.points()
    assert (point.count, point.min, point.max) == (4, 0.15, 0.7)


def test_without_the_sdk() -> None:
    """A disabled SDK takes no values, and is not looked into."""
    histogram = NoOpMeterProvider().get_meter("test").create_histogram("scores")
    record_all(histogram, [0.1, 0.2], LABELS, Context())
    assert histograms._sums(histogram, LABELS) == []


def test_another_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that is built otherwise inside still gets every value."""
    recorded = Recorded()
    monkeypatch.setattr(histograms, "_hash_attributes", None)
    record_all(recorded.histogram, [0.15, 0.16, 0.7], LABELS, Context())
    assert recorded.points()[0].count == 3
