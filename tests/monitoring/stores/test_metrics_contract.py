"""monitoring.stores.contract.MetricsStore: one suite for every store that implements it.

The same traffic is fed to the embedded store, by OTLP, and to a real Prometheus, as the
samples that it would have scraped from the collector. Times are far from the edges of
steps and windows, which the stores draw at the export and at the scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import pytest

from monitoring.figures.stats import stats
from monitoring.stores.contract import MetricsStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.errors import Unavailable
from telemetry import catalogue
from telemetry.definitions import Counter
from tests.monitoring import prometheus
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

BEGIN_S = NOW_S - 3600
#: Exports and scrapes come every 15 s, 7 s into each quarter of a minute.
TICKS = [BEGIN_S + 7 + 15 * i for i in range(200)]
WINDOW = Window(BEGIN_S, BEGIN_S + 3000)
#: Processes: when they live (in ticks), and how many requests each tick brings.
LIVES = {"a": (0, 120, 3), "b": (60, 200, 2), "c": (120, 200, 5)}
BOUNDS = catalogue.DURATION_BUCKETS_S


def durations(instance: str, upto: int) -> list[float]:
    """What a process measured in its first so many requests, in seconds."""
    scale = {"a": 1, "b": 2, "c": 4}[instance]
    return [0.004 * scale * (1 + i % 50) for i in range(upto)]


def lives() -> Iterator[tuple[str, float, int, int]]:
    """Every export: (instance, time, ticks lived, requests so far)."""
    for instance, (first, last, rate) in LIVES.items():
        for tick in range(first, last):
            yield instance, TICKS[tick], tick - first, (tick - first + 1) * rate


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsStore]:
    clock = Clock(TICKS[-1] + 1)
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=clock)
    for instance, time_s, lived, requests in lives():
        process = Process(instance, start_s=TICKS[LIVES[instance][0]] - 1)
        measured = durations(instance, requests)
        for export in (
            process.counter(catalogue.REQUESTS, time_s, requests, outcome="ok"),
            process.counter(catalogue.REQUESTS, time_s, lived // 10, outcome="failed"),
            process.histogram(catalogue.STAGE_DURATION, time_s, measured, stage="inference"),
            process.gauge(catalogue.QUEUE_DEPTH, time_s, float(lived % 7), queue="normal"),
        ):
            store.receive_metrics(export)
    store.flush()
    yield store.metrics
    store.close()


def openmetrics() -> str:
    """The same as lines of OpenMetrics, as the collector's exporter offers them."""
    families: dict[str, list[str]] = {}

    def add(family: str, name: str, labels: str, value: float, time_s: float) -> None:
        families.setdefault(family, []).append(f"{name}{{{labels}}} {value} {time_s}")

    for instance, time_s, lived, requests in lives():
        who = f'job="damoscope-frontend",instance="{instance}"'
        counter, histogram = "damoscope_requests", "damoscope_stage_duration_seconds"
        add(f"{counter} counter", f"{counter}_total", f'{who},outcome="ok"', requests, time_s)
        failed = lived // 10
        add(f"{counter} counter", f"{counter}_total", f'{who},outcome="failed"', failed, time_s)
        depth = "damoscope_queue_depth"
        add(f"{depth} gauge", depth, f'{who},queue="normal"', lived % 7, time_s)
        measured = sorted(durations(instance, requests))
        stage = f'{who},stage="inference"'
        for bound in BOUNDS:
            below = bisect_left(measured, bound + 1e-12)
            add(f"{histogram} histogram", f"{histogram}_bucket", f'{stage},le="{bound}"',
                below, time_s)  # fmt: skip
        add(f"{histogram} histogram", f"{histogram}_bucket", f'{stage},le="+Inf"',
            requests, time_s)  # fmt: skip
        add(f"{histogram} histogram", f"{histogram}_sum", stage, sum(measured), time_s)
        add(f"{histogram} histogram", f"{histogram}_count", stage, requests, time_s)
    # A family's lines go series by series.
    return (
        "\n".join(
            f"# TYPE {family}\n" + "\n".join(sorted(lines, key=lambda line: line.split(" ")[0]))
            for family, lines in families.items()
        )
        + "\n# EOF\n"
    )


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that holds the samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus.load(folder, openmetrics())
    with prometheus.serve(folder) as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def metrics(request: pytest.FixtureRequest) -> Iterator[MetricsStore]:
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
        return
    url = request.getfixturevalue("prometheus_url")
    store = PrometheusMetrics(url, clock=Clock(TICKS[-1] + 1))
    yield store
    store.close()


OK = 120 * 3 + 140 * 2 + 80 * 5
FAILED = 11 + 13 + 7


def test_counts_are_exact(metrics: MetricsStore) -> None:
    """Every request of every process is counted once, restarts and newcomers too."""
    found = metrics.increase(catalogue.REQUESTS, WINDOW, by=["outcome"])
    assert found == {("ok",): OK, ("failed",): FAILED}
    assert metrics.increase(catalogue.REQUESTS, WINDOW) == {(): OK + FAILED}
    ok = metrics.increase(catalogue.REQUESTS, WINDOW, where={"outcome": "ok"})
    assert ok == {(): OK}


def test_part_of_the_time(metrics: MetricsStore) -> None:
    """A window counts what was added in it, and adjacent ones add up."""
    first, second = Window(BEGIN_S, BEGIN_S + 900), Window(BEGIN_S + 900, BEGIN_S + 3000)
    assert metrics.increase(catalogue.REQUESTS, first, where={"outcome": "ok"}) == {(): 60 * 3}
    rest = metrics.increase(catalogue.REQUESTS, second, where={"outcome": "ok"})
    assert rest == {(): OK - 60 * 3}


def test_increase_step_by_step(metrics: MetricsStore) -> None:
    """Steps hold what was added in them and sum to the whole."""
    found = metrics.increase_series(
        catalogue.REQUESTS, WINDOW, 600, by=["outcome"], where={"outcome": "ok"}
    )[("ok",)]
    assert found.step_s == 600
    assert found.start_s == WINDOW.start_s
    # 40 exports in 10 minutes: first of "a" alone, then of "a" and "b", then of "b" and "c".
    assert found.values == (120, 20 * 3 + 20 * 5, 40 * 5, 40 * 7, 40 * 7)


def test_a_window_that_is_no_whole_number_of_steps(metrics: MetricsStore) -> None:
    """The last step is shorter then, and nothing is lost or counted twice."""
    found = metrics.increase_series(catalogue.REQUESTS, WINDOW, 700, where={"outcome": "ok"})[()]
    assert len(found.values) == 5
    assert sum(found.values) == OK


def test_histogram(metrics: MetricsStore) -> None:
    """All processes' measurements merge into one histogram, with exact counts and sum."""
    found = metrics.histogram(catalogue.STAGE_DURATION, WINDOW, by=["stage"])
    measured = sorted(
        value
        for instance, (first, last, rate) in LIVES.items()
        for value in durations(instance, (last - first) * rate)
    )
    histogram = found[("inference",)]
    assert histogram.count == len(measured) == OK
    assert histogram.sum == pytest.approx(sum(measured))
    assert histogram.bounds == BOUNDS
    assert sum(histogram.counts[:20]) == bisect_left(measured, BOUNDS[19] + 1e-12)
    for q in (0.5, 0.95, 0.99):
        true = measured[min(len(measured) - 1, int(q * len(measured)))]
        estimate = histogram.percentile(q)
        assert estimate is not None
        assert abs(bisect_left(BOUNDS, true) - bisect_left(BOUNDS, estimate)) <= 1


def test_histogram_step_by_step(metrics: MetricsStore) -> None:
    """Each step has the histogram of what was measured in it."""
    found = metrics.histogram_series(catalogue.STAGE_DURATION, WINDOW, 600)[()]
    assert [step.count for step in found.values] == [120, 160, 200, 280, 280]
    assert found.values[0].sum == pytest.approx(sum(durations("a", 120)))


def test_latest(metrics: MetricsStore) -> None:
    """The levels of the processes that live, put together; the dead one is out."""
    b, c = 139 % 7, 79 % 7
    ask = metrics.latest
    assert ask(catalogue.QUEUE_DEPTH) == {(): b + c}
    assert ask(catalogue.QUEUE_DEPTH, across="max") == {(): max(b, c)}
    assert ask(catalogue.QUEUE_DEPTH, across="avg", by=["queue"]) == {("normal",): (b + c) / 2}
    assert ask(catalogue.QUEUE_DEPTH, by=["service.instance.id"]) == {("b",): b, ("c",): c}
    assert ask(catalogue.QUEUE_DEPTH, by=["service.name"]) == {("damoscope-frontend",): b + c}


def test_gauge_step_by_step(metrics: MetricsStore) -> None:
    """A level over time, None where nobody reported it."""
    window = Window(BEGIN_S - 600, BEGIN_S + 1200)
    found = metrics.gauge_series(catalogue.QUEUE_DEPTH, window, 600, across="max")[()]
    assert found.values == (None, 6, 6)
    mean = metrics.gauge_series(catalogue.QUEUE_DEPTH, Window(BEGIN_S, BEGIN_S + 60), 15)[()]
    assert mean.values == (0, 1, 2, 3)


def test_what_was_never_measured(metrics: MetricsStore) -> None:
    """Unknown metrics, other labels and empty times are left out of the answer."""
    assert metrics.increase(Counter("damoscope.nothing"), WINDOW) == {}
    assert metrics.increase(catalogue.REQUESTS, WINDOW, where={"outcome": 'o"dd\\'}) == {}
    assert metrics.increase(catalogue.REQUESTS, WINDOW.before) == {}
    assert metrics.histogram(catalogue.STAGE_DURATION, WINDOW.before) == {}
    assert metrics.latest(Counter("damoscope.nothing")) == {}
    assert metrics.gauge_series(catalogue.QUEUE_DEPTH, WINDOW.before, 60) == {}


def test_prometheus_away() -> None:
    """A Prometheus that does not answer is an error that says so, without its password."""
    store = PrometheusMetrics("http://user:secret@127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"Prometheus on 127\.0\.0\.1") as caught:
        store.latest(catalogue.WORKERS)
    assert "secret" not in str(caught.value)
    store.close()


def test_stats(metrics: MetricsStore) -> None:
    """The figures of the service are the same from either store."""
    found = stats(metrics, WINDOW.seconds, now_s=WINDOW.end_s - 1)
    assert found.requests == {"failed": FAILED, "ok": OK}
    assert found.qps_mean == round((OK + FAILED) / WINDOW.seconds, 4)
    assert found.success_rate == round(OK / (OK + FAILED), 6)
    histogram = metrics.histogram(catalogue.STAGE_DURATION, WINDOW, where={"stage": "inference"})[
        ()
    ]
    inference = found.stages_ms["inference"]
    assert inference.p95 == pytest.approx(1e3 * (histogram.percentile(0.95) or 0), abs=1e-3)
    assert list(found.stages_ms) == ["inference"]
    assert found.queue_depth is not None
    assert found.latency_ms is None  # nobody measured it
    assert found.workers_busy is None
