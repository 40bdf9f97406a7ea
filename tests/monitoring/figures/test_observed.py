"""monitoring.figures.observed: means over the time that was observed, peaks over whole steps.

What a service did is told once and read from the embedded store and from a real Prometheus: one
that has just begun, one that was away for a while, one whose processes are new, a quiet one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.figures.capacity import verdict
from monitoring.figures.observed import Observed, Step, cut, observed, rate, steps
from monitoring.figures.stats import Stats, stats
from monitoring.reports.build import build
from monitoring.stores.contract import MetricsStore, Series, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.scenario import Scenario

EXPORT_S = 5
#: Exports come 2 s into each five seconds.
OFFSET_S = 2


def told(*lives: tuple[str, float, float, float], images: bool = False) -> Scenario:
    """Frontends: (name, from, until, requests a second), in seconds before NOW_S."""
    story = Scenario()
    for who, begin_ago_s, end_ago_s, per_s in lives:
        for i in range(1, int((begin_ago_s - end_ago_s) / EXPORT_S) + 1):
            at, count = NOW_S - begin_ago_s + EXPORT_S * (i - 1) + OFFSET_S, EXPORT_S * i * per_s
            story.counter(who, catalogue.REQUESTS, at, count, outcome="ok", route="api")
            story.gauge(who, catalogue.REQUESTS_ACTIVE, at, 0)
            story.gauge(who, catalogue.WORKERS, at, 1, state="busy")
            story.gauge(who, catalogue.WORKERS, at, 0, state="idle")
            if images:
                uploads = [0.004] * round(count)
                story.histogram(who, catalogue.STAGE_DURATION, at, uploads, stage="upload")
                story.histogram(who, catalogue.BATCH_SIZE, at, [1.0] * round(count))
                story.counter(who, catalogue.WORKER_BUSY, at, 0.1 * count, provider="cpu")
    return story


Store = tuple[MetricsStore, EmbeddedStore]


@contextmanager
def stores(kind: str, story: Scenario, folder: Path) -> Iterator[Store]:
    """A store that holds the story; the embedded one beside it has no traces."""
    with ExitStack() as opened:
        embedded = EmbeddedStore(folder / "telemetry.db", clock=Clock(NOW_S))
        opened.callback(embedded.close)
        if kind == "embedded":
            story.feed(embedded)
            yield embedded.metrics, embedded
            return
        url = opened.enter_context(story.prometheus(folder))
        metrics = PrometheusMetrics(url, Clock(NOW_S))
        opened.callback(metrics.close)
        yield metrics, embedded


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def card(found: Stats, name: str) -> float | None:
    return next(card.value for card in found.cards if card.name == name)


def test_a_service_that_has_just_begun(kind: str, tmp_path: Path) -> None:
    """Three requests a second for 35 s are three a second, in every window and in the report:
    not a hundredth of it in an hour, and no mean above its peak."""
    with stores(kind, told(("a", 35, 0, 3)), tmp_path) as (metrics, embedded):
        for window_s in (60, 300, 3600, 86400, 30 * 86400):
            found = stats(metrics, window_s, NOW_S)
            assert found.observed_s == pytest.approx(35, abs=1), window_s
            assert found.qps_mean == pytest.approx(3, rel=0.05), window_s
            assert found.qps == card(found, "qps") == pytest.approx(3, rel=0.05)
        report = build(metrics, embedded.traces, None, Settings(), 1, NOW_S)
    mean, peak = report.figure("qps_mean").value, report.figure("qps_peak").value
    assert report.period.observed_s == pytest.approx(35, abs=1)
    assert mean is not None
    assert peak is not None
    assert mean == peak == pytest.approx(3, rel=0.05)
    assert report.peak is not None
    assert report.peak.step_s == pytest.approx(35, abs=1)


def test_now_is_the_last_minute(kind: str, tmp_path: Path) -> None:
    """After half an hour of ten a second and five quiet minutes the rate is 0, the mean is not."""
    with stores(kind, told(("a", 2100, 300, 10), ("b", 295, 0, 0)), tmp_path) as (metrics, _):
        found = stats(metrics, 3600, NOW_S)
        assert found.qps == card(found, "qps") == 0
        assert found.qps_mean == pytest.approx(10 * 1800 / 2100, rel=0.02)
        assert found.requests == {"ok": 18_000}


def test_a_frontend_that_is_gone(kind: str, tmp_path: Path) -> None:
    """Where nobody was heard of for over a minute the rate is not known; the mean is that of the
    time in which somebody was."""
    with stores(kind, told(("a", 1200, 600, 2)), tmp_path) as (metrics, _):
        found = stats(metrics, 3600, NOW_S)
        assert found.qps is None
        assert found.observed_s == pytest.approx(600, abs=10)
        assert found.qps_mean == pytest.approx(2, rel=0.02)


def test_away_for_a_while_and_begun_anew(kind: str, tmp_path: Path) -> None:
    """The new process counts from zero; its requests are added to those of the one before, and
    the time between them is nobody's."""
    story = told(("a", 3000, 2400, 4), ("b", 1200, 600, 1), ("c", 600, 0, 6))
    with stores(kind, story, tmp_path) as (metrics, embedded):
        found = stats(metrics, 3600, NOW_S)
        assert found.requests == {"ok": 600 * (4 + 1 + 6)}
        assert found.observed_s == pytest.approx(1800, abs=15)
        assert found.qps_mean == pytest.approx(11 / 3, rel=0.02)
        assert found.qps == pytest.approx(6, rel=0.02)
        report = build(metrics, embedded.traces, None, Settings(), 1, NOW_S)
    assert report.peak is not None
    assert report.peak.per_s == pytest.approx(6, rel=0.1)
    assert report.peak.at >= NOW_S - 660


def test_capacity_is_that_of_the_busiest_minutes(kind: str, tmp_path: Path) -> None:
    """Two minutes at twice what the worker holds are not hidden by the idle ones after them."""
    story = told(("a", 1800, 1500, 0.2), ("b", 1500, 1380, 20), ("c", 1380, 0, 0.2), images=True)
    with stores(kind, story, tmp_path) as (metrics, _):
        found = stats(metrics, 3600, NOW_S).capacity
    assert found.per_worker_per_s == pytest.approx(10)
    assert found.arriving_per_s == pytest.approx((120 * 20 + 1680 * 0.2) / 1800, rel=0.02)
    assert found.arriving_peak_per_s == pytest.approx(20, rel=0.05)
    assert found.peak_at == pytest.approx(NOW_S - 1500, abs=120)
    assert (found.utilisation or 1) < 0.2
    assert (found.verdict, found.workers_needed) == ("grows", 3)


@pytest.mark.parametrize(
    ("peak", "busy", "expected"),
    [(0.0, 0.0, "idle"), (7.9, 0.1, "holds"), (8.1, 0.1, "tight"), (1.0, 0.85, "tight"),
     (10.1, 0.1, "grows")],
)  # fmt: skip
def test_verdicts(peak: float, busy: float, expected: str) -> None:
    """One worker, a tenth of a second an image: what counts is the busiest time."""
    assert verdict(peak, 0.1, busy, 1, [0.0] * 30) == expected


LENGTHS = st.lists(st.floats(0, 60), max_size=40)


@given(LENGTHS, st.floats(0.001, 200))
def test_every_step_is_in_one_range(lengths: list[float], least: float) -> None:
    """And each range is as long as it must be, unless all together are shorter."""
    found = cut(lengths, least)
    covered = [index for each in found for index in each]
    assert covered == (list(range(len(lengths))) if sum(lengths) else [])
    if len(found) > 1:
        assert all(sum(lengths[i] for i in each) >= least - 1e-5 for each in found)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 60)), min_size=1, max_size=40),
    st.floats(1, 600),
)
def test_no_mean_is_above_its_peak(each: list[tuple[int, float]], least_s: float) -> None:
    """Whatever was counted and however little of a step was observed."""
    seen = Observed(tuple(Window(60 * i, 60 * i + s) for i, (_, s) in enumerate(each) if s))
    counted = Series(0.0, 60.0, tuple(float(count) for count, _ in each))
    found = steps([counted], seen, now_s=1e9)
    assert all(step.observed_s for step in found if step.count)
    both = rate(found, least_s)
    if both is None:
        assert not any(count for count, _ in each)
        return
    assert round(both.mean_per_s, 6) <= round(both.peak_per_s, 6)
    total_s = sum(step.observed_s for step in found)
    assert both.peak_s >= min(least_s, total_s) - 1e-3
    assert both.mean_per_s == pytest.approx(sum(count for count, _ in each) / total_s)


def test_nothing_was_seen() -> None:
    """No figure is made up."""
    assert rate([], 60) is rate([Step(0, 0, 0)], 60) is None


def test_only_short_silences_are_none(kind: str, tmp_path: Path) -> None:
    """Half a minute without an export is a busy machine, five are a service that was away."""
    story = told(("a", 900, 600, 1), ("a2", 570, 400, 1), ("a3", 100, 0, 1))
    with stores(kind, story, tmp_path) as (metrics, _):
        found = observed(metrics, Window(NOW_S - 3600, NOW_S + 1), NOW_S)
    first, second = found.stretches
    assert (first.start_s, first.end_s) == pytest.approx((NOW_S - 900, NOW_S - 400), abs=6)
    assert (second.start_s, second.end_s) == pytest.approx((NOW_S - 100, NOW_S), abs=6)
