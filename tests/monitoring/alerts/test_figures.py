"""monitoring.alerts.figures: each figure is the same number wherever it is taken.

One traffic is fed to the embedded store, by OTLP, and to a real Prometheus, as the samples it
would have scraped. Then every figure is taken three ways: over the embedded store, over
Prometheus through PrometheusMetrics, and by the PromQL that the rules are rendered with.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from monitoring.alerts.figures import FIGURES
from monitoring.alerts.measures import Asked
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from telemetry import catalogue
from telemetry.definitions import Metric
from tests.monitoring import prometheus
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

BEGIN_S = NOW_S - 7200
#: Exports and scrapes come every 15 s, 7 s into each quarter of a minute.
TICKS = [BEGIN_S + 7 + 15 * i for i in range(300)]
#: Moments at which the figures are taken, in ticks: images come; they have stopped; the
#: frontends have stopped, too.
BUSY, QUIET, DEAD = 150, 230, 290
IMAGES_UNTIL, FRONTENDS_UNTIL = 180, 260
BOUNDS = catalogue.DURATION_BUCKETS_S


@dataclass
class Sample:
    """What a process says of one series at one tick; a histogram is all its values so far."""

    metric: Metric
    service: str
    instance: str
    tick: int
    value: float = 0.0
    values: list[float] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


def samples() -> Iterator[Sample]:
    """Two frontends, the second of which is new halfway, and two workers, one without telemetry
    from the middle on."""
    for instance, first, rate in (("f1", 0, 3), ("f2", 100, 5)):
        for tick in range(first, FRONTENDS_UNTIL):
            who = (catalogue.SERVICE_FRONTEND, instance, tick)
            lived = min(tick, IMAGES_UNTIL) - first + 1
            for outcome, count in (("ok", rate * lived), ("failed", lived // 4),
                                   ("invalid", lived // 10)):  # fmt: skip
                labels = {"outcome": outcome, "route": "api"}
                yield Sample(catalogue.REQUESTS, *who, value=count, labels=labels)
            took = [0.02 * (1 + i % 40) + (0.3 if instance == "f2" else 0)
                    for i in range(rate * lived)]  # fmt: skip
            labels = {"outcome": "ok", "route": "api"}
            yield Sample(catalogue.REQUEST_DURATION, *who, values=took, labels=labels)
            for queue, age in (("normal", 0.02 * tick), ("low", float(tick % 7))):
                labels = {"queue": queue}
                yield Sample(catalogue.QUEUE_OLDEST_AGE, *who, value=age, labels=labels)
                yield Sample(catalogue.QUEUE_DEPTH, *who, value=tick % 5 + 1, labels=labels)
            for state, count in (("busy", tick % 2), ("idle", 2 - tick % 2)):
                yield Sample(catalogue.WORKERS, *who, value=count, labels={"state": state})
            for queue, count in (("normal", 2), ("normal.mine", 1)):
                yield Sample(catalogue.QUEUE_WORKERS, *who, value=count, labels={"queue": queue})
            yield Sample(catalogue.WORKERS_FALLBACK, *who, value=tick % 3)
            yield from hosts(*who, share=0.25)
    for instance, until in (("w1", len(TICKS)), ("w2", BUSY - 20)):
        for tick in range(until):
            who = (catalogue.SERVICE_WORKER, instance, tick)
            lived = min(tick, IMAGES_UNTIL) + 1
            took = [0.004 * (1 + i % 50) for i in range(4 * lived)]
            for stage in ("inference", "nms"):
                labels = {"stage": stage}
                yield Sample(catalogue.STAGE_DURATION, *who, values=took, labels=labels)
            yield from hosts(*who, share=0.5)
            busy_s, labels = 2.5 * lived, {"provider": "cuda"}
            yield Sample(catalogue.WORKER_BUSY, *who, value=busy_s, labels=labels)
            labels = {"gpu": "0"}
            busy = (tick % 4) / 4
            yield Sample(catalogue.GPU_UTILIZATION, *who, value=busy, labels=labels)


def hosts(service: str, instance: str, tick: int, share: float) -> Iterator[Sample]:
    """CPU and memory of the host of a process."""
    who = (service, instance, tick)
    for cpu in ("1", "2"):
        busy = share + (tick % 4) / 16 if cpu == "1" else share
        for state, value in (("user", busy), ("system", 0.125), ("idle", 0.875 - busy)):
            labels = {"cpu": cpu, "state": state}
            yield Sample(catalogue.SYSTEM_CPU, *who, value=value, labels=labels)
    for state, value in (("used", share + (tick % 8) / 32), ("free", 0.1)):
        labels = {"state": state}
        yield Sample(catalogue.SYSTEM_MEMORY, *who, value=value, labels=labels)


ALL = list(samples())


def embedded(path: Path, moment: int) -> EmbeddedStore:
    """A store that has received everything up to a moment."""
    store = EmbeddedStore(path, clock=Clock(TICKS[moment] + 1))
    processes: dict[tuple[str, str], Process] = {}
    for each in ALL:
        if not moment - 300 <= each.tick <= moment:
            continue
        key = (each.instance, each.service)
        process = processes.setdefault(key, Process(each.instance, TICKS[0] - 1, each.service))
        take = getattr(process, each.metric.kind)
        what = each.values if each.metric.kind == "histogram" else each.value
        store.receive_metrics(take(each.metric, TICKS[each.tick], what, **each.labels))
    store.flush()
    return store


def openmetrics() -> str:
    """The same as lines of OpenMetrics, as the collector's exporter offers them."""
    families: dict[str, list[str]] = {}

    def add(each: Sample, suffix: str, value: float, **more: str) -> None:
        name = each.metric.exported.removesuffix("_total")
        labels = {"job": each.service, "instance": each.instance, **each.labels, **more}
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        line = f"{name}{suffix}{{{text}}} {value} {TICKS[each.tick]}"
        families.setdefault(f"{name} {each.metric.kind}", []).append(line)

    for each in ALL:
        if each.metric.kind == "gauge":
            add(each, "", each.value)
        elif each.metric.kind == "counter":
            add(each, "_total", each.value)
        else:
            measured = sorted(each.values)
            for bound in BOUNDS:
                add(each, "_bucket", bisect_left(measured, bound + 1e-12), le=str(bound))
            add(each, "_bucket", len(measured), le="+Inf")
            add(each, "_sum", sum(measured))
            add(each, "_count", len(measured))
    lines = []
    for family, found in families.items():
        lines += [f"# TYPE {family}", *sorted(found, key=lambda line: line.split(" ")[0])]
    return "\n".join([*lines, "# EOF", ""])


ASKED = [
    *((name, Asked(60.0 if figure.windowed else 0.0)) for name, figure in FIGURES.items()),
    *((name, Asked(600.0)) for name, figure in FIGURES.items() if figure.windowed),
    *((name, Asked(600.0, at_least=10_000)) for name, fig in FIGURES.items() if fig.counted),
    ("stage_p95_s", Asked(300.0, {"stage": "nms"})),
    ("stage_p95_s", Asked(300.0, {"stage": "upload"})),
    ("qps", Asked(60.0, {"outcome": "failed"})),
    ("success_rate", Asked(60.0, {"route": "ui"})),
    ("queue_age_s", Asked(0.0, {"queue": "low"})),
    # The last part of a rule's window.
    ("success_rate", Asked(30.0, at_least=10, of_s=300.0)),
    ("stage_p95_s", Asked(150.0, {"stage": "nms"}, at_least=20, of_s=300.0)),
    ("queue_age_growth_s", Asked(30.0, of_s=240.0)),
    ("queue_age_growth_s", Asked(60.0, of_s=600.0)),
]
IDS = [f"{name}-{asked.window_s:g}-{asked.at_least}-{'.'.join(asked.where.values())}"
       + (f"-of-{asked.of_s:g}" if asked.of_s else "") for name, asked in ASKED]  # fmt: skip


@pytest.fixture(scope="module", params=[BUSY, QUIET, DEAD], ids=["busy", "quiet", "dead"])
def moment(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def store(moment: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    opened = embedded(tmp_path_factory.mktemp("store") / "telemetry.db", moment)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that holds the samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus.load(folder, openmetrics())
    with prometheus.serve(folder) as url:
        yield url


def by_promql(url: str, text: str, now_s: float) -> float | None:
    answer = httpx.post(f"{url}/api/v1/query", data={"query": text, "time": str(now_s)}).json()
    assert answer["status"] == "success", answer
    rows = answer["data"]["result"]
    assert len(rows) <= 1, rows
    value = float(rows[0]["value"][1]) if rows else math.nan
    return value if math.isfinite(value) else None


@pytest.mark.stack
@pytest.mark.parametrize(("name", "asked"), ASKED, ids=IDS)
def test_the_same_everywhere(
    store: EmbeddedStore, prometheus_url: str, moment: int, name: str, asked: Asked
) -> None:
    """Over the embedded store, over Prometheus, and by PromQL: the same, None included."""
    now_s = TICKS[moment] + 1
    figure = FIGURES[name]
    prometheus = PrometheusMetrics(prometheus_url, clock=Clock(now_s))
    try:
        there = figure.measure(prometheus, asked, now_s)
    finally:
        prometheus.close()
    here = figure.measure(store.metrics, asked, now_s)
    evaluated = by_promql(prometheus_url, figure.promql(asked), now_s)
    if evaluated is None:
        assert (here, there) == (None, None)
    else:
        assert (here, there) == pytest.approx((evaluated, evaluated), rel=1e-9, abs=1e-9)


#: What each figure is, from the traffic itself; None: not measured.
EXPECTED: dict[str, tuple[float | None, float | None, float | None]] = {
    # (busy, quiet, dead), over 60 s
    "qps": (None, 0, 0),
    "success_rate": (32 / 34, None, None),
    "failure_rate": (2 / 34, None, None),
    "traffic_share": (None, 0, 0),
    "queue_depth": (2, 2, None),
    "queue_age_s": (3.0, 6.0, None),
    "workers_ready": (2, 2, None),
    "queue_workers": (1, 1, None),
    "workers_fallback": (0, 2, None),
    "workers_silent": (1, 1, None),
    "frontends_reporting": (2, 2, 0),
    "utilisation": (4 * 2.5 / 60 / 2, 0, None),
    "cpu": (0.5 + 0.125 + 3 / 64, 0.5 + 0.125 + 3 / 64, 0.5 + 0.125 + 3 / 64),
    "gpu_utilization": (0.375, 0.375, 0.375),
    "latency_mean_s": (None, None, None),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_figures_are(store: EmbeddedStore, moment: int, name: str) -> None:
    """Counted by hand from what was sent; what nobody measured is None, not 0."""
    asked = Asked(60.0 if FIGURES[name].windowed else 0.0)
    found = FIGURES[name].measure(store.metrics, asked, TICKS[moment] + 1)
    index = (BUSY, QUIET, DEAD).index(moment)
    expected = EXPECTED[name][index]
    if expected is None and index == 0:
        assert found is not None
        assert found > 0
    else:
        assert found == (None if expected is None else pytest.approx(expected)), name


def test_no_traffic_is_told_of_once(tmp_path: Path) -> None:
    """The share of the hour before is 0 while that hour had images, then not measured; a system
    that never had any is never measured."""
    asked, figure = Asked(600.0, at_least=60), FIGURES["traffic_share"]
    clock = Clock(NOW_S)
    store = EmbeddedStore(tmp_path / "telemetry.db", clock=clock)
    found = [figure.measure(store.metrics, asked, NOW_S)]
    process = Process()
    for minute in range(60):
        clock.now_s = NOW_S + 60 * minute + 8
        store.receive_metrics(
            process.counter(catalogue.REQUESTS, NOW_S + 60 * minute + 7, 10 * (minute + 1))
        )
    store.flush()
    for minutes in (60, 75, 100, 130, 200, 1000):
        clock.now_s = NOW_S + 60 * minutes
        found.append(figure.measure(store.metrics, asked, clock.now_s))
    store.close()
    assert found == [None, pytest.approx(1.2), 0, 0, None, None, None]


@pytest.mark.parametrize(
    ("day_two_ends", "routine"), [(60, True), (52, False), (68, False), (None, False)]
)
def test_the_end_of_the_day_is_routine(
    tmp_path: Path, day_two_ends: int | None, routine: bool
) -> None:
    """What fell quiet at this time yesterday may do so today, without a word; not much earlier,
    not much later, and not when nothing fell quiet yesterday."""
    asked, figure = Asked(300.0, at_least=60), FIGURES["traffic_share"]
    clock = Clock(NOW_S)
    store = EmbeddedStore(tmp_path / "telemetry.db", clock=clock)
    process, sent = Process(), 0
    days = [(0, 60), (1440, 1440 + day_two_ends)] if day_two_ends else [(1440, 1500)]
    for begins, ends in days:
        for minute in range(begins, ends):
            clock.now_s, sent = NOW_S + 60 * minute + 8, sent + 10
            store.receive_metrics(process.counter(catalogue.REQUESTS, clock.now_s - 1, sent))
    store.flush()
    last = days[-1][1]
    minutes = range(last, last + 80)
    silent = []
    for minute in minutes:
        clock.now_s = NOW_S + 60 * minute
        if figure.measure(store.metrics, asked, clock.now_s) == 0:
            silent.append(minute)
    store.close()
    if routine:
        assert len(silent) <= 2
    elif day_two_ends is None:
        assert len(silent) > 50
    else:  # as long as the two days differ
        assert 6 <= len(silent) <= 10
