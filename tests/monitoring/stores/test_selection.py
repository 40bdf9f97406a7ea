"""monitoring.stores.selection: which stores the settings choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.stores.embedded.metrics import EmbeddedMetrics
from monitoring.stores.embedded.traces import EmbeddedTraces
from monitoring.stores.jaeger import JaegerTraces
from monitoring.stores.prometheus import PrometheusMetrics
from monitoring.stores.selection import open_readers, open_stores, telemetry_file
from pipeline.settings import Settings

PROMETHEUS, JAEGER = "http://prometheus:9090", "http://jaeger:16686"


@pytest.mark.parametrize(
    ("prometheus_url", "jaeger_url", "metrics", "traces"),
    [
        (None, None, EmbeddedMetrics, EmbeddedTraces),
        (PROMETHEUS, None, PrometheusMetrics, EmbeddedTraces),
        (None, JAEGER, EmbeddedMetrics, JaegerTraces),
        (PROMETHEUS, JAEGER, PrometheusMetrics, JaegerTraces),
    ],
)
def test_chosen_by_the_settings(
    tmp_path: Path,
    prometheus_url: str | None,
    jaeger_url: str | None,
    metrics: type,
    traces: type,
) -> None:
    """A server that is named is read from; what is not named is kept in the data folder."""
    settings = Settings(home=tmp_path, prometheus_url=prometheus_url, jaeger_url=jaeger_url)
    stores = open_stores(settings)
    assert isinstance(stores.metrics, metrics)
    assert isinstance(stores.traces, traces)
    both = prometheus_url is not None and jaeger_url is not None
    assert (stores.receiver is None) is both
    assert telemetry_file(settings).exists() is not both
    stores.close()


@pytest.mark.parametrize("prometheus_url", [None, PROMETHEUS])
@pytest.mark.parametrize("jaeger_url", [None, JAEGER])
def test_readers(tmp_path: Path, prometheus_url: str | None, jaeger_url: str | None) -> None:
    """A process that only reads gets the same stores, without a receiver, and makes no file."""
    settings = Settings(home=tmp_path, prometheus_url=prometheus_url, jaeger_url=jaeger_url)
    stores = open_readers(settings)
    assert stores.receiver is None
    assert not telemetry_file(settings).exists()
    writing = open_stores(settings)
    assert type(stores.metrics) is type(writing.metrics)
    assert type(stores.traces) is type(writing.traces)
    stores.close()
    writing.close()
