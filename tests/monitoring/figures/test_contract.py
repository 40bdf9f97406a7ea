"""monitoring.figures.stats, cards, plots and capacity: the same figures from every store.

The same two hours go to the embedded store, by OTLP, and to a real Prometheus, as the samples
that it would have scraped; there once as raw samples only and once with what the rules of
deploy/prometheus/rules recorded of the first three quarters of them.
"""

from __future__ import annotations

import subprocess
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from monitoring.figures.plots import Plots, plots
from monitoring.figures.stats import Stats, stats
from monitoring.stores.contract import MetricsStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from monitoring.stores.records import Records
from pipeline.errors import InvalidParameter
from telemetry import catalogue
from telemetry.definitions import Histogram, Metric
from tests.monitoring import prometheus
from tests.monitoring.conftest import NOW_S, ROOT, Clock, program
from tests.monitoring.readings import Process

BEGIN_S = NOW_S - 7200
#: Exports and scrapes come every 15 s, 7 s into each quarter of a minute.
TICK_S = 15
TICKS = [BEGIN_S + 7 + TICK_S * i for i in range(480)]
WINDOW_S = 3600
#: Frontend "b" starts anew as "c" after an hour and a half; each tick brings so many requests.
FRONTENDS = {"a": (0, 480, 6), "b": (0, 360, 3), "c": (360, 480, 9)}
#: The worker does what the frontends ask for, 40 ms an image.
WORKER, BUSY_S = "w", 0.04
#: Which records a Prometheus store reads: none, or those of 5 minutes or an hour for any window.
NEVER: tuple[Records, ...] = ()
ALWAYS = {"5m": (Records(300, "5m", 0.0),), "1h": (Records(3600, "1h", 0.0),)}
RULES = ROOT / "deploy" / "prometheus" / "rules" / "history.yml"


@dataclass(frozen=True)
class Reading:
    """What one process says of one series at one time; a histogram has `values`."""

    instance: str
    service: str
    host: str
    time_s: float
    metric: Metric
    value: float = 0.0
    values: tuple[float, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


def per_tick(tick: int) -> int:
    """Requests of a tick, all frontends together."""
    return sum(rate for first, last, rate in FRONTENDS.values() if first <= tick < last)


def latencies(count: int) -> tuple[float, ...]:
    """How long a frontend's first so many requests took, in seconds."""
    return tuple(0.02 * (1 + i % 30) for i in range(count))


def frontend(instance: str, tick: int) -> Iterator[Reading]:
    first, _, rate = FRONTENDS[instance]
    lived, time_s = tick - first + 1, TICKS[tick]
    who = (instance, catalogue.SERVICE_FRONTEND, "host-1", time_s)
    ok, failed = lived * rate, lived // 10
    yield Reading(*who, catalogue.REQUESTS, ok, labels={"outcome": "ok"})
    yield Reading(*who, catalogue.REQUESTS, failed, labels={"outcome": "failed"})
    yield Reading(*who, catalogue.REQUEST_DURATION, values=latencies(ok), labels={"outcome": "ok"})
    yield Reading(*who, catalogue.STAGE_DURATION,
                  values=(0.004,) * ok, labels={"stage": "upload"})  # fmt: skip
    depth = float(tick % 4)
    gauges = (
        (catalogue.QUEUE_DEPTH, depth, {"queue": "detections"}),
        (catalogue.QUEUE_OLDEST_AGE, depth / 10,
         {"queue": "detections"}),
        (catalogue.WORKERS, 1.0, {"state": "busy"}),
        (catalogue.WORKERS, 0.0, {"state": "idle"}),
        (catalogue.REQUESTS_ACTIVE, 2.0, {}),
    )  # fmt: skip
    for level, value, labels in gauges:
        yield Reading(*who, level, value, labels=labels)
    yield from host(who, 0.7, 0.4)


def worker(tick: int) -> Iterator[Reading]:
    who = (WORKER, catalogue.SERVICE_WORKER, "host-2", TICKS[tick])
    images = sum(per_tick(i) for i in range(tick + 1))
    yield Reading(*who, catalogue.STAGE_DURATION,
                  values=(0.03,) * images, labels={"stage": "inference"})  # fmt: skip
    yield Reading(*who, catalogue.BATCH_SIZE,
                  values=(1.0,) * images)  # fmt: skip
    cpu = {"provider": "cpu"}
    yield Reading(*who, catalogue.WORKER_BUSY,
                  images * BUSY_S, labels=cpu)  # fmt: skip
    yield Reading(*who, catalogue.DETECTIONS, images * 2,
                  labels={"label": "phone"})  # fmt: skip
    yield Reading(*who, catalogue.DETECTION_SCORE, values=(0.6, 0.9) * images,
                  labels={"label": "phone"})  # fmt: skip
    yield from host(who, 0.5, 0.3)


def host(who: tuple[str, str, str, float], idle: float, used: float) -> Iterator[Reading]:
    """Two processors, of which one has a tenth more to do than the other."""
    for cpu, share in (("1", idle - 0.05), ("2", idle + 0.05)):
        yield Reading(*who, catalogue.SYSTEM_CPU, share,
                      labels={"state": "idle", "cpu": cpu})  # fmt: skip
    yield Reading(*who, catalogue.SYSTEM_MEMORY, used,
                  labels={"state": "used"})  # fmt: skip
    yield Reading(*who, catalogue.PROCESS_CPU, 0.1)
    yield Reading(*who, catalogue.PROCESS_MEMORY, 2.0**28)


def readings() -> Iterator[Reading]:
    for tick in range(len(TICKS)):
        for instance, (first, last, _) in FRONTENDS.items():
            if first <= tick < last:
                yield from frontend(instance, tick)
        yield from worker(tick)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=Clock(NOW_S - 1))
    starts = {instance: TICKS[first] - 1 for instance, (first, _, _) in FRONTENDS.items()}
    for each in readings():
        process = Process(each.instance, starts.get(each.instance, BEGIN_S), each.service,
                          host=each.host)  # fmt: skip
        match each.metric.kind:
            case "counter":
                export = process.counter(each.metric, each.time_s, each.value, **each.labels)
            case "gauge" | "up-down counter":
                export = process.gauge(each.metric, each.time_s, each.value, **each.labels)
            case _:
                export = process.histogram(
                    each.metric, each.time_s, each.values, each.metric.buckets, **each.labels
                )
        store.receive_metrics(export)
    store.flush()
    yield store.metrics
    store.close()


def openmetrics() -> str:
    """The same as lines of OpenMetrics, as the collector's exporter offers them."""
    families: dict[str, list[str]] = {}
    for each in readings():
        who = {"job": each.service, "instance": each.instance}
        labels = ",".join(f'{key}="{value}"' for key, value in (who | each.labels).items())
        name, kind = each.metric.exported, each.metric.kind.replace("up-down counter", "gauge")
        lines = families.setdefault(f"{name.removesuffix('_total')} {kind}", [])
        if not isinstance(each.metric, Histogram):
            lines.append(f"{name}{{{labels}}} {each.value} {each.time_s}")
            continue
        ordered = sorted(each.values)
        for bound in (*each.metric.buckets, float("inf")):
            below = bisect_left(ordered, bound + 1e-12)
            le = "+Inf" if bound == float("inf") else bound
            lines.append(f'{name}_bucket{{{labels},le="{le}"}} {below} {each.time_s}')
        lines.append(f"{name}_sum{{{labels}}} {sum(each.values)} {each.time_s}")
        lines.append(f"{name}_count{{{labels}}} {len(each.values)} {each.time_s}")
    info = families.setdefault("target info", [])
    lives = [
        (name, catalogue.SERVICE_FRONTEND, "host-1", *FRONTENDS[name][:2]) for name in FRONTENDS
    ]
    for instance, job, host_id, first, last in [
        *lives, (WORKER, catalogue.SERVICE_WORKER, "host-2", 0, len(TICKS)),
    ]:  # fmt: skip
        labels = f'job="{job}",instance="{instance}",host_id="{host_id}"'
        info += [f"target_info{{{labels}}} 1 {time_s}" for time_s in TICKS[first:last]]
    # A family's lines go series by series.
    return (
        "\n".join(
            f"# TYPE {family}\n" + "\n".join(sorted(lines, key=lambda line: line.split(" ")[0]))
            for family, lines in families.items()
        )
        + "\n# EOF\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prometheus's folder with the samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus.load(folder, openmetrics())
    return folder


@pytest.fixture(scope="module")
def recorded_url(folder: Path) -> Iterator[str]:
    """A Prometheus with the samples, and the records of three quarters of the time."""
    with prometheus.serve(folder) as url:
        record = [
            program("promtool"), "tsdb", "create-blocks-from", "rules", f"--url={url}",
            f"--start={int(BEGIN_S)}", f"--end={int(BEGIN_S + 5400)}", "--eval-interval=5m",
            "--output-dir=data", str(RULES),
        ]  # fmt: skip
        subprocess.run(record, cwd=folder, check=True, capture_output=True)
    with prometheus.serve(folder) as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def metrics(request: pytest.FixtureRequest) -> Iterator[MetricsStore]:
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
        return
    store = PrometheusMetrics(request.getfixturevalue("recorded_url"), Clock(NOW_S - 1), NEVER)
    yield store
    store.close()


#: In the window: all ticks of the second hour.
OK = sum(per_tick(tick) for tick in range(240, 480))
FAILED = 24 + 12 + 12
OK_BEFORE = 240 * 9
FAILED_BEFORE = 24 + 24


def figures(metrics: MetricsStore) -> Stats:
    return stats(metrics, WINDOW_S, now_s=NOW_S - 1)


def test_cards_over_the_window(metrics: MetricsStore) -> None:
    """Counts are exact, now and in the window before; percentiles come from one histogram.

    The rate is that of the last minute, and is compared with the mean of the window before.
    """
    cards = {card.name: card for card in figures(metrics).cards}
    assert list(cards) == [
        "qps", "requests", "request_seconds", "latency_p1_ms", "latency_p50_ms", "latency_p95_ms",
        "latency_p99_ms", "success_rate", "requests_active", "queue_depth", "queue_oldest_age_s",
        "workers_ready", "workers_busy", "detections_per_image", "score_mean", "cpu", "memory",
        "process_memory",
    ]  # fmt: skip
    assert cards["qps"].value == pytest.approx(per_tick(479) / TICK_S, rel=0.1)
    assert cards["qps"].before == pytest.approx((OK_BEFORE + FAILED_BEFORE) / WINDOW_S, rel=0.01)
    assert cards["success_rate"].value == round(OK / (OK + FAILED), 6)
    assert cards["success_rate"].before == round(OK_BEFORE / (OK_BEFORE + FAILED_BEFORE), 6)
    assert (cards["requests"].value, cards["requests"].before) == (
        OK + FAILED, OK_BEFORE + FAILED_BEFORE
    )  # fmt: skip
    seconds, mean_s = cards["request_seconds"].value, figures(metrics).latency_ms
    assert mean_s is not None
    assert seconds == pytest.approx(OK * mean_s.mean / 1e3, rel=1e-3)
    assert 0 < (cards["latency_p1_ms"].value or 0) <= 20
    assert cards["score_mean"].value == pytest.approx(0.75)
    assert cards["detections_per_image"].value == cards["detections_per_image"].before == 2
    bounds_ms = [1e3 * bound for bound in catalogue.DURATION_BUCKETS_S]
    for q, name in ((0.50, "p50"), (0.95, "p95"), (0.99, "p99")):
        true_ms = 20 * (1 + int(q * 30))
        found = cards[f"latency_{name}_ms"].value
        assert found is not None
        assert abs(bisect_left(bounds_ms, true_ms) - bisect_left(bounds_ms, found)) <= 1


def test_cards_of_this_moment(metrics: MetricsStore) -> None:
    """Levels said by several frontends are taken once, requests in flight are added up; a host
    is as busy as its processors in the mean, and the busiest one is shown."""
    cards = {card.name: card for card in figures(metrics).cards}
    shown = {
        "requests_active": 4, "queue_depth": 3, "queue_oldest_age_s": 0.3, "workers_ready": 1,
        "workers_busy": 1, "cpu": 0.5, "memory": 0.4, "process_memory": 3 * 2**28,
    }  # fmt: skip
    assert {name: cards[name].value for name in shown} == pytest.approx(shown)
    assert cards["queue_depth"].before == pytest.approx(1.5)
    assert cards["cpu"].before == pytest.approx(0.5)


def test_sparklines(metrics: MetricsStore) -> None:
    """Every card shows its course over the window."""
    for card in figures(metrics).cards:
        assert 10 <= len(card.sparkline) <= 30, card.name
        known = [value for value in card.sparkline if value is not None]
        assert len(known) >= len(card.sparkline) - 2, card.name
        if card.name in ("qps", "success_rate"):
            assert min(known) > 0


def test_capacity(metrics: MetricsStore) -> None:
    """An image takes 40 ms of the worker's time: it could do 25 a second."""
    found = figures(metrics).capacity
    assert found.busy_s_per_image == pytest.approx(BUSY_S)
    assert found.arriving_per_s == pytest.approx(OK / WINDOW_S, rel=0.01)
    assert found.arriving_peak_per_s == pytest.approx(per_tick(479) / TICK_S, rel=0.01)
    assert found.peak_s is not None
    assert 60 <= found.peak_s < 120  # whole minutes, and what is left of one
    assert found.workers == 1
    assert found.utilisation is not None
    assert found.verdict == "holds"


def test_a_time_without_anything_before(metrics: MetricsStore) -> None:
    """What was not measured in the window before is null, not 0."""
    cards = stats(metrics, 7200, now_s=NOW_S - 1).cards
    assert {card.name: card.before for card in cards} == {card.name: None for card in cards}
    assert all(card.value is not None for card in cards)


def course(metrics: MetricsStore, window_s: float = WINDOW_S, step_s: float = 300) -> Plots:
    return plots(metrics, window_s, step_s, now_s=NOW_S - 1)


def test_plots(metrics: MetricsStore) -> None:
    """Each step has what was measured in it; the steps add up to the window."""
    found = course(metrics)
    assert (found.step_s, found.count, found.start_s) == (300, 12, NOW_S - 3600)
    ok = found.requests_per_s["ok"]
    assert ok == pytest.approx([20 * per_tick(240 + 20 * i) / 300 for i in range(12)], rel=0.01)
    assert found.arriving_per_s == ok
    assert sum(map(sum, found.heatmap.counts)) == OK
    assert len(found.heatmap.counts[0]) == len(found.heatmap.bounds_ms) + 1
    assert found.stages_ms == {"upload": [4] * 12, "inference": [30] * 12}
    assert found.batch_size == [1] * 12
    assert found.queue_depth == {"detections": [3] * 12}
    assert found.queue_oldest_age_s == [0.3] * 12
    assert found.workers == {"busy": [1] * 12, "idle": [0] * 12}
    busy = [value * BUSY_S for value in ok if value is not None]
    assert found.utilisation == pytest.approx(busy, abs=1e-3)


@pytest.mark.stack
def test_the_same_from_both(embedded: MetricsStore, recorded_url: str) -> None:
    """Nothing that a page shows depends on the store."""
    metrics = PrometheusMetrics(recorded_url, Clock(NOW_S - 1), NEVER)
    one, other = figures(embedded).model_dump(), figures(metrics).model_dump()
    for a, b in zip(one.pop("cards"), other.pop("cards"), strict=True):
        a.pop("sparkline"), b.pop("sparkline")
        for same in ("name", "unit", "good"):
            assert a.pop(same) == b.pop(same)
        assert a == pytest.approx(b, rel=0.02)
    assert one == other
    assert course(embedded).model_dump() == course(metrics).model_dump()
    metrics.close()


def test_a_time_that_is_over(metrics: MetricsStore) -> None:
    """The same hour seen from its own end and from later: what is counted is the same, levels are
    their means, and QPS is the mean of the hour."""
    end_s = NOW_S - 1800.0
    found = stats(metrics, 1800, now_s=NOW_S - 1, end_s=end_s)
    cards = {card.name: card for card in found.cards}
    ok = sum(per_tick(tick) for tick in range(240, 360))
    assert found.requests["ok"] == ok
    assert cards["qps"].value == found.qps == found.qps_mean
    assert found.qps_mean == pytest.approx(sum(found.requests.values()) / 1800, rel=0.02)
    assert cards["queue_depth"].value == pytest.approx(1.5, rel=0.1)
    assert (found.workers_busy, found.capacity.workers) == (1, 1)
    assert [len(card.sparkline) >= 10 for card in found.cards] == [True] * len(found.cards)


def test_plots_of_a_time_that_is_over(metrics: MetricsStore) -> None:
    """Whole steps that hold all of it, none of them still going on."""
    begin_s, end_s = NOW_S - 3000.0, NOW_S - 1500.0
    found = plots(metrics, end_s - begin_s, 300, now_s=NOW_S - 1, end_s=end_s)
    assert found.step_s == 300
    assert found.start_s <= begin_s
    assert end_s <= found.start_s + found.count * found.step_s < end_s + 300
    rates = found.requests_per_s["ok"]
    assert None not in rates
    first = round((found.start_s - BEGIN_S) / TICK_S)
    wanted = [sum(map(per_tick, range(first + 20 * i, first + 20 * i + 20))) / 300
              for i in range(found.count)]  # fmt: skip
    assert rates == pytest.approx(wanted, rel=0.05)


def test_long_ago(metrics: MetricsStore) -> None:
    """A window that is longer than there is data counts all of it, and shows the rest empty."""
    found = plots(metrics, 6 * 3600, 3600, now_s=NOW_S - 1)
    counts = [sum(step) for step in found.heatmap.counts]
    assert counts == [0, 0, 0, 0, OK_BEFORE, OK]
    assert found.latency_ms["p50"][:4] == [None] * 4


def test_too_many_steps(metrics: MetricsStore) -> None:
    """More steps than anybody can see are refused, with the number that can be had."""
    with pytest.raises(InvalidParameter, match="at most 1500"):
        plots(metrics, 86400 * 30, 5, now_s=NOW_S - 1)


@pytest.mark.stack
@pytest.mark.parametrize("end_s", [NOW_S, NOW_S - 100, NOW_S - 2000])
@pytest.mark.parametrize("every", ALWAYS)
def test_records_count_what_the_samples_count(recorded_url: str, end_s: float, every: str) -> None:
    """Any window counts the same from records, completed by samples where there are none."""
    raw = PrometheusMetrics(recorded_url, Clock(NOW_S - 1), NEVER)
    recorded = PrometheusMetrics(recorded_url, Clock(NOW_S - 1), ALWAYS[every])
    for seconds in (1000, 3600, 7200, 20000):
        window = Window(end_s - seconds, end_s)
        one = recorded.increase(catalogue.REQUESTS, window, by=("outcome",))
        assert one == raw.increase(catalogue.REQUESTS, window, by=("outcome",))
        stages = recorded.histogram(catalogue.STAGE_DURATION, window, by=("stage",))
        for labels, histogram in raw.histogram(
            catalogue.STAGE_DURATION, window, by=("stage",)
        ).items():
            assert stages[labels].counts == histogram.counts
            assert stages[labels].sum == pytest.approx(histogram.sum)
    raw.close()
    recorded.close()


@pytest.mark.stack
def test_records_step_by_step(recorded_url: str) -> None:
    """In a window whose steps begin where records do, each step is the samples' own."""
    raw = PrometheusMetrics(recorded_url, Clock(NOW_S - 1), NEVER)
    recorded = PrometheusMetrics(recorded_url, Clock(NOW_S - 1), ALWAYS["5m"])
    window = recorded.window(6000, NOW_S - 1, 600)
    assert window.seconds == 6000
    assert NOW_S - 1 <= window.end_s < NOW_S + 299
    ask = (catalogue.REQUEST_DURATION, window, 600)
    one, other = recorded.histogram_series(*ask)[()], raw.histogram_series(*ask)[()]
    assert [step.counts for step in one.values] == [step.counts for step in other.values]
    assert recorded.increase_series(catalogue.REQUESTS, window, 600) == raw.increase_series(
        catalogue.REQUESTS, window, 600
    )
    depth = recorded.gauge_series(catalogue.QUEUE_DEPTH, window, 600, across="max", by=("queue",))
    assert depth == raw.gauge_series(
        catalogue.QUEUE_DEPTH, window, 600, across="max", by=("queue",)
    )
    hosts = recorded.gauge_series(
        catalogue.SYSTEM_CPU, window, 600, across="avg", by=("host.id",), where={"state": "idle"}
    )
    assert {labels[0]: series.values[-1] for labels, series in hosts.items()} == pytest.approx(
        {"host-1": 0.7, "host-2": 0.5}
    )
    raw.close()
    recorded.close()
