"""monitoring.reports.build: a report says what was sent, whichever store it is read from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from monitoring.alerts.schema import Episode
from monitoring.messages import Message
from monitoring.notify.deliveries import Delivery
from monitoring.reports.alerts import critical_s
from monitoring.reports.build import build
from monitoring.reports.period import Covered
from monitoring.reports.schema import Report
from monitoring.stores.contract import MetricsStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.errors import InvalidParameter, Unavailable
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.scenario import Scenario

#: Yesterday for two hours, and today for three: a reading a minute, 7 s into it.
YESTERDAY = [NOW_S - 30 * 3600 + 7 + 60 * i for i in range(120)]
TODAY = [NOW_S - 5 * 3600 + 7 + 60 * i for i in range(180)]
#: In one minute of today so many more came.
BURST_AT, BURST = 100, 57
OK = 3 * len(TODAY) + BURST
INVALID, FAILED = 6, 3
FIRST, SECOND = ({"model": "phones", "version": version} for version in ("1a", "2b"))
SETTINGS = Settings(cpu_worker_price=0.5, currency="EUR", public_url="https://phones.example/")


def measured(count: int, scale: float = 1.0) -> list[float]:
    """Durations of the first so many images, in seconds."""
    return [scale * 0.001 * (20 + i % 60) for i in range(count)]


def scenario() -> Scenario:
    told = Scenario()
    for i, at in enumerate(YESTERDAY):
        count = 2 * (i + 1)
        told.counter("old", catalogue.REQUESTS, at, count, outcome="ok", route="api")
        told.counter("old", catalogue.DETECTIONS, at, count, label="phone")
        told.counter("old", catalogue.CLIENT_REQUESTS, at, count, client="10.0.0.1")
        told.histogram("old", catalogue.REQUEST_DURATION, at, measured(count, 0.5), outcome="ok")
        told.histogram("old", catalogue.STAGE_DURATION, at, measured(count, 0.3), stage="inference")
        _levels(told, "old", at, busy=0, idle=1)
    for i, at in enumerate(TODAY):
        count = 3 * (i + 1) + (BURST if i >= BURST_AT else 0)
        told.counter("new", catalogue.REQUESTS, at, count - i - 1, outcome="ok", route="api")
        told.counter("new", catalogue.REQUESTS, at, i + 1, outcome="ok", route="ui")
        told.counter("new", catalogue.REQUESTS, at, i // 30 + 1, outcome="invalid", route="api")
        told.counter("new", catalogue.REQUESTS, at, i // 60 + 1, outcome="failed", route="api")
        told.counter("new", catalogue.CLIENT_REQUESTS, at, count - i - 1, client="10.0.0.1")
        told.counter("new", catalogue.CLIENT_REQUESTS, at, i + 1, client="10.0.0.2")
        told.counter("new", catalogue.DETECTIONS, at, 2 * count, label="phone")
        told.counter("new", catalogue.DETECTIONS, at, i // 2 + 1, label="laptop")
        told.counter("new", catalogue.WORKER_BUSY, at, 0.02 * count, provider="cpu")
        told.histogram("new", catalogue.REQUEST_DURATION, at, measured(count), outcome="ok")
        for stage, scale, model in (("inference", 0.6, SECOND), ("queue_wait", 0.2, {})):
            took = measured(count, scale)
            told.histogram("new", catalogue.STAGE_DURATION, at, took, stage=stage, **model)
        told.histogram("new", catalogue.DETECTION_SCORE, at, [0.75] * count, label="phone")
        _by_model(told, i, at)
        told.histogram("new", catalogue.BATCH_SIZE, at, [1.0] * count)
        told.histogram("new", catalogue.IMAGE_SIZE, at, [200e3] * count, format="JPEG")
        _levels(told, "new", at, busy=1, idle=1)
    return told


def _by_model(told: Scenario, i: int, at: float) -> None:
    """One version for the first two hours of today, another from the second hour on."""
    told.counter("new", catalogue.MODEL_IMAGES, at, min(i, 119) + 1, outcome="ok", **FIRST)
    if (since := i - 59) > 0:
        told.counter("new", catalogue.MODEL_IMAGES, at, 2 * since, outcome="ok", **SECOND)
        told.counter("new", catalogue.MODEL_IMAGES, at, since // 10, outcome="failed", **SECOND)
        for label, score in (("one", 0.9), ("other", 0.7)):
            scores = [score] * (2 * since)
            told.histogram("new", catalogue.DETECTION_SCORE, at, scores, label=label, **SECOND)


def _levels(told: Scenario, who: str, at: float, busy: int, idle: int) -> None:
    told.gauge(who, catalogue.WORKERS, at, busy, state="busy")
    told.gauge(who, catalogue.WORKERS, at, idle, state="idle")
    told.gauge(who, catalogue.QUEUE_DEPTH, at, 4.0, queue="detections")
    told.gauge(who, catalogue.QUEUE_OLDEST_AGE, at, 0.25, queue="detections")
    told.gauge(who, catalogue.SYSTEM_MEMORY, at, 0.4, state="used")
    told.gauge(who, catalogue.SYSTEM_CPU, at, 0.7, state="idle", cpu="0")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=Clock(NOW_S))
    scenario().feed(store)
    for i, (outcome, error) in enumerate(
        [("ok", None), ("failed", "no memory: 17 bytes"), ("ok", None),
         ("failed", "no memory: 99 bytes"), ("invalid", "cut short")]
    ):  # fmt: skip
        for part in traffic.image(
            int((TODAY[i]) * 1e9), duration_ms=50 + i, outcome=outcome, error=error
        ):
            store.receive_traces(traffic.encoded(part))
    store.flush()
    yield store
    store.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusMetrics]:
    with scenario().prometheus(tmp_path_factory.mktemp("prometheus")) as url:
        store = PrometheusMetrics(url, clock=Clock(NOW_S))
        yield store
        store.close()


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def report(request: pytest.FixtureRequest, embedded: EmbeddedStore) -> Report:
    metrics: MetricsStore = embedded.metrics
    if request.param == "prometheus":
        metrics = request.getfixturevalue("prometheus")
    return build(metrics, embedded.traces, Ledger(), SETTINGS, 1, NOW_S)


class Ledger:
    """A history of two alerts, as the alerts' ledger gives it."""

    def history(self, limit: int = 50) -> list[Episode]:
        return [
            episode("no_worker", "critical", NOW_S - 3600, NOW_S - 3600 + 120).model_copy(
                update={
                    "delivery": Delivery(state="partly", sent=1, channels=2, error="slack: 500")
                }
            ),
            episode("slow", "warning", NOW_S - 7200, None),
            episode("slow", "warning", NOW_S - 2 * 86400, NOW_S - 86400 - 1),
        ]


def episode(name: str, severity: str, fired_at: float, resolved_at: float | None) -> Episode:
    return Episode.model_validate(
        {
            "id": f"{name}-{fired_at}", "name": name, "severity": severity,
            "message": Message(en="It is slow.", zh="变慢了。"), "pending_at": fired_at - 60,
            "fired_at": fired_at, "resolved_at": resolved_at, "value": 1, "worst": 2,
            "example_trace_id": "ab" * 16, "silenced": False, "notified": True,
        }
    )  # fmt: skip


def test_counts_are_exact(report: Report) -> None:
    """Every request is counted once, by outcome and by route, and against the day before."""
    assert report.requests == {"ok": OK, "invalid": INVALID, "failed": FAILED}
    assert list(report.requests) == ["ok", "invalid", "failed"]
    assert report.requests_before == {"ok": 240}
    assert report.routes == {"api": OK - len(TODAY) + INVALID + FAILED, "ui": len(TODAY)}
    total = report.figure("requests")
    assert (total.value, total.before) == (OK + INVALID + FAILED, 240)
    assert total.change == pytest.approx(total.value / 240 - 1, abs=1e-6)
    success = report.figure("success_rate")
    assert success.value == pytest.approx(OK / (OK + FAILED), abs=1e-6)
    assert success.change == pytest.approx(success.value - 1, abs=1e-6)


def test_latency_comes_from_the_merged_histogram(report: Report) -> None:
    """Percentiles are those of all that was measured, within a bucket."""
    assert report.latency is not None
    true = sorted(1e3 * value for value in measured(OK))
    assert report.latency.count == OK
    assert report.latency.mean_ms == pytest.approx(sum(true) / OK, abs=1e-3)
    assert report.latency.p50_ms == pytest.approx(true[OK // 2], rel=0.25)
    assert report.figure("latency_p95").value == report.latency.p95_ms
    assert report.figure("latency_p95").before == pytest.approx(0.5 * true[int(0.95 * OK)], rel=0.3)


def test_peak_and_hours(report: Report) -> None:
    """The busiest step is found, and every request lies in its hour."""
    assert report.peak is not None
    step_s = report.peak.step_s
    assert step_s in (60, 300)  # Prometheus keeps five minutes of a day's length
    assert report.peak.at == math.floor(TODAY[BURST_AT] / step_s) * step_s
    assert report.peak.per_s == pytest.approx((3 * step_s / 60 + BURST) / step_s, abs=0.02)
    hour = int((NOW_S - 5 * 3600) % 86400 // 3600)
    first = 60 * 3 + 2 + 1  # three a minute, two invalid ones and a failed one
    assert report.hours[hour] == first
    assert sum(report.hours) == OK + INVALID + FAILED
    assert len(report.calendar) == 2  # a day's length that begins within one
    inside = [count for day in report.calendar for count in day.hours if count is not None]
    assert (len(inside), sum(inside)) == (24, sum(report.hours))
    assert sum(map(sum, report.timeline.requests.values())) == sum(report.hours)


def test_stages(report: Report) -> None:
    """Shares are of the time that images spent in all stages."""
    assert [stage.stage for stage in report.stages] == ["queue_wait", "inference"]
    wait, inference = report.stages
    assert (wait.share, inference.share) == (pytest.approx(0.25), pytest.approx(0.75))
    assert wait.p95_before_ms is None
    assert inference.p95_before_ms == pytest.approx(inference.p95_ms / 2, rel=0.3)


def test_workers_and_cost(report: Report) -> None:
    """Two workers for three hours at half a euro, shared by the images that succeeded."""
    assert report.period.observed_s == pytest.approx(3 * 3600, abs=60)
    assert report.workers.mean == 2
    assert report.workers.hours == pytest.approx(6)
    assert report.workers.busy_s == {"cpu": pytest.approx(0.02 * OK)}
    assert report.workers.utilisation == pytest.approx(0.02 * OK / (6 * 3600), abs=1e-6)
    assert report.workers.busy_s_per_image == pytest.approx(0.02)
    assert report.workers.per_worker_per_s == pytest.approx(50)
    assert report.workers.needed_at_peak == 1
    assert (report.cost.total, report.cost.currency) == (3.0, "EUR")
    assert report.cost.per_1000_images == pytest.approx(3000 / OK, abs=1e-3)
    cost = report.figure("cost_per_1000")
    assert cost.before == pytest.approx(1000 * 2 * 0.5 / 240, abs=1e-3)
    assert report.workers.queue_depth_max == 4
    assert report.workers.queue_oldest_age_max_s == pytest.approx(0.25)
    assert report.workers.memory_max == pytest.approx(0.4)
    assert report.workers.cpu_max == pytest.approx(0.3)


def test_detections_and_clients(report: Report) -> None:
    """By label with the mean score, by client, each against the day before."""
    phone, laptop = report.detections
    assert (phone.label, phone.count, phone.before) == ("phone", 2 * OK, 240)
    assert phone.mean_score == pytest.approx(0.75)
    assert (laptop.label, laptop.count, laptop.before) == ("laptop", 90, 0)
    assert laptop.mean_score is None  # no score was measured
    assert report.figure("detections").value == 2 * OK + 90
    assert [(each.client, each.requests, each.before) for each in report.clients] == [
        ("10.0.0.1", OK - len(TODAY), 240),
        ("10.0.0.2", len(TODAY), 0),
    ]
    assert report.image_bytes_mean == pytest.approx(200e3)


def test_models(report: Report) -> None:
    """Each version that had images has its own figures, the one that came last first."""
    second, first = report.models
    assert (second.model, second.version, second.images) == ("phones", "2b", 252)
    assert second.outcomes == {"ok": 240, "failed": 12}
    assert (second.detections, second.detections_per_image) == (480, 2.0)
    assert second.mean_score == pytest.approx(0.8)
    took = sorted(1e3 * value for value in measured(OK, 0.6))
    assert second.stages_ms["inference"].p50 == pytest.approx(took[OK // 2], rel=0.25)
    assert second.stages_ms["inference"].p95 == pytest.approx(took[int(0.95 * OK)], rel=0.25)
    assert (first.version, first.outcomes, first.mean_score) == ("1a", {"ok": 120}, None)
    assert (first.stages_ms, first.detections_per_image) == ({}, 0.0)
    step_s = report.timeline.step_s
    assert first.first_at <= TODAY[0] < first.first_at + step_s
    assert first.last_at <= TODAY[119] < first.last_at + step_s
    assert second.first_at <= TODAY[60] < second.first_at + step_s


def test_failures_and_their_causes(report: Report) -> None:
    """Messages that differ in numbers are one cause; each names traces; the count is exact."""
    assert report.failures.count == INVALID + FAILED
    assert report.failures.looked_at == 3
    memory, cut = report.failures.causes
    assert (memory.count, memory.outcome, memory.message) == (2, "failed", "no memory: 99 bytes")
    assert len(memory.trace_ids) == 2
    assert (cut.count, cut.message) == (1, "cut short")
    assert [image.outcome for image in report.failures.images] == ["invalid", "failed", "failed"]
    slowest = report.slowest[0]
    assert (slowest.duration_ms, slowest.longest_stage) == (pytest.approx(52), "inference")
    assert report.trace_url == "https://phones.example/traces?trace={trace_id}"


def test_alerts(report: Report) -> None:
    """Alerts that fired within the day, the critical first; what ended before it is not there."""
    critical, slow = report.alerts.fired
    assert (critical.name, critical.times, critical.seconds) == ("no_worker", 1, 120)
    assert (slow.name, slow.times, slow.firing, slow.seconds) == ("slow", 1, True, 7200)
    assert critical.delivery == Delivery(state="partly", sent=1, channels=2, error="slack: 500")
    assert (slow.delivery, slow.notified, slow.silenced) == (None, True, False)
    rated = {each.name: each.value for each in report.rating.criteria}
    assert rated["critical"] == pytest.approx(120 / (3 * 3600), rel=0.01)


def test_hours_in_another_zone(embedded: EmbeddedStore) -> None:
    """The hours of the day are those of the zone that is asked for; the sum stays."""
    settings = Settings()
    utc = build(embedded.metrics, embedded.traces, None, settings, 1, NOW_S)
    shanghai = build(
        embedded.metrics, embedded.traces, None, settings, 1, NOW_S, timezone="Asia/Shanghai"
    )
    assert shanghai.hours == utc.hours[-8:] + utc.hours[:-8]
    with pytest.raises(InvalidParameter, match="Mars"):
        build(embedded.metrics, embedded.traces, None, settings, 1, NOW_S, timezone="Mars/Base")


def test_long_reports_are_read_by_ten_minutes(embedded: EmbeddedStore) -> None:
    """Beyond three days the peak is of ten minutes, and says so; counts stay exact."""
    found = build(embedded.metrics, embedded.traces, None, Settings(), 14, NOW_S)
    assert found.peak is not None
    assert found.peak.step_s == 600
    assert sum(found.requests.values()) == OK + INVALID + FAILED + 240
    assert found.before is None  # nothing was measured then
    assert all(figure.change is None for figure in found.figures)
    assert found.period.observed_s == pytest.approx(5 * 3600, abs=60)


def test_the_period_before_that_is_kept_no_longer(embedded: EmbeddedStore) -> None:
    """A period of which the store has dropped a part is not compared with."""
    settings = Settings(telemetry_days=1.5)
    assert build(embedded.metrics, embedded.traces, None, settings, 1, NOW_S).before is None


def test_an_empty_system(tmp_path: Path) -> None:
    """Nothing was measured: no figure is made up, nothing is divided by zero."""
    store = EmbeddedStore(tmp_path / "telemetry.db", clock=Clock(NOW_S))
    found = build(store.metrics, store.traces, None, Settings(cpu_worker_price=1), 7, NOW_S)
    store.close()
    counted = {"requests", "detections"}
    assert {each.name for each in found.figures if each.value is not None} == counted
    assert found.requests == {}
    assert (found.rating.grade, found.latency, found.peak, found.before) == (None,) * 4
    assert (found.advice, found.failures.causes, found.slowest) == ([], [], [])
    assert found.cost.reason == "no_workers"
    assert (found.alerts.known, found.alerts.fired) == (False, [])


def test_a_store_that_is_away(embedded: EmbeddedStore) -> None:
    """A report without its figures would be a wrong one: it is an error."""
    metrics = PrometheusMetrics("http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        build(metrics, embedded.traces, None, Settings(), 1, NOW_S)
    metrics.close()


@pytest.mark.parametrize("days", [0, 31])
def test_days_out_of_range(embedded: EmbeddedStore, days: int) -> None:
    """A report covers 1 to 30 days."""
    with pytest.raises(InvalidParameter):
        build(embedded.metrics, embedded.traces, None, Settings(), days, NOW_S)


def test_critical_time_counts_once() -> None:
    """Critical alerts that fire together, or beyond the window, do not add up."""
    window = Window(1000.0, 2000.0)
    found = [
        episode("a", "critical", 900.0, 1100.0),
        episode("b", "critical", 1050.0, 1200.0),
        episode("c", "warning", 1000.0, 2000.0),
        episode("d", "critical", 1900.0, None),
    ]
    assert critical_s(found, window, now_s=1950.0) == 200 + 50


@pytest.mark.parametrize("days", [1, 3, 7, 30])
def test_periods_touch(days: int) -> None:
    """The parts of a period cover it without a gap, in steps that fit the embedded store."""
    covered = Covered.last(days, NOW_S + 123)
    parts = list(covered.parts())
    assert parts[0][0].start_s == covered.window.start_s
    assert parts[-1][0].end_s == covered.window.end_s
    assert all(a.end_s == b.start_s for (a, _), (b, _) in pairwise(parts))
    assert covered.before.window.end_s == covered.window.start_s
    assert covered.window.seconds / covered.plot_step_s <= 180


def test_objectives(report: Report) -> None:
    """Each over its own weeks up to now, of which there are two days; invalid images are no fault
    of the service."""
    available, latency = report.objectives
    assert (available.requests, available.bad) == (240 + OK + FAILED, FAILED)
    assert available.left == pytest.approx(1 - FAILED / available.requests / 0.005, abs=1e-5)
    assert (latency.requests, latency.bad) == (240 + OK, 0)
    assert latency.since_at == pytest.approx(YESTERDAY[0], abs=3600)


def test_a_file_of_objectives_that_was_damaged(embedded: EmbeddedStore, tmp_path: Path) -> None:
    """The report comes all the same, without them."""
    (tmp_path / "slo.yaml").write_text("objectives: 5")
    settings = SETTINGS.model_copy(update={"slo": tmp_path / "slo.yaml"})
    found = build(embedded.metrics, embedded.traces, Ledger(), settings, 1, NOW_S)
    assert found.objectives == []
    assert found.requests
