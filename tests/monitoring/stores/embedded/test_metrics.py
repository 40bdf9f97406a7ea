"""monitoring.stores.embedded.metrics: OTLP metrics in; increases, histograms and gauges out."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from monitoring.stores.contract import Window
from monitoring.stores.embedded.otlp import MalformedTelemetry
from monitoring.stores.embedded.store import EmbeddedStore
from telemetry import catalogue
from telemetry.definitions import Gauge, Histogram, Metric
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import DELTA, Process
from tests.monitoring.traffic import resource

M = catalogue.REQUESTS
HOUR = Window(NOW_S - 3600, NOW_S + 10)


def receive(store: EmbeddedStore, *exports: bytes) -> None:
    for export in exports:
        assert store.receive_metrics(export).count == 0
    store.flush()


def total(store: EmbeddedStore, window: Window = HOUR, metric: Metric = M) -> float:
    return store.metrics.increase(metric, window).get((), 0.0)


class TestCounters:
    def test_readings_are_totals(self, store: EmbeddedStore) -> None:
        """A process reports its total so far; only what was added counts."""
        one = Process()
        receive(store, *(one.counter(M, NOW_S - 60 + i * 10, value)
                         for i, value in enumerate([3, 3, 8])))  # fmt: skip
        assert total(store) == 8

    def test_processes_add_up(self, store: EmbeddedStore) -> None:
        """Each process counts for itself; the increase is of all of them."""
        receive(store, *(Process(str(i)).counter(M, NOW_S, i) for i in range(1, 5)))
        assert total(store) == 10

    def test_restart(self, store: EmbeddedStore) -> None:
        """A process that begins again at zero, under the same name or not, loses nothing."""
        receive(
            store,
            Process("a", start_s=100).counter(M, NOW_S - 50, 7),
            Process("a", start_s=200).counter(M, NOW_S - 40, 9),
            Process("b", start_s=200).counter(M, NOW_S - 30, 2),
        )
        assert total(store) == 18

    def test_restart_without_a_start_time(self, store: EmbeddedStore) -> None:
        """A total that falls tells of a restart when nothing else does."""
        one = Process(start_s=0)
        receive(store, *(one.counter(M, NOW_S - 50 + i, v) for i, v in enumerate([5, 9, 2, 3])))
        assert total(store) == 12

    def test_exports_in_the_wrong_order(self, store: EmbeddedStore) -> None:
        """An export that was overtaken by a later one is contained in it."""
        one = Process()
        receive(store, one.counter(M, NOW_S, 9), one.counter(M, NOW_S - 10, 5))
        assert total(store) == 9

    def test_history_outlives_the_receiver(self, path: Path, clock: Clock) -> None:
        """While the store is closed processes go on counting: the next export carries it."""
        one = Process()
        for time_s, value in ((NOW_S - 20, 5), (NOW_S, 12)):
            store = EmbeddedStore(path, clock=clock)
            receive(store, one.counter(M, time_s, value))
            assert total(store) == value
            store.close()

    def test_two_receivers_share_the_file(self, path: Path, clock: Clock) -> None:
        """Exports may reach any of several frontend processes: each increase counts once."""
        stores = [EmbeddedStore(path, clock=clock) for _ in range(2)]
        one = Process()
        for i in range(20):
            receive(stores[i % 2], one.counter(M, NOW_S - 100 + i, i + 1))
        assert [total(store) for store in stores] == [20, 20]
        for store in stores:
            store.close()

    def test_delta_temporality(self, store: EmbeddedStore) -> None:
        """Senders that report what was added are taken at their word, once per export."""
        one = Process(temporality=DELTA)
        exports = [one.counter(M, NOW_S - 30 + i * 10, value) for i, value in enumerate([3, 4])]
        receive(store, *exports, exports[-1])
        assert total(store) == 7

    def test_by_and_where(self, store: EmbeddedStore) -> None:
        """Attributes keep series apart or select them; one that is not there reads as ""."""
        front, work = Process("f"), Process("w", service=catalogue.SERVICE_WORKER)
        receive(
            store,
            front.counter(M, NOW_S, 1, outcome="ok", route="api"),
            front.counter(M, NOW_S, 2, outcome="failed", route="api"),
            front.counter(M, NOW_S, 4, outcome="ok", route="ui"),
            work.counter(M, NOW_S, 8),
        )
        ask = store.metrics.increase
        assert ask(M, HOUR, by=["outcome"]) == {("ok",): 5, ("failed",): 2, ("",): 8}
        assert ask(M, HOUR, by=["outcome", "route"], where={"route": "api"}) == {
            ("ok", "api"): 1, ("failed", "api"): 2,
        }  # fmt: skip
        assert ask(M, HOUR, by=["service.name"])[("damoscope-worker",)] == 8
        assert ask(M, HOUR, where={"outcome": "timeout"}) == {}
        assert ask(Metric("no.such.metric"), HOUR) == {}

    def test_windows_share_nothing(self, store: EmbeddedStore, clock: Clock) -> None:
        """What adjacent windows count adds up to what both together count."""
        one = Process()
        receive(store, *(one.counter(M, NOW_S - 600 + i * 7, i + 1) for i in range(80)))
        clock.now_s = NOW_S + 1
        edges = [NOW_S - 700, NOW_S - 433.3, NOW_S - 100.9, NOW_S + 1]
        parts = [total(store, Window(a, b)) for a, b in pairwise(edges)]
        assert sum(parts) == total(store, Window(edges[0], edges[-1])) == 80

    def test_series(self, store: EmbeddedStore) -> None:
        """Steps hold what was added in them, zero where nothing was, and sum to the increase."""
        one = Process()
        receive(store, *(one.counter(M, NOW_S - 60 + s, v) for s, v in ((0, 2), (11, 3), (55, 9))))
        series = store.metrics.increase_series(M, Window(NOW_S - 60, NOW_S), 10)[()]
        assert series.values == (2, 1, 0, 0, 0, 6)
        assert series.times_s == tuple(NOW_S - 60 + 10 * i for i in range(6))

    def test_steps_are_whole_buckets(self, store: EmbeddedStore) -> None:
        """A step finer than the data is made coarser, and the answer says so."""
        receive(store, Process().counter(M, NOW_S - 1, 5))
        series = store.metrics.increase_series(M, Window(NOW_S - 30, NOW_S), 2)[()]
        assert series.step_s == 5
        assert series.values == (0, 0, 0, 0, 0, 5)

    @pytest.mark.parametrize(("days", "step_s"), [(0.1, 5), (2, 60), (29, 600)])
    def test_every_resolution_has_everything(
        self, store: EmbeddedStore, clock: Clock, days: float, step_s: int
    ) -> None:
        """Short, long and very long windows count the same, in coarser and coarser steps."""
        one = Process()
        receive(store, *(one.counter(M, NOW_S - 300 + i, i + 1) for i in range(300)))
        window = Window.last(days * 86400, NOW_S, 600)
        assert total(store, window) == 300
        assert store.metrics.increase_series(M, window, 1)[()].step_s == step_s

    def test_clocks_ahead(self, store: EmbeddedStore) -> None:
        """A reading from a clock that is hours ahead is filed under now, where it is seen."""
        receive(store, Process().counter(M, NOW_S + 7200, 5))
        assert total(store, Window(NOW_S - 60, NOW_S + 120)) == 5


class TestHistograms:
    D = catalogue.STAGE_DURATION

    def test_merged_over_processes(self, store: EmbeddedStore) -> None:
        """Percentiles come from all measurements of all processes, counted together."""
        receive(
            store,
            Process("a").histogram(self.D, NOW_S, [0.012] * 90, stage="nms"),
            Process("b").histogram(self.D, NOW_S, [0.9] * 10, stage="nms"),
            Process("b").histogram(self.D, NOW_S, [0.1], stage="upload"),
        )
        found = store.metrics.histogram(self.D, HOUR, by=["stage"])
        nms = found[("nms",)]
        assert nms.count == 100
        assert nms.sum == pytest.approx(10.08)
        assert 0.01 < (nms.percentile(0.5) or 0) <= 0.015
        assert 0.75 < (nms.percentile(0.95) or 0) <= 1.0
        assert found[("upload",)].count == 1
        assert store.metrics.histogram(self.D, HOUR, where={"stage": "upload"})[()].count == 1

    def test_cumulative(self, store: EmbeddedStore) -> None:
        """Only what was measured since the reading before is added, in every bucket."""
        one = Process()
        values = [0.001, 0.02, 0.3, 4.0, 100.0]
        receive(store, *(one.histogram(self.D, NOW_S - 50 + i * 5, values[: i + 1])
                         for i in range(5)))  # fmt: skip
        whole = store.metrics.histogram(self.D, HOUR)[()]
        assert whole.count == 5
        assert whole.sum == pytest.approx(sum(values))
        window = Window(NOW_S - 50, NOW_S)
        series = store.metrics.histogram_series(self.D, window, 5)[()]
        assert [step.count for step in series.values] == [1] * 5 + [0] * 5
        assert series.values[4].counts[-1] == 1

    def test_new_buckets(self, store: EmbeddedStore) -> None:
        """After the buckets were changed the past still merges, on the bounds both have."""
        receive(
            store,
            Process("old").histogram(self.D, NOW_S, [0.4, 2], bounds=[0.5, 1, 5]),
            Process("new").histogram(self.D, NOW_S, [0.4, 2], bounds=[0.25, 0.5, 5]),
        )
        found = store.metrics.histogram(self.D, HOUR)[()]
        assert found.bounds == (0.5, 5)
        assert found.counts == (2, 2, 0)

    def test_without_buckets(self, store: EmbeddedStore) -> None:
        """A histogram that a sender left without buckets still has count and sum."""
        receive(store, Process().histogram(self.D, NOW_S, [1, 2], bounds=[]))
        found = store.metrics.histogram(self.D, HOUR)[()]
        assert (found.count, found.sum, found.percentile(0.5)) == (2, 3, None)


class TestGauges:
    G = catalogue.QUEUE_DEPTH

    def test_latest_across_processes(self, store: EmbeddedStore) -> None:
        """The newest reading of each process: added, averaged or the highest."""
        a, b = Process("a"), Process("b")
        receive(store, a.gauge(self.G, NOW_S - 20, 50), a.gauge(self.G, NOW_S - 10, 3),
                b.gauge(self.G, NOW_S, 5))  # fmt: skip
        ask = store.metrics.latest
        assert ask(self.G) == {(): 8}
        assert ask(self.G, across="avg") == {(): 4}
        assert ask(self.G, across="max") == {(): 5}
        assert ask(self.G, by=["service.instance.id"]) == {("a",): 3, ("b",): 5}

    def test_a_silent_process_does_not_count(self, store: EmbeddedStore, clock: Clock) -> None:
        """A process that was not heard of for a minute is taken for dead."""
        level = catalogue.REQUESTS_ACTIVE
        receive(store, Process("dead").counter(level, NOW_S - 61, 4, monotonic=False),
                Process("live").counter(level, NOW_S - 5, 2, monotonic=False))  # fmt: skip
        assert store.metrics.latest(level) == {(): 2}
        clock.now_s += 120
        assert store.metrics.latest(level) == {}

    def test_up_down_counters_are_levels(self, store: EmbeddedStore) -> None:
        """A sum that goes up and down is a level, in either temporality."""
        level = catalogue.REQUESTS_ACTIVE
        a, b = Process("a"), Process("b", temporality=DELTA)
        receive(store, *(p.counter(level, NOW_S - 10 + i, v, monotonic=False)
                         for p in (a, b) for i, v in enumerate([5, -2])))  # fmt: skip
        assert store.metrics.latest(level, by=["service.instance.id"]) == {("a",): -2, ("b",): 3}
        assert store.metrics.increase(level, HOUR) == {}

    def test_series(self, store: EmbeddedStore) -> None:
        """Over time: each process's mean of the step, put together; None where there is none."""
        a, b = Process("a"), Process("b")
        receive(
            store,
            a.gauge(self.G, NOW_S - 40, 1), a.gauge(self.G, NOW_S - 36, 3),
            b.gauge(self.G, NOW_S - 35, 10), a.gauge(self.G, NOW_S - 15, 7),
        )  # fmt: skip
        window = Window(NOW_S - 40, NOW_S)

        def ask(across: str) -> tuple[float | None, ...]:
            found = store.metrics.gauge_series(self.G, window, 10, across=across)  # type: ignore[arg-type]
            return found[()].values

        assert ask("sum") == (12, None, 7, None)
        assert ask("avg") == (6, None, 7, None)
        assert ask("max") == (10, None, 7, None)


class TestRejected:
    def test_exponential_histograms(self, store: EmbeddedStore) -> None:
        """Exponential histograms are rejected, counted and named; the rest of the export stays."""
        reader = InMemoryMetricReader()
        views = [View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())]
        meter = MeterProvider([reader], views=views).get_meter("test")
        meter.create_histogram("e").record(1)
        meter.create_counter("c").add(1)
        data = reader.get_metrics_data()
        assert data is not None
        rejected = store.receive_metrics(encode_metrics(data).SerializeToString())
        assert rejected.count == 1
        assert rejected.reason.startswith("e: exponential")

    def test_points_that_cannot_be(self, store: EmbeddedStore) -> None:
        """Values that are no numbers and buckets that do not fit are rejected one by one."""
        export = ExportMetricsServiceRequest()
        metrics = export.resource_metrics.add().scope_metrics.add().metrics
        time = {"time_unix_nano": 10**18}
        metrics.add(name="g").gauge.data_points.extend(
            [
                pb.NumberDataPoint(as_double=math.nan, **time),
                pb.NumberDataPoint(as_double=1),
                pb.NumberDataPoint(as_double=math.nan, flags=1, **time),  # "no value": no fault
                pb.NumberDataPoint(as_double=1, **time),
            ]
        )
        metrics.add(name="h").histogram.data_points.add(
            bucket_counts=[1, 2], explicit_bounds=[1, 2, 3], **time
        )
        rejected = store.receive_metrics(export.SerializeToString())
        assert rejected.count == 3


def test_what_the_sdk_sends(path: Path) -> None:
    """Every kind of instrument of the real SDK arrives with its value and attributes."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], resource(catalogue.SERVICE_FRONTEND)).get_meter("test")
    counter, level = meter.create_counter(M.name), meter.create_up_down_counter("active")
    histogram = meter.create_histogram("h", explicit_bucket_boundaries_advisory=[0.1, 1])
    gauge = meter.create_gauge("g")
    store = EmbeddedStore(path)
    window = Window.last(1200, time.time() + 600)
    for i in range(3):
        counter.add(2, {"outcome": "ok"})
        level.add(1)
        histogram.record(0.5, {"stage": "nms"})
        gauge.set(i, {"queue": "detections"})
        data = reader.get_metrics_data()
        assert data is not None
        receive(store, encode_metrics(data).SerializeToString())
    assert store.metrics.increase(M, window, by=["outcome"]) == {("ok",): 6}
    assert store.metrics.latest(Gauge("active")) == {(): 3}
    assert store.metrics.latest(Gauge("g"), by=["queue"]) == {("detections",): 2}
    assert store.metrics.histogram(Histogram("h"), window, by=["stage"])[("nms",)].counts == (
        0,
        3,
        0,
    )
    store.close()


def test_labels_are_texts(store: EmbeddedStore) -> None:
    """Attribute values of other types read as Prometheus would show them."""
    export = ExportMetricsServiceRequest()
    point = export.resource_metrics.add().scope_metrics.add().metrics.add(name="g").gauge
    added = point.data_points.add(as_double=1, time_unix_nano=int(NOW_S * 1e9))
    added.attributes.add(key="cpu").value.int_value = 3
    added.attributes.add(key="idle").value.bool_value = True
    receive(store, export.SerializeToString())
    found = store.metrics.latest(Gauge("g"), by=["cpu", "idle", "service.name"])
    assert found == {("3", "true", "unknown_service"): 1}
    assert json.dumps(list(found))  # plain JSON for the API


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_exports(data: st.DataObject) -> None:
    """Whatever bytes arrive, they are refused or stored; questions go on being answered."""
    one, metric = Process(), Metric("m")
    intact = data.draw(
        st.sampled_from(
            [
                one.counter(metric, NOW_S, 5, outcome="ok"),
                one.gauge(metric, NOW_S, 2.5, queue="q"),
                one.histogram(metric, NOW_S, [0.1, 2, 99], stage="nms"),
            ]
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "telemetry.db", clock=Clock())
        for _ in range(3):
            damaged = bytearray(intact)
            for _ in range(data.draw(st.integers(1, 4))):
                damaged[data.draw(st.integers(0, len(intact) - 1))] = data.draw(st.integers(0, 255))
            with contextlib.suppress(MalformedTelemetry):
                store.receive_metrics(bytes(damaged))
        store.flush()
        assert store.writer.failed == 0
        store.metrics.increase_series(metric, HOUR, 60, by=["outcome"])
        store.metrics.histogram_series(metric, HOUR, 60, by=["stage"])
        store.metrics.gauge_series(metric, HOUR, 60, by=["queue"])
        store.metrics.latest(metric)
        store.close()
