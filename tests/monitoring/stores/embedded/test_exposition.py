"""monitoring.stores.embedded.exposition: what a Prometheus that scrapes is told."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as plain

from monitoring.stores.contract import LIVE_S
from monitoring.stores.embedded.store import EmbeddedStore
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import DELTA, Process

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def receive(store: EmbeddedStore, *exports: bytes) -> None:
    for export in exports:
        assert store.receive_metrics(export).count == 0
    store.flush()


def scraped(store: EmbeddedStore, accept: str = "") -> Samples:
    """(name, labels) -> value, as Prometheus' own parsers read the answer."""
    body, content_type = store.exposition.text(accept)
    parse = open_metrics if "openmetrics" in content_type else plain
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.mark.parametrize(
    "accept",
    ["", OPEN_METRICS, "*/*", "text/plain; version=x", "text/plain;version=;escaping=;q=x",
     "application/openmetrics-text; version=99.99.99; escaping=no", ";;,,=", "text/plain" * 500],
)  # fmt: skip
def test_the_last_reading_of_each_process(store: EmbeddedStore, accept: str) -> None:
    """Names, labels and values are the Collector's: totals of each process, not their growth."""
    one, two = Process("one"), Process("two")
    receive(
        store,
        one.counter(catalogue.REQUESTS, NOW_S - 10, 3, outcome="ok", route="api"),
        one.counter(catalogue.REQUESTS, NOW_S - 5, 7, outcome="ok", route="api"),
        two.counter(catalogue.REQUESTS, NOW_S - 5, 2, outcome="ok", route="api"),
        Process("one", host="h1").gauge(
            catalogue.SYSTEM_CPU, NOW_S - 5, 0.25, cpu="0", state="user"
        ),
    )
    of_one = {"job": "damoscope-frontend", "instance": "one"}
    request = {"outcome": "ok", "route": "api"}
    assert scraped(store, accept) == {
        key("damoscope_requests_total", **of_one, **request): 7,
        key("damoscope_requests_total", job="damoscope-frontend", instance="two", **request): 2,
        key("system_cpu_utilization_ratio", **of_one, cpu="0", state="user"): 0.25,
        key("target_info", **of_one, host_id="h1"): 1,
    }


def test_histograms_are_whole(store: EmbeddedStore) -> None:
    """Buckets are cumulative, up to +Inf; count and sum are those of the values."""
    values = [0.0004, 0.003, 0.02, 100.0]
    receive(store, Process().histogram(catalogue.STAGE_DURATION, NOW_S, values, stage="nms"))
    found = scraped(store)
    of = {"job": "damoscope-frontend", "instance": "one", "stage": "nms"}
    name = "damoscope_stage_duration_seconds"
    buckets = {
        dict(labels)["le"]: value for (metric, labels), value in found.items() if "bucket" in metric
    }
    assert len(buckets) == len(catalogue.DURATION_BUCKETS_S) + 1
    assert (buckets["0.0005"], buckets["0.003"], buckets["60.0"], buckets["+Inf"]) == (1, 2, 3, 4)
    assert found[key(f"{name}_count", **of)] == 4
    assert found[key(f"{name}_sum", **of)] == pytest.approx(sum(values))


def test_who_is_gone_is_no_longer_told_of(store: EmbeddedStore, clock: Clock) -> None:
    """A dead process's series end with its place among the living."""
    receive(store, Process("dead").counter(catalogue.REQUESTS, NOW_S, 5, outcome="ok"))
    assert scraped(store)
    clock.now_s += LIVE_S / 2
    receive(store, Process("alive").counter(catalogue.REQUESTS, clock.now_s, 1, outcome="ok"))
    clock.now_s += LIVE_S / 2 + 1
    assert [dict(labels)["instance"] for _, labels in scraped(store)] == ["alive"]


def test_a_process_that_began_anew_under_its_name(store: EmbeddedStore) -> None:
    """One series: the later one, which Prometheus takes for a counter that was reset."""
    receive(
        store,
        Process("one", start_s=100).counter(catalogue.REQUESTS, NOW_S - 20, 9, outcome="ok"),
        Process("one", start_s=200).counter(catalogue.REQUESTS, NOW_S - 5, 2, outcome="ok"),
    )
    assert list(scraped(store).values()) == [2]


def test_what_is_left_out(store: EmbeddedStore) -> None:
    """Growth is no total, and what is not in the catalogue is nobody's to rely on."""
    receive(
        store,
        Process(temporality=DELTA).counter(catalogue.REQUESTS, NOW_S, 5, outcome="ok"),
        Process().counter(catalogue.Counter("foreign.metric"), NOW_S, 5),
    )
    assert scraped(store) == {}


def test_labels_of_any_text(store: EmbeddedStore) -> None:
    """Quotes, line ends and Chinese reach Prometheus as they are."""
    label = 'a "phone"\n手机\\'
    receive(store, Process().counter(catalogue.DETECTIONS, NOW_S, 1, label=label))
    ((_, labels),) = scraped(store)
    assert dict(labels)["label"] == label
