"""telemetry.catalogue: each fact of a metric, a span or an attribute stands there alone."""

from __future__ import annotations

import re

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, generate_latest

from telemetry import catalogue
from telemetry.catalogue import ATTRIBUTES, METRICS, SPANS
from telemetry.definitions import Counter, Histogram, Level, Metric
from telemetry.instruments import Instruments
from tests.paths import ROOT

#: What is ours to write PromQL in.
PACKAGES = ("pipeline", "telemetry", "worker", "monitoring", "frontend", "run", "benchmarks")


def test_names_in_prometheus_are_those_of_the_exporter() -> None:
    """`exported` and `parts` are what the SDK's exporter makes of name, unit and kind.

    But for `_ratio`, which the Collector adds to gauges and that one does not; with the Collector
    itself tests/run/stack/test_servers.py compares them.
    """
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    made = Instruments(provider.get_meter("test"))
    for metric in METRICS.values():
        match metric:
            case Counter():
                made.add(metric)
            case Histogram():
                made.record(metric, 1)
            case Level():
                made.observe(metric, lambda _: [Observation(1)])
    lines = generate_latest(REGISTRY).decode().splitlines()
    provider.shutdown()
    found = {re.split(r"[{ ]", line)[0] for line in lines if 'otel_scope_name="test"' in line}
    assert found == {
        metric.exported.removesuffix("_ratio") + part
        for metric in METRICS.values()
        for part in metric.parts
    }


@pytest.mark.parametrize(
    ("metric", "exported"),
    [
        (Counter("a.b", "{request}"), "a_b_total"),
        (Counter("a.busy", "s"), "a_busy_seconds_total"),
        (Counter("a.seconds", "s"), "a_seconds_total"),
        (Histogram("a.score"), "a_score"),
        (catalogue.SYSTEM_CPU, "system_cpu_utilization_ratio"),
        (catalogue.QUEUE_OLDEST_AGE, "damoscope_queue_oldest_age_seconds"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_exported_names(metric: Metric, exported: str) -> None:
    """The unit is written out, once, and `total` ends a counter; only gauges are ratios."""
    assert metric.exported == exported


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    """A sentence, an example, buckets that rise; a unit that has a name in Prometheus."""
    assert metric.description.endswith(".")
    assert metric.exported in metric.example.format(*[metric.exported] * 2)
    assert metric.unit in ("1", "s", "By") or re.fullmatch(r"\{\w+\}", metric.unit)
    if isinstance(metric, Histogram):
        assert metric.buckets
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_names_are_ours_or_of_the_conventions() -> None:
    """Attributes are on spans that there are; what is not a convention's is under damoscope."""
    known = ("damoscope.", "messaging.", "http.", "url.", "server.", "client.", "network.",
             "user_agent.", "error.", "enduser.")  # fmt: skip
    for name, attribute in ATTRIBUTES.items():
        assert name.startswith(known), name
        assert set(attribute.spans) <= set(SPANS), name
    for span in SPANS.values():
        assert span.parent in ("", "request", *SPANS)


def test_stages_are_spans() -> None:
    """The stages of the metrics are the stages of the spans."""
    assert catalogue.STAGES == (
        catalogue.SPAN_UPLOAD,
        catalogue.SPAN_QUEUE_WAIT,
        catalogue.SPAN_PREPROCESS,
        catalogue.SPAN_INFERENCE,
        catalogue.SPAN_NMS,
    )


def test_no_name_of_prometheus_is_written_twice() -> None:
    """Python code asks the catalogue for a metric's name there, and never spells it."""
    names = "|".join(sorted((metric.exported for metric in METRICS.values()), key=len)[::-1])
    spelt = re.compile(rf"(?<![\w:])(?:{names})(?:_bucket|_sum|_count)?(?![\w:])")
    found = {
        str(path.relative_to(ROOT)): spelt.findall(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert {path: names for path, names in found.items() if names} == {}
