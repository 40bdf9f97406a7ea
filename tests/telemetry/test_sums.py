"""telemetry.sums: the same figures as the SDK's, whatever comes, and however it is set up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import get_current_span, set_span_in_context

from telemetry import sums
from telemetry.sums import Counter, Histogram

BOUNDS = [0.1, 0.2, 0.5, 1.0]
PHONE = {"label": "phone"}


class Meters:
    """A counter and a histogram with a reader: the SDK's, and ours over others of it."""

    def __init__(self, temporality: Any = AggregationTemporality.CUMULATIVE, **options: Any):
        self.reader = InMemoryMetricReader(
            preferred_temporality={sdk.Histogram: temporality, sdk.Counter: temporality}
        )
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, **options)
        meter = self.provider.get_meter("test")
        self.counter = meter.create_counter("boxes")
        self.histogram = meter.create_histogram(
            "scores", explicit_bucket_boundaries_advisory=BOUNDS
        )
        self.ours = Counter(self.counter), Histogram(self.histogram)

    def points(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def figures(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the points say, but for their times and exemplars."""
        return {
            name: [_figures(point) for point in points] for name, points in self.points().items()
        }


def _figures(point: Any) -> tuple[Any, ...]:
    if hasattr(point, "value"):
        return dict(point.attributes), pytest.approx(point.value)
    return (
        dict(point.attributes),
        point.count,
        pytest.approx(point.sum),
        point.min,
        point.max,
        tuple(getattr(point, "bucket_counts", ())),
    )


def within_span(sampler: Sampler = ALWAYS_ON) -> Context:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    return set_span_in_context(provider.get_tracer("test").start_span("image"), Context())


def direct(instrument: Counter | Histogram, attributes: dict[str, str]) -> bool:
    """Whether values of these attributes pass by the SDK now."""
    return bool(instrument._sums.of(attributes))


LABELS = st.sampled_from([{}, PHONE, {"label": "cup"}, {"label": "cup", "zone": "a"}])
BATCHES = st.lists(
    st.tuples(LABELS, st.lists(st.floats(0, 2), min_size=1, max_size=20), st.booleans()), max_size=8
)


@given(BATCHES)
def test_the_same_figures(batches: list[tuple[dict[str, str], list[float], bool]]) -> None:
    """Over any values of any attributes, with exports in between."""
    one, many = Meters(), Meters()
    counter, histogram = many.ours
    for attributes, values, collected in batches:
        for value in values:
            one.counter.add(value, attributes)
            one.histogram.record(value, attributes)
            counter.add(value, attributes)
        histogram.record_all(values, attributes, example=0)
        if collected:
            assert many.figures() == one.figures()
    assert many.figures() == one.figures()
    for attributes, _, _ in batches:
        assert direct(counter, attributes)
        assert direct(histogram, attributes)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_value(value: float) -> None:
    """It is refused by the SDK, with its warning, and nothing else is lost."""
    made = Meters()
    counter, histogram = made.ours
    for _ in range(2):
        counter.add(1.0, PHONE)
        counter.add(value, PHONE)
        histogram.record(0.3, PHONE)
        histogram.record_all([0.3, value, 0.4], PHONE, example=1)
    figures = made.figures()
    assert figures["boxes"] == [(PHONE, 2.0)]
    assert figures["scores"] == [(PHONE, 6, 2.0, 0.3, 0.4, (0, 0, 6, 0, 0))]


def test_exemplars() -> None:
    """The value that is chosen names the trace of its context; outside of traces there is none."""
    made, context = Meters(), within_span()
    counter, histogram = made.ours
    for _ in range(2):  # before and after the SDK made the sums
        histogram.record_all([0.05, 0.15, 0.7], PHONE, context, example=2)
        counter.add(1, PHONE, context)
        points = made.points()
        span = get_current_span(context).get_span_context()
        for name, value in (("scores", 0.7), ("boxes", 1)):
            (exemplar,) = points[name][0].exemplars
            assert (exemplar.value, exemplar.trace_id) == (value, span.trace_id)
            assert exemplar.span_id == span.span_id
    histogram.record(0.7, PHONE, Context())
    histogram.record(0.7, PHONE, within_span(ALWAYS_OFF))
    assert made.points()["scores"][0].exemplars == []
    token = attach(context)
    try:
        histogram.record(0.7, PHONE)
    finally:
        detach(token)
    assert len(made.points()["scores"][0].exemplars) == 1


def test_exemplars_switched_off() -> None:
    """The SDK's filter of exemplars is asked."""
    made = Meters(exemplar_filter=AlwaysOffExemplarFilter())
    for _ in range(3):
        made.ours[1].record(0.7, PHONE, within_span())
    assert made.points()["scores"][0].exemplars == []


@pytest.mark.parametrize(
    "options",
    [
        {"temporality": AggregationTemporality.DELTA},
        {
            "views": [
                View(instrument_name="scores", aggregation=ExponentialBucketHistogramAggregation()),
                View(instrument_name="boxes", attribute_keys=set()),
            ]
        },
        {"views": [View(instrument_name="*", attribute_keys=set())]},
    ],
    ids=["delta", "exponential", "attributes dropped"],
)
def test_other_settings_of_the_sdk(options: dict[str, Any]) -> None:
    """Where it sums up otherwise, every value goes through it."""
    made = Meters(**options)
    counter, histogram = made.ours
    for _ in range(2):
        counter.add(2, PHONE)
        histogram.record_all([0.15, 0.7], PHONE, example=0)
    assert not direct(counter, PHONE)
    assert not direct(histogram, PHONE)
    (boxes,), (scores,) = made.points().values()
    assert (boxes.value, scores.count, scores.min, scores.max) == (4, 4, 0.15, 0.7)


def test_more_attributes_than_the_sdk_keeps() -> None:
    """Beyond its limit it counts under `otel.metric.overflow`; so do we."""
    made = Meters(views=[View(instrument_name="boxes", aggregation_cardinality_limit=2)])
    counter, _ = made.ours
    for _ in range(3):
        for label in "abcd":
            counter.add(1, {"label": label})
    found = {tuple(point.attributes.items()): point.value for point in made.points()["boxes"]}
    assert found == {
        (("label", "a"),): 3, (("label", "b"),): 3, (("otel.metric.overflow", True),): 6,
    }  # fmt: skip


def test_a_reader_that_comes_later() -> None:
    """It has what was counted since."""
    made = Meters()
    counter, _ = made.ours
    counter.add(1, PHONE)
    counter.add(1, PHONE)
    later = InMemoryMetricReader()
    made.provider.add_metric_reader(later)
    counter.add(1, PHONE)
    counter.add(1, PHONE)
    made.reader, first = later, made.reader
    assert made.figures()["boxes"] == [(PHONE, 2)]
    made.reader = first
    assert made.figures()["boxes"] == [(PHONE, 4)]


def test_many_threads() -> None:
    """Nothing is lost while values come from several threads and are exported."""
    made = Meters()
    counter, histogram = made.ours

    def put() -> None:
        for _ in range(2000):
            counter.add(1, PHONE)
            histogram.record(0.3, PHONE)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        made.points()
    points = made.points()
    assert (points["boxes"][0].value, points["scores"][0].count) == (8000, 8000)


def test_without_the_sdk() -> None:
    """A disabled SDK takes no values, and is not looked into."""
    meter = NoOpMeterProvider().get_meter("test")
    counter, histogram = Counter(meter.create_counter("c")), Histogram(meter.create_histogram("h"))
    for _ in range(2):
        counter.add(1, PHONE)
        histogram.record_all([0.1, 0.2], PHONE, example=0)
    assert not direct(counter, PHONE)
    assert not direct(histogram, PHONE)


def test_another_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is built otherwise inside still gets every value."""
    made = Meters()
    monkeypatch.setattr(sums, "_hash_attributes", None)
    for _ in range(2):
        made.ours[0].add(1, PHONE)
        made.ours[1].record_all([0.15, 0.16, 0.7], PHONE, example=0)
    assert (made.points()["boxes"][0].value, made.points()["scores"][0].count) == (2, 6)
