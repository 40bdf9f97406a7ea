"""Five minutes of one service: the page, the API behind it, the report, the alerts and the traces
count the same requests, outcome by outcome, whichever store is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from monitoring.alerts.figures import FIGURES
from monitoring.alerts.measures import Asked
from monitoring.figures.plots import plots
from monitoring.figures.stats import stats
from monitoring.reports.build import build
from monitoring.stores.contract import MetricsStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.settings import Settings
from telemetry import catalogue
from telemetry.outcomes import OUTCOMES, success_rate
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.scenario import Scenario

RUN_S, STEP_S = 300, 5
#: When it ended, and what is looked at: what is younger than ten seconds is not drawn yet, and a
#: window ends with the step that goes on.
END_S, LOOK_S = NOW_S - 60, 600
#: Requests of each step: one client in three hangs up, and a frontend begins halfway.
EACH = {
    "one": {"ok": 2, "invalid": 1, "rejected": 1, "failed": 1, "timeout": 1, "cancelled": 3},
    "two": {"ok": 1, "cancelled": 2},
}
BEGINS = {"one": 0, "two": RUN_S // STEP_S // 2}
STEPS = RUN_S // STEP_S
TOLD = {
    outcome: sum((STEPS - BEGINS[who]) * each.get(outcome, 0) for who, each in EACH.items())
    for outcome in OUTCOMES
}


def moments(who: str) -> Iterator[tuple[int, float]]:
    """Number of the step among a frontend's own, and when it exports it."""
    for step in range(BEGINS[who], STEPS):
        yield step - BEGINS[who], END_S - RUN_S + STEP_S * step + 2


@pytest.fixture(scope="module")
def told() -> Scenario:
    told = Scenario()
    for who, each in EACH.items():
        for number, at in moments(who):
            for outcome, count in each.items():
                labels = {"outcome": outcome, "route": "api"}
                told.counter(who, catalogue.REQUESTS, at, count * (number + 1), **labels)
            told.gauge(who, catalogue.REQUESTS_ACTIVE, at, 1)
    return told


@pytest.fixture(scope="module")
def embedded(told: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """With the trace of each request, too."""
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=Clock(NOW_S))
    told.feed(store)
    for who, each in EACH.items():
        for _, at in moments(who):
            for outcome, count in each.items():
                for _ in range(count):
                    frontend, _ = traffic.image(int(at * 1e9), outcome=outcome)
                    store.receive_traces(traffic.encoded(frontend))
    store.flush()
    yield store
    store.close()


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def metrics(
    request: pytest.FixtureRequest, embedded: EmbeddedStore, told: Scenario,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MetricsStore]:  # fmt: skip
    if request.param == "embedded":
        yield embedded.metrics
        return
    with told.prometheus(tmp_path_factory.mktemp("prometheus")) as url:
        store = PrometheusMetrics(url, Clock(NOW_S))
        yield store
        store.close()


def test_every_outcome_is_there() -> None:
    """So that none can be counted differently unseen."""
    assert all(TOLD[outcome] for outcome in OUTCOMES)
    assert TOLD["cancelled"] > TOLD["ok"] > 0


def test_everything_counts_the_same(metrics: MetricsStore, embedded: EmbeddedStore) -> None:
    """Page, API, report, alerts and traces: as many of each outcome, cancelled ones among them, and
    one success rate, in which what clients cancelled does not count."""
    page, course = stats(metrics, LOOK_S, NOW_S), plots(metrics, LOOK_S, 10, NOW_S)
    report = build(metrics, embedded.traces, None, Settings(), 1, NOW_S)
    window = Window(END_S - RUN_S - 60, NOW_S)
    found = embedded.traces.search(limit=sum(TOLD.values()) + 1, window=window)

    assert Counter(each.outcome for each in found) == TOLD
    assert page.requests == report.requests == TOLD
    drawn = {
        outcome: round(sum(value * course.step_s for value in values if value is not None))
        for outcome, values in course.requests_per_s.items()
    }
    assert drawn == TOLD

    measured = FIGURES["success_rate"].measure(metrics, Asked(LOOK_S), NOW_S)
    rate = success_rate(TOLD)
    assert rate is not None
    assert 0 < rate < 1
    assert (page.success_rate, report.figure("success_rate").value, measured) == pytest.approx(
        (rate, rate, rate), abs=1e-6
    )
